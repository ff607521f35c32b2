"""The scripts that stand beside the rooms' modules."""

from __future__ import annotations

from pathlib import Path


def script(*names: str) -> str:
    """The scripts of those names, such as `create/mix`, one after the other, as an HTML component runs them when shown."""
    folder = Path(__file__).parent
    return "\n".join((folder / f"{name}.js").read_text(encoding="utf-8") for name in names)
