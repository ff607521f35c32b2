"""Whether any base here can use a style, and else which one to get."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from styles.bases.recommended import RECOMMENDED
from styles.bases.shelf import BaseEntry
from styles.families import UNKNOWN
from styles.formats.style import StyleCard
from styles.text import NO_TEXT, Text


def families_here(bases: Iterable[BaseEntry]) -> set[str]:
    """Return the ids of the families of the bases that are here and can be opened."""
    return {base.family for base in bases if base.installed and not base.problem}


def with_missing_base(card: StyleCard, families: set[str]) -> StyleCard:
    """Return the card, which also says where none of the families that are here can use it."""
    note = _missing(card.family, families)
    return replace(card, problems=(*card.problems, note)) if note else card


def _missing(family: str, families: set[str]) -> Text:
    if family == UNKNOWN.id or family in families:
        return NO_TEXT
    recommended = next((base for base in RECOMMENDED if base.family.id == family), None)
    if recommended is None:
        return Text("No base here can use it: it fits only the one that it was made for.")
    return Text(
        "No base here can use it. Get one in Settings, or by `bases add {base}` ({size_gb:g} GB).",
        base=recommended.hub_id,
        size_gb=recommended.size_gb,
    )
