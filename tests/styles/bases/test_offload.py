"""Which parts of a base leave a card and when, with parts that have a size and a card of some memory."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from styles.bases import offload
from styles.bases.base import open_base
from styles.bases.offload import bring_models, fits_whole, lies_on, move_if_room, send_away
from styles.bases.working_memory import MARGIN, weight_bytes
from styles.errors import OutOfMemory, is_out_of_memory
from styles.storage.home import Home

CARD = torch.device("meta")  # any but the CPU, and without numbers
WORK = int(100 / MARGIN)


class Part(nn.Module):
    """So many bytes, which can be brought back from a device without numbers."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(size, dtype=torch.uint8), requires_grad=False)

    def to(self, device: torch.device) -> Part:  # type: ignore[override]
        self.weight = nn.Parameter(
            torch.empty(len(self.weight), dtype=torch.uint8, device=device), requires_grad=False
        )
        return self


class Card:
    """A base of UNet, VAE, two text encoders and a safety checker, and a card."""

    def __init__(self) -> None:
        self.parts = [Part(size) for size in (500, 30, 25, 140, 60)]
        self.unet, self.vae, self.first, self.second, self.checker = self.parts
        self.memory = 10_000

    def free(self, device: torch.device) -> int:
        return self.memory - weight_bytes(*(part for part in self.parts if lies_on(part, CARD)))

    def bring(self, *parts: Part, work: int = WORK, spare: bool = False) -> list[Part]:
        """What lies on the card afterwards."""
        bring_models(parts, self.parts, CARD, work, spare)
        return [part for part in self.parts if lies_on(part, CARD)]


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Card:
    card = Card()
    monkeypatch.setattr(offload, "free_bytes", card.free)
    monkeypatch.setattr(offload, "give_back", lambda device: None)
    return card


def test_all_parts_stay_where_there_is_room(card: Card) -> None:
    for part in card.parts:
        card.bring(part)
    assert card.bring(card.unet) == card.parts


def test_only_as_many_leave_as_memory_asks_for(card: Card) -> None:
    card.memory = 755 + 100
    for part in card.parts:
        card.bring(part)
    assert card.bring(card.unet, work=WORK) == card.parts
    card.memory -= 9  # more than is lost to whole numbers
    assert card.bring(card.unet, work=WORK) == card.parts[:-1], "the last one first"
    card.memory = 600
    assert card.bring(card.first, card.second) == [card.first, card.second]
    assert card.bring(card.unet) == [card.unet]
    assert card.bring(card.vae, work=10 * WORK) == [card.vae]
    card.memory = 550
    assert card.bring(card.unet) == [card.unet], "too little for the work is tried all the same"


def test_none_but_the_part_at_work_stays_where_memory_is_spared(card: Card) -> None:
    assert card.bring(card.first, card.second, spare=True) == [card.first, card.second]
    assert card.bring(card.unet, spare=True) == [card.unet]


def test_a_part_that_has_no_room_alone_is_refused_and_whole(card: Card) -> None:
    card.memory = 400
    with pytest.raises(OutOfMemory, match=r"needs 0\.0 GB of memory on meta at once") as told:
        card.bring(card.unet)
    assert "smaller base" in told.value.hint
    assert not any(lies_on(part, CARD) for part in card.parts)


def test_a_device_that_tells_nothing_is_tried(card: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offload, "free_bytes", lambda device: None)
    full = [card.vae, card.checker]
    for part in full:
        card.bring(part)

    def to(device: torch.device) -> Part:
        if device == CARD and any(lies_on(part, CARD) for part in full):
            raise torch.OutOfMemoryError("out of memory")
        return Part.to(card.unet, device)

    monkeypatch.setattr(card.unet, "to", to)
    assert card.bring(card.unet) == [card.unet]
    assert fits_whole(card.parts, CARD, WORK)
    send_away(card.parts, CARD)
    assert not lies_on(card.unet, CARD)


def test_models_that_have_no_room_lie_whole_in_the_computers_memory(
    card: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    def to(device: torch.device) -> Part:
        if device == CARD:
            raise torch.OutOfMemoryError("out of memory")
        return Part.to(card.vae, device)

    assert move_if_room([card.unet], CARD) is None and lies_on(card.unet, CARD)
    monkeypatch.setattr(card.vae, "to", to)
    assert is_out_of_memory(move_if_room([card.unet, card.vae], CARD))
    assert not any(lies_on(part, CARD) for part in card.parts)
    monkeypatch.setattr(card.vae, "to", lambda device: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        move_if_room([card.vae], CARD)


def test_nothing_leaves_the_computers_own_memory(tiny_base: Path, tmp_path: Path) -> None:
    base = open_base(tiny_base, Home(tmp_path).create(), device="cpu", spare_memory=True)
    assert base.spares_memory and base.vae.use_tiling
    offload.bring(base, base.vae, work_bytes=1e15)
    send_away([base.unet], base.device)
    assert lies_on(base.unet, base.device)
