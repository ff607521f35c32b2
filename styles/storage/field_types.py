"""Whether what was read from a file has the types that its dataclass says: JSON of anybody's may hold anything."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

LARGEST = 1 << 53  # of a number, the last that every program keeps exactly


def has_its_types(value: Any) -> bool:
    """Say whether all fields of a dataclass of plain types hold such values, and numbers that can be computed with.

    Known are str, Text, bool, int, float and tuple[str, ...].
    """
    return all(_fits(str(field.type), getattr(value, field.name)) for field in fields(value))


def _fits(kind: str, value: object) -> bool:
    match kind:
        case "str" | "Text":
            return isinstance(value, str)
        case "bool":
            return isinstance(value, bool)
        case "int":
            return isinstance(value, int) and not isinstance(value, bool) and -LARGEST < value < LARGEST
        case "float":
            # NaN is in no range.
            return (
                isinstance(value, int | float) and not isinstance(value, bool) and -LARGEST < value < LARGEST
            )
        case "tuple[str, ...]":
            return isinstance(value, tuple) and all(isinstance(text, str) for text in value)
    raise AssertionError(f"what can a {kind} hold?")
