"""A blend: which styles, how strong each is and when, and how they are mixed. Plain data, no tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from styles.errors import BlendError

MAX_SEED = 2**63 - 1
STRONGEST = 4.0  # beyond this a picture is only noise
STRONGEST_KNOB = 4.0
MODES = ("sum", "take turns", "average guidance")
MOST_STYLES = 100  # of one blend
MOST_POINTS = 64  # of one schedule

Schedule = tuple[tuple[float, float], ...]  # (at, factor) points, `at` over 0..1 of the denoising steps


@dataclass(frozen=True)
class BlendPart:
    """One style of a blend by its id.

    `weight`: 1 as trained, 0 not at all, below 0 its opposite. `schedule` says what becomes of the weight over the
    denoising steps: the weight times a factor, piecewise linear between the points and level outside them; two points
    at the same place are a jump. `composition` scales the style in the inner, low-resolution blocks, where a picture
    is laid out, `texture` in all others. A muted part is silent and keeps its numbers; where a part is solo, only
    solo parts are heard. Raises BlendError.
    """

    style: str
    weight: float
    schedule: Schedule | None = None
    composition: float = 1.0
    texture: float = 1.0
    muted: bool = False
    solo: bool = False

    def __post_init__(self) -> None:
        for name in ("weight", "composition", "texture"):
            object.__setattr__(self, name, float(getattr(self, name)))  # 1 and 1.0 are written alike
        if not math.isfinite(self.weight) or abs(self.weight) > STRONGEST:
            raise BlendError(
                "{weight} is not a weight for a style.",
                "Give a number from -{highest:g} to {highest:g}; 1 is the style as it was trained.",
                weight=self.weight,
                highest=STRONGEST,
            )
        for name in ("composition", "texture"):
            knob = getattr(self, name)
            if not 0 <= knob <= STRONGEST_KNOB:  # NaN is neither
                raise BlendError(
                    "{value} is no setting for a style's {name}.",
                    "Give a number from 0 to {highest:g}; 1 is the style as it was trained.",
                    value=knob,
                    name=name,
                    highest=STRONGEST_KNOB,
                )
        if self.schedule is not None:
            points = _points(self.schedule)
            object.__setattr__(self, "schedule", points)
            peak = max((factor for _, factor in points), key=abs) * self.weight
            if abs(peak) > STRONGEST:
                raise BlendError(
                    "The schedule takes a weight of {weight:g} to {peak:g}.",
                    "Stay between -{highest:g} and {highest:g}.",
                    weight=self.weight,
                    peak=peak,
                    highest=STRONGEST,
                )

    def weight_at(self, progress: float) -> float:
        """Return the weight at a place of the denoising, 0 its first step and 1 its last; mute and solo aside."""
        return self.weight if self.schedule is None else self.weight * _factor(self.schedule, progress)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, with only what differs from a style simply added at a weight."""
        values: dict[str, Any] = {"style": self.style, "weight": self.weight}
        if self.schedule is not None:
            values["schedule"] = [list(point) for point in self.schedule]
        plain = BlendPart(self.style, self.weight)
        for name in ("composition", "texture", "muted", "solo"):
            if getattr(self, name) != getattr(plain, name):
                values[name] = getattr(self, name)
        return values


@dataclass(frozen=True)
class Blend:
    """The parts and how they are mixed; the order they are given in means nothing, and is not kept.

    `sum` adds all styles at every step. `take turns` has one style on at each step, in the order of their ids
    (LoRA Switch), `average guidance` paints every step once with each style alone and takes the mean of the guided
    predictions (LoRA Composite), which costs as many passes as there are styles; both arXiv 2402.16843.
    """

    parts: tuple[BlendPart, ...] = ()
    mode: str = "sum"

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise BlendError(
                "“{mode}” is no way to mix styles.",
                "Choose one of: {modes}.",
                mode=self.mode,
                modes=", ".join(MODES),
            )
        if len(self.parts) > MOST_STYLES:
            raise BlendError(
                "{count} styles are too many.",
                "Mix at most {most_styles}.",
                count=len(self.parts),
                most_styles=MOST_STYLES,
            )
        ids = [part.style for part in self.parts]
        twice = sorted({style for style in ids if ids.count(style) > 1})
        if twice:
            raise BlendError(
                "The style {name} is in the blend twice.",
                "Give it once, with the weight that you want.",
                name=twice[0],
            )
        object.__setattr__(self, "parts", tuple(sorted(self.parts, key=lambda part: part.style)))

    def part_of(self, style: str) -> BlendPart | None:
        """Return the part of a style by id, None where it is not in the blend."""
        return next((part for part in self.parts if part.style == style), None)

    def weight_of(self, style: str) -> float:
        """Return the weight of a style by id as it is set, 0 where it is not in the blend."""
        part = self.part_of(style)
        return 0.0 if part is None else part.weight

    def changed(self, style: str, **changes: Any) -> Blend:
        """Return the blend with some fields of one part replaced; a style that is not in it comes in at weight 0."""
        part = replace(self.part_of(style) or BlendPart(style, 0.0), **changes)
        return replace(self, parts=(*(p for p in self.parts if p.style != style), part))

    @property
    def sounding(self) -> tuple[BlendPart, ...]:
        """The parts that act: not muted, among the solo ones where there are any, and with a weight."""
        solo = any(part.solo for part in self.parts)
        return tuple(p for p in self.parts if not p.muted and (p.solo or not solo) and p.weight != 0)

    def highest(self, style: str) -> float:
        """Return the highest weight of a style by id at any step, 0 where it is not heard."""
        part = next((part for part in self.sounding if part.style == style), None)
        return max(part.weight * factor for _, factor in part.schedule or ((0.0, 1.0),)) if part else 0.0

    @property
    def passes(self) -> int:
        """How many guided passes one denoising step costs."""
        return max(1, len(self.sounding)) if self.mode == "average guidance" else 1

    def gains_at(self, progress: float, ids: Sequence[str]) -> tuple[float, ...]:
        """Return the weight of each style in `ids` at a place of the denoising (0..1), mute and solo applied.

        Without regard to the mode: see `gains_of_step` for a style that waits for its turn.
        """
        heard = {part.style: part.weight_at(progress) for part in self.sounding}
        return tuple(heard.get(style, 0.0) for style in ids)

    def gains_of_step(self, step: int, steps: int, ids: Sequence[str]) -> tuple[float, ...]:
        """Return the weights at step 0..steps-1 of the sampler's whole run; taking turns, all but one are 0."""
        gains = self.gains_at(progress_of(step, steps), ids)
        if self.mode != "take turns" or not self.sounding:
            return gains
        turn = self.sounding[step % len(self.sounding)].style
        return tuple(gain if style == turn else 0.0 for style, gain in zip(ids, gains, strict=True))

    def to_json(self) -> Any:
        """Return plain JSON values: a list of parts, in an object where the mode is not `sum`; floats survive exactly."""
        parts = [part.to_json() for part in self.parts]
        return parts if self.mode == "sum" else {"mode": self.mode, "parts": parts}

    @classmethod
    def from_json(cls, values: Any) -> Blend:
        """Read what `to_json` wrote; raises BlendError for anything else."""
        try:
            mode = str(values["mode"]) if isinstance(values, Mapping) else "sum"
            parts = values["parts"] if isinstance(values, Mapping) else values
            return cls(tuple(_part_from_json(value) for value in parts), mode)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise BlendError("This is not a blend: it needs a style and a weight for each part.") from error


def progress_of(step: int, steps: int) -> float:
    """Return the place of step 0..steps-1 in the whole denoising: 0 the first, 1 the last."""
    return step / (steps - 1) if steps > 1 else 0.0


def _points(schedule: Sequence[Sequence[float]]) -> Schedule:
    """Check a schedule and return it as tuples of floats."""
    try:
        points = tuple((float(at), float(factor)) for at, factor in schedule)
    except (TypeError, ValueError) as error:
        raise BlendError(
            "A schedule needs a place and a weight for each of its points.", "Write it as 0@0,1@0.5."
        ) from error
    if not 1 <= len(points) <= MOST_POINTS:
        raise BlendError(
            "A schedule of {count} points can't be used.",
            "Give 1 to {most_points}.",
            count=len(points),
            most_points=MOST_POINTS,
        )
    for at, factor in points:
        if not 0 <= at <= 1:
            raise BlendError(
                "{at:g} is no place in a schedule.",
                "Places go from 0, the first step, to 1, the last.",
                at=at,
            )
        if not math.isfinite(factor) or abs(factor) > STRONGEST:
            raise BlendError(
                "{factor} is not a weight for a schedule.",
                "Stay between -{highest:g} and {highest:g}.",
                factor=factor,
                highest=STRONGEST,
            )
    for (before, _), (after, _) in pairwise(points):
        if after < before:
            raise BlendError(
                "The schedule runs backwards: {after:g} comes after {before:g}.",
                "Give its points from the first step to the last.",
                after=after,
                before=before,
            )
    return points


def _factor(points: Schedule, progress: float) -> float:
    """Return the schedule's value; at a jump, the one behind it."""
    left = next((point for point in reversed(points) if point[0] <= progress), None)
    right = next((point for point in points if point[0] > progress), None)
    if left is None or right is None:
        return (left or right or (0.0, 0.0))[1]
    share = (progress - left[0]) / (right[0] - left[0])
    return left[1] + share * (right[1] - left[1])


def _part_from_json(values: Any) -> BlendPart:
    for name in ("muted", "solo"):
        if not isinstance(values.get(name, False) if isinstance(values, Mapping) else None, bool):
            raise TypeError(name)
    return BlendPart(
        str(values["style"]),
        float(values["weight"]),
        values.get("schedule"),
        float(values.get("composition", 1.0)),
        float(values.get("texture", 1.0)),
        values.get("muted", False),
        values.get("solo", False),
    )
