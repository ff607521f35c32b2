"""A base that styles were merged into: a diffusers folder whose UNet is in four bits, and a card that says what it is of.

`merged.json` is the card. `unet/merged.safetensors` holds for each linear layer in four bits `weight` (out, in / 2)
uint8, `scale` and `offset` (out, in / group) fp16, as `GroupedLinear` has them, and all else by diffusers' names. All
other parts are as in any diffusers folder.
"""

from __future__ import annotations

import json
import math
from collections.abc import Container, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from styles.bases.files.weight_files import is_here
from styles.errors import BaseError
from styles.quantization.quantization import QUANTIZATIONS, quantization_words
from styles.storage.file_reading import read_json
from styles.storage.names import clean_text
from styles.text import Text

FORMAT = 1
CARD = "merged.json"
UNET_FILE = Path("unet") / "merged.safetensors"
MERGE_ANEW = Text("Merge it anew.")
# What an artist is told before.
GIVEN_UP = Text(
    "A merged base holds its styles as their mix painted them: they have no slider there any more, and can't be taken out again. Their trigger words call them as before. The base and the styles themselves stay as they are, beside it."
)
MOST_STYLES = 256
LONGEST = 200  # characters of a text of the card


@dataclass(frozen=True)
class MergedStyle:
    """A style in a merged base, with its weight; all text is cleaned on construction."""

    name: str
    id: str
    weight: float
    trigger: str = ""
    author: str = ""
    licence: str = ""  # empty: its file didn't say

    def __post_init__(self) -> None:
        _clean(self)

    @property
    def words(self) -> Text:
        """The style with its weight, and the word that it is called by."""
        if self.trigger:
            return Text(
                "{style} at {weight:g} (“{trigger}”)",
                style=self.name,
                weight=self.weight,
                trigger=self.trigger,
            )
        return Text("{style} at {weight:g}", style=self.name, weight=self.weight)


@dataclass(frozen=True)
class MergedCard:
    """What a merged base is of: the base that it was before any merge, and all styles in it."""

    quantize: str  # of styles.quantization, a qa4
    base_name: str
    base_fingerprint: str
    base_licence: str  # empty: not known
    styles: tuple[MergedStyle, ...]

    def __post_init__(self) -> None:
        _clean(self)

    @property
    def licences(self) -> str:
        """The licences of all that is in it, by name."""
        works = [(self.base_name, self.base_licence), *((one.name, one.licence) for one in self.styles)]
        return "; ".join(f"{name}: {licence or 'unknown'}" for name, licence in works)

    @property
    def words(self) -> Text:
        """What it was merged of, in a sentence."""
        return Text(
            "Merged of {base} with {styles}, {way}: it paints in them without a slider.",
            base=self.base_name,
            styles=Text.joined(", ", [one.words for one in self.styles]),
            way=quantization_words(self.quantize),
        )

    def to_json(self) -> str:
        """Write the card as JSON text."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=2, ensure_ascii=False)


def read_card(folder: Path) -> MergedCard | None:
    """Return the card of a merged base, None for a folder that is none.

    Raises BaseError for one of a newer version, and for a damaged one.
    """
    path = folder / CARD
    if not is_here(path):
        return None
    try:
        values = read_json(path)
        if type(values["format"]) is int and values["format"] > FORMAT:
            raise BaseError(
                "{base} was merged by a newer Atelier (format {format}; this one reads {ours}).",
                "Update this one.",
                base=folder.name,
                format=values["format"],
                ours=FORMAT,
            )
        return _card(values)
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise BaseError(
            "{base} is damaged: its card, {file}, can't be read.",
            MERGE_ANEW,
            base=folder.name,
            file=CARD,
        ) from error


def check_quantization(card: MergedCard, asked: str | None, name: str) -> None:
    """Raise BaseError where a merged base is to be opened in another quantization than it is in."""
    if asked not in (None, card.quantize):
        raise BaseError(
            "{base} is {way}, as it was merged, and can't be kept in another way.",
            "Leave out how it is kept, or use the base that it was merged of.",
            base=name,
            way=quantization_words(card.quantize),
        )


def is_packed(name: str, names: Container[str]) -> bool:
    """Whether a tensor of a merged UNet is a weight in four bits, among the names of all of them."""
    path, _, kind = name.rpartition(".")
    return kind == "weight" and f"{path}.offset" in names


def full_header(header: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of a merged UNet's file with the shapes that its weights have unpacked."""
    return {
        name: {**entry, "shape": [entry["shape"][0], 2 * entry["shape"][1]]}
        if is_packed(name, header) and len(entry["shape"]) == 2
        else entry
        for name, entry in header.items()
    }


def _card(values: Mapping[str, Any]) -> MergedCard:
    styles = values["styles"]
    quantization = QUANTIZATIONS[values["quantize"]]
    sound = values["format"] == FORMAT and isinstance(styles, list) and 1 <= len(styles) <= MOST_STYLES
    if not sound or not quantization.is_grouped:
        raise ValueError("it is no card")
    texts = {name: values[name] for name in ("base_name", "base_fingerprint", "base_licence")}
    return MergedCard(
        quantization.name,
        **{name: str(text) for name, text in texts.items()},
        styles=tuple(_style(one) for one in styles),
    )


def _style(values: Mapping[str, Any]) -> MergedStyle:
    weight = values["weight"]
    if type(weight) not in (int, float) or not math.isfinite(weight):
        raise ValueError("its weight is no number")
    texts = {name: str(values.get(name, "")) for name in ("name", "id", "trigger", "author", "licence")}
    return MergedStyle(weight=float(weight), **texts)


def _clean(card: MergedStyle | MergedCard) -> None:
    for name, value in vars(card).items():
        if isinstance(value, str):
            object.__setattr__(card, name, clean_text(value, LONGEST))
