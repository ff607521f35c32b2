"""The VAE of a base, called here and nowhere else: pictures become latents and latents pictures.

The UNet sees `(raw - shift) * scale` of what the VAE gives. Of AutoencoderKL's config, the shift is `shift_factor` and
the scale `scaling_factor`; or, by channel, `latents_mean` and `scaling_factor / latents_std`, as diffusers'
StableDiffusionXLPipeline and its image-to-image pipeline take them. Stable Diffusion 1, 2 and XL have no shift. Where
half precision overflows, a call is done again in fp32.

Where a call runs out of memory it is done in other ways: each picture alone, then in overlapping tiles, as diffusers'
AutoencoderKL has them, in the end on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor

from styles.bases.files.part_configs import latent_scale, vae_factor
from styles.bases.offload import move_if_room
from styles.devices.memory import give_back
from styles.errors import is_out_of_memory
from styles.text import Text

# Latents on a tile's side: the largest one, if the VAE's config has no smaller ones, and the least that they are halved to.
LARGEST_TILE, LEAST_TILE = 64, 16

Values = tuple[Tensor, ...]


@torch.no_grad()
def encode(vae: Any, pixels: Tensor, notes: list[Text] | None = None) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of the latents as the UNet sees them, each (B, C, H/f, W/f) fp32.

    `pixels` (B, 3, H, W) in -1..1 may be on any device, the result is on the VAE's. What is no number even in fp32 is
    returned as it is. `notes` takes what is to be said of a way that memory asked for. Raises what torch raises where
    no way is left.
    """

    def once(some: Tensor) -> Values:
        distribution = vae.encode(_like(vae, some)).latent_dist
        return distribution.mean.float(), distribution.std.float()

    mean, std = _with_room(vae, once, pixels, max(pixels.shape[-2:]) // vae_factor(vae.config), notes)
    scale, shift = _scale_and_shift(vae.config, mean.device)
    return (mean - shift) * scale, std * scale


@torch.no_grad()
def decode(vae: Any, latents: Tensor, notes: list[Text] | None = None) -> Tensor:
    """Return the pictures (B, 3, H, W) in fp32, -1..1 and a little beyond, of latents (B, C, h, w) as the UNet sees them.

    `latents` in fp32 may be on any device, the result is on the VAE's. What is no number even in fp32 is returned as it
    is. `notes` and errors as for `encode`.
    """
    scale, shift = _scale_and_shift(vae.config, latents.device)
    raw = latents / scale + shift

    def once(some: Tensor) -> Values:
        return (vae.decode(_like(vae, some)).sample.float(),)

    (pixels,) = _with_room(vae, once, raw, max(raw.shape[-2:]), notes)
    return pixels


@contextmanager
def in_fp32(vae: Any) -> Iterator[Any]:
    """Lend a VAE in fp32; back in its own precision it is bit-identical, and on its own device if that has room."""
    weight = next(vae.parameters())
    device, dtype = weight.device, weight.dtype
    try:
        yield vae.float()
    finally:
        # In its own precision first, so that no more goes to the device than lay there.
        if dtype != torch.float32:
            vae.to(dtype)
        move_if_room([vae], device)


@contextmanager
def in_tiles(vae: Any, latents: int) -> Iterator[None]:
    """Let the VAE work on overlapping tiles of so many latents on a side, for the time of the block."""
    before = vae.use_tiling, vae.tile_latent_min_size, vae.tile_sample_min_size
    try:
        _use_tiles(vae, latents)
        yield
    finally:
        vae.use_tiling, vae.tile_latent_min_size, vae.tile_sample_min_size = before


def use_tiles(vae: Any) -> None:
    """Let the VAE work on overlapping tiles, so that a large picture takes no more memory than a small one."""
    _use_tiles(vae, _largest_tile(vae))


def _use_tiles(vae: Any, latents: int) -> None:
    vae.enable_tiling()
    vae.tile_latent_min_size, vae.tile_sample_min_size = latents, latents * vae_factor(vae.config)


def _largest_tile(vae: Any) -> int:
    return int(min(vae.tile_latent_min_size, LARGEST_TILE))


def _scale_and_shift(config: Any, device: torch.device) -> tuple[Tensor | float, Tensor | float]:
    """Return both as numbers, or by channel in fp32 (1, C, 1, 1)."""
    scale, shift = latent_scale(config)
    if len(scale) == len(shift) == 1:
        return scale[0], shift[0]
    by_channel = (
        torch.tensor(one, dtype=torch.float32, device=device).view(1, -1, 1, 1) for one in (scale, shift)
    )
    return next(by_channel), next(by_channel)


def _like(vae: Any, values: Tensor) -> Tensor:
    weight = next(vae.parameters())
    return values.to(weight.device, weight.dtype)


def _in_numbers(vae: Any, once: Callable[[Tensor], Values], values: Tensor) -> Values:
    """Do a call in the VAE's precision, and again in fp32 where its first result is not all numbers."""
    result = once(values)
    if not bool(torch.isfinite(result[0]).all()) and next(vae.parameters()).dtype != torch.float32:
        with in_fp32(vae):
            result = once(values)
    return result


# Where memory is short


def _with_room(
    vae: Any, once: Callable[[Tensor], Values], values: Tensor, side: int, notes: list[Text] | None
) -> Values:
    """Do a call in the first way that there is memory for; `side` are the latents on a picture's longer side."""
    device = next(vae.parameters()).device
    call = partial(_in_numbers, vae, once)
    ways: list[tuple[Callable[[], Values], Text | None]] = [(partial(call, values), None)]
    if len(values) > 1:
        ways.append((partial(_one_by_one, call, values), None))
    tile = _largest_tile(vae)
    whole = min(side, vae.tile_latent_min_size) if vae.use_tiling else side
    for latents in dict.fromkeys((tile, max(LEAST_TILE, tile // 2))):
        if latents < whole:
            ways.append((partial(_tiled, vae, call, values, latents), _tiled_note(device)))
    if device.type != "cpu":
        ways.append((partial(_on_cpu, vae, call, values), on_cpu_note(device)))
    for number, (way, note) in enumerate(ways):
        try:
            result = way()
        except Exception as error:
            if number + 1 == len(ways) or not is_out_of_memory(error):
                raise
        else:
            if note is not None and notes is not None and note not in notes:
                notes.append(note)
            return result
        # Not above: what has failed holds its memory as long as its error is there.
        give_back(device)
    raise AssertionError("the last way returns or raises")


def _one_by_one(call: Callable[[Tensor], Values], values: Tensor) -> Values:
    return tuple(torch.cat(parts) for parts in zip(*map(call, values.split(1)), strict=True))


def _tiled(vae: Any, call: Callable[[Tensor], Values], values: Tensor, latents: int) -> Values:
    with in_tiles(vae, latents):
        return _one_by_one(call, values)


def _on_cpu(vae: Any, call: Callable[[Tensor], Values], values: Tensor) -> Values:
    """One by one on the CPU, in fp32 as that is no slower there; the result is back on the device."""
    device = next(vae.parameters()).device
    vae.to("cpu")
    try:
        with in_fp32(vae):
            result = _one_by_one(call, values.cpu())
    finally:
        move_if_room([vae], device)
    return tuple(part.to(device) for part in result)


def _tiled_note(device: torch.device) -> Text:
    return Text(
        "{device} had too little memory for the whole picture at once: the VAE worked in tiles, and their seams may be seen faintly.",
        device=device,
    )


def on_cpu_note(device: torch.device) -> Text:
    """Return what to say where a device has no room for the VAE's work, or for itself."""
    return Text(
        "{device} had too little memory for the VAE: it worked on the processor, which takes longer.",
        device=device,
    )
