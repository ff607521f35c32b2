"""How much memory the parts of a base work in, beside their weights, by formulas that follow their widths.

They stand a little above what is counted on tensors without numbers (tests/accelerator/test_working_memory.py), with
attention in one kernel that keeps no scores. What an allocator loses between its blocks and what convolutions ask for
besides is the `MARGIN`.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from styles.quantization.layers import statistics

MARGIN = 1.25
# Numbers for each latent of a UNet's level and each channel there. In a transformer: the feed-forward's eightfold
# projection, its gate and their product, beside what the way up still needs of the way down. In a level of resnets:
# two inputs joined, their norm and activation, beside the same.
TRANSFORMER, RESNETS = 28, 17
# Numbers for each pixel and channel of the VAE's finest levels: on the way out the wider of the last two, as it comes
# enlarged, normed and convolved; on the way in the first, five at once.
DECODER, ENCODER = 3, 5
TEXT_BYTES = 50_000_000


def denoising_bytes(unet: Any, latents: int, rows: int = 2) -> int:
    """Return what one call of a UNet works in, for so many rows (two for a guided picture) of so many latents each."""
    config = unet.config
    levels = zip(config.block_out_channels, config.down_block_types, strict=True)
    widest = max(
        (TRANSFORMER if "Attn" in kind else RESNETS) * width / 4**level
        for level, (width, kind) in enumerate(levels)
    )
    return int(widest * latents * rows * unet.dtype.itemsize)


def decoding_bytes(vae: Any, pixels: int) -> int:
    """Return what decoding one picture of so many pixels works in; in fp32 it is twice as much as in half precision."""
    finest = vae.config.block_out_channels
    return int(DECODER * finest[min(1, len(finest) - 1)] * pixels * vae.dtype.itemsize)


def encoding_bytes(vae: Any, pixels: int) -> int:
    """Return what encoding one picture of so many pixels works in."""
    return int((ENCODER * vae.config.block_out_channels[0] + 3) * pixels * vae.dtype.itemsize)


def weight_bytes(*models: nn.Module) -> int:
    """Return how many bytes the weights of models take, with the scales of those in four bits."""
    weights = sum(weight.nbytes for model in models for weight in model.parameters())
    return weights + sum(scale.nbytes for model in models for scale in statistics(model))
