"""What a reader found in another program's picture, and the recipe that this comes to."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from styles.errors import AtelierError, BlendError
from styles.formats.style import TEXT_LIMITS
from styles.generation.prompt_syntax import LONGEST
from styles.generation.prompt_tags import FOLDERS
from styles.generation.recipe import Recipe
from styles.generation.samplers import DEFAULT_SAMPLER, missing_notes, sampler_named
from styles.generation.settings import PictureSettings
from styles.mixing.blend import MOST_STYLES, Blend, BlendPart
from styles.storage.names import clean_text
from styles.storage.setting import settings_of
from styles.text import Text, few, quoted

NUMBERS = {"steps": int, "guidance": float, "seed": int, "clip_skip": int, "width_px": int, "height_px": int}
# Further numbers of a recipe, each with its lowest and highest value.
FURTHER = {
    "guidance_rescale": (float, 0.0, 1.0), "second_scale": (float, 1.01, 4.0), "second_strength": (float, 0.01, 1.0),
    "second_steps": (int, 0, 1000),
}  # fmt: skip
SIZE = re.compile(r"\D{0,2}(\d{1,6})\s*[x×*,]\s*(\d{1,6})\D{0,2}")
HASH = re.compile(r"[0-9a-f]{8,64}")  # of a style's file, as much of it as programs write
ANY_SEED = -1  # where a program draws one
MOST_NAMED = 8
LONGEST_VALUE = 80  # characters of what is quoted
LABELS = {name: Text(settings_of(PictureSettings)[name].setting.label) for name in NUMBERS}
LABELS |= {"width_px": Text("Size"), "height_px": Text("Size"), "sampler": Text("Sampler")}
SQUARE = re.compile(r"(?<!\\)[\[\]]")
ENDINGS = re.compile(r"\.(?:safetensors|ckpt|pt|pth|bin|sft|gguf)$", re.IGNORECASE)


@dataclass(frozen=True)
class PictureStyle:
    """A style that was in the picture; `hash` is the beginning of one of its file, empty where none is told."""

    name: str
    weight: Any = 1.0
    hash: str = ""


@dataclass
class FoundSettings:
    """Settings as they stand in a picture, which may be anything.

    `numbers` are by the recipe's names; `left_out` is what changes the picture and has no place here, as
    "VAE: anything.pt"; `negative` is None where the picture says nothing of it.
    """

    prompt: str = ""
    negative: str | None = None
    base: str = ""
    sampler: str = ""
    schedule: str = ""
    numbers: dict[str, Any] = field(default_factory=dict)
    styles: list[PictureStyle] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    notes: list[Text] = field(default_factory=list)
    size: str = ""  # as it is written

    def take_size(self, text: str) -> None:
        """Read a size such as 512x768 or (512, 768)."""
        match = SIZE.fullmatch(text.strip())
        self.size = text.strip()
        self.numbers |= dict(
            zip(("width_px", "height_px"), match.groups() if match else (text, text), strict=True)
        )

    def take_numbers(self, values: Mapping[str, Any], names: Mapping[str, str]) -> None:
        """Take the numbers that are there; `names` gives the recipe's name for each of the program's."""
        self.numbers |= {ours: values[name] for name, ours in names.items() if values.get(name) is not None}

    def leave_out(self, values: Mapping[str, Any], names: Iterable[str]) -> None:
        """Name those of some values that say something."""
        for name in names:
            if values.get(name) not in (None, "", False, 0, "None", "none", [], {}):
                self.left_out.append(f"{name}: {_shown(values[name])}")

    def recipe(self) -> Recipe:
        """Return the recipe, with what it does not take over in its notes; raises RecipeError where nothing is there."""
        notes: list[Text] = []
        numbers = self._checked(notes)
        sampler, schedule = self._sampler(notes)
        blend, names = self._blend(notes)
        unsaid = {name for name in NUMBERS if name not in numbers and name != "clip_skip"}
        unsaid |= {"width_px", "height_px"} if unsaid & {"width_px", "height_px"} else set()
        unsaid |= set() if self.sampler else {"sampler"}
        if len(unsaid) == len(NUMBERS):  # clip skip is said where it is not 1, the sampler always
            unsaid |= {"negative"} if self.negative is None else set()
            unsaid |= set() if blend.parts else {"blend"}
            notes.append(Text("Only a prompt was found in the picture: all else stays as it is."))
        elif unsaid:
            labels = dict.fromkeys(LABELS[name] for name in LABELS if name in unsaid)
            notes.append(
                Text("The picture does not tell, so that it stays: {names}.", names=Text.joined(", ", labels))
            )
        if self.left_out:
            shown = [clean_text(one, LONGEST_VALUE) for one in dict.fromkeys(self.left_out)]
            notes.append(
                Text(
                    "What changed the picture and is not taken over: {names}.",
                    names=few([quoted(one) for one in shown], MOST_NAMED),
                )
            )
        return Recipe(
            prompt=self._text(self.prompt, notes),
            negative=self._text(self.negative or "", notes),
            base=clean_text(ENDINGS.sub("", FOLDERS.sub("", self.base)), LONGEST_VALUE),
            blend=blend,
            style_names=names,
            sampler=sampler,
            schedule=schedule,
            prompt_signs=True,
            notes=tuple(dict.fromkeys([*self.notes, *notes])),
            unsaid=tuple(sorted(unsaid)),
            **{name: value for name, value in numbers.items() if name not in unsaid},
        )

    def _text(self, text: str, notes: list[Text]) -> str:
        text = text.replace("\0", "").encode("utf-8", errors="ignore").decode("utf-8").strip()
        if len(text) > LONGEST:
            notes.append(Text("Of a prompt of {count} characters, the first are taken.", count=len(text)))
        return text[:LONGEST]

    def _checked(self, notes: list[Text]) -> dict[str, Any]:
        """Return the numbers that can be used; the others are noted."""
        checked: dict[str, Any] = {}
        for name, value in self.numbers.items():
            kind, low, high = FURTHER.get(name, (NUMBERS.get(name), -math.inf, math.inf))
            number = number_from(value, kind)
            if name == "seed" and number == ANY_SEED:
                number = zlib.crc32(repr((self.prompt, self.negative)).encode("utf-8", errors="replace"))
                notes.append(Text("The picture's seed is -1, which is any: {seed} was drawn.", seed=number))
            try:
                if number is None or not low <= number <= high:
                    raise ValueError(value)
                if name in NUMBERS:
                    PictureSettings(**{name: number})
                checked[name] = number
            except (AtelierError, ValueError):
                shown = _shown(self.size if name.endswith("_px") and self.size else value)
                notes.append(
                    Text(
                        "{name}: “{value}” of the picture can't be used.",
                        name=LABELS.get(name, Text("Second pass")),
                        value=shown,
                    )
                )
        if not {"second_scale", "second_strength"} <= checked.keys():
            return {name: number for name, number in checked.items() if not name.startswith("second_")}
        return checked

    def _sampler(self, notes: list[Text]) -> tuple[str, str]:
        """Return the sampler and the schedule type, "" for its usual one; what is not here is noted."""
        if not self.sampler:
            return DEFAULT_SAMPLER, ""
        sampler, schedule = sampler_named(self.sampler, self.schedule)
        notes += missing_notes(sampler or self.sampler, schedule or self.schedule)
        return sampler or DEFAULT_SAMPLER, schedule

    def _blend(self, notes: list[Text]) -> tuple[Blend, tuple[tuple[str, str], ...]]:
        parts: dict[str, BlendPart] = {}
        names: dict[str, str] = {}
        if len(self.styles) > MOST_STYLES:
            notes.append(
                Text(
                    "The picture names {count} styles, of which the first {most} are taken.",
                    count=len(self.styles),
                    most=MOST_STYLES,
                )
            )
        for one in self.styles[:MOST_STYLES]:
            name = clean_text(ENDINGS.sub("", FOLDERS.sub("", one.name)), TEXT_LIMITS["name"])
            digits = one.hash.strip().lower().removeprefix("0x")
            style = digits if HASH.fullmatch(digits) else name
            if not style:
                notes.append(Text("A style of the picture has no name, and is left out."))
                continue
            weight = number_from(one.weight, float)
            try:
                if weight is None:
                    raise ValueError(one.weight)
                part = BlendPart(style, weight)
            except (BlendError, ValueError):
                notes.append(
                    Text(
                        "The weight “{weight}” of the style “{name}” can't be used.",
                        weight=_shown(one.weight),
                        name=name,
                    )
                )
                continue
            if style in parts:
                notes.append(Text("The style “{name}” is named twice; its first weight is taken.", name=name))
                continue
            parts[style], names[style] = part, name
        return Blend(tuple(parts.values())), tuple(sorted(names.items()))


def with_plain_squares(prompt: str) -> str:
    """Return a prompt of a program to which square brackets mean nothing, as A1111 writes it."""
    return SQUARE.sub(r"\\\g<0>", prompt)


def number_from(value: Any, kind: Any) -> Any:
    """Return a value as a finite number, None where it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        if kind is int and not isinstance(value, float):
            text = str(value).strip()
            return int(text) if re.fullmatch(r"[+-]?\d{1,20}", text) else whole(float(text[:40]))
        number = float(value if not isinstance(value, str) else value.strip()[:40].replace(",", "."))
    except (ValueError, OverflowError):
        return None
    if not math.isfinite(number):
        return None
    return whole(number) if kind is int else number


def whole(number: float) -> int | None:
    """Return a float that is a whole number as one, None for another."""
    return int(number) if math.isfinite(number) and number.is_integer() else None


def text_from(value: Any) -> str:
    """Return a text as it is, "" for anything else."""
    return value if isinstance(value, str) else ""


def _shown(value: Any) -> str:
    return clean_text(str(value), LONGEST_VALUE)
