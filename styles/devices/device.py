"""Which device a base is opened on: what can be had, by what it computes."""

from __future__ import annotations

import torch
from torch import Tensor

from styles.errors import SettingsError


def pick_device() -> torch.device:
    """Return the accelerator that torch can really compute on, else the CPU."""
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if accelerator is not None and _computes(accelerator, torch.float32):
        return accelerator
    return torch.device("cpu")


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


def wait_for(device: torch.device) -> None:
    """Wait until an accelerator has done all that it was given; a CPU has when it returns."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def sent_to(device: torch.device, values: Tensor) -> Tensor:
    """Return a few numbers of the CPU on a device, without waiting for what that is doing, where this is safe.

    On MPS a copy that isn't waited for reads the source when it may be gone
    (https://github.com/pytorch/pytorch/issues/189690); others have read it by then.
    """
    return values.to(device, non_blocking=device.type != "mps")
