"""Sliders in strength: how much weight makes a style as strong as another, and how much a mix can take.

A style's effect is the relative change of the predicted noise for each unit of weight, as `styles.generation.effect_probe` measures it
near the weight that is full effect. It is close to proportional to the weight, so one number turns strength into
weight and back. Plain data: no tensors here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from filelock import FileLock

from styles.mixing.blend import STRONGEST, Blend, BlendPart
from styles.storage import atomic
from styles.storage.file_reading import read_json
from styles.storage.home import Home

# Looked at on the starter, with its two bundled styles and three that were brought in: a mix of 1.4 in all keeps its
# subject, one that is scaled back to 1.5 just so, and of 2 it is gone.
FULL = 0.18  # relative change of the predicted noise that counts as strength 1, the usual full effect
MOST = 1.5  # strength in all that a picture takes before it burns
SKETCH = 256  # numbers that keep a change's direction
LARGEST = 256 << 20  # bytes of the file that keeps effects; ten thousand styles take a tenth
UNIT = 3  # number of the fixed set in styles.generation.effect_probe; what was measured with another is measured again


@dataclass(frozen=True)
class Effect:
    """What a style does to one base at weight 1.

    `size` is the relative change of the prediction; `sketch` has that length and keeps the change's direction, so that
    the change of a whole mix can be told without computing it.
    """

    size: float
    sketch: tuple[float, ...]

    @property
    def strength(self) -> float:
        """How strong the style is at weight 1, in usual full effects."""
        return self.size / FULL

    def weight_for(self, strength: float) -> float:
        """Return the weight for a strength, at most what a blend takes; a style without effect keeps the number."""
        weight = strength / self.strength if self.strength > 0 else strength
        return max(-STRONGEST, min(STRONGEST, weight))

    def strength_of(self, weight: float) -> float:
        """Return the strength that a weight has."""
        return weight * self.strength


@dataclass(frozen=True)
class Budget:
    """What a mix asks of a picture: the strength of all styles together at its highest, and what is usual."""

    total: float
    limit: float
    unknown: tuple[str, ...]  # ids of styles that were not measured yet; counted as of usual strength

    @property
    def burns(self) -> bool:
        """Whether the picture will probably burn."""
        return self.total > self.limit


def budget(blend: Blend, effects: Mapping[str, Effect], limit: float = MOST) -> Budget:
    """Return the budget of a blend; `effects` by style id.

    The changes are added with their directions where all are known: two styles that do the same weigh double, two
    that have nothing to do with each other about 1.4-fold. Taking turns, the strongest style counts; at average
    guidance the mean of all.
    """
    sounding = blend.sounding
    unknown = tuple(part.style for part in sounding if part.style not in effects)
    # Between two points of the schedules all weights are linear, so the highest total is at one of them.
    places = {0.0, 1.0} | {at for part in sounding for at, _ in part.schedule or ()}
    places |= {max(0.0, at - 1e-9) for at in places}  # in front of a jump
    total = max(_total(blend, effects, sounding, place) for place in places)
    return Budget(total, limit, unknown)


def balanced(blend: Blend, effects: Mapping[str, Effect], limit: float = MOST) -> Blend:
    """Scale all weights back by one factor until the mix is within the limit; one that is, stays as it is."""
    total = budget(blend, effects, limit).total
    if total <= limit:
        return blend
    factor = limit / total * (1 - 1e-9)
    return replace(blend, parts=tuple(replace(part, weight=part.weight * factor) for part in blend.parts))


def _total(
    blend: Blend, effects: Mapping[str, Effect], sounding: tuple[BlendPart, ...], place: float
) -> float:
    """The strength of the whole mix at a place of the denoising."""
    # A knob scales a part of the style; how large a part is not known, so the higher one counts.
    weights = [part.weight_at(place) * max(part.composition, part.texture) for part in sounding]
    effects_at = [(weight, effects.get(part.style)) for weight, part in zip(weights, sounding, strict=True)]
    if blend.mode == "take turns":
        return max((abs(_alone(weight, effect)) for weight, effect in effects_at), default=0.0)
    share = 1.0 / len(effects_at) if blend.mode == "average guidance" and effects_at else 1.0
    summed = [0.0] * SKETCH
    square = 0.0
    for weight, effect in effects_at:
        if effect is None:
            square += (weight * share) ** 2  # in a direction of its own
        else:
            summed = [a + weight * share * b / FULL for a, b in zip(summed, effect.sketch, strict=True)]
    return math.sqrt(square + sum(a * a for a in summed))


def _alone(weight: float, effect: Effect | None) -> float:
    return weight if effect is None else effect.strength_of(weight)


class Effects:
    """The effects that were measured, kept in a home by style and base; a file that is damaged is begun anew.

    A base is known by its `effects_key`.
    """

    def __init__(self, home: Home) -> None:
        self.path = home.styles / ".effects.json"
        self._lock = home.styles / ".lock"  # the library's own

    def known(self, effects_key: str) -> dict[str, Effect]:
        """Return what is known on a base, by style id."""
        measured = {}
        for style, values in self._read().get(effects_key, {}).items():
            try:
                size, sketch = float(values[0]), tuple(float(value) for value in values[1])
            except (TypeError, ValueError, IndexError, KeyError):
                continue
            if len(sketch) == SKETCH and all(map(math.isfinite, (size, *sketch))):
                measured[style] = Effect(size, sketch)
        return measured

    def add(self, effects_key: str, effects: Mapping[str, Effect]) -> None:
        """Keep effects by style id; what other processes added stays."""
        with atomic.disk_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        with atomic.disk_errors(self._lock), FileLock(self._lock):
            values = self._read()
            here = values.setdefault(effects_key, {})
            for style, effect in effects.items():
                here[style] = [effect.size, [float(f"{value:.5g}") for value in effect.sketch]]
            atomic.write_cache(self.path, json.dumps({"unit": UNIT, "effects": values}))

    def _read(self) -> dict[str, Any]:
        try:
            values = read_json(self.path, LARGEST)
            effects = values["effects"] if values["unit"] == UNIT else {}
            return {base: styles for base, styles in effects.items() if isinstance(styles, dict)}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}
