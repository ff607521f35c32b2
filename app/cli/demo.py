"""The demonstration: two styles trained on the bundled artworks, mixed, and drawn on one sheet."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.bundled import bundled_hands
from app.create.contact_sheet import SheetRow, draw_sheet
from app.create.painting import PictureSaved
from app.orders import PictureOrder, TrainingOrder
from app.studio import Studio
from app.train.progress import Progress
from styles.errors import AtelierError, Cancelled, TrainingFailed
from styles.generation.settings import PictureSettings
from styles.storage.atomic import replacing, write_text
from training.settings import TrainingSettings

PROMPTS = (
    "a green tree in the snow",
    "a blue boat on the sea",
    "a red house in a meadow",
    "an orange balloon at sunset",
)
FIRST_SEED = 7
BOTH = 0.8  # the weight of each style where both are mixed


@dataclass(frozen=True)
class DemoPlan:
    """What to show; a test asks for less of it."""

    base: str = "starter"
    steps: int | None = None  # of each training; None: the quick preset's
    resolution_px: int | None = None
    picture_steps: int = 20
    prompts: tuple[str, ...] = PROMPTS


def run_demo(
    studio: Studio,
    out: Path,
    plan: DemoPlan,
    *,
    say: Callable[[str], None],
    hands: Sequence[Path] | None = None,
) -> dict[str, Any]:
    """Train, mix and draw into `out`: sheet.png, the style files, the pictures and report.json; the report's facts."""
    began = time.monotonic()
    hands = list(hands) if hands is not None else bundled_hands()
    say(f"Training two styles, then painting {4 * len(plan.prompts)} pictures.")
    trained = [_train(studio, hand, plan, out, say) for hand in hands]
    names = [style["name"] for style in trained]
    rows = [
        ("no style", "", {}),
        *((name, "alone, weight 1", {name: 1.0}) for name in names),
        ("both", " + ".join(f"{BOTH:g} {name}" for name in names), dict.fromkeys(names, BOTH)),
    ]
    painted = []
    for label, note, weights in rows:
        say(f"Painting with {label}")
        painted.append((label, note, weights, _paint(studio, plan, weights, out / "pictures")))
    sheet = _sheet(plan, painted)
    report = {
        "sheet": str(out / "sheet.png"),
        "styles": trained,
        "pictures": [
            {"row": label, "weights": weights, "files": [str(picture.path) for picture in pictures]}
            for label, _, weights, pictures in painted
        ],
        "prompts": list(plan.prompts),
        "seeds": [FIRST_SEED + number for number in range(len(plan.prompts))],
        "seconds": round(time.monotonic() - began, 1),
    }
    with replacing(out / "sheet.png") as temporary:
        sheet.save(temporary, format="PNG")
    write_text(out / "report.json", json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    return report


def _train(
    studio: Studio, hand: Path, plan: DemoPlan, out: Path, say: Callable[[str], None]
) -> dict[str, Any]:
    say(f"Training {hand.name}")
    order = TrainingOrder(
        name="demo " + hand.name.replace("_", " "), pictures=(hand,), base=plan.base, preset="quick",
        settings=TrainingSettings(steps=plan.steps, resolution_px=plan.resolution_px, seed=0),
    )  # fmt: skip
    progress = Progress()
    said = 0.0
    job = studio.start_training(order)
    try:
        for progress in studio.follow(job):
            if progress.share >= said + 0.25 and progress.step:
                said = progress.share
                say(f"  step {progress.step} of {progress.steps}")
    except KeyboardInterrupt:
        with contextlib.suppress(AtelierError):  # it may have ended by itself
            studio.pause_training(job.folder.name)
        raise
    if progress.nothing_learnt:
        raise Cancelled("The training was stopped before its first step, so there is no style.")
    if progress.finished is None:
        failed = progress.failed
        raise (
            TrainingFailed(failed.message, failed.hint)
            if failed
            else TrainingFailed("The training was paused.")
        )
    done = progress.finished
    out.mkdir(parents=True, exist_ok=True)
    target = out / f"{hand.name}.safetensors"
    with replacing(target) as temporary:
        shutil.copyfile(done.style_path, temporary)
    return {
        "name": done.style_name, "file": str(target), "id": done.style_id, "steps": done.step,
        "seconds": round(done.seconds, 1),
    }  # fmt: skip


def _paint(studio: Studio, plan: DemoPlan, weights: dict[str, float], folder: Path) -> list[PictureSaved]:
    """One picture for each prompt; the seed belongs to the prompt, so that the columns can be compared."""
    pictures = []
    for number, prompt in enumerate(plan.prompts):
        settings = PictureSettings(base=plan.base, seed=FIRST_SEED + number, steps=plan.picture_steps)
        order = PictureOrder(prompt, settings, weights=tuple(weights.items()))
        pictures += [event for event in studio.create(order, folder) if isinstance(event, PictureSaved)]
    return pictures


def _sheet(plan: DemoPlan, painted: list[tuple[str, str, dict[str, float], list[PictureSaved]]]) -> Any:
    from PIL import Image

    rows = []
    for label, note, _, pictures in painted:
        images = []
        for picture in pictures:
            with Image.open(picture.path) as image:
                images.append(image.convert("RGB"))
        rows.append(SheetRow(label, tuple(images), note))
    columns = [f"{prompt}, seed {FIRST_SEED + number}" for number, prompt in enumerate(plan.prompts)]
    footer = f"Base: {Path(plan.base).name}. Same prompt and seed down each column."
    return draw_sheet("Two styles, trained and mixed", columns, rows, footer=footer)
