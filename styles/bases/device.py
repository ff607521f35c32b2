"""Which device and precision a base is opened in: what can be had, by what it computes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from styles.errors import SettingsError

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def pick_device() -> torch.device:
    """Return the accelerator that torch can really compute on, else the CPU."""
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if accelerator is not None and _computes(accelerator, torch.float32):
        return accelerator
    return torch.device("cpu")


def pick_dtype(device: torch.device) -> torch.dtype:
    """Return bf16 where the device has it in hardware, else fp16; fp32 on the CPU, where it is exact and no slower."""
    if device.type == "cpu":
        return torch.float32
    if _has_bf16(device):
        return torch.bfloat16
    return torch.float16 if _computes(device, torch.float16) else torch.float32


def vae_dtype(vae_config: Mapping[str, Any], dtype: torch.dtype, device: torch.device) -> torch.dtype:
    """Return a VAE's precision beside a UNet in `dtype`.

    One whose config says `force_upcast`, as Stable Diffusion XL's, overflows in fp16: it takes bf16 where the device
    has it in hardware, else fp32.
    """
    if dtype != torch.float16 or not vae_config.get("force_upcast", False):
        return dtype
    return torch.bfloat16 if device.type != "cpu" and _has_bf16(device) else torch.float32


def _has_bf16(device: torch.device) -> bool:
    native = device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
    return native and _computes(device, torch.bfloat16)


def _computes(device: torch.device, dtype: torch.dtype) -> bool:
    try:
        ones = torch.ones(8, 8, device=device, dtype=dtype)
        return float((ones @ ones).sum()) == 512.0
    except (RuntimeError, TypeError, AssertionError):  # the last: a torch that was built without that device
        return False


def device_for(device: str | torch.device) -> torch.device:
    """Return the device of that name, the fastest one for "auto"; raises SettingsError for one that can't be had."""
    if device == "auto":
        return pick_device()
    try:
        chosen = torch.device(device)
    except (RuntimeError, ValueError) as error:
        raise SettingsError("“{device}” is no device.", "Choose auto or cpu.", device=device) from error
    if not _computes(chosen, torch.float32):
        raise SettingsError(
            "This machine has no {device} that computes.", "Choose auto or cpu.", device=chosen
        )
    return chosen


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
