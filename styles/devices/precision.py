"""Which precision a base is opened in: the narrowest whose convolutions come out right on its device."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F

from styles.devices.cards import full
from styles.errors import SettingsError, is_out_of_memory

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}

# (pictures, channels) of 3x3 convolutions over SIDE x SIDE latents, as Stable Diffusion 1.5 has them for a guided
# picture of 512 px. A GTX 16xx returns NaN for the latter and is right for smaller ones (diffusers issue 1556).
CONVOLUTIONS, SIDE = ((2, 320), (2, 640)), 64
# Of the result's size. A processor comes to 0.0004 in fp16 and to 0.003 in bf16.
LARGEST_ERROR = 0.02


def pick_dtype(device: torch.device) -> torch.dtype:
    """Return bf16 where the device has it in hardware, else fp16, where its convolutions come out right; else fp32.

    On the CPU fp32, where it is exact and no slower. Raises OutOfMemory where the device is too full to tell.
    """
    if device.type == "cpu":
        return torch.float32
    if _has_bf16(device):
        return torch.bfloat16
    return torch.float16 if convolves(device, torch.float16) else torch.float32


def dtype_for(dtype: str | torch.dtype, device: torch.device) -> torch.dtype:
    """Return the precision of that name, the fastest that loses nothing for "auto"; raises SettingsError for none."""
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype == "auto":
        return pick_dtype(device)
    if dtype not in DTYPES:
        raise SettingsError(
            "“{dtype}” is no precision.", "Choose auto, {dtypes}.", dtype=dtype, dtypes=", ".join(DTYPES)
        )
    return DTYPES[dtype]


def dtype_name(dtype: torch.dtype) -> str:
    """Return `fp32`, `fp16` or `bf16`; what torch calls any other."""
    return next((name for name, one in DTYPES.items() if one == dtype), str(dtype))


def vae_dtype(vae_config: Mapping[str, Any], dtype: torch.dtype, device: torch.device) -> torch.dtype:
    """Return a VAE's precision beside a UNet in `dtype`.

    One whose config says `force_upcast`, as Stable Diffusion XL's, overflows in fp16: it takes bf16 where the device
    has it in hardware, else fp32.
    """
    if dtype != torch.float16 or not vae_config.get("force_upcast", False):
        return dtype
    return torch.bfloat16 if device.type != "cpu" and _has_bf16(device) else torch.float32


def convolves(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether convolutions of a UNet's size come out finite and near those in fp32.

    Computed once per process and device; what has failed may be another moment's, and is tried again. Raises
    OutOfMemory where the device is too full to tell.
    """
    try:
        return _come_out_right(device, dtype)
    # TypeError: a dtype that the device doesn't know; AssertionError: a torch that was built without that device.
    except (RuntimeError, TypeError, AssertionError) as error:
        if is_out_of_memory(error):
            raise full(device) from error
        return False


@functools.cache
def _come_out_right(device: torch.device, dtype: torch.dtype) -> bool:
    return all(_error(device, dtype, *size) <= LARGEST_ERROR for size in CONVOLUTIONS)


def _error(device: torch.device, dtype: torch.dtype, pictures: int, channels: int) -> float:
    """Return the largest difference from fp32, as a share of the largest value there; NaN where one is no number."""
    generator = torch.Generator().manual_seed(0)
    # As large as what a norm leaves, and as a trained layer's weights.
    inputs = torch.randn(pictures, channels, SIDE, SIDE, generator=generator).to(device)
    weight = (torch.randn(channels, channels, 3, 3, generator=generator) / (9 * channels) ** 0.5).to(device)
    with torch.no_grad():
        exact = F.conv2d(inputs, weight, padding=1)
        result = F.conv2d(inputs.to(dtype), weight.to(dtype), padding=1).float()
        return float((result - exact).abs().max() / exact.abs().max())


def _has_bf16(device: torch.device) -> bool:
    return _has_bf16_in_hardware(device) and convolves(device, torch.bfloat16)


def _has_bf16_in_hardware(device: torch.device) -> bool:
    """Whether the device computes in bf16 by itself: all that a torch emulates is slower than fp16."""
    if device.type == "cuda":
        card = torch.cuda.get_device_properties(device)
        if torch.version.hip:
            # AMD: Instinct from the MI100 on and RDNA 3 on. torch says yes for all, RDNA 2 emulates it.
            return re.match(r"gfx(908|90a|9[45]|1[1-9])", card.gcnArchName) is not None
        # NVIDIA: Ampere on.
        return bool(card.major >= 8)
    if device.type == "xpu":
        return bool(torch.xpu.get_device_properties(device).has_bfloat16_conversions)
    if device.type == "mps":
        # torch can't say: Metal has it for every chip since macOS 14, and emulates it before the M3 (transformers
        # pull request 40458). A Mac with an AMD card has it nowhere (pytorch issue 141864).
        chip = re.match(r"Apple M(\d+)", torch.backends.mps.get_name())
        return chip is not None and int(chip[1]) >= 3 and torch.backends.mps.is_macos_or_newer(14, 0)
    return True
