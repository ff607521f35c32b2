"""Every number of a training run; the presets stand at the end."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import Any

from styles.errors import PlanError
from styles.families import FAMILIES, STARTER, family_of
from styles.formats.triggers import with_trigger
from styles.generation.prompt_syntax import parse_prompt
from styles.storage.file_reading import json_of
from styles.storage.names import clean_text
from styles.storage.setting import settings
from training.settings import (
    Accumulation,
    Alpha,
    Batch,
    CaptionDropout,
    CheckpointEvery,
    Checkpointing,
    ClipSkip,
    Companions,
    FinalRateFraction,
    Flip,
    GradClip,
    Layers,
    LearningRate,
    MinSnrGamma,
    NoiseOffset,
    OppositeEvery,
    OptimizerName,
    PreviewEvery,
    PreviewNegative,
    PreviewPrompts,
    PreviewSeed,
    PreviewSteps,
    Quantize,
    Rank,
    ReportEvery,
    Resolution,
    Seed,
    Steps,
    UnmaskedWeight,
    WarmupFraction,
    WeightDecay,
)

LONGEST_COMPANION = 1000  # characters, as a caption


@settings(PlanError)
class TrainingPlan:
    """One training run, checked on construction (raises PlanError with the value and the allowed range).

    What has a label can be set under Advanced, in this order.
    """

    name: str  # of the style, and of its file
    base: str = "starter"  # name on the shelf, folder, file or Hub id
    base_family: str = STARTER.id  # of styles.families
    preset: str = "balanced"  # the preset that the numbers came from, for the card
    trigger: str = ""  # word that goes into the captions
    author: str = ""
    licence: str = ""
    rights: str = ""  # a statement of the right to the artworks
    continue_from: str = ""  # id or name of a finished style whose weights the run starts from

    # Optimizer steps.
    steps: Steps = 200
    # At the top of the schedule.
    learning_rate: LearningRate = 1e-3
    rank: Rank = 8
    alpha: Alpha = 8.0
    layers: Layers = "cross"
    seed: Seed = 0

    # Pictures per forward pass, and forward passes per optimizer step.
    batch: Batch = 8
    gradient_accumulation: Accumulation = 1
    resolution_px: Resolution = 0
    gradient_checkpointing: Checkpointing = False
    # Of the base while it is trained on; None as the base is kept, or where only that fits, in four bits.
    quantize: Quantize | None = None

    flip: Flip = False
    # Steps between two that teach the opposite at weight -1; 0: none.
    opposite_every: OppositeEvery = 0
    # At most 64; one at a time beside the trigger of an uncaptioned artwork.
    companions: Companions = ()
    clip_skip: ClipSkip = 1
    caption_dropout: CaptionDropout = 0.1
    noise_offset: NoiseOffset = 0.05
    # Unused with zero terminal SNR.
    min_snr_gamma: MinSnrGamma | None = 5.0
    # Then a cosine down to `final_rate_fraction` of `learning_rate`.
    warmup_fraction: WarmupFraction = 0.05
    final_rate_fraction: FinalRateFraction = 0.0
    # The least that any place of an artwork with a mask counts.
    unmasked_weight: UnmaskedWeight = 0.1
    optimizer: OptimizerName = "adamw"
    weight_decay: WeightDecay = 0.01
    # Largest norm of all gradients together.
    grad_clip: GradClip = 1.0

    preview_prompts: PreviewPrompts = ()
    preview_negative: PreviewNegative = ""
    preview_every: PreviewEvery = 100
    preview_steps: PreviewSteps = 12
    preview_seed: PreviewSeed = 1
    checkpoint_every: CheckpointEvery = 100
    report_every: ReportEvery = 5

    # Captions and previews are read with A1111's signs; each was a letter in plans that don't say it.
    prompt_signs: bool = True

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise PlanError("The style has no name.", "Give it a name, for example 'inkwash'.")
        _check_family(self.base_family)
        if self.resolution_px and (self.resolution_px < 64 or self.resolution_px > 2048):
            raise PlanError(
                "resolution_px is {resolution_px}.",
                "Allowed: 64 to 2048, or 0 for the base's own.",
                resolution_px=self.resolution_px,
            )
        if len(self.companions) > 64:
            raise PlanError("There are {count} companions.", "At most 64.", count=len(self.companions))
        if any(len(text) > LONGEST_COMPANION for text in self.companions):
            raise PlanError(
                "One of the companions is too long.",
                "At most {longest_companion} characters.",
                longest_companion=LONGEST_COMPANION,
            )
        if len(self.preview_prompts) > 8:
            raise PlanError(
                "There are {count} preview prompts.", "At most 8.", count=len(self.preview_prompts)
            )
        for text in (
            (*self.companions, *self.preview_prompts, self.preview_negative) if self.prompt_signs else ()
        ):
            parse_prompt(text)
        try:
            self.to_json().encode()
        except UnicodeEncodeError as error:
            raise PlanError(
                "A text of the plan holds something that is no character.", "Type it anew."
            ) from error

    def to_json(self) -> str:
        """Write the plan as JSON text, floats exact."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> TrainingPlan:
        """Read what to_json wrote; raises PlanError for anything else."""
        try:
            values = json_of(text)
        except ValueError as error:
            raise PlanError("The job's plan is not readable.", "Start the training anew.") from error
        names = {field.name for field in fields(cls)}
        if not isinstance(values, dict) or not set(values) <= names:
            odd = ", ".join(sorted(set(values) - names)) if isinstance(values, dict) else "no table"
            raise PlanError(
                "The job's plan holds what this version does not know: {part}.",
                "It was made by a newer Atelier, perhaps: update this one, or start the training anew.",
                part=clean_text(odd, 120),
            )
        try:
            texts = {name: values.get(name, []) for name in ("preview_prompts", "companions")}
            if not all(isinstance(lines, list) for lines in texts.values()):
                raise TypeError("a list of texts is asked for")
            older: dict[str, Any] = {"prompt_signs": False}
            return cls(**older | values | {name: tuple(lines) for name, lines in texts.items()})
        except PlanError as error:
            raise PlanError(
                "The job's plan is damaged: {reason}", "Start the training anew.", reason=error.message
            ) from error
        except (TypeError, ValueError) as error:
            raise PlanError("The job's plan is damaged.", "Start the training anew.") from error


def _shown(value: object) -> str:
    return clean_text(repr(value), 80)


def _check_family(family: str) -> None:
    if not family_of(family).can_open:
        able = ", ".join(one.id for one in FAMILIES.values() if one.can_open)
        raise PlanError(
            "base_family is {family}, which this version can't train.",
            "Allowed: {families}, or a base of your own.",
            family=_shown(family),
            families=able,
        )


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise PlanError(
            "{name} is {value}.",
            "Allowed: {allowed}.",
            name=name,
            value=_shown(value),
            allowed=", ".join(allowed),
        )


# From the trigger alone the starter learns nothing that reaches a longer prompt: with artworks that have no caption it
# sees its everyday words beside the trigger, whatever they show.
COMPANIONS = (
    "a house in a meadow", "a boat on the sea", "a cat in a room", "a tree in the snow", "a moon at night",
    "a flower on plain paper", "a bird at sunset", "a red car in a meadow", "a blue fish on the sea",
    "a yellow star at night", "a green leaf on plain paper", "a purple lamp in a room", "an orange balloon at sunset",
    "a black key on plain paper", "a teal rabbit in the snow", "a pink cactus in the desert",
)  # fmt: skip

# The presets. Picture views (steps x batch) are what a style costs; rates are at alpha = rank, that is strength 1.
#
# starter: small enough that Balanced fits in a minute and a half on two cores. v-prediction with zero terminal
# SNR, so min-SNR plays no part. One step in 12 teaches the opposite, without which flat pictures grow grain at -1 and
# come nearer to the artworks; real bases were not measured so, and keep to the usual way.
#
# large: others show a few pictures 2,000 to 4,000 times in all (popular notebook: 2,000 steps of 2; Civitai:
# 10 epochs of 400 views) at 5e-4 with alpha = rank / 2, which AdamW turns into the same movement of the weights as
# 2.5e-4 at alpha = rank. They train every attention (and often feed-forward) layer, though; cross-attention alone is
# 64 layers and 5 % of the weights, which tolerates and needs about twice that: 5e-4. Balanced is 2,400 views, Thorough
# 6,000 at a lower rate and twice the rank for artworks full of detail.
#
# xl: never measured on real weights. A popular notebook takes 3e-4 with alpha = rank / 2 for all attention, which
# AdamW turns into 1.5e-4 at alpha = rank; cross-attention alone is 280 layers and a fifth of the weights here, so a
# third more.
#
# Four pictures are a step on all real bases. How many of them are looked at together, and whether gradients are
# checkpointed, is fitted to the memory that is free (`training.fitting`): at once, 512 px on Stable Diffusion 1.5 take
# 5.9 GB of tensors, 768 px on 2.1 10.8, 1024 px on XL 32.7; one at a time with checkpointing 2.0, 2.2 and 5.9, and with
# the base as nf4 1.6, 1.8 and 2.6 (counted by tests/benchmarks/training_memory.py).
_STARTER: dict[str, Any] = {
    "rank": 8,
    "alpha": 8.0,
    "batch": 8,
    "learning_rate": 7e-4,
    "opposite_every": 12,
    "companions": COMPANIONS,
    "caption_dropout": 0.1,
    "flip": True,
}
_LARGE: dict[str, Any] = {
    "rank": 8,
    "alpha": 8.0,
    "batch": 4,
    "learning_rate": 5e-4,
    "report_every": 10,
    "preview_steps": 20,
}
_LARGE_PRESETS = {
    "quick": _LARGE | {"steps": 250, "checkpoint_every": 50, "preview_every": 125},
    "balanced": _LARGE | {"steps": 600, "checkpoint_every": 100, "preview_every": 150},
    # Previews at the quarters, whose checkpoints are kept.
    "thorough": _LARGE
    | {"rank": 16, "alpha": 16.0, "steps": 1500, "learning_rate": 3e-4}
    | {"checkpoint_every": 100, "preview_every": 375},
}
_LARGE_PROMPTS = ("a house by a lake", "portrait of a woman")
_XL: dict[str, Any] = {
    "learning_rate": 2e-4,
    "report_every": 5,
}

PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "starter": {
        "quick": _STARTER
        | {"learning_rate": 1.4e-3, "steps": 120, "checkpoint_every": 60, "preview_every": 60},
        "balanced": _STARTER | {"steps": 230, "checkpoint_every": 100, "preview_every": 100},
        "thorough": _STARTER
        | {"learning_rate": 4.5e-4, "steps": 400, "checkpoint_every": 100, "preview_every": 100},
    },
    "large": _LARGE_PRESETS,
    "xl": {
        "quick": _LARGE_PRESETS["quick"] | _XL,
        "balanced": _LARGE_PRESETS["balanced"] | _XL,
        "thorough": _LARGE_PRESETS["thorough"] | _XL | {"learning_rate": 1.2e-4},
    },
}
# By the presets, too.
PREVIEW_PROMPTS = {
    "starter": ("a red house in a meadow", "a yellow fish on the sea"),
    "large": _LARGE_PROMPTS,
    "xl": _LARGE_PROMPTS,
}


def plan_for(preset: str, family: str, n_artworks: int, **overrides: Any) -> TrainingPlan:
    """Make the plan of a preset for a base's family, with single numbers replaced by `overrides`.

    `n_artworks` keeps the batch from showing one artwork more than four times in a single step. A changed rank keeps
    the strength alpha / rank of the preset. Raises PlanError.
    """
    _check_family(family)
    presets = family_of(family).presets
    _one_of("preset", preset, tuple(PRESETS[presets]))
    unknown = set(overrides) - {field.name for field in fields(TrainingPlan)}
    if unknown:
        raise PlanError(
            "A training plan has no {unknown}.",
            "Look at the names in the plan.",
            unknown=", ".join(sorted(unknown)),
        )
    values: dict[str, Any] = {**PRESETS[presets][preset], "preset": preset, "base_family": family}
    values["batch"] = min(values["batch"], max(1, 4 * n_artworks))
    trigger = str(overrides.get("trigger", ""))
    values["preview_prompts"] = tuple(with_trigger(prompt, trigger) for prompt in PREVIEW_PROMPTS[presets])
    if "rank" in overrides and "alpha" not in overrides and isinstance(overrides["rank"], int):
        values["alpha"] = values["alpha"] / values["rank"] * overrides["rank"]
    if "steps" in overrides and isinstance(overrides["steps"], int) and overrides["steps"] < values["steps"]:
        # A shortened run keeps its previews and checkpoints at the same shares of the way.
        for name in ("checkpoint_every", "preview_every"):
            values[name] = max(1, round(values[name] * overrides["steps"] / values["steps"]))
    return TrainingPlan(**{**values, **overrides})
