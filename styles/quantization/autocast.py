"""In which precision a layer in four bits returns its result."""

from __future__ import annotations

import torch
from torch import Tensor


def in_dtype_of(given: Tensor, result: Tensor) -> Tensor:
    """Return a layer's result in the dtype of what it was given; under autocast as it is, as any linear layer does."""
    return result if is_on(given) else result.to(given.dtype)


def is_on(given: Tensor) -> bool:
    """Whether autocast decides what a tensor's device computes in."""
    kind = given.device.type
    return torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
