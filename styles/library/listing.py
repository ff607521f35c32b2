"""What a look into the library shows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from styles.formats.style import StyleCard
from styles.library.entry import Entry


@dataclass(frozen=True)
class Refused:
    """A file that was not taken, with the reason in a sentence."""

    file: Path
    reason: str


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
