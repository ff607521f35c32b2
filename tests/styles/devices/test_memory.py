"""What is free on a device, told by torch functions that answer as they would on a card."""

from __future__ import annotations

import psutil
import pytest
import torch

from styles.devices.memory import SPARED_BYTES, free_bytes, limit_memory

GB = 10**9
CARD = torch.device("cuda:1")


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """An 8 GB card of which other programs hold 1 GB and torch 3 GB, 2 GB of those in use; all asked for cuda:1."""
    told: dict[str, float] = {"fraction": 1.0}

    def of(value: object) -> object:
        def answer(device: torch.device) -> object:
            assert device == CARD
            return value

        return answer

    def limit(fraction: float, device: torch.device) -> None:
        assert device == CARD
        told["fraction"] = fraction

    monkeypatch.setattr(torch.accelerator, "get_memory_info", of((4 * GB, 8 * GB)))
    monkeypatch.setattr(torch.accelerator, "memory_allocated", of(2 * GB))
    monkeypatch.setattr(torch.accelerator, "memory_reserved", of(3 * GB))
    monkeypatch.setattr(torch.cuda, "get_per_process_memory_fraction", lambda device: told["fraction"])
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", limit)
    return told


def test_what_torch_keeps_unused_is_free(card: dict[str, float]) -> None:
    assert free_bytes(CARD) == 5 * GB
    card["fraction"] = 0.5
    assert free_bytes(CARD) == 2 * GB, "no more than torch may take"
    card["fraction"] = 0.125
    assert free_bytes(CARD) == 0, "it holds more than it may take"


def test_torch_is_held_to_what_is_free(card: dict[str, float]) -> None:
    limit_memory(CARD)
    assert card["fraction"] == pytest.approx((4 * GB + 3 * GB - SPARED_BYTES) / (8 * GB))
    assert free_bytes(CARD) == pytest.approx(5 * GB - SPARED_BYTES, abs=10)


def test_a_device_that_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(device: torch.device) -> None:
        raise RuntimeError("not here")

    monkeypatch.setattr(torch.accelerator, "get_memory_info", refused)
    assert free_bytes(torch.device("xpu")) is None
    limit_memory(torch.device("xpu"))


def test_apples_memory_is_the_computers(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {
        "driver_allocated_memory": 3 * GB,
        "current_allocated_memory": 2 * GB,
        "recommended_max_memory": 11 * GB,
    }
    for name, value in values.items():
        monkeypatch.setattr(torch.mps, name, lambda value=value: value)
    available = psutil.virtual_memory()._replace(available=4 * GB)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: available)
    assert free_bytes(torch.device("mps")) == 5 * GB
    assert free_bytes(torch.device("cpu")) == 4 * GB
