"""What a style is: a card to read and, layer by layer, the low-rank change that it makes to a base."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from styles.families import UNKNOWN, family_of
from styles.formats.bake_record import BakeRecord
from styles.storage.names import clean_text
from styles.text import Text

if TYPE_CHECKING:
    from torch import Tensor

NETWORKS = ("unet", "te", "te1", "te2")
TEXT_LIMITS = {  # characters
    "name": 200,
    "family": 60,
    "id": 64,
    "trigger": 200,
    "author": 200,
    "licence": 200,
    "description": 4000,
    "base_name": 200,
    "base_fingerprint": 100,
    "created": 40,
    "kind": 40,
    "rights": 300,
}
MOST_TAGS, LONGEST_TAG = 64, 60  # of a card


@dataclass(frozen=True, eq=False)
class StyleLayer:
    """One adapted layer: `delta = alpha / rank * up @ down` at weight 1.

    `network` is unet, te (SD1, SD2, starter), te1 or te2 (SDXL); `path` is the module path in diffusers,
    for text encoders as `text_model.encoder.layers...`. `down` is (r, in) or (r, in, kh, kw), `up` is
    (out, r) or (out, r, 1, 1).
    """

    network: str
    path: str
    down: Tensor
    up: Tensor
    alpha: float

    @property
    def rank(self) -> int:
        return int(self.down.shape[0])

    @property
    def scale(self) -> float:
        return self.alpha / self.rank

    @property
    def name(self) -> str:
        return f"{self.network}.{self.path}"


@dataclass(frozen=True)
class StyleCard:
    """What there is to say about a style without its tensors; all text is cleaned on construction.

    `rank` is the rank most layers have, `layers` the number of adapted layers per network, `training` the
    numbers it was made with, `thumbnail` a JPEG, `created` an ISO date or empty, `path` the file it is in, `bake`
    what a baked style was made from. `kind` is how the file writes its change (LoRA, LoCon, LoHa, ...), `strength`
    the alpha / rank that most layers have, `tokens` the words that the file brings along for prompts, `rights` the
    artist's statement to have the right to the artworks.
    """

    name: str
    family: str
    rank: int
    id: str = ""
    trigger: str = ""
    author: str = ""
    licence: str = ""
    description: str = ""
    suggested_weight: float = 1.0
    layers: dict[str, int] = field(default_factory=dict)
    training: dict[str, str | int | float] = field(default_factory=dict)
    base_name: str = ""
    base_fingerprint: str = ""
    thumbnail: bytes | None = None
    problems: tuple[Text, ...] = ()
    created: str = ""
    bake: BakeRecord | None = None
    kind: str = "LoRA"
    strength: float = 1.0
    tags: tuple[str, ...] = ()
    tokens: tuple[str, ...] = ()
    rights: str = ""
    path: Path | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        for name, limit in TEXT_LIMITS.items():
            cleaned = clean_text(str(getattr(self, name)), limit, lines=name == "description")
            object.__setattr__(self, name, cleaned)
        for name in ("tags", "tokens"):
            cut = [clean_text(str(one), LONGEST_TAG) for one in getattr(self, name)[:MOST_TAGS]]
            object.__setattr__(self, name, tuple(dict.fromkeys(one for one in cut if one)))
        weight = float(self.suggested_weight)
        object.__setattr__(self, "suggested_weight", weight if math.isfinite(weight) else 1.0)

    @property
    def made_for(self) -> Text:
        """Say in words which base the style is for."""
        return family_of(self.family).made_for

    def may_fit(self, family: str) -> bool:
        """Whether the style is for bases of that family, or doesn't say for which."""
        return self.family in (family, UNKNOWN.id)

    def to_json(self) -> dict[str, Any]:
        """Return the card as plain JSON values, without the thumbnail."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "thumbnail"}
        path = str(self.path) if self.path else None
        bake = self.bake.to_json() if self.bake else None
        return values | {
            "problems": list(self.problems),
            "tags": list(self.tags),
            "tokens": list(self.tokens),
            "bake": bake,
            "path": path,
            "made_for": self.made_for,
        }


@dataclass(frozen=True, eq=False)
class Style:
    """A trained adapter: its card and its layers. Two styles are the same if their ids are."""

    card: StyleCard
    layers: tuple[StyleLayer, ...]
    # token: (vectors, width of the text encoder), those of several text encoders side by side
    embeddings: dict[str, Tensor] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The sha256 of the file's tensor section, in hex; empty before the style was written."""
        return self.card.id

    @property
    def name(self) -> str:
        return self.card.name
