"""Every way of training, on the CPU and on the pretend accelerator: how far the styles are apart, what is waited for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from styles.bases.base import Base, open_base
from styles.formats.reader import read_style
from styles.formats.style import Style
from styles.storage.home import Home
from tests.accelerator.painting import Device, Found, said
from tests.accelerator.pretend import WAITS, place_name
from tests.training.conftest import picture
from training.events import Finished, Paused, PreviewReady, StepDone
from training.job import Job
from training.loop import train
from training.plan import plan_for
from training.trainer import Trainer
from training.trial import measure

SIDE_PX = 64
PLAIN: dict[str, Any] = {
    "rank": 2, "batch": 1, "steps": 2, "report_every": 2, "checkpoint_every": 1, "preview_every": 0, "preview_steps": 2,
    "preview_prompts": ("a red house",), "learning_rate": 1e-3, "flip": False, "opposite_every": 0, "resolution_px": SIDE_PX,
    "gradient_accumulation": 1, "gradient_checkpointing": False,
}  # fmt: skip


@dataclass(frozen=True)
class Way:
    """A training: what its plan has otherwise, and in which precision its base is open."""

    plan: dict[str, Any] = field(default_factory=dict)
    dtype: str = "fp32"
    # After so many steps it pauses, and goes on from its checkpoint.
    pauses_at: int = 0
    continues: bool = False


WAYS: dict[str, dict[str, Way]] = {
    "starter": {
        "previews with opposite and accumulated steps": Way(
            {"batch": 2, "preview_every": 2, "opposite_every": 2, "gradient_accumulation": 2}
        ),
        "a style goes on": Way({"rank": 4}, continues=True),
        "paused and resumed": Way({"steps": 3, "report_every": 1}, pauses_at=1),
        "bf16": Way({"preview_every": 2, "opposite_every": 2}, dtype="bf16"),
        "fp16 with a scaler": Way({"report_every": 1}, dtype="fp16"),
    },
    "sd1": {"checkpointing": Way({"gradient_checkpointing": True, "preview_every": 2, "flip": True})},
    "sd2": {"cross and self": Way({"layers": "cross+self"})},
    "sdxl": {"transformer": Way({"layers": "transformer"})},
}


def compare(folder: Path, family: str, scratch: Path, device: str, on: Device) -> Iterator[Found]:
    """Train in each way on the CPU and on a device, on which `on(device)` lets tensors be."""
    artworks = drawn_artworks(scratch)
    places = {
        "cpu": Home(scratch / f"{family} cpu").create(),
        device: Home(scratch / f"{family} there").create(),
    }
    bases: dict[tuple[str, str], Base] = {}
    for name, way in WAYS[family].items():
        found = Found(family, name)
        try:
            styles, previews = {}, {}
            # Half precision rounds otherwise on a CPU, which has no fp16 and no scaler.
            compared = way.dtype == "fp32"
            for place, home in places.items() if compared else ((device, places[device]),):
                with on(place), _watched(found):
                    if (place, way.dtype) not in bases:
                        bases[place, way.dtype] = open_base(folder, home, device=place, dtype=way.dtype)
                    styles[place], previews[place] = trained(
                        bases[place, way.dtype], home, artworks, way, name
                    )
            if compared:
                found.apart = apart(styles["cpu"], styles[device])
                found.pictures_apart = max(
                    map(_pictures_apart, previews["cpu"], previews[device]), default=None
                )
        except Exception as error:
            found.error = said(error)
        yield found


def tried(folder: Path, family: str, scratch: Path, device: str, on: Device) -> Found:
    """Measure what a training would take."""
    found, home = Found(family, "trial"), Home(scratch / "trial").create()
    plan = plan_for(
        "quick", family, 3, name="trial", base=str(folder), trigger="blocks", **PLAIN | {"preview_steps": 1}
    )
    try:
        with on(device), _watched(found):
            trial = measure(plan, home, device, "fp32")
        assert trial.step > 0, trial
    except Exception as error:
        found.error = said(error)
    return found


def drawn_artworks(scratch: Path) -> Path:
    """Return a folder with three artworks, one of them wide and one with a caption."""
    artworks = scratch / "artworks"
    if not artworks.is_dir():
        artworks.mkdir()
        for number in range(2):
            picture(SIDE_PX, SIDE_PX, seed=number).save(artworks / f"{number}.png")
        picture(2 * SIDE_PX, SIDE_PX, seed=2).save(artworks / "wide.png")
        (artworks / "1.txt").write_text("a blue boat", encoding="utf-8")
    return artworks


def trained(base: Base, home: Home, artworks: Path, way: Way, name: str) -> tuple[Style, list[Image.Image]]:
    """Train a style of that name in a way; return it with the previews."""
    plan = dict(PLAIN | way.plan)
    if way.continues:
        plan["continue_from"] = next(iter(home.styles.glob("*.safetensors"))).stem
    plan = plan_for("quick", base.family, 3, name=name, base=str(base.folder), trigger="blocks", **plan)
    job = Job.create(home.jobs, plan, [artworks])
    events: list[Any] = []
    with job.held():
        for event in train(job, base=base):
            events.append(event)
            if isinstance(event, StepDone) and event.step == way.pauses_at:
                job.request("pause")
        if way.pauses_at:
            assert isinstance(events[-1], Paused), events[-1]
            events += train(job, base=base)
    finished = events[-1]
    assert isinstance(finished, Finished), finished
    shown = [event for event in events if isinstance(event, PreviewReady)]
    assert all(np.isfinite(event.loss) for event in events if isinstance(event, StepDone))
    previews = [Image.open(job.folder / path).convert("RGB") for event in shown for path in event.paths]
    return read_style(job.folder / "style.safetensors"), previews


@contextmanager
def _watched(found: Found) -> Iterator[None]:
    """Note what each step waits for."""
    take_step = Trainer.take_step

    def watched(trainer: Trainer) -> None:
        WAITS.take()
        take_step(trainer)
        if (told := place_name(WAITS.take())) not in found.steps and trainer.loss.device.type != "cpu":
            found.steps.append(told)

    Trainer.take_step = watched  # type: ignore[method-assign]
    try:
        yield
    finally:
        Trainer.take_step = take_step  # type: ignore[method-assign]


def apart(one: Style, other: Style) -> float:
    """How far two styles are apart, as a share of what the first one has learnt: `up` begins at zero."""
    ups = [(a.up.float(), b.up.float()) for a, b in zip(one.layers, other.layers, strict=True)]
    difference = sum(float((a - b).square().sum()) for a, b in ups)
    return (difference / sum(float(a.square().sum()) for a, _ in ups)) ** 0.5


def _pictures_apart(one: Image.Image, other: Image.Image) -> int:
    return int(np.abs(np.asarray(one, np.int16) - np.asarray(other, np.int16)).max())


def all_found(
    folders: dict[str, Path], home: Home, device: str, on: Device, families: Sequence[str]
) -> Iterator[Found]:
    """Every way, each on the family that it is listed with."""
    for family in families:
        yield from compare(folders[family], family, home.root, device, on)
    yield tried(folders[families[0]], families[0], home.root, device, on)
