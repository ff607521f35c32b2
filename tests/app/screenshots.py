"""Pictures of every room, light and dark, at two sizes: `python -m tests.app.screenshots --out DIR`.

They show a home with something in it: artworks laid out, a training that is done, pictures that were painted.
`--home DIR` shows another one, which is only looked at; `--language es` shows it in Spanish. `--best` makes the four
of the README anew, from the English ones in DIR.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from app.bundled import bundled_hands
from app.first_steps import lay_out_bundled
from app.orders import PictureOrder, TrainingOrder
from app.studio import Studio
from styles.generation.settings import PictureSettings
from styles.storage.home import Home
from tests.app.browsing import PATIENCE_MS, open_browser
from tests.app.conftest import window_over
from training.settings import TrainingSettings

PICTURES = Path(__file__).parents[2] / ".github" / "pictures"
SIZES_PX = {"desk": (1280, 800), "tablet": (820, 1180)}
# A room, or a part of it, by the names of its tabs.
ROOMS = {
    "en": {
        "train": ("Train",),
        "create": ("Create",),
        "library": ("Library",),
        "settings": ("Settings",),
        "settings-machine": ("Settings", "This machine"),
        "settings-files": ("Settings", "Files and disk"),
        "settings-devices": ("Settings", "Language and other devices"),
        "settings-about": ("Settings", "Help and about"),
    },
    "es": {
        "train": ("Entrenar",),
        "create": ("Crear",),
        "library": ("Biblioteca",),
        "settings": ("Ajustes",),
        "settings-machine": ("Ajustes", "Este ordenador"),
        "settings-files": ("Ajustes", "Archivos y disco"),
        "settings-devices": ("Ajustes", "Idioma y otros dispositivos"),
        "settings-about": ("Ajustes", "Ayuda e información"),
    },
}
BEST = ("train-light-desk", "create-dark-desk", "library-light-desk", "settings-light-desk")
PAINTED = (
    ("a red house in a meadow", {"ochre dabs": 1.0}),
    ("a blue boat on the sea", {"cyanotype": 1.0}),
    ("a green tree in the snow", {"ochre dabs": 0.6, "cyanotype": 0.5}),
    ("a yellow fish on the sea", {"ochre dabs": 0.8}),
)


def main() -> None:
    """Read the command line, then look and save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, required=True, help="folder for the pictures")
    parser.add_argument("--home", type=Path, help="a home to show; one is made otherwise")
    parser.add_argument("--steps", type=int, default=60, help="training steps in the home that is made")
    parser.add_argument("--rooms", nargs="*", help="only these, such as train settings-about")
    parser.add_argument("--language", choices=sorted(ROOMS), default="en")
    parser.add_argument("--best", action="store_true", help="only make the README's from those in DIR")
    chosen = parser.parse_args()
    if chosen.best:
        return make_small(chosen.out)
    chosen.out.mkdir(parents=True, exist_ok=True)
    with shown_home(chosen.home, chosen.steps) as home:
        settings = home / "settings.json"
        before = settings.read_text(encoding="utf-8") if settings.is_file() else "{}"
        settings.write_text(json.dumps(json.loads(before) | {"language": chosen.language}), encoding="utf-8")
        try:
            with window_over(home) as url, open_browser() as browser:
                for name in look(browser, url, chosen.out, ROOMS[chosen.language], chosen.rooms):
                    print(name, flush=True)
        finally:
            settings.write_text(before, encoding="utf-8")


@contextmanager
def shown_home(given: Path | None, steps: int) -> Iterator[Path]:
    """The home that is shown: the given one, or a new one with a training and some pictures in it."""
    if given is not None:
        yield given
        return
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        home = Path(folder) / "Atelier"
        studio = Studio(Home(home))
        artworks = tuple(sorted(bundled_hands()[0].glob("*.png")))
        order = TrainingOrder(
            "My first style", artworks, preset="quick", settings=TrainingSettings(steps=steps)
        )
        for _ in studio.follow(studio.start_training(order)):
            pass
        for seed, (prompt, weights) in enumerate(PAINTED, start=1):
            for _ in studio.create(
                PictureOrder(prompt, PictureSettings(seed=seed), weights=tuple(weights.items()))
            ):
                pass
        lay_out_bundled(studio)
        studio.change_settings(replace(studio.settings, tour_seen=True))
        studio.close()
        yield home


def make_small(folder: Path) -> None:
    """Put the best of them beside the README's other pictures: what a window shows, in few colours."""
    for name in BEST:
        with Image.open(folder / f"{name}.png") as whole:
            shown = whole.convert("RGB").crop((0, 0, *SIZES_PX["desk"]))
        few = shown.quantize(256, kmeans=3)
        few.save(PICTURES / f"{name.split('-')[0]}.png", optimize=True)


def look(
    browser: Any, url: str, out: Path, rooms: dict[str, tuple[str, ...]], only: list[str] | None
) -> Iterator[str]:
    """Save a picture of each room in each look and size; yields their names."""
    for scheme in ("light", "dark"):
        for size, (width, height) in SIZES_PX.items():
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
            page.set_default_timeout(PATIENCE_MS)
            page.goto(url)
            for room, tabs in rooms.items():
                if only and room not in only:
                    continue
                for tab in tabs:
                    page.get_by_role("tab", name=tab, exact=True).click()
                settle(page)
                name = f"{room}-{scheme}-{size}.png"
                page.screenshot(path=out / name, full_page=True)
                yield name
            page.close()


def settle(page: Any, milliseconds: int = 2000) -> None:
    """Wait until the page has been still for so long, 15 seconds at most."""
    page.evaluate(
        """milliseconds => new Promise(done => {
            let timer = setTimeout(done, milliseconds);
            // Gradio's clocks of hidden answers never rest.
            const inClock = one => (one.closest ? one : one.parentElement)?.closest(".wrap.hide");
            const watch = new MutationObserver(changes => {
                if (changes.every(change => inClock(change.target))) return;
                clearTimeout(timer);
                timer = setTimeout(done, milliseconds);
            });
            watch.observe(document.body, {subtree: true, childList: true, attributes: true, characterData: true});
            setTimeout(done, 15000);
        })""",
        milliseconds,
    )


if __name__ == "__main__":
    main()
