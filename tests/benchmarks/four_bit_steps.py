"""A training step over a base in four bits, against one over the same base as it is: seconds, and trainable weights.

python -m tests.benchmarks.four_bit_steps --rounds 9
python -m tests.benchmarks.four_bit_steps --only starter --rounds 30

Random weights in Stable Diffusion 1.5's shape, latents of 32x32, batch 1; or the starter, batch 8. Rank 8, fp32, on a
CPU; a step is forward, backward and AdamW. All ways in turns, each over the plain step of its round, medians with their
95 % interval; by processor time, which other work beside it hardly moves.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch

from styles.quantization.layers import layer_of, quantizable, quantized, replace_layer
from styles.quantization.quantization import PLAIN, quantization_of
from tests.benchmarks.blend_subjects import Subject, subject_of
from tests.benchmarks.pairs import Spread, spread_of
from training.adapters import adapted
from training.plan import plan_for

Ways = tuple[tuple[str, str], ...]  # how the base is kept, and which layers are trained
PLAIN_WAY = (PLAIN, "cross")
WAYS: Ways = (
    ("nf4", "cross"),
    ("qa4-32", "cross"),
    (PLAIN, "transformer"),
    ("nf4", "transformer"),
    ("qa4-32", "transformer"),
)


def kept(subject: Subject, way: str) -> Any:
    """The subject's UNet with its linear layers kept in a way; all else is shared."""
    unet, quantization = subject.shared(), quantization_of(way)
    if quantization is not None:
        for path, layer in quantizable(unet, quantization).items():
            tensors = quantized(layer.weight.detach(), quantization)
            replace_layer(unet, path, layer_of(tensors, layer.bias, layer, quantization, torch.float32))
    return unet


def step_of(
    subject: Subject, way: str, layers: str, batch: int, stack: ExitStack
) -> tuple[Callable[[], None], int]:
    """A training step of a style, and how many weights it trains."""
    unet = kept(subject, way)
    plan = plan_for("balanced", "sd1", 8, name="timed", rank=8, layers=layers, quantize=way)
    weights = stack.enter_context(adapted(unet, plan))
    optimizer = torch.optim.AdamW(weights.values(), lr=1e-4)
    latents = subject.latents.repeat(batch, 1, 1, 1)
    states = subject.states[:1].repeat(batch, 1, 1)
    timesteps = torch.full((batch,), 500, device=subject.device)

    def step() -> None:
        prediction = unet(latents, timesteps, encoder_hidden_states=states, return_dict=False)[0]
        (prediction - latents).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    return step, sum(weight.numel() for weight in weights.values())


def in_rounds(steps: Mapping[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """Processor seconds of each step, one of each in a round, in another order each time."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    order, shuffle = list(steps), random.Random(0).shuffle
    for turn in range(rounds + 1):
        shuffle(order)
        for name in order:
            began = time.process_time()
            steps[name]()
            if turn:  # what only happens once happens in the first
                seconds[name].append(time.process_time() - began)
    return seconds


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure and print one line of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="sd15", choices=["sd15", "starter", "tiny"])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batch", type=int, default=0, help="0: one, of the starter eight")
    parser.add_argument("--device", default="cpu")
    parser.set_defaults(dtype=None, latents=0)
    arguments = parser.parse_args(argv)
    subject = subject_of(arguments.only, arguments)
    batch = arguments.batch or (8 if arguments.only == "starter" else 1)
    with ExitStack() as stack:
        made = {
            f"{way}, {layers}": step_of(subject, way, layers, batch, stack)
            for way, layers in (PLAIN_WAY, *WAYS)
        }
        seconds = in_rounds({name: step for name, (step, _) in made.items()}, arguments.rounds)
    plain = seconds[", ".join(PLAIN_WAY)]
    over: dict[str, Spread] = {
        name: spread_of([one / beside for one, beside in zip(took, plain, strict=True)])
        for name, took in seconds.items()
    }
    result = {
        "subject": arguments.only,
        "threads": torch.get_num_threads(),
        "seconds of the plain step": spread_of(plain).to_json(),
        "over the plain step": {name: ratio.to_json() for name, ratio in over.items()},
        "trainable weights": {name: count for name, (_, count) in made.items()},
    }
    print(json.dumps(result))
    return result


if __name__ == "__main__":
    main()
