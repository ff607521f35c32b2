"""A blend: which styles, each with a weight."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from styles.errors import BlendError

STRONGEST = 4.0  # beyond this a picture is only noise


@dataclass(frozen=True, order=True)
class BlendPart:
    """One style of a blend by its id, with its weight: 1 as trained, 0 not at all, below 0 its opposite."""

    style: str
    weight: float

    def __post_init__(self) -> None:
        if not math.isfinite(self.weight) or abs(self.weight) > STRONGEST:
            raise BlendError(
                f"{self.weight} is not a weight for a style.",
                f"Give a number from -{STRONGEST:g} to {STRONGEST:g}; 1 is the style as it was trained.",
            )


@dataclass(frozen=True)
class Blend:
    """(style id, weight) pairs; the order they are given in means nothing, and is not kept."""

    parts: tuple[BlendPart, ...] = ()

    def __post_init__(self) -> None:
        ids = [part.style for part in self.parts]
        twice = sorted({style for style in ids if ids.count(style) > 1})
        if twice:
            raise BlendError(
                f"The style {twice[0]} is in the blend twice.", "Give it once, with the weight that you want."
            )
        object.__setattr__(self, "parts", tuple(sorted(self.parts)))

    def weight_of(self, style: str) -> float:
        """Return the weight of a style by id, 0 where it is not in the blend."""
        return next((part.weight for part in self.parts if part.style == style), 0.0)

    def to_json(self) -> list[dict[str, Any]]:
        """Return the parts as plain JSON values; floats survive exactly."""
        return [{"style": part.style, "weight": part.weight} for part in self.parts]

    @classmethod
    def from_json(cls, values: Any) -> Blend:
        """Read what `to_json` wrote; raises BlendError for anything else."""
        try:
            return cls(tuple(BlendPart(str(v["style"]), float(v["weight"])) for v in values))
        except (KeyError, TypeError, ValueError) as error:
            raise BlendError("This is not a blend: it needs a style and a weight for each part.") from error
