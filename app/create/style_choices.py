"""Styles to choose from for a mix: found as one types, each as the page shows it."""

from __future__ import annotations

import base64
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from app.i18n import say, translated
from styles.formats.style import StyleCard
from styles.library.missing import find_style, missing_style

if TYPE_CHECKING:
    from app.studio import Studio

MOST_SHOWN = 12


def paintable(studio: Studio, base: str = "", words: str = "") -> list[StyleCard]:
    """The styles that have all words, for the family of a base (empty: the one in use) as far as it is known.

    The newest first.
    """
    source = studio.base_source(base)
    family = next((entry.family for entry in studio.shelf.list() if source in (entry.name, entry.source)), "")
    cards = studio.library.search(words, newest=True)
    return [card for card in cards if not family or card.may_fit(family)]


def choices(studio: Studio, words: str = "", base: str = "", without: Collection[str] = ()) -> dict[str, Any]:
    """The first of them but for some ids, and how many more there are, as plain JSON values."""
    cards = [card for card in paintable(studio, base, words) if not card.id or card.id not in without]
    shown = [
        {
            "handle": studio.library.handle(card),
            "name": card.name,
            "trigger": card.trigger,
            "thumb": _data(studio.library.thumbnail(card)),
        }
        for card in cards[:MOST_SHOWN]
    ]
    return {"styles": shown, "more": max(0, len(cards) - MOST_SHOWN)}


def choice(studio: Studio, style: str, name: str = "") -> dict[str, Any]:
    """One style by handle, name or id, else by the name that it had last; one that has no id yet gets it here.

    What is not in the library is told as `missing`, in words, and whether it is in the trash.
    """
    found = find_style(studio.library, style, name)
    if found is None:
        gone = missing_style(studio.library, style, name)
        if gone.deleted:
            words = say("This style is in the trash: the picture is without it.")
        else:
            words = say(
                "This style is not in your library: the picture is without it. Import it to have it back."
            )
        return {"id": style, "name": gone.name, "missing": words, "deleted": gone.deleted}
    card = studio.library.find(studio.library.handle(found.card))
    return {
        "id": card.id,
        "name": card.name,
        "trigger": card.trigger,
        "thumb": _data(card.thumbnail),
        "weight": card.suggested_weight,
        "note": translated(found.note),
    }


def _data(jpeg: bytes | None) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii") if jpeg else ""
