"""What the library holds, without the bundled styles that the artist hid: listed, found by a word, told in full."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from itertools import takewhile

from styles.errors import BadInput, StyleFileError, UnknownStyleError
from styles.formats.reader import read_card
from styles.formats.style import StyleCard
from styles.library.catalogue import Catalogue
from styles.library.folder import name_of
from styles.library.listing import BUNDLED, Entry, Vanished
from styles.library.search import named, not_found, with_id
from styles.library.side_files import side_thumbnail
from styles.library.trash import Hidden
from styles.storage.names import clean_text, folded


class Holdings:
    """The styles of a catalogue that are to be seen."""

    def __init__(self, catalogue: Catalogue, hidden: Hidden) -> None:
        self._catalogue = catalogue
        self._hidden = hidden

    def entries(self, *, patient: bool = True) -> list[Entry]:
        """Look at the folder and return all but the hidden ones; see `Catalogue.entries`."""
        return self._shown(self._catalogue.entries(patient=patient))

    def seen(self) -> list[Entry]:
        """Return the same as of the last look; looks only where there was none."""
        return self._shown(self._catalogue.seen())

    def _shown(self, entries: list[Entry]) -> list[Entry]:
        """Leave the hidden ones out; bundled ones always have an id, by which they are hidden."""
        bundled = _bundled_of(entries)
        if any(entry.unhashed for entry in bundled):
            list(self._catalogue.identifying(bundled))
            entries = self._catalogue.seen()
        hidden = self._hidden.ids() if bundled else set()
        return (
            [entry for entry in entries if not (entry.bundled and entry.id in hidden)] if hidden else entries
        )

    def bundled(self) -> list[Entry]:
        """Return all bundled styles, also the hidden ones, with their ids."""
        return list(self._catalogue.identifying(_bundled_of(self._catalogue.seen())))

    def names(self) -> set[str]:
        """Return the names that are taken, folded."""
        return {folded(entry.name) for entry in self._catalogue.entries()}

    def vanished(self) -> list[Vanished]:
        """Return the styles that at the last look were gone, and lay nowhere else in the folder."""
        return [
            Vanished(name_of(row.where), self._catalogue.folder / row.where, row.id, _date(row.gone))
            for row in self._catalogue.lost()
        ]

    def match(self, name_or_id: str) -> Entry:
        """Return the style that a name, a place or the beginning of an id means; raises UnknownStyleError."""
        query = name_or_id.strip()
        if len(query) == 64 and (entry := self._catalogue.current(query.casefold())):
            return entry
        if (entry := self._catalogue.at(query)) and self._shown([entry]):
            return entry
        entries = [entry for entry in self.entries() if entry.readable]
        if match := named(query, entries) or with_id(query, entries, self._catalogue, thorough=True):
            return match
        if query:
            self._explain(folded(query))
        raise not_found(query, [entry.name for entry in entries])

    def twin(self, style_id: str, likeness: tuple[int, str]) -> StyleCard | None:
        """Return the style with these tensors that was here at the last look; hashes what may be it."""
        alike = [one for one in self.seen() if (one.id == style_id if one.id else one.likeness == likeness)]
        hashed = self._catalogue.identifying(alike)
        return next((one.card for one in hashed if one.id == style_id), None)

    def own(self, name_or_id: str, what: str) -> Entry:
        """Return a style that may be changed; `what` a bundled one does instead. Raises BadInput for one."""
        entry = self.match(name_or_id)
        if entry.bundled:
            raise BadInput(
                "“{style}” comes with Atelier and {what}.",
                "Export it to have a copy.",
                style=entry.name,
                what=what,
            )
        return entry

    def whole(self, entry: Entry) -> StyleCard:
        """Return a style's card with its id and thumbnail; raises StyleFileError."""
        if not entry.readable:
            raise StyleFileError(entry.problem)
        card = self._catalogue.identified(entry).card
        assert card is not None
        return replace(card, thumbnail=self.thumbnail(card))

    def handle(self, card: StyleCard) -> str:
        """Return a word by which `match` knows a listed style, and which stays the same when it is hashed."""
        if card.path is None:
            return card.id
        if card.path.is_relative_to(self._catalogue.folder):
            return card.path.relative_to(self._catalogue.folder).as_posix()
        return BUNDLED + card.path.relative_to(self._catalogue.bundled).as_posix()

    def thumbnail(self, card: StyleCard) -> bytes | None:
        """Return a style's picture, a JPEG: the one beside its file, else the one in it, else none."""
        if card.path is None:
            return card.thumbnail
        try:
            return side_thumbnail(card.path) or read_card(card.path, hashed=False).thumbnail
        except StyleFileError:  # taken away since it was listed
            return None

    def _explain(self, query: str) -> None:
        """Raise UnknownStyleError for a style that was here, or is but can't be read."""
        for entry in self._catalogue.seen():
            if not entry.readable and query == folded(entry.name):
                raise UnknownStyleError(
                    "“{style}” can't be used: {problem}",
                    style=clean_text(entry.name, 80),
                    problem=entry.problem,
                )
        for lost in self.vanished():
            if query in (folded(lost.name), lost.id):
                raise UnknownStyleError(
                    "“{style}” has vanished: {file} was missed on {missed}.",
                    "Put the file back, or import the style again.",
                    style=clean_text(lost.name, 80),
                    file=lost.file,
                    missed=lost.missed[:10],
                )


def _bundled_of(entries: list[Entry]) -> list[Entry]:
    """Return the bundled ones of entries in their order, in which they come last."""
    return list(takewhile(lambda entry: entry.bundled, reversed(entries)))[::-1]


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
