"""A training step over a base in four bits, against one over the same base as it is: seconds, and trainable weights.

python -m tests.benchmarks.four_bit_steps --pairs 8
python -m tests.benchmarks.four_bit_steps --only starter --pairs 30

Random weights in Stable Diffusion 1.5's shape, latents of 32x32, batch 1; or the starter, batch 8. Rank 8, fp32, on a
CPU; a step is forward, backward and AdamW. One thing and the other in turns, medians with their 95 % interval.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch

from styles.quantization.layers import layer_of, quantizable, quantized, replace_layer
from styles.quantization.quantization import PLAIN, quantization_of
from tests.benchmarks.blend_subjects import Subject, subject_of
from tests.benchmarks.pairs import in_turns
from training.adapters import adapted
from training.plan import plan_for

Ways = tuple[tuple[str, str], ...]  # how the base is kept, and which layers are trained
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


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure and print one line of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="sd15", choices=["sd15", "starter", "tiny"])
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--batch", type=int, default=0, help="0: one, of the starter eight")
    parser.add_argument("--device", default="cpu")
    parser.set_defaults(dtype=None, latents=0)
    arguments = parser.parse_args(argv)
    subject = subject_of(arguments.only, arguments)
    batch = arguments.batch or (8 if arguments.only == "starter" else 1)
    with ExitStack() as stack:
        plain, count = step_of(subject, PLAIN, "cross", batch, stack)
        trainable = {f"{PLAIN}, cross": count}
        kinds: dict[str, Callable[[], object]] = {}
        for way, layers in WAYS:
            name = f"{way}, {layers}"
            kinds[name], trainable[name] = step_of(subject, way, layers, batch, stack)
        ratios, seconds = in_turns(plain, kinds, arguments.pairs, subject.device)
    result = {
        "subject": arguments.only,
        "threads": torch.get_num_threads(),
        "seconds of the plain step": seconds.to_json(),
        "over the plain step": {name: ratio.to_json() for name, ratio in ratios.items()},
        "trainable weights": trainable,
    }
    print(json.dumps(result))
    return result


if __name__ == "__main__":
    main()
