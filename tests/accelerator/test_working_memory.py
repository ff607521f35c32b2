"""The formulas of `working_memory` against what is counted on tensors without numbers."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from styles.bases.working_memory import (
    TEXT_BYTES,
    decoding_bytes,
    denoising_bytes,
    encoding_bytes,
    weight_bytes,
)
from tests.accelerator.counting import (
    META,
    Counting,
    as_on_cuda,
    count_painting_step,
    meta_unet,
    meta_vae,
    unet_config,
)
from tests.accelerator.painting_stages import meta_text_encoders


def near(counted: int, formula: int) -> bool:
    """Whether a formula stands above what is counted, and not far."""
    return 0.97 * counted < formula < 1.2 * counted


@pytest.mark.parametrize(
    ("family", "side_px", "dtype"),
    [
        ("sd1", 512, torch.float16),
        ("sd1", 256, torch.float32),
        ("sd2", 768, torch.bfloat16),
        ("sdxl", 1024, torch.float16),
        ("sdxl", 512, torch.float16),
    ],
)
def test_a_denoising_step_works_in_what_is_said(family: str, side_px: int, dtype: torch.dtype) -> None:
    unet = meta_unet(unet_config(family), dtype)
    latents = (side_px // 8) ** 2
    for guided in (True, False):
        counted = count_painting_step(unet, side_px, side_px, dtype, guided=guided)
        assert near(counted.peak_bytes - weight_bytes(unet), denoising_bytes(unet, latents, 1 + guided))


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_vae_works_in_what_is_said(family: str, dtype: torch.dtype) -> None:
    vae = meta_vae(family, dtype)
    latents = torch.empty(1, vae.config.latent_channels, 64, 64, dtype=dtype, device=META)
    pixels = torch.empty(1, 3, 512, 512, dtype=dtype, device=META)

    def peak(call: Any, values: torch.Tensor) -> int:
        counted = Counting([*vae.parameters(), values])
        with torch.no_grad(), counted, as_on_cuda():
            call(values)
        return counted.peak_bytes - weight_bytes(vae)

    assert near(peak(vae.decode, latents), decoding_bytes(vae, 512 * 512))
    assert near(peak(vae.encode, pixels), encoding_bytes(vae, 512 * 512))


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_text_encoders_work_in_little(family: str) -> None:
    for encoder in meta_text_encoders(family, torch.float32):
        ids = torch.zeros(2, 77, dtype=torch.int64, device=META)
        counted = Counting([*encoder.parameters(), ids])
        with torch.no_grad(), counted, as_on_cuda():
            encoder(ids, output_hidden_states=True)
        assert counted.peak_bytes - weight_bytes(encoder) < TEXT_BYTES
