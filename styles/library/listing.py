"""What a look into the library shows: its files, each with what was read of it once."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from styles.formats.style import StyleCard
from styles.library.folder import StyleLocation
from styles.library.index import Row, unpacked
from styles.text import Text, text_from_json

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
    def problem(self) -> Text:
        """Why the file is no style."""
        return text_from_json(json.loads(self.row.problem))

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


@dataclass(frozen=True)
class Refused:
    """A file that was not taken, with the reason in a sentence."""

    file: Path
    reason: Text


@dataclass(frozen=True)
class Vanished:
    """A style whose file was in the folder and is not any more, though it was not deleted with Atelier."""

    name: str
    file: Path
    id: str  # empty where it was never made
    missed: str  # ISO date of the first look without it


@dataclass(frozen=True)
class Listing:
    """What one look into the library found, unpacked when it is asked for: of ten thousand styles few are shown.

    The cards have no thumbnail, and an id only where it has been made. What can't be read and what vanished is told
    whatever was searched for.
    """

    entries: list[Entry]
    unreadable: list[Refused]
    vanished: list[Vanished]

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def cards(self) -> list[StyleCard]:
        """All of them."""
        return cards_of(self.entries)

    def first(self, count: int) -> list[StyleCard]:
        """The first of them."""
        return cards_of(self.entries[:count])


def cards_of(entries: Iterable[Entry]) -> list[StyleCard]:
    """Return the cards of those entries that are styles."""
    return [card for entry in entries if (card := entry.card)]
