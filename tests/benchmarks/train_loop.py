"""How much our training loop costs over a bare forward + backward + optimizer step of the same UNet.

python -m tests.benchmarks.train_loop --base starter

Both run in the same process on the same layers, in turns of a few steps, so that a change of clock or load hits both
alike; the medians of the turns are compared. Where opposite steps are taken, a turn goes from one to the next. The bare step knows its tensors beforehand: no drawing, no loss table,
no clipping, no learning rate, no loss kept.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from styles.bases.base import Base, open_base
from styles.devices.device import wait_for
from styles.storage.home import Home
from training import encode
from training.adapters import adapted
from training.draws import draw
from training.job import Job
from training.plan import plan_for
from training.trainer import Trainer, begin


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", default="starter", help="tiny, starter, or what bases are opened by")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--turns", type=int, default=15, help="of each kind")
    parser.add_argument("--steps", type=int, default=4, help="per turn, unless there are opposite ones")
    parser.add_argument(
        "--opposite-every",
        type=int,
        default=0,
        help="steps between two opposite ones, which ask the base first",
    )
    arguments = parser.parse_args()
    arguments.steps = arguments.opposite_every or arguments.steps
    with (
        tempfile.TemporaryDirectory() as scratch,
        prepared_trainer(Path(scratch), arguments) as (trainer, base),
    ):
        measure(trainer, base, arguments)


@contextmanager
def prepared_trainer(scratch: Path, arguments: argparse.Namespace) -> Iterator[tuple[Trainer, Base]]:
    """A real job on the base with random square artworks, ready for its first step."""
    home = Home(scratch / "home").create()
    source = arguments.base
    if source == "tiny":
        from tests.tiny import tiny_base_folder

        source = tiny_base_folder(scratch / "tiny")
    base = open_base(source, home, device=arguments.device, safety_checker=False)
    random = np.random.default_rng(0)
    for number in range(8):
        pixels = random.integers(0, 256, (base.native_size_px, base.native_size_px, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(scratch / f"{number}.png")
    plan = plan_for(
        "balanced", base.family, 8, name="benchmark", base=str(source), batch=arguments.batch, steps=100_000,
        opposite_every=arguments.opposite_every,
    )  # fmt: skip
    job = Job.create(home.jobs, plan, sorted(scratch.glob("*.png")))
    for _ in encode.prepare(base, job, plan, lambda: False):
        pass
    with adapted(base.unet, plan) as weights:
        yield begin(job, plan, base, weights), base


def bare_step(trainer: Trainer, base: Base) -> Callable[[], None]:
    """One step that does nothing but forward, backward and the optimizer's update."""
    drawn = draw(trainer.prepared, trainer.plan, 0, 0, 1000)
    latents, conditioning = drawn.latents.to(base.dtype), drawn.conditioning
    target = drawn.noise
    unet, optimizer = (
        trainer.unet,
        torch.optim.AdamW(list(trainer.weights.values()), lr=1e-6, fused=base.device.type in ("cpu", "cuda")),
    )

    def step() -> None:
        predicted = unet(
            latents,
            drawn.timesteps,
            conditioning.states,
            added_cond_kwargs=conditioning.added,
            return_dict=False,
        )[0]
        (predicted.float() - target).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def measure(trainer: Trainer, base: Base, arguments: argparse.Namespace) -> None:
    """Print a table and one JSON line."""

    def ours() -> None:
        trainer.take_step()
        if trainer.progress.step % trainer.plan.report_every == 0:
            trainer.read_loss()  # as the loop does, every few steps

    kinds = {"bare": bare_step(trainer, base), "ours": ours}
    for step in kinds.values():
        for _ in range(3):
            step()
    seconds: dict[str, list[float]] = {name: [] for name in kinds}
    for turn in range(arguments.turns):
        order = list(kinds) if turn % 2 == 0 else list(kinds)[::-1]
        for name in order:
            wait_for(base.device)
            start = time.perf_counter()
            for _ in range(arguments.steps):
                kinds[name]()
            wait_for(base.device)
            seconds[name].append((time.perf_counter() - start) / arguments.steps)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    # Neighbouring turns share the machine's mood: the median of their ratios is steadier than that of the medians.
    pairs = [ours / bare for ours, bare in zip(seconds["ours"], seconds["bare"], strict=True)]
    result = {
        "base": arguments.base,
        "device": str(base.device),
        "threads": torch.get_num_threads(),
        "batch": arguments.batch,
        "turns": arguments.turns,
        "opposite_every": arguments.opposite_every,
        "bare_seconds": round(medians["bare"], 5),
        "ours_seconds": round(medians["ours"], 5),
        "ratio": round(statistics.median(pairs), 4),
    }
    print("| step | median seconds |\n|---|---|")
    for name, value in medians.items():
        print(f"| {name} | {value:.4f} |")
    print(f"| ratio | {result['ratio']:.3f} |")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
