"""Small pictures of latents by a linear map: cheap enough for every step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from styles.bases.vae import decode

# Stable Diffusion 1 and 2 share one latent space; these factors are the community's usual ones
# (https://discuss.huggingface.co/t/decoding-latents-to-rgb-without-upscaling/23204).
SD_FACTORS = ((0.298, 0.207, 0.208), (0.187, 0.286, 0.173), (-0.158, 0.189, 0.264), (-0.184, -0.271, -0.473))
# Stable Diffusion XL's, for colours 0..255
# (https://huggingface.co/blog/TimothyAlexisVass/explaining-the-sdxl-latent-space, shown in diffusers' documentation).
SDXL_FACTORS = ((60, 60, 60), (-60, -5, 10), (25, 15, -5), (-70, -50, -35))
SDXL_BIAS = (150, 140, 130)


@dataclass(frozen=True)
class LatentPreview:
    """rgb = latents @ factors + bias, in -1..1."""

    factors: Tensor  # (C, 3) fp32
    bias: Tensor  # (3,) fp32

    def pixels(self, latents: Tensor) -> Tensor:
        """Return (B, h, w, 3) uint8 for scaled latents (B, C, h, w), which lie on the map's device."""
        rgb = latents.detach().float().permute(0, 2, 3, 1) @ self.factors + self.bias
        return ((rgb + 1) * 127.5).nan_to_num(0).clamp(0, 255).to(torch.uint8)

    def to(self, device: torch.device) -> LatentPreview:
        """Return it on a device."""
        return LatentPreview(self.factors.to(device), self.bias.to(device))

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, for a `preview.json` beside a base's weights."""
        return {"factors": self.factors.tolist(), "bias": self.bias.tolist()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> LatentPreview:
        """Read what `to_json` gave; raises ValueError for anything else."""
        try:
            factors, bias = (torch.tensor(values[name]).float() for name in ("factors", "bias"))
        except (KeyError, TypeError, RuntimeError, OverflowError) as error:
            raise ValueError("these are no tables of numbers") from error
        if factors.dim() != 2 or factors.shape[1] != 3 or bias.shape != (3,):
            raise ValueError("these are no tables of latents by colours")
        if not bool(torch.isfinite(factors).all() and torch.isfinite(bias).all()):
            raise ValueError("some of the numbers are none")
        return cls(factors, bias)


def known_preview(vae_config: Mapping[str, Any]) -> LatentPreview | None:
    """Return the map for the latent spaces of Stable Diffusion 1 and 2 and of XL, None for any other VAE."""
    if (
        vae_config["latent_channels"] != 4
        or tuple(vae_config["block_out_channels"]) != (128, 256, 512, 512)
        or vae_config.get("latents_mean") is not None
    ):
        return None
    if abs(vae_config["scaling_factor"] - 0.18215) < 1e-6:
        return LatentPreview(torch.tensor(SD_FACTORS), torch.zeros(3))
    if abs(vae_config["scaling_factor"] - 0.13025) < 1e-6:
        return LatentPreview(torch.tensor(SDXL_FACTORS) / 127.5, torch.tensor(SDXL_BIAS) / 127.5 - 1)
    return None


def fit_preview(vae: Any, factor: int) -> LatentPreview:
    """Find the map by least squares over what the VAE decodes from smooth random latents (one small batch)."""
    generator = torch.Generator().manual_seed(0)
    channels = vae.config.latent_channels
    coarse = torch.randn(4, channels, 4, 4, generator=generator)
    latents = torch.nn.functional.interpolate(coarse, scale_factor=4.0, mode="bilinear")  # (4, C, 16, 16)
    pixels = decode(vae, latents).cpu().clamp(-1, 1)
    small = torch.nn.functional.avg_pool2d(pixels, factor)  # (4, 3, 16, 16)
    inputs = latents.permute(0, 2, 3, 1).reshape(-1, channels)
    inputs = torch.cat([inputs, torch.ones(len(inputs), 1)], dim=1)  # (1024, C + 1)
    solution = torch.linalg.lstsq(inputs, small.permute(0, 2, 3, 1).reshape(-1, 3)).solution
    return LatentPreview(solution[:-1].contiguous(), solution[-1].contiguous())
