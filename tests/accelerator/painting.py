"""Every way of painting, on the CPU and on the pretend accelerator: how far the pictures are apart, what is waited for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from styles.bases.base import Base, open_base
from styles.formats.style import Style, StyleCard
from styles.generation.comparison_grids import blend_map, leave_one_out, strength_strip
from styles.generation.effect_probe import walk
from styles.generation.generate import DenoisingStep, PictureDone, generate
from styles.generation.img2img import SourcePicture
from styles.generation.request import CreateRequest, SecondPass
from styles.generation.samplers import SAMPLERS
from styles.mixing.blend import Blend, BlendPart
from styles.storage.home import Home
from tests.accelerator.pretend import WAITS, place_name
from tests.styles.painting import apart, style_for, wording_style

SIDE_PX, STEPS = 32, 3
Device = Callable[[str], AbstractContextManager[Any]]


@dataclass
class Found:
    """What one way showed."""

    family: str
    way: str
    # The largest difference from the CPU's pictures, of 255; None where they are not compared.
    apart: float | None = None
    # The same of a training's previews.
    pictures_apart: float | None = None
    # What each step after a run's first waited for, each kind of step once.
    steps: list[dict[str, int]] = field(default_factory=list)
    error: str = ""


@dataclass(frozen=True)
class Way:
    """Something to paint."""

    request: CreateRequest
    styles: tuple[Style, ...] = ()
    # What is otherwise with the base meanwhile.
    with_base: Callable[[Base], AbstractContextManager[Any]] = nullcontext


def ways(base: Base, all_of_them: bool) -> dict[str, Way]:
    """What can be painted on a base, by name; else the few that differ from family to family."""
    styles = tuple(style_for(base, seed) for seed in (1, 2))
    first, second = (style.id for style in styles)
    usual = CreateRequest(
        "a red cat", seeds=(3,), steps=STEPS, guidance=4.0, width_px=SIDE_PX, height_px=SIDE_PX,
        weights=((0.7, 0.5),),
    )  # fmt: skip
    plain = replace(usual, weights=())

    def mixed(*parts: BlendPart, mode: str = "sum") -> CreateRequest:
        return replace(plain, blends=(Blend(parts, mode),))

    both = mixed(BlendPart(first, 0.7), BlendPart(second, 0.5))
    worded = (_with_words(base), wording_style(base, 5))
    few = {
        "two styles": Way(usual, styles),
        "words and layers of text encoders": Way(
            replace(usual, prompt="a (red:1.3) <s1> cat", second_pass=SecondPass(2.0, 0.7)), worded
        ),
    }
    if not all_of_them:
        return few
    return few | {
        "no style": Way(plain),
        "without guidance": Way(replace(usual, guidance=1.0), styles),
        "strip": Way(strength_strip(both, first, (0.0, 0.5, 1.0)).request, styles),
        "map": Way(blend_map(both, [first, second], 2, 2).request, styles),
        "leave one out": Way(leave_one_out(both).request, styles),
        "schedule": Way(
            mixed(BlendPart(first, 1.0, ((0.0, 0.0), (1.0, 1.0))), BlendPart(second, 0.5)), styles
        ),
        "composition and texture": Way(mixed(BlendPart(first, 0.7, composition=0.5, texture=1.5)), styles),
        "take turns": Way(mixed(BlendPart(first, 0.7), BlendPart(second, 0.5), mode="take turns"), styles),
        "average guidance": Way(
            mixed(BlendPart(first, 0.7), BlendPart(second, 0.5), mode="average guidance"), styles
        ),
        "prompt that changes": Way(replace(usual, prompt="a [cat:(blue:1.4) fish:0.4] [house|moon]"), styles),
        "long prompt": Way(replace(usual, prompt="a red cat BREAK a boat"), styles),
        "from a picture": Way(replace(usual, source=_source(), strength=0.7), styles),
        "second pass": Way(replace(usual, second_pass=SecondPass(2.0, 0.7)), styles),
        "several pictures": Way(replace(usual, seeds=(3, 4), prompt=("a red cat", "a boat")), styles),
        "VAE that overflows": Way(plain, with_base=_overflowing),
        "VAE that has no room": Way(plain, with_base=_vae_without_room),
        "UNet that has no room": Way(replace(usual, seeds=(3, 4)), styles, _unet_without_room),
        **{sampler: Way(replace(usual, sampler=sampler, steps=2), styles) for sampler in SAMPLERS},
    }


def compare(folder: Path, family: str, home: Home, device: str, on: Device, whole: bool) -> Iterator[Found]:
    """Paint in every way on the CPU and on a device, on which `on(device)` lets tensors be."""
    cpu = open_base(folder, home, device="cpu", dtype="fp32")
    with on(device):
        there = open_base(folder, home, device=device, dtype="fp32")
        sparing = open_base(folder, home, device=device, dtype="fp32", spare_memory=True)
    few = ways(cpu, False)["words and layers of text encoders"]
    all_ways = [(name, there, way) for name, way in ways(cpu, whole).items()]
    for name, base, way in (*all_ways, ("memory spared", sparing, few)):
        ours, _ = _painted(cpu, way)
        found = Found(family, name)
        try:
            with on(device):
                theirs, found.steps = _painted(base, way)
            found.apart = max(apart(one, other) for one, other in zip(ours, theirs, strict=True))
            if theirs[0].hidden != ours[0].hidden:
                found.error = "the safety checker says otherwise"
        except Exception as error:
            found.error = said(error)
        yield found
    if whole:
        yield _probed(cpu, there, family, device, on)


def half_precision(folder: Path, family: str, home: Home, device: str, on: Device) -> Iterator[Found]:
    """Paint in half precision, where a CPU rounds otherwise: pictures have to come out, no more."""
    for dtype in ("bf16", "fp16"):
        found = Found(family, f"two styles in {dtype}")
        try:
            with on(device):
                base = open_base(folder, home, device=device, dtype=dtype)
                way = ways(base, False)["two styles"]
                done, found.steps = _painted(base, replace(way, with_base=_overflowing))
                assert next(base.vae.parameters()).dtype != torch.float32, "the VAE stays in fp32"
            assert done[0].image.getextrema() != ((0, 0),) * 3
        except Exception as error:
            found.error = said(error)
        yield found


def in_four_bits(folder: Path, family: str, home: Home, device: str, on: Device) -> Iterator[Found]:
    """Paint over layers in four bits that come to the device and leave it again between the parts of a picture."""
    kept = {"dtype": "fp32", "quantize": "qa4-16"}
    cpu = open_base(folder, home, device="cpu", **kept)
    found = Found(family, "four bits in groups, memory spared")
    way = ways(cpu, False)["words and layers of text encoders"]
    ours, _ = _painted(cpu, way)
    try:
        with on(device):
            there = open_base(folder, home, device=device, spare_memory=True, **kept)
            theirs, found.steps = _painted(there, way)
        found.apart = max(apart(one, other) for one, other in zip(ours, theirs, strict=True))
    except Exception as error:
        found.error = said(error)
    yield found


def second_card(folder: Path, family: str, home: Home, device: str, on: Device) -> Iterator[Found]:
    """Paint and probe on the second of two cards, where all that lands on another fails."""
    for found in compare(folder, family, home, device, on, whole=False):
        found.way += " on a second card"
        yield found
    cpu = open_base(folder, home, device="cpu", dtype="fp32")
    with on(device):
        there = open_base(folder, home, device=device, dtype="fp32")
    found = _probed(cpu, there, family, device, on)
    found.way += " on a second card"
    yield found


def _painted(base: Base, way: Way) -> tuple[list[PictureDone], list[dict[str, int]]]:
    done: list[PictureDone] = []
    steps: list[dict[str, int]] = []
    runs_first = {1, STEPS + 1}  # prompts are encoded, or latents enlarged: not what a step waits for
    with way.with_base(base):
        WAITS.take()
        for event in generate(base, way.request, way.styles):
            waits = WAITS.take()
            if isinstance(event, PictureDone):
                done.append(event)
            elif isinstance(event, DenoisingStep) and event.step not in runs_first:
                told = place_name(waits)
                steps += [told] if told not in steps else []
    return done, steps


def _probed(cpu: Base, there: Base, family: str, device: str, on: Device) -> Found:
    found, style = Found(family, "effect probe"), style_for(cpu, 1)
    effect = walk(cpu, ("a red cat",), places=1).effect(style)
    try:
        with on(device):
            other = walk(there, ("a red cat",), places=1).effect(style)
        found.apart = 255 * abs(other.size / effect.size - 1)
    except Exception as error:
        found.error = said(error)
    return found


def said(error: Exception) -> str:
    causes = [error, error.__cause__] if error.__cause__ else [error]
    return "; ".join(f"{type(one).__name__}: {str(one)[:400]}" for one in causes)


def _with_words(base: Base) -> Style:
    width = sum(encoder.config.hidden_size for encoder in base.text_encoders)
    rows = torch.randn(2, width, generator=torch.Generator().manual_seed(1))
    return Style(StyleCard("Ink", base.family, 0, id="a" * 64, tokens=("<s1>",)), (), {"<s1>": rows})


def _source() -> SourcePicture:
    return SourcePicture.of(Image.linear_gradient("L").resize((SIDE_PX, SIDE_PX)).convert("RGB"))


@contextmanager
def _instead(owner: Any, name: str, function: Callable[..., Any]) -> Iterator[None]:
    """Let a module call another function, given its own, for the time of the block."""
    own = getattr(owner, name)
    setattr(owner, name, lambda *arguments, **settings: function(own, *arguments, **settings))
    try:
        yield
    finally:
        delattr(owner, name)


def _overflowing(base: Base) -> AbstractContextManager[None]:
    """Let the VAE give no numbers but in fp32."""

    def overflowing(decode: Callable[..., Any], latents: torch.Tensor) -> Any:
        result = decode(latents)
        if latents.dtype != torch.float32:
            result.sample[:] = math.nan
        return result

    return _instead(base.vae, "decode", overflowing)


def _vae_without_room(base: Base) -> AbstractContextManager[None]:
    """Let the VAE run out of memory but on the CPU."""

    def full(decode: Callable[..., Any], latents: torch.Tensor) -> Any:
        if latents.device.type != "cpu":
            raise torch.OutOfMemoryError("out of memory")
        return decode(latents)

    return _instead(base.vae, "decode", full)


def _unet_without_room(base: Base) -> AbstractContextManager[None]:
    """Let the UNet run out of memory with more than one row: neither two pictures nor guidance fit."""

    def full(forward: Callable[..., Any], inputs: torch.Tensor, *others: Any, **settings: Any) -> Any:
        if len(inputs) > 1:
            raise torch.OutOfMemoryError("out of memory")
        return forward(inputs, *others, **settings)

    return _instead(base.unet, "forward", full)


def all_found(
    folders: dict[str, Path], home: Home, device: str, on: Device, families: Sequence[str]
) -> Iterator[Found]:
    """Every way on the first family and what differs on the others."""
    for number, family in enumerate(families):
        yield from compare(folders[family], family, home, device, on, whole=number == 0)
    yield from in_four_bits(folders[families[0]], families[0], home, device, on)
    yield from half_precision(folders[families[0]], families[0], home, device, on)
    yield from second_card(folders[families[0]], families[0], home, f"{device}:1", on)
