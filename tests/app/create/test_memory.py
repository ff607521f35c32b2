"""The memory that work with a base takes is not kept once the work is done."""

from __future__ import annotations

import gc
import platform
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch

import styles.bases.base
from app.create.base_session import BaseSession
from app.settings import Settings
from app.studio import Studio
from styles.bases.base import Base
from styles.library.library import Library
from styles.storage.home import Home
from training.plan import plan_for

BLOCK_BYTES, BLOCKS = 50_000, 2_000


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries give free memory back")
def test_what_work_on_a_base_took_is_given_back(tiny_base: Path, tmp_path: Path) -> None:
    home, process = Home(tmp_path / "home").create(), psutil.Process()
    base_session = BaseSession(home, Library(home, tmp_path / "none"))
    with base_session.opened(str(tiny_base), Settings(device="cpu")):
        taken = [b"x" * BLOCK_BYTES for _ in range(BLOCKS)]
        # What lies above what is free keeps glibc from giving it back by itself.
        left = b"x" * BLOCK_BYTES
        taken.clear()
        before = process.memory_info().rss
    assert before - process.memory_info().rss > BLOCK_BYTES * BLOCKS / 2
    del left


@pytest.fixture
def as_on_a_card(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What happens in turn where bases are opened as on a card; they lie on the CPU."""
    happened: list[str] = []
    open_base = styles.bases.base.open_base

    def opened(source: str, home: Home, **options: Any) -> Base:
        happened.append(f"open on {options['device']}")
        return open_base(source, home, **options | {"device": "cpu"})

    monkeypatch.setattr("styles.devices.device.device_for", lambda name: torch.device("cuda:0"))
    monkeypatch.setattr(
        "styles.devices.memory.limit_memory", lambda device: happened.append(f"limit {device}")
    )
    monkeypatch.setattr("styles.bases.base.open_base", opened)
    monkeypatch.setattr(BaseSession, "on_accelerator", property(lambda session: session._base is not None))
    return happened


def test_a_base_gives_a_card_to_a_trial_and_takes_it_back(
    tiny_base: Path, tmp_path: Path, as_on_a_card: list[str]
) -> None:
    home = Home(tmp_path / "home").create()
    session = BaseSession(home, Library(home, tmp_path / "none"), lambda: as_on_a_card.append("trial ends"))
    assert session.make_room(), "nothing lies there"
    with session.opened(str(tiny_base), Settings()):
        assert as_on_a_card == ["trial ends", "limit cuda:0", "open on cuda:0"]
        assert not session.make_room(), "somebody paints"
    left_out = gc.get_freeze_count()
    with session.opened(str(tiny_base), Settings()):
        assert len(as_on_a_card) == 3, "it is open, so that no trial goes on"
    assert session.make_room() and session._base is None
    session.warm(str(tiny_base), Settings())
    assert as_on_a_card[3] == "trial ends"
    assert gc.get_freeze_count() <= left_out, "only the first base's libraries are no garbage for ever"


def test_painting_ends_a_trial_and_a_trial_puts_the_base_away(
    tiny_base: Path, tmp_path: Path, as_on_a_card: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    studio = Studio(Home(tmp_path / "home"))
    measuring, session = studio.preparation.measuring, studio.base_session
    process = SimpleNamespace(
        poll=lambda: None, kill=lambda: as_on_a_card.append("killed"), communicate=lambda: ("", "")
    )
    monkeypatch.setattr("app.train.measuring.answering_process", lambda *_: process)
    plan = plan_for("balanced", "starter", 3, name="a", base=str(tiny_base))
    session.warm(str(tiny_base), Settings())
    with session.opened(str(tiny_base), Settings()):
        assert measuring.ask(plan, "auto", "auto", busy=False).state == "waiting"
    assert measuring.ask(plan, "auto", "auto", busy=False).state == "measuring" and session._base is None
    as_on_a_card.clear()
    session.warm(str(tiny_base), Settings())
    assert as_on_a_card[0] == "killed" and measuring._process is None
    studio.close()


def test_a_base_in_the_computers_memory_is_in_no_trials_way(tiny_base: Path, tmp_path: Path) -> None:
    home = Home(tmp_path / "home").create()
    session = BaseSession(home, Library(home, tmp_path / "none"), lambda: pytest.fail("no card is asked for"))
    with session.opened(str(tiny_base), Settings(device="cpu")):
        assert session.make_room()
    assert session.make_room() and session._base is not None
