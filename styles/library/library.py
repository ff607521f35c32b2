"""The artist's styles: a folder of files, which is the only truth, and the bundled ones beside it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from styles.errors import StyleFileError
from styles.formats.reader import read_style
from styles.formats.style import Style, StyleCard
from styles.formats.writer import write_style
from styles.library.catalogue import Catalogue
from styles.library.edit import checked, edit_card
from styles.library.export import Exported, ExportOrder, export_style
from styles.library.folder import SUFFIX, free_path, locked, move, name_of
from styles.library.holdings import Holdings
from styles.library.importer import Importer, ImportReport
from styles.library.index import Index
from styles.library.listing import Entry, Listing, Refused, Vanished, cards_of
from styles.library.notes import Note, Notes
from styles.library.search import chosen, not_found, with_id
from styles.library.side_files import without_picture
from styles.library.trash import Hidden, Trash
from styles.storage.home import Home
from styles.storage.names import SHA256, folded, safe_name

__all__ = ["ImportReport", "Library", "Listing", "Note", "Refused", "Vanished"]

BUNDLED = Path(__file__).parents[1] / "bundled"


class Library:
    """The styles in a home's `styles/` folder and its subfolders, by file name; bundled ones are never written.

    Nothing is ever overwritten: a name that is taken gets a number. Changes hold a lock, so that a training that
    ends, a command and a window can't meet. The card of one style that is asked for is whole, with thumbnail and id;
    making the id of a large file can take a second.
    """

    def __init__(self, home: Home, bundled: Path = BUNDLED) -> None:
        self.home = home
        self.bundled = bundled
        self.folder = home.styles
        self._marks = Notes(self.folder)
        self._trash = Trash(home.trash)
        self._hidden = Hidden(self.folder)
        index = Index(home.root / "cache" / "styles.sqlite")
        self._catalogue = Catalogue(self.folder, bundled, index, self._marks.hints)
        self._holdings = Holdings(self._catalogue, self._hidden)
        self._taking_in = Importer(self.folder, self._catalogue, self._hidden)

    # Looking

    def look(
        self, words: str = "", *, family: str = "", favourites: bool = False, newest: bool = False
    ) -> Listing:
        """Return what `search` finds, the files in the folder that can't be read, and the styles that vanished."""
        entries = self._holdings.entries(patient=False)
        shown = chosen(entries, self._marks.all(), words, family, favourites, newest)
        return Listing(shown, self._unreadable(entries), self._holdings.vanished())

    def search(
        self, words: str = "", *, family: str = "", favourites: bool = False, newest: bool = False
    ) -> list[StyleCard]:
        """Return the cards that have all words in name, trigger, author, description, tags or base.

        A word such as `tag:ink`, `author:`, `name:`, `trigger:` or `base:` is looked for in that field alone. By
        name, or the newest first, the artist's own before bundled ones.
        """
        return self.look(words, family=family, favourites=favourites, newest=newest).cards

    def cards(self) -> list[StyleCard]:
        """Return the cards of all styles that can be read, as `search` does."""
        return self.look().cards

    def unreadable(self) -> list[Refused]:
        """Return the files in the folder that are no styles that can be read."""
        return self.look().unreadable

    def _unreadable(self, entries: list[Entry]) -> list[Refused]:
        refused = [Refused(entry.path, entry.problem) for entry in entries if not entry.readable]
        return [*refused, Refused(self._marks.file, self._marks.problem)] if self._marks.problem else refused

    def vanished(self) -> list[Vanished]:
        """Return the styles that were in the folder and are gone, and lie nowhere else in it."""
        return self.look().vanished

    def forget_vanished(self) -> int:
        """Say no more of the styles that vanished until now; return how many there were."""
        return self._catalogue.forget_lost()

    def find(self, name_or_id: str) -> StyleCard:
        """Return the whole card of a style by name, by its place (`folder/name`), or by 8 digits of its id or more.

        Raises UnknownStyleError, which names similar ones.
        """
        return self._holdings.whole(self._holdings.match(name_or_id))

    def card(self, name_or_id: str) -> StyleCard:
        """Return the card of a style as `find` does, but without its thumbnail, for which a file has to be read."""
        card = self._catalogue.identified(self._holdings.match(name_or_id)).card
        assert card is not None
        return card

    def with_ids(self, ids: Iterable[str], *, thorough: bool = True) -> list[StyleCard]:
        """Return the cards of those of these styles that are here, without thumbnails.

        While one is missing, all files are hashed that have not been; without `thorough` only those that claim it.
        """
        cards = []
        for style_id in dict.fromkeys(ids):
            entry = self._catalogue.current(style_id)
            entry = entry or with_id(style_id, self._holdings.entries(), self._catalogue, thorough)
            if entry and entry.card:
                cards.append(entry.card)
        return cards

    def twin(self, style_id: str, likeness: tuple[int, str]) -> StyleCard | None:
        """Return the style with the same tensors that was here at the last look, None where there was none.

        What may be it is hashed: `likeness` is as `likeness_of` gives it.
        """
        return self._holdings.twin(style_id, likeness)

    def handle(self, card: StyleCard) -> str:
        """Return a word by which `find` knows a listed style, and which stays the same when it is hashed."""
        return self._holdings.handle(card)

    def thumbnail(self, card: StyleCard) -> bytes | None:
        """Return a style's picture, a JPEG: the one beside its file, else the one in it, else none."""
        return self._holdings.thumbnail(card)

    def unpictured(self) -> list[StyleCard]:
        """Return the styles without any picture, to be rendered one when there is time: see `edit`."""
        entries = [entry for entry in self._holdings.entries() if entry.readable and not entry.bundled]
        pictureless = without_picture(entry.place.file for entry in entries if not entry.row.pictured)
        return cards_of(entry for entry in entries if entry.place.file in pictureless)

    def open(self, name_or_id: str) -> Style:
        """Read a style with its layers; raises UnknownStyleError, StyleFileError."""
        entry = self._holdings.match(name_or_id)
        for _ in range(2):
            card = self._holdings.whole(entry)
            style = read_style(entry.path)
            if style.id == card.id:
                return replace(style, card=replace(card, problems=style.card.problems))
            # Written over in the same size and moment, so that it was taken for what it was.
            self._catalogue.enter_again(entry)
            entry = self._holdings.match(name_or_id)
        raise StyleFileError(
            "“{style}” is being changed by something else.", "Try again in a moment.", style=card.name
        )

    # Hashing

    def hash_some(self, seconds: float) -> int:
        """Make ids that are missing until the time is up; return how many are left. For when nobody waits.

        A large file may take several calls. The folder is not looked at again unless something in it has changed.
        """
        until = time.monotonic() + seconds
        missing = [entry for entry in self._catalogue.seen() if entry.unhashed]
        if not missing or seconds <= 0:
            return len(missing)
        made = sum(1 for _ in self._catalogue.identifying(missing, until))
        if made == len(missing) or time.monotonic() >= until:
            return len(missing) - made
        return sum(entry.unhashed for entry in self._catalogue.entries())

    def duplicates(self) -> list[list[StyleCard]]:
        """Return the styles that are here more than once, under whatever names."""
        alike: dict[tuple[int, str], list[Entry]] = {}
        for entry in self._holdings.entries():
            if entry.readable:
                alike.setdefault(entry.likeness, []).append(entry)
        suspects = [entry for entries in alike.values() if len(entries) > 1 for entry in entries]
        same: dict[str, list[StyleCard]] = {}
        for entry in self._catalogue.identifying(suspects):
            if entry.card:
                same.setdefault(entry.id, []).append(entry.card)
        return [cards for cards in same.values() if len(cards) > 1]

    # Changing

    def add(self, style: Style, announce: Callable[[Path], object] = lambda path: None) -> StyleCard:
        """Write a style into the library under its card's name; a name that is taken gets a number.

        `announce` is told where it will lie, before anything is there: who notes that and is killed finds it again.
        """
        name = safe_name(style.card.name)
        with locked(self.folder):
            path = free_path(self.folder, name, self._holdings.names())
            announce(path)
            written = write_style(replace(style, card=replace(style.card, name=name_of(path))), path)
            return self._holdings.whole(self._catalogue.enter(path, written.id))

    def import_files(
        self, paths: Iterable[Path], cancelled: Callable[[], bool] = lambda: False
    ) -> ImportReport:
        """Copy style files, PEFT folders, or all of a folder, into the library as they are; names are made safe.

        One file's refusal does not stop the others. A style that is here already is refused and said where. When it
        is cancelled, what was taken in until then stays.
        """
        return self._taking_in.run(paths, cancelled)

    def export(self, name_or_id: str, folder: Path, order: ExportOrder | None = None) -> Exported:
        """Write a style for others into a folder, as `export_style` does."""
        return export_style(self.open(name_or_id), folder, order or ExportOrder())

    def edit(self, name_or_id: str, **changes: Any) -> StyleCard:
        """Change what a style's file says of it: trigger, author, licence, description, rights, tags (a list),
        suggested_weight, thumbnail (a picture's bytes, or None).

        Only the header is written anew: the style stays the same, bit by bit. Raises BadInput, StyleFileError.
        """
        checked(changes)
        entry = self._holdings.own(name_or_id, "keeps its card")
        with locked(self.folder), _told_if_gone(entry):
            edited = edit_card(entry.path, changes)
            return self._holdings.whole(self._catalogue.enter(entry.path, edited.id))

    def mark(
        self,
        name_or_id: str,
        *,
        favourite: bool | None = None,
        tags: Iterable[str] | None = None,
        note: str | None = None,
    ) -> Note:
        """Note something about a style for oneself, in `marks.json`; what is not given stays. Raises BadInput."""
        entry = self._catalogue.identified(self._holdings.match(name_or_id))
        own_tags = None if tags is None else tuple(tags)
        return self._marks.change(
            entry.id, entry.name, entry.place, favourite=favourite, tags=own_tags, note=note
        )

    def marks(self) -> dict[str, Note]:
        """Return what is noted, by style id."""
        return self._marks.all()

    def rename(self, name_or_id: str, name: str) -> StyleCard:
        """Give a style another name in its folder; one that is taken gets a number. Bundled styles keep theirs."""
        name = safe_name(name)
        entry = self._holdings.own(name_or_id, "keeps its name")
        path = entry.path
        if entry.name == name:
            return self._holdings.whole(entry)
        with locked(self.folder), _told_if_gone(entry):
            suffix = path.name[len(entry.name) :]
            target = path.with_name(name + suffix)
            if folded(entry.name) != folded(name) or (os.path.lexists(target) and not target.samefile(path)):
                target = free_path(path.parent, name, self._holdings.names(), suffix)
            move(path, target)
            self._catalogue.forget([entry])
            return self._holdings.whole(self._catalogue.enter(target, entry.id))

    def delete(self, name_or_id: str) -> Path:
        """Move a style to the trash and return where it is; a bundled one is only hidden from this home."""
        entry = self._holdings.match(name_or_id)
        path = entry.path
        with locked(self.folder), _told_if_gone(entry):
            if entry.bundled:
                self._hidden.hide(entry.id)
                return path
            # Forgotten first: after a kill in between it would count as vanished.
            self._catalogue.forget([entry])
            return self._trash.put(path, path.parent.relative_to(self.folder).as_posix())

    def trashed(self) -> list[str]:
        """Return the names of the styles that `restore` can bring back."""
        return sorted({one.name for one in self._trash.all()} | {card.name for card in self.hidden()})

    def hidden(self) -> list[StyleCard]:
        """Return the cards of the bundled styles that were deleted."""
        ids = self._hidden.ids()
        return cards_of(entry for entry in self._holdings.bundled() if entry.id in ids) if ids else []

    def restore(self, name_or_id: str) -> StyleCard:
        """Bring back the style of that name, or whole id, that was deleted last; raises UnknownStyleError."""
        name = name_or_id.strip()
        by_id = SHA256.fullmatch(name) is not None
        with locked(self.folder):
            if last := self._trash.with_id(name) if by_id else self._trash.latest(name):
                suffix = "" if last.path.is_dir() else SUFFIX
                target = free_path(self.folder / last.inner, last.name, self._holdings.names(), suffix)
                move(last.path, target)
                return self._holdings.whole(self._catalogue.enter(target))
            for entry in self._holdings.bundled():
                if entry.id in self._hidden.ids() and (
                    name == entry.id or folded(name) == folded(entry.name)
                ):
                    self._hidden.show(entry.id)
                    return self._holdings.whole(entry)
        raise not_found(name, self.trashed(), deleted=True)


@contextmanager
def _told_if_gone(entry: Entry) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise StyleFileError(
            "“{style}” has just been taken away by something else.",
            "Look at the library again.",
            style=entry.name,
        ) from error
