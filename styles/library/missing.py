"""Styles that are asked for by id and are not in the library: what they were called, and what can be done about it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from styles.errors import AtelierError, UnknownStyleError
from styles.formats.style import TEXT_LIMITS, StyleCard
from styles.library.library import Library
from styles.library.search import SHORT_ID
from styles.library.trash import Trash
from styles.storage.names import SHA256, clean_text, folded, stands_in_tags_as
from styles.text import NO_TEXT, Text

HASH = re.compile(r"(?:0x)?[0-9a-f]{8,64}", re.IGNORECASE)


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


@dataclass(frozen=True)
class FoundStyle:
    """A style that was asked for; `note` says where nothing here has the hash that was given, only its name."""

    card: StyleCard
    note: Text = NO_TEXT


def name_note(name: str, style_id: str) -> Text:
    """Say that a style was found by its name, since nothing here has the hash `style_id`."""
    if SHA256.fullmatch(style_id):
        return Text("“{name}” is here in another version than before: that one is used.", name=name)
    return Text(
        "“{name}” was found by its name: no style here has the hash {hash}.", name=name, hash=style_id
    )


def find_style(library: Library, style_id: str, name: str = "") -> FoundStyle | None:
    """Return the style with this id, else the one that has taken its name since; None for neither.

    An id may be shorter, or a name, as other programs write them.
    """
    try:
        return FoundStyle(library.card(style_id))
    except AtelierError:
        card = namesake(library, name)
    if card is None:
        return None
    return FoundStyle(card, name_note(card.name, style_id) if HASH.fullmatch(style_id) else NO_TEXT)


def current(library: Library, style_id: str, name: str = "") -> StyleCard | None:
    """Return the card of what `find_style` finds."""
    found = find_style(library, style_id, name)
    return found.card if found else None


def card_of(library: Library, style_id: str, name: str = "") -> StyleCard:
    """Return the card of what `style_of` returns."""
    return style_of(library, style_id, name).card


def style_of(library: Library, style_id: str, name: str = "") -> FoundStyle:
    """Return the style that a blend or a recipe names; raises UnknownStyleError with its name, not its hash.

    Where other programs give the beginning of a hash that nothing here has, the style of that name.
    """
    try:
        return FoundStyle(library.card(style_id))
    except UnknownStyleError as error:
        if SHA256.fullmatch(style_id):
            raise missing_style(library, style_id, name).error from error
        if found := find_style(library, style_id, name):
            return found
        raise


def namesake(library: Library, name: str) -> StyleCard | None:
    """Return the card of the one style of exactly this name, in any case or as it stands in tags; None for none or several."""
    if not name.strip():
        return None
    try:
        card = library.card(name)
    except AtelierError:
        return None
    exact = folded(card.name) == folded(name.strip())
    return card if exact or stands_in_tags_as(card.name, name.strip()) else None


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
