"""The pictures of `.github/MIXING.md`: `python -m tests.app.mixing_pictures --home DIR --out .github/pictures/mixing`.

One for each thing that can be done with a mix, painted as an artist would, by the studio on the starter. The home may
hold more styles for the starter than the two that come along: they join the comparison of strengths.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image

from app.create.contact_sheet import SheetRow, draw_sheet
from app.create.mix_orders import MixOrder, SheetOrder, StyleOrder
from app.create.mix_tools import bake_plan
from app.create.painting import Painted
from app.orders import PictureOrder
from app.studio import Studio
from styles.generation.settings import PictureSettings
from styles.mixing.blend import MODES
from styles.storage.home import Home

FIRST, SECOND = "cyanotype", "ochre dabs"  # the two that come along
CELL_PX = 150
COLOURS = 160  # of a saved page: a third of the bytes, and no eye sees it at this size

Labelled = tuple[str, str, MixOrder]  # label, a fainter second line, the mix


def mixed(*weights: float | None, **more: object) -> MixOrder:
    """The two styles at their weights, None for one that is not there."""
    named = zip((FIRST, SECOND), weights, strict=False)
    return MixOrder(tuple(StyleOrder(name, weight) for name, weight in named if weight is not None), **more)  # type: ignore[arg-type]


def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line and paint."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="+", choices=tuple(PAGES), default=list(PAGES))
    parser.add_argument(
        "--prompts", nargs="+", default=["a red mushroom in a meadow", "a blue fish on the sea"]
    )
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    easel = Easel(Studio(Home(options.home)), options.prompts, options.seed)
    for name in options.only:
        page = PAGES[name](easel).quantize(COLOURS, dither=Image.Dither.NONE)
        page.save(options.out / f"{name}.png", optimize=True)
        print(options.out / f"{name}.png", flush=True)


class Easel:
    """Paints the same prompts and seed with different mixes."""

    def __init__(self, studio: Studio, prompts: Sequence[str], seed: int) -> None:
        self.studio = studio
        self.prompts = tuple(prompts)
        self.seed = seed

    def paint(self, mix: MixOrder, prompt: str = "", **more: object) -> list[Image.Image]:
        """The picture, or all pictures of a sheet."""
        settings = PictureSettings(seed=self.seed)
        order = PictureOrder(prompt or self.prompts[0], settings, mix=mix, **more)  # type: ignore[arg-type]
        done = Painted()
        for event in self.studio.create(order, self.studio.home.pictures / "mixing"):
            done.take(event)
        return [Image.open(one.path).convert("RGB") for one in done.pictures]

    def row(self, title: str, mixes: Sequence[Labelled]) -> Image.Image:
        """One column for each mix, one row for each prompt."""
        rows = [
            SheetRow("", tuple(self.paint(mix, prompt)[0] for _, _, mix in mixes)) for prompt in self.prompts
        ]
        heads = [f"{label}, {note}" if note else label for label, note, _ in mixes]
        return draw_sheet(title, heads, rows, cell_px=CELL_PX, footer=f"Seed {self.seed} everywhere.")

    def strip(self, title: str, sheet: SheetOrder, mix: MixOrder, heads: Sequence[str]) -> Image.Image:
        """A sheet of each prompt, a row each."""
        rows = [SheetRow("", tuple(self.paint(mix, prompt, sheet=sheet))) for prompt in self.prompts]
        return draw_sheet(title, list(heads), rows, cell_px=CELL_PX, footer="One batch, one seed.")


def strength_strip(easel: Easel) -> Image.Image:
    weights = (-1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0)
    sheet = SheetOrder("strength strip", (FIRST,), weights)
    return easel.strip(f"{FIRST} at seven weights", sheet, MixOrder(), [f"{weight:g}" for weight in weights])


def blend_map(easel: Easel) -> Image.Image:
    side = 4
    sheet = SheetOrder("blend map", (FIRST, SECOND), columns=side, rows=side)
    pictures = easel.paint(MixOrder(), sheet=sheet)
    shares = [place / (side - 1) for place in range(side)]
    rows = [
        SheetRow(f"{SECOND} {share:.2g}", tuple(pictures[side * number : side * (number + 1)]))
        for number, share in enumerate(shares)
    ]
    heads = [f"{FIRST} {share:.2g}" for share in shares]
    return draw_sheet("Two styles over a grid", heads, rows, cell_px=CELL_PX, footer="One batch, one seed.")


def schedule(easel: Easel) -> Image.Image:
    def over(*points: tuple[float, float]) -> MixOrder:
        return MixOrder((StyleOrder(FIRST, schedule=points),))

    return easel.row(
        f"When {FIRST} is heard",
        [
            ("never", "", MixOrder()),
            ("1 first, 0 from half on", "", over((0.0, 1.0), (0.5, 0.0))),
            ("0 first, 1 from half on", "", over((0.0, 0.0), (0.5, 1.0))),
            ("always 1", "", mixed(1.0)),
            ("0.3 first, 1 at the end", "", over((0.0, 0.3), (1.0, 1.0))),
        ],
    )


def knobs(easel: Easel) -> Image.Image:
    def turned(composition: float, texture: float) -> Labelled:
        mix = mixed(1.0, composition=((FIRST, composition),), texture=((FIRST, texture),))
        return f"composition {composition:g}", f"texture {texture:g}", mix

    pairs = ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (0.5, 1.5))
    return easel.row(f"{FIRST}: what is laid out, and what surfaces get", [turned(*pair) for pair in pairs])


def modes(easel: Easel) -> Image.Image:
    alone = [(FIRST, "1", mixed(1.0)), (SECOND, "1", mixed(None, 1.0))]
    both: list[Labelled] = [(mode, "1 + 1", mixed(1.0, 1.0, mode=mode)) for mode in MODES]
    return easel.row("Two styles at full weight, mixed in three ways", [*alone, *both])


def equal_strength(easel: Easel) -> Image.Image:
    names = [card.name for card in easel.studio.library.cards() if card.family == "starter"][:5]
    rows = []
    for label, in_strength in (("weight 1", False), ("strength 1", True)):
        mixes = [MixOrder((StyleOrder(name, 1.0),), in_strength=in_strength) for name in names]
        rows.append(SheetRow(label, tuple(easel.paint(mix)[0] for mix in mixes)))
    return draw_sheet("The same slider, the same effect", names, rows, cell_px=CELL_PX, footer="")


def balance(easel: Easel) -> Image.Image:
    strong = (StyleOrder(FIRST, 2.0), StyleOrder(SECOND, 2.0))
    return easel.row(
        "A mix that burns, and the same scaled back",
        [
            ("without", "", MixOrder()),
            ("strength 2 + 2", "", MixOrder(strong, in_strength=True)),
            ("strength 2 + 2", "balanced", MixOrder(strong, in_strength=True, balance=True)),
        ],
    )


def leave_one_out(easel: Easel) -> Image.Image:
    sheet = SheetOrder("leave one out")
    heads = ["all", f"without {FIRST}", f"without {SECOND}"]
    return easel.strip("The same seed, each style left out in turn", sheet, mixed(0.8, 0.8), heads)


def bake(easel: Easel) -> Image.Image:
    mix = mixed(0.7, 0.5)
    ways: list[Labelled] = [("live", "", mix)]
    for method, rank in (("exact", None), ("squeezed", 8), ("squeezed", 2)):
        card = easel.studio.bake(mix, bake_plan(f"baked {method} {rank or ''}".strip(), method, rank))
        error = card.bake.error if card.bake else 0.0
        note = f"rank {card.rank}, error {error:.2g}"
        ways.append((method, note, MixOrder((StyleOrder(card.name, 1.0),))))
    try:
        return easel.row("One blend, and one style baked from it", ways)
    finally:
        for _, _, baked in ways[1:]:
            easel.studio.library.delete(easel.studio.library.find(baked.styles[0].name).id)


def from_picture(easel: Easel) -> Image.Image:
    source = easel.paint(MixOrder())[0]
    path = easel.studio.home.pictures / "mixing" / "source.png"
    source.save(path)
    pictures, heads = [source], ["the picture"]
    for denoise in (0.3, 0.5, 0.7):
        pictures += easel.paint(mixed(1.0), image=path, denoise=denoise)
        heads.append(f"{FIRST} over it, {denoise:g}")
    pictures += easel.paint(mixed(1.0), image=path, denoise=0.5, second_pass=2.0)
    heads.append("and again at twice the size")
    rows = [SheetRow("", tuple(pictures))]
    return draw_sheet("From a picture, and a second pass", heads, rows, cell_px=CELL_PX, footer="")


PAGES: dict[str, Callable[[Easel], Image.Image]] = {
    page.__name__: page
    for page in (
        strength_strip, blend_map, schedule, knobs, modes, equal_strength, balance, leave_one_out, bake,
        from_picture,
    )
}  # fmt: skip


if __name__ == "__main__":
    main()
