"""Styles and bases as facts for `--json` and as words for people."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from styles.bases import BaseEntry
from styles.style import StyleCard


def card_facts(card: StyleCard) -> dict[str, Any]:
    """All that a card says, as plain JSON values; its file is "file", since gradio would fetch what is called "path"."""
    facts = card.to_json()
    facts["file"] = facts.pop("path")
    return facts


def card_line(card: StyleCard) -> str:
    """A card on one line."""
    trigger = f", trigger “{card.trigger}”" if card.trigger else ""
    problems = f"  ! {'; '.join(card.problems)}" if card.problems else ""
    return f"{card.name}  ({card.made_for}, rank {card.rank}{trigger}){problems}"


def card_words(card: StyleCard) -> str:
    """A card on a screen, without what it does not say."""
    rows = {
        "Name": card.name,
        "For": card.made_for,
        "Trigger": card.trigger,
        "Author": card.author,
        "Licence": card.licence,
        "About": card.description,
        "Weight": f"{card.suggested_weight:g}",
        "Rank": str(card.rank),
        "Layers": ", ".join(f"{network} {count}" for network, count in card.layers.items()),
        "Trained": ", ".join(f"{key} {value}" for key, value in card.training.items()),
        "Made": card.created,
        "Id": card.id,
        "File": str(card.path or ""),
        "Problems": "; ".join(card.problems),
    }
    return "\n".join(f"{name + ':':<10}{value}" for name, value in rows.items() if value)


def matching(cards: Iterable[StyleCard], words: str) -> list[StyleCard]:
    """The cards that have all of `words` in their name, trigger, author or description."""
    wanted = words.casefold().split()

    def text(card: StyleCard) -> str:
        return " ".join((card.name, card.trigger, card.author, card.description, card.family)).casefold()

    return [card for card in cards if all(word in text(card) for word in wanted)]


def base_facts(entry: BaseEntry) -> dict[str, Any]:
    """All that the shelf says about a base, as plain JSON values."""
    return asdict(entry)


def base_line(entry: BaseEntry) -> str:
    """A base on one line."""
    mark = "*" if entry.in_use else " "
    if not entry.installed and not entry.problem:
        return f"  {entry.name}  (to fetch: {entry.size_gb:g} GB, {entry.family}, licence {entry.licence})"
    kind = entry.problem or ", ".join(
        text for text in (entry.family, f"{entry.native_size_px} px", entry.prediction_type) if text
    )
    return f"{mark} {entry.name}  ({kind})"
