"""A kill at any moment of a change to the library doubles nothing and loses nothing; done again, it is done."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from styles.errors import UnknownStyleError
from styles.library.library import Library
from tests.styles.library_files import library_at, put

Change = Callable[[Library, Path], object]
# All by which a file comes or goes, and the index that notes it.
STEPS = ((os, "replace"), (os, "link"), (os, "unlink"), (os, "mkdir"), (os, "rmdir"), (sqlite3, "connect"))


class Killed(BaseException):
    """Nothing of ours answers it, as nothing answers a kill."""


def bring(library: Library, file: Path) -> None:
    library.import_files([file])


def delete(library: Library, file: Path) -> None:
    library.delete("Ink")


def restore(library: Library, file: Path) -> None:
    library.restore("Ink")


def rename(library: Library, file: Path) -> None:
    library.rename("Ink", "Water")


def seen(home: Path) -> tuple[Any, ...]:
    """What there is after a restart: styles with word and picture, deleted ones, vanished ones."""
    library = library_at(home)
    shown = [(card.name, card.trigger, library.thumbnail(card) is not None) for card in library.cards()]
    return shown, library.trashed(), library.vanished()


# That is how Python tells of a kill in a generator that nobody takes anything from any more.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("before", "change"),
    [((), bring), ((bring,), delete), ((bring, delete), restore), ((bring,), rename)],
    ids=["import", "delete", "restore", "rename"],
)
def test_a_kill_doubles_nothing_and_loses_nothing(
    before: tuple[Change, ...], change: Change, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = put(tmp_path / "in" / "Ink.safetensors", 1)
    file.with_suffix(".json").write_text(json.dumps({"activation text": "inky"}), encoding="utf-8")
    Image.new("RGB", (64, 64), "teal").save(file.with_suffix(".png"))
    start, whole = tmp_path / "start", tmp_path / "whole"
    library = library_at(start)
    for earlier in before:
        earlier(library, file)
    shutil.copytree(start, whole)
    change(library_at(whole), file)
    for step in itertools.count():
        home = tmp_path / str(step)
        shutil.copytree(start, home)
        if not killed_before(step, change, library_at(home), file, monkeypatch):
            break
        styles, trashed, vanished = seen(home)
        assert len(styles) + len(trashed) <= 1 and not vanished, step
        assert all(style[1:] == ("inky", True) for style in styles), step
        with contextlib.suppress(UnknownStyleError):  # it was done already
            change(library_at(home), file)
        assert seen(home) == seen(whole), step
        if change is delete:
            restore(library_at(home), file)
            assert seen(home)[0] == [("Ink", "inky", True)], step
    assert step > len(before) + 3


def killed_before(
    step: int, change: Change, library: Library, file: Path, monkeypatch: pytest.MonkeyPatch
) -> bool:
    """Make a change that is killed before its step of that number, from which on nothing is done; whether it had one."""
    count = itertools.count()

    def until_then(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            if next(count) >= step:
                raise Killed
            return real(*arguments, **named)

        return call

    with monkeypatch.context() as patch:
        for module, name in STEPS:
            patch.setattr(module, name, until_then(getattr(module, name)))
        with contextlib.suppress(Killed):
            change(library, file)
    return next(count) > step
