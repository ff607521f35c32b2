"""What a baked style says of its making: the styles it was made from, how, and how near it came to their blend."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from styles.formats.licences import warnings_about
from styles.storage.names import clean_text
from styles.text import Text

MOST_PARENTS = 256
MOST_LAYERS = 4096
TEXTS = {"name": 200, "id": 64, "author": 200, "licence": 200}  # characters


@dataclass(frozen=True)
class Parent:
    """One of the styles that another was baked from, with its weight then; all text is cleaned on construction."""

    name: str
    id: str
    weight: float
    author: str = ""
    licence: str = ""  # empty: its file didn't say
    composition: float = 1.0
    texture: float = 1.0

    def __post_init__(self) -> None:
        for name, limit in TEXTS.items():
            object.__setattr__(self, name, clean_text(str(getattr(self, name)), limit))


@dataclass(frozen=True)
class BakeRecord:
    """How a style was baked.

    Errors are relative, `|baked - wanted| / |wanted|` in the Frobenius norm of the change that is made to the
    weights, the file's own fp16 rounding included, to three digits; `layer_errors` has one for each layer by name.
    """

    method: str
    error: float
    layer_errors: tuple[tuple[str, float], ...]
    parents: tuple[Parent, ...]
    density: float | None = None  # share of each style's values that TIES or DARE kept
    seed: int | None = None  # of DARE's chance

    def __post_init__(self) -> None:
        errors = sorted((name, _three_digits(error)) for name, error in self.layer_errors)
        object.__setattr__(self, "error", _three_digits(self.error))
        object.__setattr__(self, "layer_errors", tuple(errors))

    @property
    def licences(self) -> str:
        """The parents' licences: one for all where they agree, else each parent's; never a combination of our own."""
        different = {parent.licence for parent in self.parents}
        if len(different) == 1 and "" not in different:
            return different.pop()
        return "; ".join(f"{parent.name}: {parent.licence or 'unknown'}" for parent in self.parents)

    @property
    def warnings(self) -> tuple[Text, ...]:
        """What the parents' licences mean for it, in sentences: above all that one forbids to share it."""
        return warnings_about((parent.name, parent.licence) for parent in self.parents)

    @property
    def words(self) -> Text:
        """The making in sentences for a description."""
        parts = []
        for parent in self.parents:
            name = (
                Text("{name} by {author}", name=parent.name, author=parent.author)
                if parent.author
                else parent.name
            )
            parts.append(
                Text(
                    "{style} at {weight:g} (licence {licence})",
                    style=name,
                    weight=parent.weight,
                    licence=parent.licence or Text("unknown"),
                )
            )
        return Text.joined(
            " ",
            [
                Text(
                    "Baked ({method}) from {parents}. It differs from that blend by {error:.2g} of its change.",
                    method=self.method,
                    parents=Text.joined(", ", parts),
                    error=self.error,
                ),
                *self.warnings,
            ],
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        values = asdict(self) | {"layer_errors": dict(self.layer_errors)}
        return {key: value for key, value in values.items() if value is not None}

    @classmethod
    def from_json(cls, values: Any) -> BakeRecord | None:
        """Read what `to_json` wrote, or None: it stands in files of strangers, and is only told, never obeyed."""
        try:
            parents, errors = values["parents"], values["layer_errors"]
            if not 1 <= len(parents) <= MOST_PARENTS or len(errors) > MOST_LAYERS:
                return None
            return cls(
                method=clean_text(str(values["method"]), 40),
                error=_number(values["error"]),
                layer_errors=tuple((clean_text(name, 200), _number(error)) for name, error in errors.items()),
                parents=tuple(_parent(parent) for parent in parents),
                density=_number(values["density"]) if "density" in values else None,
                seed=int(values["seed"]) if "seed" in values else None,
            )
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            return None


def _parent(values: Mapping[str, Any]) -> Parent:
    return Parent(
        name=str(values.get("name", "")),
        id=str(values.get("id", "")),
        weight=_number(values["weight"]),
        author=str(values.get("author", "")),
        licence=str(values.get("licence", "")),
        composition=_number(values.get("composition", 1.0)),
        texture=_number(values.get("texture", 1.0)),
    )


def _number(value: Any) -> float:
    number = float(value)
    if isinstance(value, bool | str) or not math.isfinite(number):
        raise ValueError(value)
    return number


def _three_digits(error: float) -> float:
    return float(f"{error:.3g}")
