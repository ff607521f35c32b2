"""Random styles and small open bases for the tests of this folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from styles.bases.conditioning import empty_conditioning
from styles.formats.style import Style, StyleCard, StyleLayer
from styles.formats.writer import write_style


@dataclass
class PlainBase:
    """The parts of an open base that a blend needs."""

    unet: Any
    family: str = "sd1"
    name: str = "tiny"
    text_encoders: tuple[Any, ...] = field(default=())
    tokenizers: tuple[Any, ...] = field(default=())

    @property
    def device(self) -> torch.device:
        return next((self.unet or self.text_encoders[0]).parameters()).device


def unet_of(folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel.from_pretrained(folder, subfolder="unet", torch_dtype=dtype).eval()


def random_layer(
    path: str, module: torch.nn.Module, rank: int, alpha: float, network: str = "unet"
) -> StyleLayer:
    """A layer strong enough to be seen: its change is about as large as the base's own weight."""
    if isinstance(module, torch.nn.Conv2d):
        down = torch.randn(rank, module.in_channels, *module.kernel_size) * 0.1
        up = torch.randn(module.out_channels, rank, 1, 1) * 0.1
    else:
        down = torch.randn(rank, module.in_features) * 0.1
        up = torch.randn(module.out_features, rank) * 0.1
    return StyleLayer(network, path, down, up, alpha)


def random_style(
    unet: Any,
    name: str = "Ink",
    *,
    family: str = "sd1",
    seed: int = 0,
    rank: int = 4,
    alpha: float = 2.0,
    marks: Any = "attn2",
) -> Style:
    """A style over the layers whose path holds one of the marks; its card has no id until it is written."""
    torch.manual_seed(seed)
    marks = (marks,) if isinstance(marks, str) else marks
    layers = [
        random_layer(path, module, rank, alpha)
        for path, module in unet.named_modules()
        if isinstance(module, torch.nn.Linear | torch.nn.Conv2d) and any(mark in path for mark in marks)
    ]
    return Style(StyleCard(name, family, rank), tuple(layers))


def written(folder: Path, style: Style) -> Style:
    return write_style(style, folder / f"{style.name}.safetensors")


def inputs(
    batch: int = 2, width: int = 768, dtype: torch.dtype = torch.float32
) -> tuple[torch.Tensor, torch.Tensor]:
    """(latents, encoder_hidden_states) that differ from picture to picture."""
    generator = torch.Generator().manual_seed(7)
    latents = torch.randn(batch, 4, 16, 16, generator=generator)
    words = torch.randn(batch, 7, width, generator=generator)
    return latents.to(dtype), words.to(dtype)


@torch.no_grad()
def noise_pred(unet: Any, latents: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
    added = empty_conditioning(unet, len(latents), 1, latents.device, words.dtype).added
    return unet(latents, 500, words, added_cond_kwargs=added).sample  # (batch, 4, H/8, W/8)
