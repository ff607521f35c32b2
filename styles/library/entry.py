"""One style file as a list knows it: its place in the folder, and what was read of it once."""

from __future__ import annotations

from pathlib import Path

from styles.formats.style import StyleCard
from styles.library.folder import StyleLocation
from styles.library.index import Row
from styles.library.packed_cards import unpacked

BUNDLED = "//bundled/"  # begins the place of a bundled style; no file of the styles folder has two slashes


class Entry:
    """One file: its card, or why it is no style. The card has no thumbnail, and no id until the tensors are hashed.

    The card is unpacked when it is asked for: of thousands that are searched a few are shown.
    """

    __slots__ = ("_card", "name", "passing", "place", "row")

    def __init__(self, place: StyleLocation, row: Row, *, passing: bool = False) -> None:
        self.place = place
        self.row = row
        self.name = place.name
        self.passing = passing  # with a problem of the moment, such as a missing permission
        self._card: StyleCard | None = None

    @property
    def card(self) -> StyleCard | None:
        if self._card is None and self.row.card:
            self._card = unpacked(self.row.card, self.row.id, self.place.path)
        return self._card

    @property
    def path(self) -> Path:
        return self.place.path

    @property
    def readable(self) -> bool:
        """Whether the file is a style."""
        return bool(self.row.card)

    @property
    def id(self) -> str:
        return self.row.id

    @property
    def unhashed(self) -> bool:
        """Whether it is a style whose id was not made yet."""
        return not self.row.id and bool(self.row.card)

    @property
    def bundled(self) -> bool:
        return self.place.where.startswith(BUNDLED)

    @property
    def likeness(self) -> tuple[int, str]:
        """What files with the same tensors have in common, and others hardly ever."""
        return self.row.section, self.row.sample

    @property
    def order(self) -> tuple[bool, str, str]:
        """Where it stands in a list: by name, bundled ones at the end."""
        return self.bundled, self.name.casefold(), self.place.where

    def known_as(self, style_id: str) -> Entry:
        """Return the entry with the id that was made of its tensors."""
        return Entry(self.place, self.row._replace(id=style_id), passing=self.passing)

    def still(self, place: StyleLocation) -> bool:
        """Whether what is there now is the file that was read, as far as size and time tell."""
        return not self.passing and place.same(self.place)
