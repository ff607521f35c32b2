"""Cards that torch lists and this machine has not: what the real ones answer, computed on the CPU."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

# As torch words them, from public reports (pytorch issues 2704, 100691, 81883, 164346; Fooocus issue 1313).
LATER = (
    "\nCUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace below might be "
    "incorrect.\nFor debugging consider passing CUDA_LAUNCH_BLOCKING=1\n"
)
BUSY = "CUDA error: CUDA-capable device(s) is/are busy or unavailable" + LATER
BUSY_BEFORE = "CUDA error: all CUDA-capable devices are busy or unavailable" + LATER
NO_KERNELS = "CUDA error: no kernel image is available for execution on the device" + LATER
NO_HIP_KERNELS = "HIP error: invalid device function" + LATER
UNKNOWN = "CUDA error: unknown error" + LATER
FULL = "CUDA error: out of memory" + LATER
OLD_DRIVER = (
    "The NVIDIA driver on your system is too old (found version 11040). Please update your GPU driver by downloading "
    "and installing a new version from the URL: http://www.nvidia.com/Download/index.aspx Alternatively, go to: "
    "https://pytorch.org to install a PyTorch version that has been compiled with your version of the CUDA driver."
)
NO_DRIVER = (
    "Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU and installed a driver from "
    "http://www.nvidia.com/Download/index.aspx"
)
RTX = SimpleNamespace(name="NVIDIA GeForce RTX 3060", total_memory=12_600_000_000, major=8)
GTX = SimpleNamespace(name="NVIDIA GeForce GTX 1650", total_memory=4_100_000_000, major=7)
RADEON = SimpleNamespace(name="Radeon RX 7600", total_memory=8_500_000_000, major=11, gcnArchName="gfx1102")


def list_cards(
    monkeypatch: pytest.MonkeyPatch,
    *cards: Any,
    problems: dict[int, str] | None = None,
    hip: str | None = None,
) -> None:
    """Let torch list these cards of CUDA, or of ROCm; a matrix on one of them raises its problem."""
    problems, ones = problems or {}, torch.ones

    def on_card(*shape: int, device: Any = None, **named: Any) -> torch.Tensor:
        device = torch.device(device or "cpu")
        if device.type == "cuda" and device.index in problems:
            raise torch.AcceleratorError(problems[device.index])
        return ones(*shape, **named)

    monkeypatch.setattr(torch, "ones", on_card)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: bool(cards))
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: len(cards))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: cards[torch.device(device).index])
    monkeypatch.setattr(torch.version, "cuda", None if hip else "13.0")
    monkeypatch.setattr(torch.version, "hip", hip)


def refuse_driver(monkeypatch: pytest.MonkeyPatch, reason: str, hip: str | None = None) -> None:
    """Let torch find no card, and say why when it is asked to begin."""

    def init() -> None:
        raise RuntimeError(reason)

    list_cards(monkeypatch, hip=hip)
    monkeypatch.setattr(torch.cuda, "init", init)
