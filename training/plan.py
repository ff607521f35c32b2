"""Every number of a training run, each with its unit and range; the presets stand at the end."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from styles.errors import PlanError
from styles.families import FAMILIES, STARTER, family_of
from styles.formats.triggers import with_trigger
from styles.storage.file_reading import json_of
from styles.storage.names import clean_text

LONGEST_COMPANION = 1000  # characters, as a caption


@dataclass(frozen=True)
class TrainingPlan:
    """One training run, checked on construction (raises PlanError with the value and the allowed range)."""

    name: str  # of the style, and of its file
    base: str = "starter"  # name on the shelf, folder, file or Hub id
    base_family: str = STARTER.id  # of styles.families
    preset: str = "balanced"  # the preset that the numbers came from, for the card
    trigger: str = ""  # word that goes into the captions
    author: str = ""
    licence: str = ""
    rights: str = ""  # a statement of the right to the artworks
    continue_from: str = ""  # id or name of a finished style whose weights the run starts from

    layers: str = "cross"  # "cross": attn2 only; "cross+self": attn1 too
    rank: int = 8  # 1..128
    alpha: float = 8.0  # > 0; the style's strength is alpha / rank
    learning_rate: float = 1e-3  # 0 < rate <= 0.1, at the top of the schedule
    weight_decay: float = 0.01  # 0..1, AdamW's
    steps: int = 200  # optimizer steps, 1..100000
    batch: int = 8  # pictures per forward pass, 1..64
    gradient_accumulation: int = 1  # forward passes per optimizer step, 1..64
    warmup_fraction: float = 0.05  # 0..0.5 of all steps, then a cosine down to `final_rate_fraction`
    final_rate_fraction: float = 0.0  # 0..1 of learning_rate at the last step
    opposite_every: int = 0  # steps between two that teach the opposite at weight -1, 0..100000; 0 = none
    companions: tuple[str, ...] = ()  # at most 64; one at a time beside the trigger of an uncaptioned artwork
    caption_dropout: float = 0.1  # 0..1, share of pictures shown without their caption
    min_snr_gamma: float | None = 5.0  # > 0, or None for the plain loss; unused with zero terminal SNR
    noise_offset: float = 0.05  # 0..0.5; used on noise-predicting bases only
    grad_clip: float = 1.0  # > 0, largest norm of all gradients together
    gradient_checkpointing: bool = False  # less memory, about a third slower
    flip: bool = False  # show mirrored artworks too; wrong for lettering and signatures
    resolution_px: int = 0  # side of the square whose area every artwork gets, 0 = the base's native size
    seed: int = 0  # 0..2**63-1

    report_every: int = 5  # steps between two readings of the loss
    checkpoint_every: int = 100  # steps
    preview_every: int = 100  # steps; 0 = no previews
    preview_prompts: tuple[str, ...] = ()  # at most 8; () = no previews
    preview_seed: int = 1  # 0..2**63-1, first preview's; the next one's is one more
    preview_steps: int = 12  # denoising steps, 1..100

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, float) and not math.isfinite(value):
                raise PlanError(
                    "{name} is {value}, which is not a number.",
                    "Give a finite number.",
                    name=field.name,
                    value=value,
                )
            kind = {"str": str, "bool": bool}.get(str(field.type))
            if kind and not isinstance(value, kind):
                raise PlanError(
                    "{name} is {value}.",
                    "Give a text, or true or false.",
                    name=field.name,
                    value=_shown(value),
                )
        if not self.name.strip():
            raise PlanError("The style has no name.", "Give it a name, for example 'inkwash'.")
        _check_family(self.base_family)
        _one_of("layers", self.layers, ("cross", "cross+self"))
        for name, low, high in _WHOLE_RANGES:
            _whole(name, getattr(self, name), low, high)
        for name, least, most in _REAL_RANGES:
            _real(name, getattr(self, name), least, most)
        for name in ("alpha", "learning_rate", "grad_clip"):
            if getattr(self, name) <= 0:
                raise PlanError(
                    "{name} is {value}.", "It must be above 0.", name=name, value=getattr(self, name)
                )
        if self.min_snr_gamma is not None:
            _real("min_snr_gamma", self.min_snr_gamma, 0.01, 1000.0)
        if self.resolution_px and (self.resolution_px < 64 or self.resolution_px > 2048):
            raise PlanError(
                "resolution_px is {resolution_px}.",
                "Allowed: 64 to 2048, or 0 for the base's own.",
                resolution_px=self.resolution_px,
            )
        if not all(isinstance(text, str) for text in (*self.preview_prompts, *self.companions)):
            raise PlanError("A preview prompt or a companion is not a text.", "Give it as text.")
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
        known = {field.name for field in fields(cls)}
        if not isinstance(values, dict) or not set(values) <= known:
            odd = ", ".join(sorted(set(values) - known)) if isinstance(values, dict) else "no table"
            raise PlanError(
                "The job's plan holds what this version does not know: {part}.",
                "It was made by a newer Atelier, perhaps: update this one, or start the training anew.",
                part=clean_text(odd, 120),
            )
        try:
            texts = {name: values.get(name, []) for name in ("preview_prompts", "companions")}
            if not all(isinstance(lines, list) for lines in texts.values()):
                raise TypeError("a list of texts is asked for")
            return cls(**values | {name: tuple(lines) for name, lines in texts.items()})
        except PlanError as error:
            raise PlanError(
                "The job's plan is damaged: {reason}", "Start the training anew.", reason=error.message
            ) from error
        except (TypeError, ValueError) as error:
            raise PlanError("The job's plan is damaged.", "Start the training anew.") from error


_WHOLE_RANGES = (
    ("rank", 1, 128),
    ("steps", 1, 100_000),
    ("batch", 1, 64),
    ("gradient_accumulation", 1, 64),
    ("opposite_every", 0, 100_000),
    ("resolution_px", 0, 2048),
    ("seed", 0, 2**63 - 1),
    ("report_every", 1, 1000),
    ("checkpoint_every", 1, 100_000),
    ("preview_every", 0, 100_000),
    ("preview_seed", 0, 2**63 - 1),
    ("preview_steps", 1, 100),
)
_REAL_RANGES = (
    ("alpha", 0.0, 1024.0),
    ("learning_rate", 0.0, 0.1),
    ("weight_decay", 0.0, 1.0),
    ("warmup_fraction", 0.0, 0.5),
    ("final_rate_fraction", 0.0, 1.0),
    ("caption_dropout", 0.0, 1.0),
    ("noise_offset", 0.0, 0.5),
    ("grad_clip", 0.0, 1000.0),
)


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


def _whole(name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise PlanError(
            "{name} is {value}.",
            "Allowed: whole numbers from {low} to {high}.",
            name=name,
            value=_shown(value),
            low=low,
            high=high,
        )


def _real(name: str, value: object, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise PlanError(
            "{name} is {value}.",
            "Allowed: {low:g} to {high:g}.",
            name=name,
            value=_shown(value),
            low=low,
            high=high,
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
# 64 layers and 5 % of the weights, which tolerates and needs about twice that: 5e-4. Batch 4 fills a 6 GB card at
# 512 px. Balanced is 2,400 views, Thorough 6,000 at a lower rate and twice the rank for artworks full of detail.
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

PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "starter": {
        "quick": _STARTER
        | {"learning_rate": 1.4e-3, "steps": 120, "checkpoint_every": 60, "preview_every": 60},
        "balanced": _STARTER | {"steps": 230, "checkpoint_every": 100, "preview_every": 100},
        "thorough": _STARTER
        | {"learning_rate": 4.5e-4, "steps": 400, "checkpoint_every": 100, "preview_every": 100},
    },
    "large": {
        "quick": _LARGE | {"steps": 250, "checkpoint_every": 50, "preview_every": 125},
        "balanced": _LARGE | {"steps": 600, "checkpoint_every": 100, "preview_every": 150},
        "thorough": _LARGE
        | {"rank": 16, "alpha": 16.0, "steps": 1500, "learning_rate": 3e-4}
        | {"checkpoint_every": 100, "preview_every": 375},  # quarters, whose checkpoints are kept
    },
}
# By the presets, too.
PREVIEW_PROMPTS = {
    "starter": ("a red house in a meadow", "a yellow fish on the sea"),
    "large": ("a house by a lake", "portrait of a woman"),
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
