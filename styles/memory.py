"""Telling that a device has no memory left from everything else that can go wrong on it."""

from __future__ import annotations

import torch

SIGNS = (
    "allocate memory",
    "out of memory",
)  # of the CPU, which raises no error of its own for it, and of MPS


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch raised this because there was no memory left, on whatever device."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS)
