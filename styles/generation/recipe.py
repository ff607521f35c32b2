"""A recipe: everything that makes one picture again."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, field, fields, replace
from typing import Annotated, Any

from pydantic import InstanceOf

from styles.errors import AtelierError, RecipeError
from styles.generation.prompt_syntax import escaped
from styles.generation.samplers import DEFAULT_SAMPLER
from styles.generation.settings import MAX_SIDE_PX, MIN_SIDE_PX, ClipSkip, Seed, Steps
from styles.mixing.blend import Blend
from styles.quantization.quantization import PLAIN
from styles.storage.names import SHA256
from styles.storage.setting import Setting, settings
from styles.text import Text, text_from_json, text_to_json

# Each is at least one token of CLIP's, so that 75 tokens rarely have fewer.
PIECE = re.compile(r"\w+|[^\w\s]")
FEWEST_CUT_OFF = 50
FORMAT = 1  # of the JSON; a reader ignores keys that it doesn't know
LATER = (
    "schedule",
    "source",
    "source_strength",
    "second_scale",
    "second_strength",
    "second_steps",
    "threads",
    "vae",
    "prompt_signs",
    "clip_skip",
    "quantize",
    "unsaid",
)
Side = Annotated[
    int, Setting(low=MIN_SIDE_PX, high=MAX_SIDE_PX, refused="A side of the picture is {value} pixels.")
]


@settings(RecipeError)
class Recipe:
    """One picture's making. Rounding depends on device, dtype, batch shape and versions, so those are kept too."""

    prompt: str
    negative: str = ""
    base: str = ""
    base_fingerprint: str = ""  # sha256 hex; empty where the picture's maker didn't say
    family: str = ""
    blend: InstanceOf[Blend] = field(default_factory=Blend)
    style_names: tuple[tuple[str, str], ...] = ()  # (style id, name), for people and for other programs
    seed: Seed = 0
    sampler: str = DEFAULT_SAMPLER
    schedule: str = ""  # empty: the sampler's usual one, on this base
    steps: Steps = 20
    guidance: float = 7.5
    guidance_rescale: float = 0.0
    width_px: Side = 512
    height_px: Side = 512
    safety_checker: bool = False  # whether one looked at the picture
    device: str = ""
    dtype: str = ""
    batch_shape: tuple[int, ...] = ()  # of the latents, (pictures, channels, height, width)
    batch_index: int = 0
    versions: tuple[tuple[str, str], ...] = ()  # (package, version)
    notes: tuple[Text, ...] = ()  # what a reader could not take over, in words
    source: str = ""  # sha256 hex of the picture that it was painted from; empty: from noise alone
    source_strength: float = 0.0  # 0..1, how far it went from there
    # Of a second pass at a larger size; 0: none. `width_px` and `height_px` are the first's.
    second_scale: float = 0.0
    second_strength: float = 0.0
    second_steps: int = 0  # 0: as many as the first
    threads: int = 0  # of the processor, where it painted; 0: not noted
    vae: str = ""  # sha256 hex of a VAE that took the place of the base's own
    # Whether brackets and BREAK in its prompts are A1111's signs; before there were any, each was a letter.
    prompt_signs: bool = False
    clip_skip: ClipSkip = 1
    quantize: str = PLAIN  # how its base was kept, see styles.quantization
    # The fields that a picture of another program says nothing of; what stands there means nothing.
    unsaid: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.source and not SHA256.fullmatch(self.source):
            raise RecipeError(
                "The recipe names the picture that it started from in no way that can be found."
            )

    def with_signs(self) -> Recipe:
        """The same recipe with its prompts as they are written since brackets are signs.

        Before, longer ones than a chunk were cut off, which no prompt can say: it is noted.
        """
        if self.prompt_signs:
            return self
        notes = self.notes
        if any(len(PIECE.findall(text)) > FEWEST_CUT_OFF for text in (self.prompt, self.negative)):
            notes = (
                *notes,
                Text(
                    "What stood beyond 75 tokens of its prompt was left out then; where the base reads longer prompts, it is read now."
                ),
            )
        return replace(
            self, prompt=escaped(self.prompt), negative=escaped(self.negative), prompt_signs=True, notes=notes
        )

    @property
    def names(self) -> dict[str, str]:
        """The styles' names by id."""
        return dict(self.style_names)

    def to_json(self) -> str:
        """Return the recipe as one JSON object; floats survive exactly."""
        # What came later is left out where it says nothing, so that older recipes are written as they were.
        plain = Recipe(self.prompt)
        values = {
            name: value
            for name, value in asdict(self).items()
            if name not in LATER or value != getattr(plain, name)
        }
        values |= {"format": FORMAT, "blend": self.blend.to_json()}
        values |= {"style_names": self.names, "versions": dict(self.versions)}
        values["notes"] = [text_to_json(note) for note in self.notes]
        return json.dumps(values, ensure_ascii=False, allow_nan=False, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """Read what `to_json` wrote; raises RecipeError for anything else."""
        try:
            recipe = cls(**_typed(json.loads(text)))
            recipe.to_json().encode()  # half of a surrogate pair is no text, and raises a ValueError
            return recipe
        except AtelierError as error:
            raise RecipeError(
                "The recipe can't be used: {reason}", error.hint, reason=error.message
            ) from error
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
            raise RecipeError(
                "The recipe in this picture is damaged.", "Type its prompt and seed by hand."
            ) from error


def _typed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the known fields with the types that they must have."""
    typed: dict[str, Any] = {}
    for declared in fields(Recipe):
        if declared.name not in values:
            continue
        value = values[declared.name]
        if declared.name == "blend":
            value = Blend.from_json(value)
        elif declared.name in ("style_names", "versions"):
            value = tuple(sorted((str(key), str(name)) for key, name in value.items()))
        elif declared.name == "batch_shape":
            value = tuple(int(size) for size in value)
            if value and (len(value) != 4 or any(not 1 <= size <= 65536 for size in value)):
                raise ValueError("batch_shape")
        elif declared.name == "notes":
            value = tuple(map(text_from_json, value))
        elif declared.name == "unsaid":
            value = tuple(map(str, value))
        elif isinstance(declared.default, float):
            value = float(value)
        typed[declared.name] = value
    if "prompt" not in typed:
        raise KeyError("prompt")
    if typed.get("batch_index", 0) not in range((typed.get("batch_shape") or (1,))[0]):
        raise ValueError("batch_index")
    return typed
