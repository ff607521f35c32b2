"""Where a style comes from, in sentences: its author, licence, artworks, base and parents, as its card tells them."""

from __future__ import annotations

from collections.abc import Sequence

from styles.families import family_of
from styles.formats.licences import spdx_name, warnings_about
from styles.formats.style import StyleCard

# What an artist can say of the artworks, offered where a style is trained or its card edited; own words are as good.
STATEMENTS = (
    "I made the artworks myself.",
    "I have the permission of those who made the artworks.",
    "The artworks are in the public domain, or under a licence that allows it.",
)


def provenance(card: StyleCard) -> tuple[str, ...]:
    """Say where a style comes from, a sentence for each thing that its card tells, and what it leaves open."""
    sentences = [f"Made by {card.author}." if card.author else "It doesn't say who made it."]
    sentences.append(
        f"Licence: {spdx_name(card.licence)}."
        if card.licence
        else "It names no licence: ask before you share it, or anything made with it."
    )
    artworks = card.training.get("artworks")
    if isinstance(artworks, int) and artworks > 0:
        sentences.append(f"Trained on {artworks} artwork{'s' * (artworks != 1)}.")
    if card.rights:
        sentences.append(f"Of the right to the artworks it says: “{card.rights}”")
    elif not card.bake:
        sentences.append("It doesn't say whose the artworks are.")
    base = card.base_name or family_of(card.family).name
    known_by = f" (fingerprint {card.base_fingerprint[:12]})" if card.base_fingerprint else ""
    sentences.append(f"Made for {base}{known_by}.")
    if card.bake:
        parents = [
            f"“{one.name}”{f' by {one.author}' if one.author else ''} at {one.weight:g}, "
            f"licence {spdx_name(one.licence) or 'unknown'}"
            for one in card.bake.parents
        ]
        sentences.append(f"Baked ({card.bake.method}) from {'; '.join(parents)}.")
        sentences.extend(card.bake.warnings)
    return tuple(sentences)


def licence_warnings(cards: Sequence[StyleCard]) -> tuple[str, ...]:
    """Say what the licences of styles, and of the styles that these were baked from, mean for baking them into one."""
    works = [(card.name, card.licence) for card in cards]
    works += [(one.name, one.licence) for card in cards if card.bake for one in card.bake.parents]
    return warnings_about(works)
