"""What is told of the machine: its cards, and why one of them is not used."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from app.create.base_session import BaseSession
from app.create.painting import Notice
from app.machine import look_at
from app.orders import PictureOrder
from app.report import report
from app.settings import Settings
from app.studio import Studio
from app.window.settings.room import _devices
from styles.devices.cards import Card
from styles.errors import SettingsError
from styles.generation.settings import PictureSettings
from styles.library.library import Library
from styles.storage.home import Home
from styles.text import NO_TEXT
from tests.launch import recorded
from tests.styles.devices import pretend_cards
from tests.styles.devices.pretend_cards import GTX, RADEON, RTX, list_cards, refuse_driver


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Studio:
    monkeypatch.setattr("styles.devices.precision.convolves", lambda device, dtype: True)
    monkeypatch.setattr("app.machine.read_nvidia_smi", lambda: None)
    return Studio(Home(tmp_path / "home"))


def test_several_cards_are_named_and_offered(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    list_cards(monkeypatch, RTX, GTX)
    studio.change_settings(replace(studio.settings, device="cuda:1"))
    machine = look_at(studio)
    assert (machine.device, machine.card, machine.precision) == ("cuda:1", GTX.name, "fp16")
    words = "\n".join(machine.words())
    assert f"on the graphics card {GTX.name}" in words and "The card has 4.1 GB of memory" in words
    assert f"cuda:0 ({RTX.name}, 12 GB), cuda:1 ({GTX.name}, 4 GB)" in words
    assert "Stable Diffusion 1 fits: it needs about 3.8 GB." in words
    assert "Stable Diffusion 2 fits, a little slower: its parts take turns" in words
    assert "Stable Diffusion XL fits in four bits, a little slower: as NF4 it needs about 3.0 GB" in words
    assert ("CUDA", "13.0") in machine.rows()
    assert _devices(machine, "cuda:1") == [
        ("auto", "auto"),
        ("cpu", "cpu"),
        (f"cuda:0 ({RTX.name}, 12 GB)", "cuda:0"),
        (f"cuda:1 ({GTX.name}, 4 GB)", "cuda:1"),
    ]
    list_cards(monkeypatch, RADEON, hip="7.2.1")
    studio.change_settings(replace(studio.settings, device="auto"))
    assert "the graphics card AMD Radeon RX 7600" in look_at(studio).words()[0]
    assert ("ROCm", "7.2.1") in look_at(studio).rows()


def test_what_computes_in_the_computers_memory_has_none_of_its_own(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    apple = torch.device("mps")
    monkeypatch.setattr("app.machine.device_of", lambda name: (apple, NO_TEXT))
    monkeypatch.setattr("styles.devices.cards.card_of", lambda device: Card("mps", "Apple M1", 11 * 10**9))
    monkeypatch.setattr("styles.devices.precision.pick_dtype", lambda device: torch.float16)
    machine = replace(look_at(studio), memory=16 * 10**9)
    words = "\n".join(machine.words())
    assert "the graphics card Apple M1" in words and machine.room_bytes == 16 * 10**9
    assert "take turns" not in words and "Stable Diffusion XL fits" in words


def test_a_card_that_is_gone_is_told_and_nothing_falls(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio.change_settings(replace(studio.settings, device="cuda:3"))
    studio = Studio(studio.home)
    list_cards(monkeypatch, RTX)
    machine = look_at(studio)
    assert studio.settings.device == "cuda:3" and machine.device == "cpu"
    assert machine.words()[0].startswith("This machine has no cuda:3. Choose auto, cpu or one of the cards")
    assert not any("Pictures are painted" in line for line in machine.words()), "they are refused"
    assert ("cuda:3 (chosen before)", "cuda:3") in _devices(machine, "cuda:3")
    assert "cuda:3" in report(studio)
    with pytest.raises(SettingsError, match="no cuda:3"):
        list(studio.create(PictureOrder("a cat", PictureSettings(steps=1))))


@pytest.mark.parametrize("odd", ["", "gpu", "cuda:", "cuda:-1", "cuda:999", "auto:1", "cpu; rm", "CUDA:0"])
def test_what_is_no_device_is_refused(odd: str) -> None:
    with pytest.raises(SettingsError, match="device is"):
        Settings(device=odd)


def test_a_card_that_its_pytorch_was_not_built_for_is_told(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    list_cards(monkeypatch)
    monkeypatch.setattr("torch.version.cuda", None)
    monkeypatch.setattr("app.machine.read_nvidia_smi", lambda: recorded.LAPTOP_ADA)
    assert "run `python launch.py setup` again" in look_at(studio).words()[0]
    monkeypatch.setattr("app.machine.read_nvidia_smi", lambda: recorded.PASCAL_OLD_DRIVER)
    assert "too old (it takes 525 or newer)" in look_at(studio).words()[0]
    studio.change_settings(replace(studio.settings, device="cpu"))
    assert "works, but slowly" in look_at(studio).words()[0], "chosen, and no problem"


def test_the_first_picture_says_why_the_processor_paints(
    tiny_base: Path, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_driver(monkeypatch, pretend_cards.OLD_DRIVER)
    assert "Update the driver" in look_at(studio).words()[0]
    session = BaseSession(studio.home, Library(studio.home, studio.home.root / "none"))
    order = PictureOrder("a cat", PictureSettings(steps=1, width_px=32, height_px=32))

    def told() -> list[str]:
        painting = session.paint(order, str(tiny_base), studio.home.pictures, Settings(), lambda: False)
        return [event.text for event in painting if isinstance(event, Notice) and "CUDA" in event.text]

    (notice,) = told()
    assert "too old" in notice and "The processor does the work. Update the driver" in notice
    assert told() == []
