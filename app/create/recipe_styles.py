"""The styles of a picture's recipe as they are here: found by id, hash or name, left out where they are missing."""

from __future__ import annotations

from dataclasses import replace

from styles.formats.triggers import is_left_out
from styles.generation.recipe import Recipe
from styles.library.library import Library
from styles.library.missing import FoundStyle, current, name_to_show, style_of
from styles.mixing.blend import Blend
from styles.text import Text


def blend_again(recipe: Recipe, library: Library) -> Blend:
    """The blend of a recipe by the ids that styles have here; raises UnknownStyleError for one that is not here."""
    here = zip(recipe.blend.parts, _styles_of(recipe, library), strict=True)
    return Blend(tuple(replace(part, style=found.card.id) for part, found in here), recipe.blend.mode)


def name_notes(recipe: Recipe, library: Library) -> list[Text]:
    """Say which styles of a recipe are found by their names alone; raises UnknownStyleError as `blend_again`."""
    return [found.note for found in _styles_of(recipe, library) if found.note]


def _styles_of(recipe: Recipe, library: Library) -> list[FoundStyle]:
    """Other programs name a style by the beginning of its id, by a hash of their own, or by its name."""
    return [style_of(library, part.style, recipe.names.get(part.style, "")) for part in recipe.blend.parts]


def without_missing(recipe: Recipe, library: Library) -> Recipe:
    """Return a recipe of another program without the styles that are not here, which its notes name; ours as it is."""
    if recipe.base_fingerprint or recipe.versions:
        return recipe
    parts, notes = [], list(recipe.notes)
    for part in recipe.blend.parts:
        name = recipe.names.get(part.style, "")
        if current(library, part.style, name) is not None:
            parts.append(part)
            continue
        notes.append(
            Text(
                "“{name}” is not in your library: the picture is without it.",
                name=name_to_show(name, part.style),
            )
        )
    return replace(recipe, blend=Blend(tuple(parts), recipe.blend.mode), notes=tuple(notes))


def words_left_out(recipe: Recipe, library: Library) -> frozenset[str]:
    """The ids of the styles of a recipe whose trigger words were wanted out of its prompt."""
    here = [
        (part, current(library, part.style, recipe.names.get(part.style, ""))) for part in recipe.blend.parts
    ]
    return frozenset(
        card.id
        for part, card in here
        if card and is_left_out(recipe.prompt, card.trigger, recipe.blend.highest(part.style))
    )
