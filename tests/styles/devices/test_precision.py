"""Which precision is chosen: by convolutions of a real size, and by what the hardware has."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from styles.devices import precision
from styles.devices.precision import convolves, pick_dtype
from styles.errors import OutOfMemory

FP32, FP16, BF16 = torch.float32, torch.float16, torch.bfloat16
CPU = torch.device("cpu")


@pytest.fixture
def untried() -> Any:
    precision._come_out_right.cache_clear()
    yield
    precision._come_out_right.cache_clear()


def test_convolutions_of_real_size_are_tried_once(untried: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert convolves(CPU, BF16)
    monkeypatch.setattr(F, "conv2d", None)
    assert convolves(CPU, BF16)


def _conv(spoilt: torch.dtype, by: float, channels: int) -> Any:
    """A convolution that is wrong as a GTX 16xx's: in one precision and at one size. Nothing is computed for it."""

    def conv(inputs: torch.Tensor, weight: torch.Tensor, **_: Any) -> torch.Tensor:
        wrong = inputs.dtype == spoilt and inputs.shape[1] == channels
        return inputs + by if wrong else inputs

    return conv


@pytest.mark.parametrize("by", [float("nan"), float("inf"), 1.0])
@pytest.mark.parametrize("channels", [320, 640])
def test_one_that_is_wrong_at_one_size_is_heard(
    by: float, channels: int, untried: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(F, "conv2d", _conv(FP16, by, channels))
    assert not convolves(CPU, FP16) and convolves(CPU, BF16)


@pytest.mark.parametrize(
    ("error", "is_full"),
    [
        (TypeError("BFloat16 is not supported on MPS"), False),
        (AssertionError("Torch not compiled with CUDA enabled"), False),
        (RuntimeError("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED"), False),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 22.00 MiB."), True),
    ],
)
def test_one_that_raises_is_no_answer_for_good(
    error: Exception, is_full: bool, untried: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def conv(*_: Any, **__: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(F, "conv2d", conv)
        if is_full:
            with pytest.raises(OutOfMemory, match="memory of cpu is full"):
                convolves(CPU, FP16)
        else:
            assert not convolves(CPU, FP16)
    monkeypatch.setattr(F, "conv2d", _conv(FP16, 0.0, 320))
    assert convolves(CPU, FP16)


def _nvidia(major: int) -> dict[str, Any]:
    return {"cuda.get_device_properties": lambda _: SimpleNamespace(major=major), "version.hip": None}


def _amd(arch: str) -> dict[str, Any]:
    card = SimpleNamespace(major=11, gcnArchName=arch)
    return {"cuda.get_device_properties": lambda _: card, "version.hip": "7.2"}


def _apple(name: str, macos: int = 15) -> dict[str, Any]:
    newer = lambda major, minor: macos >= major  # noqa: E731
    return {"backends.mps.get_name": lambda: name, "backends.mps.is_macos_or_newer": newer}


def _intel(has: bool) -> dict[str, Any]:
    return {"xpu.get_device_properties": lambda _: SimpleNamespace(has_bfloat16_conversions=has)}


@pytest.mark.parametrize(
    ("kind", "hardware", "chosen"),
    [
        ("cuda:1", _nvidia(8), BF16),
        ("cuda:1", _nvidia(7), FP16),
        ("cuda", _amd("gfx1100"), BF16),
        ("cuda", _amd("gfx1201"), BF16),
        ("cuda", _amd("gfx90a:sramecc+:xnack-"), BF16),
        ("cuda", _amd("gfx1030"), FP16),
        ("cuda", _amd("gfx906"), FP16),
        ("mps", _apple("Apple M1"), FP16),
        ("mps", _apple("Apple M2 Ultra"), FP16),
        ("mps", _apple("Apple M3"), BF16),
        ("mps", _apple("Apple M4 Max"), BF16),
        ("mps", _apple("Apple M4 Max", macos=13), FP16),
        ("mps", _apple("AMD Radeon Pro Vega 56"), FP16),
        ("xpu:1", _intel(True), BF16),
        ("xpu:1", _intel(False), FP16),
    ],
)
def test_bf16_is_taken_where_the_hardware_has_it(
    kind: str, hardware: dict[str, Any], chosen: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in hardware.items():
        monkeypatch.setattr(f"torch.{name}", value)
    device, right = torch.device(kind), {BF16, FP16}
    monkeypatch.setattr(precision, "convolves", lambda where, dtype: where == device and dtype in right)
    assert pick_dtype(device) == chosen
    right.remove(chosen)
    assert pick_dtype(device) == (FP16 if chosen == BF16 else FP32)
    right.clear()
    assert pick_dtype(device) == FP32
