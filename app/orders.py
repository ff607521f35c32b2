"""What a person asks for, in their words: names, folders, and None wherever the base or the preset decides."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from styles.blend import STRONGEST
from styles.errors import BadInput, BlendError, PromptError
from styles.recipe import (
    MAX_GUIDANCE,
    MAX_PICTURES,
    MAX_SEED,
    MAX_SIDE_PX,
    MAX_STEPS,
    MIN_SIDE_PX,
    SAMPLERS,
)

DEFAULT_STEPS = 20
DEFAULT_SAMPLER = SAMPLERS[0]
SIDE_STEP_PX = 8


@dataclass(frozen=True)
class PictureOrder:
    """Pictures to make; checked on construction, raises BadInput before anything heavy loads."""

    prompt: str
    negative: str = ""
    weights: tuple[
        tuple[str, float | None], ...
    ] = ()  # (style name or id, weight; None: the one its card suggests)
    base: str = ""  # a base's name, folder or file; empty: the one in use
    seed: int | None = None  # of the first picture, the next ones count up; None: drawn
    count: int = 1
    steps: int | None = None
    guidance: float | None = None
    sampler: str | None = None
    width_px: int | None = None
    height_px: int | None = None
    add_triggers: bool = True  # put the trigger word of each style with a positive weight into the prompt

    def __post_init__(self) -> None:
        if "\0" in self.prompt + self.negative:
            raise PromptError("The prompt contains a zero byte.", hint="Type the prompt as plain text.")
        for name, weight in self.weights:
            if weight is not None and (not math.isfinite(weight) or abs(weight) > STRONGEST):
                raise BlendError(
                    f"The weight of {name} is {weight}.",
                    hint=f"A weight is a number from {-STRONGEST:g} to {STRONGEST:g}, usually 0 to 1.",
                )
        _check_whole("count", self.count, 1, MAX_PICTURES)
        _check_whole("steps", self.steps, 1, MAX_STEPS)
        _check_whole("seed", self.seed, 0, MAX_SEED)
        if self.sampler is not None and self.sampler not in SAMPLERS:
            raise BadInput(
                f"There is no sampler “{self.sampler}”.", hint=f"Choose one of: {', '.join(SAMPLERS)}."
            )
        if self.guidance is not None and not 0 <= self.guidance <= MAX_GUIDANCE:
            raise BadInput(
                f"The guidance is {self.guidance}.", hint=f"It is a number from 0 to {MAX_GUIDANCE:g}."
            )
        for side, length in (("width", self.width_px), ("height", self.height_px)):
            _check_whole(side, length, MIN_SIDE_PX, MAX_SIDE_PX)
            if length is not None and length % SIDE_STEP_PX:
                raise BadInput(
                    f"The {side} is {length} pixels.", hint=f"It must be a multiple of {SIDE_STEP_PX} pixels."
                )


@dataclass(frozen=True)
class TrainingOrder:
    """A style to train; the plan checks the numbers, the artworks are checked when they are collected."""

    name: str
    pictures: tuple[Path, ...]
    base: str = ""  # a base's name, folder or file; empty: the one in use
    preset: str = "balanced"
    trigger: str = ""
    steps: int | None = None
    rank: int | None = None
    seed: int | None = None
    resolution_px: int | None = None
    layers: str | None = None  # "cross" or "cross+self"
    learning_rate: float | None = None
    batch: int | None = None
    gradient_accumulation: int | None = None
    gradient_checkpointing: bool | None = None
    flip: bool | None = None
    author: str = ""
    licence: str = ""
    continue_from: str = ""  # name or id of a finished style to go on from; empty: from nothing

    def __post_init__(self) -> None:
        if not self.pictures:
            raise BadInput(
                "There are no artworks to learn from.", hint="Give some pictures or a folder of them."
            )


def _check_whole(what: str, number: int | None, low: int, high: int) -> None:
    if number is not None and not low <= number <= high:
        raise BadInput(f"The {what} is {number}.", hint=f"It is a whole number from {low} to {high}.")
