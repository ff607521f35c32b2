"""Values of settings files, which may be numbers, texts or anything."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

OFF: tuple[Any, ...] = ("", "0", "0.0", "none", "None", "NONE", "OFF", 0, False, None, [], {})
Reading = Callable[[Any], Any]


def as_number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and not isinstance(value, bool) else None


def as_whole(value: Any) -> int | None:
    number = as_number(value)
    return int(number) if number is not None and number == int(number) else None


def as_count(value: Any) -> int | None:
    """Return a whole number above 0; None for anything else."""
    number = as_whole(value)
    return number if number is not None and number > 0 else None


def as_yes(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def as_side(value: Any) -> int | None:
    """Return the side in px of a resolution such as 512, "512" or "512,512"; None for one that is no square."""
    parts = value if isinstance(value, list) else re.split(r"[,x]", str(value))
    sides = {as_whole(part) for part in parts}
    return sides.pop() if len(sides) == 1 else None


def as_text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def as_list(value: Any) -> list[Any] | None:
    return value if isinstance(value, list) else None


def as_any(value: Any) -> Any:
    return value
