"""What a person asks for, in their words: names, folders, and None wherever the base or the preset decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from app.create.mix_orders import MixOrder, SheetOrder, StyleOrder
from styles.errors import BadInput, BlendError, PromptError
from styles.generation.recipe import (
    MAX_GUIDANCE,
    MAX_PICTURES,
    MAX_SCALE,
    MAX_SIDE_PX,
    MAX_STEPS,
    MIN_SIDE_PX,
    SAMPLERS,
    Recipe,
)
from styles.mixing.blend import MAX_SEED

DEFAULT_STEPS = 20
DEFAULT_SAMPLER = SAMPLERS[0]
SIDE_STEP_PX = 8


@dataclass(frozen=True)
class PictureOrder:
    """Pictures to make; checked on construction, raises BadInput before anything heavy loads.

    The styles are given in `mix`, or shorter as `weights` where each has only a weight.
    """

    prompt: str
    negative: str = ""
    # (style name or id, weight; None: the one its card suggests)
    weights: tuple[tuple[str, float | None], ...] = ()
    base: str = ""  # a base's name, folder or file; empty: the one in use
    seed: int | None = None  # of the first picture, the next ones count up; None: drawn
    count: int = 1
    steps: int | None = None
    guidance: float | None = None
    sampler: str | None = None
    width_px: int | None = None
    height_px: int | None = None
    add_triggers: bool = True  # put the trigger word of each style with a positive weight into the prompt
    left_out: frozenset[str] = frozenset()  # ids of styles whose trigger words stay out all the same
    mix: MixOrder = field(default_factory=MixOrder)
    sheet: SheetOrder | None = None  # several pictures of one seed, that differ by the weights alone
    image: Path | None = None  # a picture to start from
    denoise: float | None = None  # 0..1, how far to go from it
    second_pass: float | None = None  # paint again at so many times the width and height
    second_denoise: float | None = None  # 0..1, how far the second pass goes from the first
    agreed: bool = False  # paint it however long it takes; else a size far beyond the base's is asked about
    bearable: bool = False  # no larger than is painted without being asked about, whatever the size
    like: Recipe | None = None  # the recipe that it changes, if it does; what it can't keep of that is said

    def __post_init__(self) -> None:
        if "\0" in self.prompt + self.negative:
            raise PromptError("The prompt contains a zero byte.", hint="Type the prompt as plain text.")
        if self.weights and self.mix.styles:
            raise BlendError("The styles are given twice.", "Give them once, in the mix or as weights.")
        _ = self.whole_mix  # each weight is checked
        _check_whole("count", self.count, 1, MAX_PICTURES)
        _check_whole("steps", self.steps, 1, MAX_STEPS)
        _check_whole("seed", self.seed, 0, MAX_SEED)
        if self.sampler is not None and self.sampler not in SAMPLERS:
            raise BadInput(
                "There is no sampler “{sampler}”.",
                hint="Choose one of: {samplers}.",
                sampler=self.sampler,
                samplers=", ".join(SAMPLERS),
            )
        if self.guidance is not None and not 0 <= self.guidance <= MAX_GUIDANCE:
            raise BadInput(
                "The guidance is {guidance}.",
                hint="It is a number from 0 to {max_guidance:g}.",
                guidance=self.guidance,
                max_guidance=MAX_GUIDANCE,
            )
        for side, length in (("width", self.width_px), ("height", self.height_px)):
            _check_whole(side, length, MIN_SIDE_PX, MAX_SIDE_PX)
            if length is not None and length % SIDE_STEP_PX:
                raise BadInput(
                    "The {side} is {length} pixels.",
                    hint="It must be a multiple of {side_step_px} pixels.",
                    side=side,
                    length=length,
                    side_step_px=SIDE_STEP_PX,
                )
        self._check_passes()
        if self.sheet is not None and self.count > 1:
            raise BadInput(
                "A {kind} is made of one seed, not of {count}.",
                hint="Ask for one after the other.",
                kind=self.sheet.kind,
                count=self.count,
            )
        if self.mix.balance and self.sheet is not None and self.sheet.varies:
            raise BadInput(
                "A {kind} can't be balanced: its weights would not be those that it shows.",
                hint="Leave the balance away, or lower the weights.",
                kind=self.sheet.kind,
            )

    def _check_passes(self) -> None:
        """Check the picture to start from and the second pass."""
        if self.denoise is not None and self.image is None:
            raise BadInput(
                "There is no picture to start from.", hint="Name one, or leave the denoising away."
            )
        if self.second_denoise is not None and self.second_pass is None:
            raise BadInput("There is no second pass.", hint="Ask for one, or leave its denoising away.")
        if self.denoise is not None and not 0 <= self.denoise <= 1:
            raise BadInput(
                "The denoising is {denoise}.",
                hint="It is a number from 0, the picture as it is, to 1, next to nothing of it; 0.6 is usual.",
                denoise=self.denoise,
            )
        if self.second_pass is not None and not 1 < self.second_pass <= MAX_SCALE:
            raise BadInput(
                "The second pass is {second_pass:g} times the size.",
                hint="It is a number above 1, at most {max_scale:g}; 1.5 and 2 are usual.",
                second_pass=self.second_pass,
                max_scale=MAX_SCALE,
            )
        if self.second_denoise is not None and not 0 < self.second_denoise <= 1:
            raise BadInput(
                "The denoising of the second pass is {second_denoise}.",
                hint="It is a number above 0, at most 1; 0.5 is usual.",
                second_denoise=self.second_denoise,
            )

    @property
    def whole_mix(self) -> MixOrder:
        """The mix, with the styles that were given as weights."""
        if not self.weights:
            return self.mix
        return replace(self.mix, styles=tuple(StyleOrder(name, weight) for name, weight in self.weights))


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
    rights: str = ""  # a statement of the right to the artworks
    continue_from: str = ""  # name or id of a finished style to go on from; empty: from nothing
    numbers: Mapping[str, Any] = field(default_factory=dict)  # any other of the plan's, by its name there

    def __post_init__(self) -> None:
        if not self.pictures:
            raise BadInput(
                "There are no artworks to learn from.", hint="Give some pictures or a folder of them."
            )
        for name in self.numbers:
            if getattr(self, name, None) is not None:
                raise BadInput("{name} is given twice.", hint="Give it once.", name=name)


def _check_whole(what: str, number: int | None, low: int, high: int) -> None:
    if number is not None and not low <= number <= high:
        raise BadInput(
            "The {what} is {number}.",
            hint="It is a whole number from {low} to {high}.",
            what=what,
            number=number,
            low=low,
            high=high,
        )
