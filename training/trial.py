"""What a training would take on this machine, told by a step of it: `python -m training.trial HOME PLAN`.

In a process of its own, since a base takes memory and the first step compiles and fills caches. Nothing is kept: the
one picture, the job folder and the layers are gone at the end. Prints one JSON object: a `Trial`, or what went wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from styles.devices.garbage import collection_paused
from styles.devices.threads import fastest, wait_passively
from styles.errors import AtelierError, is_out_of_memory
from styles.families import family_of
from styles.storage.home import Home
from styles.text import Text, text_to_json
from training.placement import Placement, placed
from training.plan import PREVIEW_PROMPTS, TrainingPlan
from training.repeatable import make_repeatable

if TYPE_CHECKING:
    import torch

SLOW_SECONDS = 5.0  # a first step that takes longer is the measure: the next one would hardly be faster


@dataclass(frozen=True)
class Trial:
    """What was measured; times in seconds."""

    opening: float  # starting a process and opening the base
    artwork: float  # encoding one artwork
    step: float  # one optimizer step of the plan's batch
    denoising: float  # one denoising step of one preview picture
    decoding: float  # the rest of one preview picture
    memory_bytes: int  # most that the process held at once: the graphics card's, else the computer's
    on_card: bool  # memory_bytes is a graphics card's
    # How it was made to fit what was free, as the training would be; 0 where it fitted as planned.
    batch: int = 0
    gradient_checkpointing: bool = False
    # In four bits, where only that fits; empty where the base is as the plan has it.
    quantize: str = ""

    @property
    def is_fitted(self) -> bool:
        """It was made to fit what was free, which may be more another time."""
        return bool(self.batch or self.quantize)

    def seconds(self, plan: TrainingPlan, artworks: int) -> float:
        """How long a training of so many artworks would take that differs from the tried one in its length only."""
        shows = 1 + -(-plan.steps // plan.preview_every) if plan.preview_every else 0
        picture = plan.preview_steps * self.denoising + self.decoding
        encoded = artworks * (2 if plan.flip else 1)
        previews = shows * len(plan.preview_prompts) * picture
        # An opposite step asks the base first, without gradients: two fifths of a step more (measured on the starter).
        steps = plan.steps + (0.4 * plan.steps / plan.opposite_every if plan.opposite_every else 0.0)
        return self.opening + encoded * self.artwork + steps * self.step + previews


def shape_of(plan: TrainingPlan) -> dict[str, Any]:
    """Return what the time and the memory of a step depend on; plans that agree in it need one trial."""
    names = (
        "base", "base_family", "layers", "rank", "batch", "gradient_accumulation", "gradient_checkpointing",
        "resolution_px", "quantize",
    )  # fmt: skip
    return {name: getattr(plan, name) for name in names}


def measure(
    plan: TrainingPlan,
    home: Home,
    device: str = "auto",
    precision: str = "auto",
    began: float | None = None,
) -> Trial:
    """Take a step or two of the plan on a picture of noise; `began` is `time.monotonic()` when the process started.

    Raises what a training raises: BaseError, PlanError, OutOfMemory and torch's own.
    """
    began = time.monotonic() if began is None else began
    for left in home.root.glob(".trial-*"):  # of a trial that was stopped
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=".trial-", dir=home.root) as folder:
        return _measured(plan, home, placed(device, precision), began, Path(folder))


def _measured(plan: TrainingPlan, home: Home, place: Placement, began: float, folder: Path) -> Trial:
    from styles.bases.base import open_base
    from styles.devices.memory import give_back, limit_memory
    from training import encode
    from training.adapters import adapted
    from training.fitting import fit_to
    from training.job import Job
    from training.opening import how_to_open
    from training.preview import paint_previews
    from training.trainer import begin

    limit_memory(place.device)
    quantize, _ = how_to_open(plan, home, place)
    base = open_base(
        plan.base, home, device=place.device, dtype=place.dtype, safety_checker=False, quantize=quantize
    )
    encode.check_trainable(base, plan)
    opened = time.monotonic()
    asked = plan
    plan, _ = fit_to(base, plan, None)
    picture = folder / "noise.png"
    _noise(plan.resolution_px or base.native_size_px).save(picture)
    prompts = PREVIEW_PROMPTS[family_of(plan.base_family).presets]
    # The batches of a step take as long one as the other, and from the second on as much memory.
    tried = min(plan.gradient_accumulation, 2)
    batches = plan.gradient_accumulation / tried
    fitted = plan if plan != asked else None
    plan = replace(
        plan, continue_from="", flip=False, preview_prompts=prompts, companions=(), opposite_every=0,
        gradient_accumulation=tried,
    )  # fmt: skip
    job = Job.create(folder, plan, [picture])
    base.vae.float()
    for _ in encode.prepare(base, job, plan, lambda: False):
        pass
    encoded = time.monotonic()
    base = replace(base, text_encoders=(), tokenizers=())
    if base.device.type != "cpu":
        base.vae.to("cpu")
    give_back(base.device)
    with adapted(base.unet, plan) as weights:
        trainer = begin(job, plan, base, weights)
        try:
            if base.device.type == "cpu":
                fastest(trainer.rehearse)
            step = _seconds(trainer)
            if step < SLOW_SECONDS:
                step = _seconds(trainer)

            def preview(steps: int) -> float:
                start, short = time.monotonic(), replace(plan, preview_steps=steps)
                prepared = trainer.prepared
                paint_previews(
                    base, trainer.unet, prepared.previews, prepared.preview_negative, short, lambda: False
                )
                return time.monotonic() - start

            denoising, decoding = _preview_seconds(preview)
            memory, on_card = _peak_bytes(base.device)
        finally:
            trainer.close()
    share = 1 / len(prompts)
    return Trial(
        opened - began,
        encoded - opened,
        batches * step,
        share * denoising,
        share * decoding,
        memory,
        on_card,
        fitted.batch if fitted else 0,
        fitted is not None and fitted.gradient_checkpointing,
        base.quantize if quantize != asked.quantize else "",
    )


def _seconds(trainer: Any) -> float:
    start = time.monotonic()
    trainer.take_step()
    trainer.read_loss()  # waits for the device
    return time.monotonic() - start


def _preview_seconds(preview: Callable[[int], float]) -> tuple[float, float]:
    """What a denoising step and the rest of the previews take, from previews of a single step and of two."""
    once = preview(1)
    if once >= SLOW_SECONDS:
        return once, 0.0  # decoding counted in each step: too much rather than too little
    once, twice = preview(1), preview(2)
    step = max(0.0, twice - once)
    return step, max(0.0, once - step)


def _noise(side_px: int) -> Any:
    import numpy as np
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (side_px, side_px, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def _peak_bytes(device: torch.device) -> tuple[int, bool]:
    """The most memory that was held at once, and whether it is a graphics card's."""
    import torch

    if device.type in ("cuda", "xpu"):
        return torch.accelerator.max_memory_reserved(device), True
    if device.type == "mps":
        return torch.mps.driver_allocated_memory(), True
    if os.name == "nt":
        import psutil

        return int(psutil.Process().memory_info().peak_wset), False
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return (peak if sys.platform == "darwin" else peak * 1024), False


def main(argv: list[str] | None = None) -> int:
    """Measure the plan in a file; prints one JSON object and returns the exit code."""
    began = time.monotonic()
    parser = argparse.ArgumentParser(
        prog="python -m training.trial", description="Measure one training step."
    )
    parser.add_argument("home", type=Path)
    parser.add_argument("plan", type=Path, help="a file with the plan")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    arguments = parser.parse_args(argv)
    try:
        with collection_paused():
            make_repeatable()
        plan = TrainingPlan.from_json(arguments.plan.read_text(encoding="utf-8"))
        home = Home(arguments.home)
        answer: dict[str, Any] = asdict(measure(plan, home, arguments.device, arguments.precision, began))
    except AtelierError as error:
        answer = {"error": text_to_json(error.message), "hint": text_to_json(error.hint)}
    except Exception as error:
        full = is_out_of_memory(error)
        words = (
            Text("There is too little free memory for one step.")
            if full
            else f"{type(error).__name__}: {error}"
        )
        answer = {"error": text_to_json(words), "hint": ""}
    print(json.dumps(answer))
    return 1 if "error" in answer else 0


if __name__ == "__main__":
    wait_passively()
    if hasattr(os, "nice"):
        os.nice(5)  # the window comes first
    sys.exit(main())
