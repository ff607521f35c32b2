"""What a large picture would take before it is begun: its time, from the work counted and a short probe, and its memory.

A base paints well around its own size. Up to twice its width and height nothing is asked. Beyond, the time grows with
the tokens, and in self-attention with their square, so that one wrong number costs hours.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import nn

from styles.bases.base import Base
from styles.bases.conditioning import empty_conditioning
from styles.bases.offload import bring, room_for
from styles.bases.prediction import predict
from styles.bases.stopping import models_of, stopped, stopping
from styles.bases.working_memory import decoding_bytes, denoising_bytes
from styles.errors import OutOfMemory, TooLarge
from styles.formats.style import Style
from styles.generation.request import CreateRequest, Order, Run, fill_in
from styles.generation.samplers import sampler_of

USUAL_SCALE = 2  # times the base's own side, up to which a picture is painted without a question
SHORT_SECONDS = 60.0  # what takes no longer is painted without a question, whatever its size
PROBE_SECONDS = 0.6  # a forward that takes longer tells enough of a machine's pace
LEAST_PROBE = 16  # latents on a side


def check_cost(base: Base, order: Order, cancelled: Callable[[], bool]) -> None:
    """Raise OutOfMemory for a size beyond the memory, TooLarge for one that takes long and was not agreed to.

    Nothing is counted or measured for a size that is usual on the base. Raises Cancelled.
    """
    largest = largest_run(order)
    if is_usual(base, largest):
        return
    needed, free = needed_bytes(base, order, largest), room_for(base, base.unet)
    if free is not None and needed > free:
        raise OutOfMemory(
            "{width_px}x{height_px} px need about {needed:.1f} GB of memory, and {device} has {free:.1f} GB free.",
            "Choose a smaller size, or close other programs.",
            width_px=largest.width_px,
            height_px=largest.height_px,
            needed=needed / 1e9,
            device=base.device,
            free=free / 1e9,
        )
    if order.request.agreed:
        return
    seconds = work_flop(base, order) / flop_per_second(base, cancelled)
    if seconds <= SHORT_SECONDS:
        return
    width, height = usual_size(base, largest)
    raise TooLarge(
        "{largest_width_px}x{largest_height_px} px are far beyond what “{base}” is made for ({native_size_px} px), and would take about {duration} here.",
        "{width}x{height} px is the largest size that suits it.",
        seconds=seconds,
        width_px=width,
        height_px=height,
        largest_width_px=largest.width_px,
        largest_height_px=largest.height_px,
        base=base.name,
        native_size_px=base.native_size_px,
        duration=in_words(seconds),
        width=width,
        height=height,
    )


def at_usual_size(base: Base, request: CreateRequest, styles: Sequence[Style]) -> CreateRequest:
    """The request of a single pass, no larger than what suits the base."""
    run = largest_run(fill_in(base, request, styles))
    if is_usual(base, run):
        return request
    width_px, height_px = usual_size(base, run)
    return replace(request, width_px=width_px, height_px=height_px)


def largest_run(order: Order) -> Run:
    """The run of an order with the most pixels."""
    return max(order.runs, key=lambda run: run.width_px * run.height_px)


def is_usual(base: Base, run: Run) -> bool:
    """Whether a run has a size that suits the base."""
    return run.width_px * run.height_px <= (USUAL_SCALE * base.native_size_px) ** 2


def usual_size(base: Base, run: Run) -> tuple[int, int]:
    """The largest size of a run's shape that suits the base, in px."""
    multiple = base.size_multiple_px
    shrink = USUAL_SCALE * base.native_size_px / math.sqrt(run.width_px * run.height_px)
    width, height = (
        max(multiple, int(side * shrink) // multiple * multiple) for side in (run.width_px, run.height_px)
    )
    return width, height


def in_words(seconds: float) -> str:
    """A time in the unit that suits it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h"


def work_flop(base: Base, order: Order) -> float:
    """About how many floating point operations all pictures of an order take."""
    per_step = (2 if order.guided else 1) * sampler_of(order.request.sampler).evaluations
    passes = sum(blend.passes for blend in order.blends) if order.request.only is None else len(order.blends)
    total = 0.0
    for run in order.runs:
        total += unet_flop(base, _latents(base, run)) * per_step * passes * (run.steps - run.first)
    return total + decoder_flop(base, _latents(base, order.runs[-1])) * len(order.blends)


def unet_flop(base: Base, latents: int) -> float:
    """Operations of one forward for one picture of so many latents, height times width."""
    levels = len(base.unet.config.block_out_channels)
    total = 0.0
    for name, module in base.unet.named_modules():
        tokens = latents / 4 ** _level(name, levels)
        if isinstance(module, nn.Conv2d):
            total += 2 * module.weight.numel() * tokens
        elif (
            isinstance(module, nn.Linear)
            and "attentions" in name
            and ".attn2.to_k" not in name
            and ".attn2.to_v" not in name
        ):
            total += 2 * module.in_features * module.out_features * tokens
            if name.endswith("attn1.to_q"):
                total += 4 * tokens**2 * module.out_features
    return total


def decoder_flop(base: Base, latents: int) -> float:
    """Operations of decoding one picture."""
    blocks = len(base.vae.config.block_out_channels)
    total = 0.0
    for name, module in base.vae.decoder.named_modules():
        if isinstance(module, nn.Conv2d):
            scale = int(name.split(".")[1]) if name.startswith("up_blocks") else 0
            finest = blocks - 1 if name == "conv_out" else min(scale + ("upsamplers" in name), blocks - 1)
            total += 2 * module.weight.numel() * latents * 4**finest
    return total


def needed_bytes(base: Base, order: Order, run: Run) -> int:
    """About the least that one picture takes at its most, beside the base's weights.

    On an accelerator guidance is split and decoding tiled where memory asks for it. On a CPU nothing says that it is
    full before the system ends the program.
    """
    latents = _latents(base, run)
    if base.device.type != "cpu":
        return denoising_bytes(base.unet, latents, 1)
    decoding = decoding_bytes(base.vae, latents * base.vae_factor**2)
    return max(denoising_bytes(base.unet, latents, 2 if order.guided else 1), decoding)


def flop_per_second(base: Base, cancelled: Callable[[], bool]) -> float:
    """This machine's pace in a forward of the base, told by two sizes of which one takes a moment.

    A forward takes a time for each of its operations, however small, and one that grows with the work: the difference
    of two sizes is the latter alone. Beside other programs the former is the greater part for long.
    """
    flop, took, before = 0.0, 0.0, (0.0, 0.0)
    side = LEAST_PROBE
    with torch.no_grad(), stopping(models_of(base), cancelled, stopped):
        while side <= 2 * USUAL_SCALE * base.native_size_px // base.vae_factor:
            before = flop, took
            # The better of two: what is made ready the first time is no measure.
            flop, took = unet_flop(base, side * side), min(_forward_seconds(base, side) for _ in range(2))
            if before[1] and took >= max(PROBE_SECONDS, 2 * before[1]):
                break
            side *= 2
    grown = took - before[1]
    return (flop - before[0]) / grown if grown > took / 4 else flop / max(1e-6, took)


def _forward_seconds(base: Base, side: int) -> float:
    """How long a forward for one picture takes, of so many latents on a side."""
    conditioning = empty_conditioning(base.unet, 1, 1, base.device, base.dtype)
    bring(base, base.unet)
    inputs = torch.zeros(1, base.latent_channels, side, side, device=base.device, dtype=base.dtype)
    timestep = torch.zeros(1, device=base.device)
    began = time.monotonic()
    predict(base.unet, inputs, timestep, conditioning).cpu()
    return time.monotonic() - began


def _latents(base: Base, run: Run) -> int:
    return (run.width_px // base.vae_factor) * (run.height_px // base.vae_factor)


def _level(name: str, levels: int) -> int:
    """How often the picture is halved where a module of the UNet stands."""
    kind, _, rest = name.partition(".")
    number = int(rest.partition(".")[0] or 0) if kind in ("down_blocks", "up_blocks") else 0
    return {"down_blocks": number, "mid_block": levels - 1, "up_blocks": levels - 1 - number}.get(kind, 0)
