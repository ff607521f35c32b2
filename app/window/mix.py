"""Styles in a list to choose from."""

from __future__ import annotations

from collections.abc import Sequence

from app.studio import Studio
from styles.style import StyleCard


def choices_of(studio: Studio, cards: Sequence[StyleCard]) -> list[tuple[str, str]]:
    """What a list to choose styles from offers: names, and handles that stay the same when a style is hashed."""
    return [(card.name, studio.library.handle(card)) for card in cards]
