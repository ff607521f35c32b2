"""The mix as the Create room holds it: plain values that come from a page, and may be anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from styles.errors import BlendError
from styles.formats.style import TEXT_LIMITS
from styles.mixing.blend import MODES, Blend, BlendPart
from styles.storage.names import clean_text

MOST_ROWS = 8  # styles of one mix that the page has room for


@dataclass(frozen=True)
class MixRow:
    """One style of the mix; `word` is whether its trigger word goes into the prompt."""

    part: BlendPart
    word: bool = True
    name: str = ""  # what the style was called last, by which it is found where its id has changed

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
            "name": self.name,
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
            name = clean_text(str(told.get("name") or ""), TEXT_LIMITS["name"])
            rows.setdefault(part.style, MixRow(part, told.get("word") is not False, name))
        mode = values.get("mode")
        return cls(tuple(rows.values())[:MOST_ROWS], mode if mode in MODES else MODES[0])

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads."""
        return {"rows": [row.to_json() for row in self.rows], "mode": self.mode}

    @classmethod
    def of_blend(cls, blend: Blend, names: Mapping[str, str] | None = None) -> MixForm:
        """The form that says this blend of styles that have these names; a weight in a schedule moves into the slider."""
        known = names or {}
        rows = [MixRow(_with_peak(part), name=known.get(part.style, "")) for part in blend.parts]
        return cls(tuple(rows[:MOST_ROWS]), blend.mode)

    @property
    def blend(self) -> Blend:
        """What the page says, as a blend."""
        return Blend(tuple(row.part for row in self.rows), self.mode)

    def name_of(self, style: str) -> str:
        """What a style of the mix was called last, empty where nobody knows."""
        return next((row.name for row in self.rows if row.style == style), "")

    def highest(self, style: str) -> float:
        """The highest weight of a style at any step, 0 where it is not heard."""
        return self.blend.highest(style)


def _with_peak(part: BlendPart) -> BlendPart:
    """The same part with the highest point of its schedule as its weight, where the weight alone says nothing."""
    peak = max((factor for _, factor in part.schedule or ()), key=abs, default=0.0)
    if part.weight != 1 or not peak:
        return part
    points = tuple((at, factor / peak) for at, factor in part.schedule or ())
    return replace(part, weight=peak, schedule=points)
