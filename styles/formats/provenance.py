"""Where a style comes from, in sentences: its author, licence, artworks, base and parents, as its card tells them."""

from __future__ import annotations

from collections.abc import Sequence

from styles.families import family_of
from styles.formats.licences import spdx_name, warnings_about
from styles.formats.style import StyleCard
from styles.text import Text

# What an artist can say of the artworks, offered where a style is trained or its card edited; own words are as good.
STATEMENTS = (
    Text("I made the artworks myself."),
    Text("I have the permission of those who made the artworks."),
    Text("The artworks are in the public domain, or under a licence that allows it."),
)


def provenance(card: StyleCard) -> tuple[Text, ...]:
    """Say where a style comes from, a sentence for each thing that its card tells, and what it leaves open."""
    sentences = [
        Text("Made by {author}.", author=card.author) if card.author else Text("It doesn't say who made it.")
    ]
    sentences.append(
        Text("Licence: {licence}.", licence=spdx_name(card.licence))
        if card.licence
        else Text("It names no licence: ask before you share it, or anything made with it.")
    )
    artworks = card.training.get("artworks")
    if isinstance(artworks, int) and artworks > 0:
        sentences.append(Text("Trained on {count} artwork.", "Trained on {count} artworks.", count=artworks))
    if card.rights:
        sentences.append(Text("Of the right to the artworks it says: “{rights}”", rights=card.rights))
    elif not card.bake:
        sentences.append(Text("It doesn't say whose the artworks are."))
    base = card.base_name or family_of(card.family).name
    if card.base_fingerprint:
        base = Text("{base} (fingerprint {fingerprint})", base=base, fingerprint=card.base_fingerprint[:12])
    sentences.append(Text("Made for {base}.", base=base))
    if card.bake:
        parents = [
            Text(
                "{style} at {weight:g}, licence {licence}",
                style=Text("“{name}” by {author}", name=one.name, author=one.author)
                if one.author
                else f"“{one.name}”",
                weight=one.weight,
                licence=spdx_name(one.licence) or Text("unknown"),
            )
            for one in card.bake.parents
        ]
        sentences.append(
            Text(
                "Baked ({method}) from {parents}.",
                method=card.bake.method,
                parents=Text.joined("; ", parents),
            )
        )
        sentences.extend(card.bake.warnings)
    return tuple(sentences)


def licence_warnings(cards: Sequence[StyleCard]) -> tuple[Text, ...]:
    """Say what the licences of styles, and of the styles that these were baked from, mean for baking them into one."""
    works = [(card.name, card.licence) for card in cards]
    works += [(one.name, one.licence) for card in cards if card.bake for one in card.bake.parents]
    return warnings_about(works)
