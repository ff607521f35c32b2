"""The memory that work with a base takes is not kept once the work is done."""

from __future__ import annotations

import platform
from pathlib import Path

import psutil
import pytest

from app.create.base_session import BaseSession
from app.settings import Settings
from styles.library.library import Library
from styles.storage.home import Home

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
