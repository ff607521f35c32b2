"""The kinds of spoiled input, each with the public functions that the window and the commands read it with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from styles.errors import AtelierError
from tests.styles.fuzzing import OBEYED


@dataclass(frozen=True)
class Kind:
    """One kind of input.

    `prepare` makes the seeds in a folder, once; `attempt` spoils one of them, writes it to the path given and reads it.
    What it raises is a raw error: our own errors are none. `seconds` of the processor's time one may take; `few` of
    them are tried with the other tests.
    """

    name: str
    prepare: Callable[[Path], Any]
    attempt: Callable[[Random, Any, Path], None]
    few: int
    seconds: float = 5.0


def kinds() -> list[Kind]:
    """Return all of them."""
    from tests.fuzzing import artworks, bases, home_files, jobs, recipes, style_files

    modules = (style_files, bases, recipes, artworks, jobs, home_files)
    return [module.KIND for module in modules]


def asked(read: Callable[[], Any]) -> Any:
    """Return what a function answers, None where it refuses with an error of ours, which has to be fit to be shown."""
    try:
        return read()
    except AtelierError as error:
        shown(str(error))
        assert error.message, "an error without words"
        assert len(str(error)) < 3000, "an error of thousands of letters"
        return None


def shown(text: str, lines: bool = True) -> None:
    """Text that reaches people can be written down, and holds nothing that a terminal would obey."""
    text.encode("utf-8")
    found = OBEYED.search(text.replace("\n", " ") if lines else text)
    assert not found, ascii(text)[:300]
