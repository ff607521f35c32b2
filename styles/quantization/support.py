"""Whether a quantization can be used here: by trying it, not by a device's name."""

from __future__ import annotations

from functools import cache

import torch
from torch import nn

from styles.errors import SettingsError
from styles.quantization.layers import layer_of, quantized
from styles.quantization.quantization import FALLBACK, QUANTIZATIONS, Quantization, check_installed
from styles.storage.names import clean_text


def problem_with(quantization: Quantization, device: torch.device) -> SettingsError | None:
    """Return why weights can't be kept so on a device, None where they can."""
    try:
        check_installed(quantization)
    except SettingsError as error:
        return error
    reason = "" if quantization.is_grouped else _failure(quantization.name, str(device))
    if not reason:
        return None
    return SettingsError(
        "bitsandbytes can't keep a base as {quantize} on {device} ({reason}).",
        "Keep the base as {other}, which runs everywhere, or as it is.",
        quantize=quantization.name,
        device=device,
        reason=reason,
        other=FALLBACK,
    )


@cache
def _failure(name: str, device: str) -> str:
    """What goes wrong where a small layer goes forth and back on a device; empty where nothing does."""
    quantization = QUANTIZATIONS[name]
    plain = nn.Linear(64, 64, device="cpu")
    try:
        layer = layer_of(
            quantized(plain.weight.detach(), quantization), None, plain, quantization, torch.float32
        )
        x = torch.ones(2, 64, device=device, requires_grad=True)
        y = layer.to(device)(x)
        y.sum().backward()
        assert x.grad is not None
        right = bool(y.isfinite().all() and x.grad.isfinite().all())
    except Exception as error:  # of its import, its library, its kernels: anything
        return clean_text(str(error) or type(error).__name__, 200)
    return "" if right else "what it computes is not finite"
