"""The scripts that stand beside the rooms' modules."""

from __future__ import annotations

from pathlib import Path


def script(name: str) -> str:
    """The script of that name, as an HTML component runs it when it is shown."""
    return (Path(__file__).parent / f"{name}.js").read_text(encoding="utf-8")
