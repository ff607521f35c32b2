"""Which device is taken, by name and by itself, and what is said of one that can't be had."""

from __future__ import annotations

import pytest
import torch

from styles.devices.cards import cards
from styles.devices.device import device_for, idle_card, pick_device
from styles.errors import OutOfMemory, SettingsError

from . import pretend_cards as pretend
from .pretend_cards import GTX, RADEON, RTX, list_cards, refuse_driver

CPU, FIRST, SECOND = torch.device("cpu"), torch.device("cuda:0"), torch.device("cuda:1")


def test_several_cards_are_listed_and_each_is_had_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    list_cards(monkeypatch, RTX, GTX)
    assert [card.words for card in cards()] == [
        "cuda:0 (NVIDIA GeForce RTX 3060, 12 GB)",
        "cuda:1 (NVIDIA GeForce GTX 1650, 4 GB)",
    ]
    names = ("auto", "cuda", "cuda:0", "cuda:1", "cpu")
    assert [device_for(name) for name in names] == [FIRST, FIRST, FIRST, SECOND, CPU]
    assert idle_card() is None
    with pytest.raises(SettingsError, match=r"no cuda:2") as told:
        device_for("cuda:2")
    assert "cuda:0 (NVIDIA GeForce RTX 3060" in told.value.hint and "cuda:1 (" in told.value.hint
    for other in ("mps", "xpu:0"):
        with pytest.raises(SettingsError, match=f"no {other}"):
            device_for(other)


def test_cards_of_rocm_are_told_as_amds(monkeypatch: pytest.MonkeyPatch) -> None:
    list_cards(monkeypatch, RADEON, hip="7.2.1")
    assert [card.words for card in cards()] == ["cuda:0 (AMD Radeon RX 7600, 8 GB)"]


def test_by_itself_the_first_card_that_computes_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    list_cards(monkeypatch, GTX, RTX, problems={0: pretend.BUSY})
    assert pick_device() == SECOND and idle_card() is None


@pytest.mark.parametrize(
    ("problem", "message", "hint"),
    [
        (pretend.BUSY, "Another program has cuda:0 for itself alone", "Close that program"),
        (pretend.BUSY_BEFORE, "Another program has cuda:0 for itself alone", "Close that program"),
        (pretend.NO_KERNELS, r"was not built for cuda:0 \(NVIDIA GeForce GTX 1650, 4 GB\)", "setup"),
        (pretend.NO_HIP_KERNELS, "was not built for cuda:0", "setup"),
        (pretend.UNKNOWN, r"cuda:0 can't compute \(CUDA error: unknown error\)", "Restart"),
    ],
)
def test_a_card_that_can_not_be_used_says_why(
    problem: str, message: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    list_cards(monkeypatch, GTX, problems={0: problem})
    for name in ("cuda", "cuda:0"):
        with pytest.raises(SettingsError, match=message) as told:
            device_for(name)
        assert hint in told.value.hint
    assert device_for("auto") == CPU
    assert str(idle_card()) == str(told.value)


def test_a_card_that_is_full_is_no_reason_to_compute_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    list_cards(monkeypatch, RTX, problems={0: pretend.FULL})
    for name in ("auto", "cuda"):
        with pytest.raises(OutOfMemory, match="memory of cuda:0 is full"):
            device_for(name)
    list_cards(monkeypatch, RTX, GTX, problems={0: pretend.FULL})
    assert device_for("auto") == SECOND


def test_a_driver_that_is_too_old_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_driver(monkeypatch, pretend.OLD_DRIVER)
    assert device_for("auto") == CPU
    with pytest.raises(SettingsError, match=r"can do CUDA 11\.4, and 13\.0 is needed") as told:
        device_for("cuda")
    assert "Update the driver" in told.value.hint and "setup" in told.value.hint
    assert str(idle_card()) == str(told.value)


@pytest.mark.parametrize(
    ("reason", "hip", "message"),
    [
        (pretend.NO_DRIVER, None, ""),
        ("No CUDA GPUs are available", None, ""),
        ("No HIP GPUs are available", "7.2.1", "none that it may use"),
        ("Unexpected error from cudaGetDeviceCount(). Error 804: forward compatibility", None, "Error 804"),
    ],
)
def test_no_card_is_no_problem_unless_the_driver_says_so(
    reason: str, hip: str | None, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_driver(monkeypatch, reason, hip)
    problem = idle_card()
    assert message in problem.message if problem else not message
    with pytest.raises(SettingsError, match=message or "This machine has no cuda:1"):
        device_for("cuda:1")


def test_a_torch_without_cards_has_no_problem() -> None:
    if torch.version.cuda is None and torch.version.hip is None:
        assert idle_card() is None
