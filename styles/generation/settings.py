"""What can be set of a picture: each setting once, with its range and its words.

Requests, recipes, the command line, the endpoints and the form of the window read it from here. None means that the
base decides.
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from styles.errors import BadInput
from styles.generation.samplers import DEFAULT_SAMPLER, SAMPLERS, SCHEDULES
from styles.mixing.blend import MAX_SEED
from styles.quantization.quantization import Quantize
from styles.storage.setting import Setting, settings
from styles.text import Text

if TYPE_CHECKING:
    from styles.bases.few_steps import FewSteps
    from styles.generation.recipe import Recipe

MAX_PICTURES = 1000  # at once
MAX_PIXELS = 4096 * 4096  # of one picture
MIN_SIDE_PX, MAX_SIDE_PX = 8, 16384
SIDE_STEP_PX = 8
MORE = Text("More settings")
PLACED = ("seed", "width_px", "height_px")  # what the paper of a form says
DRAWN_SEEDS = 2**32  # short enough to be typed

Steps = Annotated[
    int,
    Setting(
        "Steps", option="Denoising steps.", low=1, high=1000, unset="the base's", usual=20, slider=(1, 100, 1),
        group=MORE, refused="The number of steps is {value}.",
    ),
]  # fmt: skip
Guidance = Annotated[
    float,
    Setting(
        "Guidance", "How closely to follow the prompt.", unset="the base's", low=0, high=100, group=MORE,
        refused="The guidance is {value}.",
    ),
]  # fmt: skip
SamplerName = Annotated[
    str,
    Setting(
        "Sampler", choices=tuple(SAMPLERS), unset="what suits the base", usual=DEFAULT_SAMPLER, group=MORE,
        refused="There is no sampler “{value}”.",
    ),
]  # fmt: skip
ScheduleName = Annotated[
    str,
    Setting(
        "Schedule type", "How the steps are spread over the noise.", choices=tuple(SCHEDULES), unset="the sampler's own",
        group=MORE, refused="There is no schedule type “{value}”.",
    ),
]  # fmt: skip
Seed = Annotated[
    int,
    Setting(
        "Seed", option="Seed of the first picture.", low=0, high=MAX_SEED, unset="drawn", refused="The seed is {value}."
    ),
]  # fmt: skip

CLIP_SKIP = Setting(
    "Clip skip",
    "Which layer of the text encoder is read: 1 the last, 2 the one before. Stable Diffusion XL always reads that one.",
    option="Layer of the text encoder, counted from the last; fixed on SDXL.", unset="1", low=1, high=12, usual=1,
    slider=(1, 12, 1), group=MORE, refused="The clip skip is {value}.",
)  # fmt: skip
ClipSkip = Annotated[int, CLIP_SKIP]
Denoise = Annotated[
    float,
    Setting(
        "How far to go from it", "0 leaves it as it is, 1 leaves next to nothing of it.",
        option="How far to go from it: 0 leaves it as it is, 1 next to nothing.", usual=0.6, low=0, high=1,
        slider=(0, 1, 0.05), refused="The denoising is {value}.",
    ),
]  # fmt: skip
Scale = Annotated[
    float,
    Setting(
        "Second pass at a larger size", "For final work: the picture is enlarged and painted over.",
        option="Paint again, larger.", usual=1.5, unit="x", above=1, high=4, offered=(1.5, 2.0), group=MORE,
        refused="The second pass is {value} times the size.",
    ),
]  # fmt: skip
SecondDenoise = Annotated[
    float,
    Setting(
        "How far the second pass goes", option="How far the second pass goes from the first.", usual=0.5,
        above=0, high=1, slider=(0.01, 1, 0.01), group=MORE,
        refused="The denoising of the second pass is {value}.",
    ),
]  # fmt: skip


@settings(BadInput)
class PictureSettings:
    """What to paint with, and how large."""

    negative: Annotated[
        str,
        Setting("Keep out", "What must not be in the picture.", option="What to keep out.", group=MORE),
    ] = ""
    base: Annotated[
        str,
        Setting(
            "Base to paint with", option="A base's name, folder, file or Hub id.", unset="the one in use"
        ),
    ] = ""
    # Of the first picture; the next ones count up.
    seed: Seed | None = None
    count: Annotated[
        int,
        Setting(
            "How many", option="How many pictures.", low=1, high=MAX_PICTURES, refused="The count is {value}."
        ),
    ] = 1
    steps: Steps | None = None
    guidance: Guidance | None = None
    sampler: SamplerName | None = None
    schedule: ScheduleName | None = None
    clip_skip: ClipSkip | None = None
    width_px: Annotated[
        int | None,
        Setting(
            "Width", option="Width in pixels.", name="width", unit="px", unset="the base's", low=MIN_SIDE_PX,
            high=MAX_SIDE_PX, multiple_of=SIDE_STEP_PX, refused="The width is {value} pixels.",
        ),
    ] = None  # fmt: skip
    height_px: Annotated[
        int | None,
        Setting(
            "Height", option="Height in pixels.", name="height", unit="px", unset="the base's", low=MIN_SIDE_PX,
            high=MAX_SIDE_PX, multiple_of=SIDE_STEP_PX, refused="The height is {value} pixels.",
        ),
    ] = None  # fmt: skip
    quantize: Quantize | None = None

    @classmethod
    def of(cls, recipe: Recipe, base: str = "") -> PictureSettings:
        """What a recipe's picture was painted with, besides size and seed; `base` is what its base is called here.

        A sampler or schedule type that is not here is left open: see `samplers.missing_notes`. So is what the recipe
        says nothing of.
        """
        said = recipe.sampler in SAMPLERS and "sampler" not in recipe.unsaid
        sampler = recipe.sampler if said else None
        unusual = sampler is not None and recipe.schedule not in ("", SAMPLERS[sampler].usual)
        return cls(
            negative=recipe.negative, base=base, sampler=sampler,
            steps=None if "steps" in recipe.unsaid else recipe.steps,
            guidance=None if "guidance" in recipe.unsaid else recipe.guidance,
            schedule=recipe.schedule if unusual and recipe.schedule in SCHEDULES else None,
            clip_skip=recipe.clip_skip,
        )  # fmt: skip

    def suited_to(self, way: FewSteps) -> PictureSettings:
        """The same, with what was left open as it suits a base or a style that was distilled so."""
        return replace(
            self,
            sampler=self.sampler or way.sampler,
            schedule=self.schedule if self.sampler or self.schedule else way.schedule,
            steps=self.steps or way.steps,
            guidance=way.guidance if self.guidance is None else self.guidance,
        )

    def sized_as(self, recipe: Recipe) -> PictureSettings:
        """The same with the size and the seed of a recipe's picture."""
        said = {name: getattr(recipe, name) for name in PLACED if name not in recipe.unsaid}
        return replace(self, **said)

    def seeds(self) -> tuple[int, ...]:
        """One for each picture, counted up from the first, which is drawn where none is given."""
        first = secrets.randbelow(DRAWN_SEEDS) if self.seed is None else self.seed
        return tuple(first + number for number in range(self.count))


@settings(BadInput)
class PassSettings:
    """How far the first pass goes from a picture to start from, and whether a second one paints it larger."""

    denoise: Denoise | None = None
    second_pass: Scale | None = None
    second_denoise: SecondDenoise | None = None

    @classmethod
    def of(cls, recipe: Recipe) -> PassSettings:
        """How a recipe's picture was painted."""
        return cls(
            recipe.source_strength if recipe.source else None,
            recipe.second_scale or None,
            recipe.second_strength or None,
        ).acting(bool(recipe.source))

    def check(self, starts_from_picture: bool) -> None:
        """Raise BadInput where something is said of a pass that there is not."""
        if self.denoise is not None and not starts_from_picture:
            raise BadInput(
                "There is no picture to start from.", hint="Name one, or leave the denoising away."
            )
        if self.second_denoise is not None and self.second_pass is None:
            raise BadInput("There is no second pass.", hint="Ask for one, or leave its denoising away.")

    def acting(self, starts_from_picture: bool) -> PassSettings:
        """The same without what it says of a pass that there is not."""
        return PassSettings(
            self.denoise if starts_from_picture else None,
            self.second_pass,
            self.second_denoise if self.second_pass else None,
        )

    @property
    def first(self) -> PassSettings:
        """The same without a second pass."""
        return PassSettings(self.denoise)
