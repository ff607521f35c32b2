"""Which tests `launch.py test --fast` leaves out: told by the code of each, so that no list of names grows old."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from types import CodeType
from typing import Any

import pytest

# Another process, a browser, a training, an open base, a picture.
SLOW = {"subprocess", "multiprocessing", "open_browser", "train", "open_base", "generate", "Painter"}
# The linters and the types, which the fast tests are for as well.
ALWAYS = ("test_house.py", "test_page_scripts.py")


def mark_slow(items: Iterable[pytest.Item]) -> None:
    """Mark each test whose code, fixtures or helpers use a name of `SLOW`.

    A test that starts a process through the app, or takes long in another way, bears the marker itself.
    """
    seen: dict[Any, set[str]] = {}
    for item in items:
        if isinstance(item, pytest.Function) and item.path.name not in ALWAYS:
            # Private in pytest, which has no other way to ask.
            fixtures = item._fixtureinfo.name2fixturedefs.values()
            functions = [item.function, *(fixture.func for several in fixtures for fixture in several)]
            if any(SLOW & names_of(function, seen) for function in functions):
                item.add_marker("slow")


def names_of(used: Any, seen: dict[Any, set[str]]) -> set[str]:
    """All names in the code of a function or class, and in those of `tests` that it uses; `seen` holds earlier answers."""
    used = inspect.unwrap(used)
    if used not in seen:
        seen[used] = names = set()
        if inspect.isclass(used):
            further = [value for value in vars(used).values() if inspect.isfunction(value)]
        else:
            names |= _names_in(used.__code__)
            values = (used.__globals__.get(name) for name in list(names))
            further = [value for value in values if inspect.isfunction(value) or inspect.isclass(value)]
            further = [value for value in further if value.__module__.startswith("tests.")]
        names.update(*(names_of(value, seen) for value in further))
    return seen[used]


def _names_in(code: CodeType) -> set[str]:
    """The globals and attributes that `code` uses, and the functions inside of it."""
    inner = (constant for constant in code.co_consts if isinstance(constant, CodeType))
    return set(code.co_names).union(*map(_names_in, inner))
