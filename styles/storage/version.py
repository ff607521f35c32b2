"""The version of this copy of Atelier."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"


@cache
def version() -> str:
    """The version of this copy of Atelier, such as `0.9.0`, as `pyproject.toml` states it."""
    return str(tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["version"])
