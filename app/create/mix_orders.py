"""How styles are to be mixed, and which sheet of a mix to make, as a person says it: by name."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from styles.errors import BlendError
from styles.generation.comparison_grids import STRIP_WEIGHTS, check_map, check_strip
from styles.mixing.blend import STRONGEST, Blend, BlendPart, Schedule
from styles.text import Text

SHEETS = (Text("strength strip"), Text("blend map"), Text("leave one out"))


@dataclass(frozen=True)
class StyleOrder:
    """A style by name or id with its weight, None: the one that its card suggests; raises BlendError."""

    name: str
    weight: float | None = None
    schedule: Schedule | None = None  # (at, weight) points over 0..1 of the steps, in the place of a weight

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise BlendError("A style of the mix has no name.", hint="Write it as NAME=0.7.")
        if self.weight is not None:
            _check_weight(
                Text("The weight of {style} is {weight}.", style=self.name, weight=self.weight), self.weight
            )
        if self.schedule is not None:
            try:
                part = BlendPart(self.name, 1.0, self.schedule)
            except BlendError as error:
                raise BlendError(
                    "{name}: {reason}", error.hint, name=self.name, reason=error.message
                ) from error
            object.__setattr__(self, "schedule", part.schedule)


@dataclass(frozen=True)
class MixOrder:
    """A mix: the parts of `start`, by id, changed and completed by what is said of styles by name.

    With `in_strength` the numbers of `styles` are strengths, 1 the usual full effect; `balance` scales all weights
    back where the mix would burn. What can't be known without the library is checked when the names are looked up.
    """

    styles: tuple[StyleOrder, ...] = ()
    start: Blend = field(default_factory=Blend)  # a saved blend, or that of a picture
    composition: tuple[tuple[str, float], ...] = ()
    texture: tuple[tuple[str, float], ...] = ()
    mute: tuple[str, ...] = ()
    solo: tuple[str, ...] = ()
    mode: str | None = None  # one of styles.mixing.blend.MODES; None: that of `start`
    in_strength: bool = False
    balance: bool = False
    # (id, name) of parts of `start` that were just looked up in the library.
    names: tuple[tuple[str, str], ...] = ()
    # What there is to say of it.
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.mode is not None:
            mode = " ".join(self.mode.replace("-", " ").split())  # easier to type without a space
            object.__setattr__(self, "mode", Blend(mode=mode).mode)


@dataclass(frozen=True)
class SheetOrder:
    """One seed at several weights of some styles, laid out with labels; raises BlendError for one that can't be."""

    kind: str  # one of SHEETS
    styles: tuple[str, ...] = ()  # by name or id: one for a strip, two to four for a map
    weights: tuple[float, ...] = STRIP_WEIGHTS  # of a strip
    columns: int = 3  # of a map
    rows: int = 3
    strongest: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", SHEETS[SHEETS.index(self.kind)])
        for weight in (*self.weights, self.strongest):
            _check_weight(Text("A weight of the {kind} is {weight}.", kind=self.kind, weight=weight), weight)
        if self.kind == "strength strip":
            check_strip(self.weights)
            if len(self.styles) != 1:
                raise BlendError(
                    "A strip of {count} styles can't be made.", "Name one style.", count=len(self.styles)
                )
        elif self.kind == "blend map":
            check_map(self.styles, self.columns, self.rows)

    @property
    def varies(self) -> bool:
        """Its pictures differ by weights that are shown."""
        return self.kind != "leave one out"


def _check_weight(message: Text, weight: float) -> None:
    if not math.isfinite(weight) or abs(weight) > STRONGEST:
        raise BlendError(
            message,
            hint="A weight is a number from {lowest:g} to {highest:g}, usually 0 to 1.",
            lowest=-STRONGEST,
            highest=STRONGEST,
        )
