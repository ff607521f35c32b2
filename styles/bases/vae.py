"""The VAE of a base, called here and nowhere else: pictures become latents and latents pictures.

The UNet sees `(raw - shift) * scale` of what the VAE gives. Of AutoencoderKL's config, the shift is `shift_factor` and
the scale `scaling_factor`; or, by channel, `latents_mean` and `scaling_factor / latents_std`, as diffusers'
StableDiffusionXLPipeline and its image-to-image pipeline take them. Stable Diffusion 1, 2 and XL have no shift. Where
half precision overflows, a call is done again in fp32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from styles.bases.part_configs import latent_scale


@torch.no_grad()
def encode(vae: Any, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of the latents as the UNet sees them, each (B, C, H/f, W/f) fp32.

    `pixels` (B, 3, H, W) in -1..1 may be on any device, the result is on the VAE's. What is no number even in fp32 is
    returned as it is.
    """

    def once() -> tuple[Tensor, Tensor]:
        distribution = vae.encode(_like(vae, pixels)).latent_dist
        return distribution.mean.float(), distribution.std.float()

    mean, std = _in_numbers(vae, once)
    scale, shift = _scale_and_shift(vae.config, mean.device)
    return (mean - shift) * scale, std * scale


@torch.no_grad()
def decode(vae: Any, latents: Tensor) -> Tensor:
    """Return the pictures (B, 3, H, W) in fp32, -1..1 and a little beyond, of latents (B, C, h, w) as the UNet sees them.

    `latents` in fp32 may be on any device, the result is on the VAE's. What is no number even in fp32 is returned as it
    is.
    """
    scale, shift = _scale_and_shift(vae.config, latents.device)
    raw = latents / scale + shift
    (pixels,) = _in_numbers(vae, lambda: (vae.decode(_like(vae, raw)).sample.float(),))
    return pixels


@contextmanager
def in_fp32(vae: Any) -> Iterator[Any]:
    """Lend a VAE in fp32; back in its own precision and on its own device it is bit-identical."""
    weight = next(vae.parameters())
    device, dtype = weight.device, weight.dtype
    try:
        yield vae.float()
    finally:
        # In its own precision first, so that no more goes to the device than lay there.
        if dtype != torch.float32:
            vae.to(dtype)
        vae.to(device)


def use_tiles(vae: Any) -> None:
    """Let the VAE work on overlapping tiles, so that a large picture takes no more memory than a small one."""
    vae.enable_tiling()


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


def _in_numbers(vae: Any, once: Callable[[], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """Do a call in the VAE's precision, and again in fp32 where its first result is not all numbers."""
    result = once()
    if not bool(torch.isfinite(result[0]).all()) and next(vae.parameters()).dtype != torch.float32:
        with in_fp32(vae):
            result = once()
    return result
