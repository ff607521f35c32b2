"""Styles that are asked for by id and are not in the library: what they were called, and what can be done about it."""

from __future__ import annotations

from dataclasses import dataclass

from styles.errors import AtelierError, UnknownStyleError
from styles.formats.style import TEXT_LIMITS, StyleCard
from styles.library.library import Library
from styles.library.search import SHORT_ID
from styles.library.trash import Trash
from styles.storage.names import SHA256, clean_text, folded


@dataclass(frozen=True)
class MissingStyle:
    """A style that is not here; `deleted`: `Library.restore` brings it back by its id."""

    id: str
    name: str  # never a whole hash
    deleted: bool = False

    @property
    def error(self) -> UnknownStyleError:
        """What to raise where nothing can be done without it."""
        if self.deleted:
            return UnknownStyleError(
                "The style “{name}” is in the trash.",
                "Restore it in the Library or by `styles restore`, or leave it out.",
                name=self.name,
            )
        return UnknownStyleError(
            "The style “{name}” is not in the library.",
            "Import it: the one whose id begins with {id}.",
            name=self.name,
            id=short_id(self.id),
        )


def current(library: Library, style_id: str, name: str = "") -> StyleCard | None:
    """Return the card of the style with this id, else of the one that has taken its name since; None for neither.

    An id may be shorter, or a name, as other programs write them.
    """
    try:
        return library.card(style_id)
    except AtelierError:
        return namesake(library, name)


def card_of(library: Library, style_id: str, name: str = "") -> StyleCard:
    """Return the card of a style that a blend or a recipe names; raises UnknownStyleError with its name, not its hash."""
    try:
        return library.card(style_id)
    except UnknownStyleError as error:
        if not SHA256.fullmatch(style_id):
            raise
        raise missing_style(library, style_id, name).error from error


def namesake(library: Library, name: str) -> StyleCard | None:
    """Return the card of the one style of exactly this name, in any case; None where there is none or several."""
    if not name.strip():
        return None
    try:
        card = library.card(name)
    except AtelierError:
        return None
    return card if folded(card.name) == folded(name.strip()) else None


def missing_style(library: Library, style_id: str, name: str = "") -> MissingStyle:
    """Look for a style that is not in the library among those that were deleted and that vanished."""
    for card in library.hidden():
        if card.id == style_id:
            return MissingStyle(style_id, card.name, deleted=True)
    if trashed := Trash(library.home.trash).with_id(style_id):
        return MissingStyle(style_id, name_to_show(name or trashed.name, style_id), deleted=True)
    lost = next((one.name for one in library.vanished() if one.id == style_id), "")
    return MissingStyle(style_id, name_to_show(name or lost, style_id))


def name_to_show(name: str, style_id: str) -> str:
    """Return the name of a style for people; where it has none, what its id is known by."""
    return clean_text(name, TEXT_LIMITS["name"]) or short_id(style_id)


def short_id(style_id: str) -> str:
    """Return the beginning of an id; what is no id, but a name, stays whole."""
    return style_id[:SHORT_ID] if SHA256.fullmatch(style_id) else clean_text(style_id, TEXT_LIMITS["name"])
