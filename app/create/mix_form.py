"""The mix as the Create room holds it: plain values that come from a page, and may be anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from app.create.mix_orders import MixOrder
from styles.blend import MODES, Blend, BlendPart
from styles.errors import BlendError

MOST_ROWS = 8  # styles of one mix that the page has room for


@dataclass(frozen=True)
class MixRow:
    """One style of the mix; `word` is whether its trigger word goes into the prompt."""

    part: BlendPart
    word: bool = True

    @property
    def style(self) -> str:
        """The style's id."""
        return self.part.style

    def to_json(self) -> dict[str, Any]:
        """All that the page keeps of the row."""
        part = self.part
        return {
            "style": part.style,
            "weight": part.weight,
            "muted": part.muted,
            "solo": part.solo,
            "composition": part.composition,
            "texture": part.texture,
            "schedule": [list(point) for point in part.schedule] if part.schedule else None,
            "word": self.word,
        }


@dataclass(frozen=True)
class MixForm:
    """The styles in the order in which they stand on the page, and how they are mixed."""

    rows: tuple[MixRow, ...] = ()
    mode: str = MODES[0]

    @classmethod
    def from_json(cls, values: Any) -> MixForm:
        """Read what a page sends or a browser kept; a row that is none is left out."""
        if not isinstance(values, Mapping):
            return cls()
        rows: dict[str, MixRow] = {}
        listed = values.get("rows")
        for told in listed if isinstance(listed, list) else ():
            try:
                part = Blend.from_json([told]).parts[0]
            except BlendError:
                continue
            rows.setdefault(part.style, MixRow(part, told.get("word") is not False))
        mode = values.get("mode")
        return cls(tuple(rows.values())[:MOST_ROWS], mode if mode in MODES else MODES[0])

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads."""
        return {"rows": [row.to_json() for row in self.rows], "mode": self.mode}

    @classmethod
    def of_blend(cls, blend: Blend, words: bool = True) -> MixForm:
        """The form that says this blend; a weight in a schedule moves into the slider."""
        return cls(tuple(MixRow(_with_peak(part), words) for part in blend.parts)[:MOST_ROWS], blend.mode)

    @property
    def blend(self) -> Blend:
        """What the page says, as a blend."""
        return Blend(tuple(row.part for row in self.rows), self.mode)

    @property
    def order(self) -> MixOrder:
        """The same as a wish; raises BlendError."""
        return MixOrder(start=self.blend)

    def highest(self, style: str) -> float:
        """The highest weight of a style at any step, 0 where it is not heard."""
        part = next((part for part in self.blend.sounding if part.style == style), None)
        return max(part.weight * factor for _, factor in part.schedule or ((0.0, 1.0),)) if part else 0.0


def _with_peak(part: BlendPart) -> BlendPart:
    """The same part with the highest point of its schedule as its weight, where the weight alone says nothing."""
    peak = max((factor for _, factor in part.schedule or ()), key=abs, default=0.0)
    if part.weight != 1 or not peak:
        return part
    points = tuple((at, factor / peak) for at, factor in part.schedule or ())
    return replace(part, weight=peak, schedule=points)
