"""The artist's styles: a folder of files, which is the only truth, and the bundled ones beside it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from styles.catalogue import BUNDLED as BUNDLED_PLACE
from styles.catalogue import Catalogue, Entry
from styles.edit import checked, edit_card
from styles.errors import BadInput, StyleFileError, UnknownStyleError
from styles.export import Exported, ExportOrder, export_style
from styles.folder import SUFFIX, folded, free_path, locked, move, name_of
from styles.home import Home
from styles.index import Index
from styles.marks import Mark, Marks
from styles.names import clean_text, safe_name
from styles.search import matches, named, not_found, with_id
from styles.side_files import has_picture, side_thumbnail
from styles.style import Style, StyleCard
from styles.style_file import read_card, read_style, write_style
from styles.taking_in import ImportReport, Refused, TakingIn
from styles.trash import Hidden, Trash

__all__ = ["ImportReport", "Library", "Listing", "Mark", "Refused", "Vanished"]

BUNDLED = Path(__file__).with_name("bundled")


@dataclass(frozen=True)
class Vanished:
    """A style whose file was in the folder and is not any more, though it was not deleted with Atelier."""

    name: str
    file: Path
    id: str  # empty where it was never made
    missed: str  # ISO date of the first look without it


@dataclass(frozen=True)
class Listing:
    """What lies in the library now. The cards have no thumbnail, and an id only where it has been made."""

    cards: list[StyleCard]
    unreadable: list[Refused]


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
        self._marks = Marks(self.folder)
        self._trash = Trash(home.trash)
        self._hidden = Hidden(self.folder)
        index = Index(home.root / "cache" / "styles.sqlite")
        self._catalogue = Catalogue(self.folder, bundled, index, self._marks.hints)
        self._taking_in = TakingIn(self.folder, self._catalogue, self._hidden)

    # Looking

    def look(self) -> Listing:
        """Return all that lies in the library, by name, the artist's own before bundled ones."""
        entries = self._listed()
        unreadable = [Refused(entry.place.path, entry.problem) for entry in entries if entry.card is None]
        if self._marks.problem:
            unreadable.append(Refused(self._marks.file, self._marks.problem))
        return Listing([entry.card for entry in entries if entry.card], unreadable)

    def cards(self) -> list[StyleCard]:
        """Return the cards of all styles that can be read, as `look` does."""
        return self.look().cards

    def unreadable(self) -> list[Refused]:
        """Return the files in the folder that are no styles that can be read."""
        return self.look().unreadable

    def search(
        self, words: str = "", *, family: str = "", favourites: bool = False, newest: bool = False
    ) -> list[StyleCard]:
        """Return the cards that have all words in name, trigger, author, description, tags or base.

        A word such as `tag:ink`, `author:`, `name:`, `trigger:` or `base:` is looked for in that field alone. By
        name, or the newest first.
        """
        marks = self._marks.all()
        found = [
            entry.card
            for entry in self._listed()
            if entry.card
            and (not family or entry.card.family == family)
            and (not favourites or marks.get(entry.id, Mark()).favourite)
            and matches(entry, marks.get(entry.id), words)
        ]
        return sorted(found, key=lambda card: card.created, reverse=True) if newest else found

    def vanished(self) -> list[Vanished]:
        """Return the styles that were in the folder and are gone, and lie nowhere else in it."""
        return [
            Vanished(name_of(row.where), self.folder / row.where, row.id, _date(row.gone))
            for row in self._catalogue.lost()
        ]

    def forget_vanished(self) -> int:
        """Say no more of the styles that vanished until now; return how many there were."""
        return self._catalogue.forget_lost()

    def find(self, name_or_id: str) -> StyleCard:
        """Return the whole card of a style by name, by its place (`folder/name`), or by 8 digits of its id or more.

        Raises UnknownStyleError, which names similar ones.
        """
        return self._whole(self._match(name_or_id))

    def with_ids(self, ids: Iterable[str], *, thorough: bool = True) -> list[StyleCard]:
        """Return the cards of those of these styles that are here, without thumbnails.

        While one is missing, all files are hashed that have not been; without `thorough` only those that claim it.
        """
        found = []
        for style_id in dict.fromkeys(ids):
            entry = self._catalogue.current(style_id)
            entry = entry or with_id(style_id, self._listed(), self._catalogue, thorough)
            if entry and entry.card:
                found.append(entry.card)
        return found

    def handle(self, card: StyleCard) -> str:
        """Return a word by which `find` knows a listed style, and which stays the same when it is hashed."""
        if card.path is None:
            return card.id
        if card.path.is_relative_to(self.folder):
            return card.path.relative_to(self.folder).as_posix()
        return BUNDLED_PLACE + card.path.relative_to(self.bundled).as_posix()

    def thumbnail(self, card: StyleCard) -> bytes | None:
        """Return a style's picture, a JPEG: the one beside its file, else the one in it, else none."""
        if card.path is None:
            return card.thumbnail
        try:
            return side_thumbnail(card.path) or read_card(card.path, hashed=False).thumbnail
        except StyleFileError:  # taken away since it was listed
            return None

    def unpictured(self) -> list[StyleCard]:
        """Return the styles without any picture, to be rendered one when there is time: see `edit`."""
        return [
            entry.card
            for entry in self._listed()
            if entry.card and not entry.pictured and not entry.bundled and not has_picture(entry.place.path)
        ]

    def open(self, name_or_id: str) -> Style:
        """Read a style with its layers; raises UnknownStyleError, StyleFileError."""
        entry = self._match(name_or_id)
        for _ in range(2):
            card = self._whole(entry)
            style = read_style(entry.place.path)
            if style.id == card.id:
                return replace(style, card=replace(card, problems=style.card.problems))
            # Written over in the same size and moment, so that it was taken for what it was.
            self._catalogue.enter_again(entry)
            entry = self._match(name_or_id)
        raise StyleFileError(f"“{card.name}” is being changed by something else.", "Try again in a moment.")

    # Hashing

    def hash_some(self, seconds: float) -> int:
        """Make ids that are missing until the time is up; return how many are left. For when nobody waits."""
        until = time.monotonic() + seconds
        missing = [entry for entry in self._catalogue.entries() if entry.card and not entry.id]
        if seconds > 0:
            for _ in self._catalogue.identifying(missing):
                if time.monotonic() >= until:
                    break
        return sum(1 for entry in self._catalogue.entries() if entry.card and not entry.id)

    def duplicates(self) -> list[list[StyleCard]]:
        """Return the styles that are here more than once, under whatever names."""
        alike: dict[tuple[int, str], list[Entry]] = {}
        for entry in self._listed():
            if entry.card:
                alike.setdefault(entry.likeness, []).append(entry)
        suspects = [entry for entries in alike.values() if len(entries) > 1 for entry in entries]
        same: dict[str, list[StyleCard]] = {}
        for entry in self._catalogue.identifying(suspects):
            if entry.card:
                same.setdefault(entry.id, []).append(entry.card)
        return [cards for cards in same.values() if len(cards) > 1]

    # Changing

    def add(self, style: Style) -> StyleCard:
        """Write a style into the library under its card's name; a name that is taken gets a number."""
        name = safe_name(style.card.name)
        with locked(self.folder):
            path = free_path(self.folder, name, self._names())
            written = write_style(replace(style, card=replace(style.card, name=name_of(path))), path)
            return self._whole(self._catalogue.enter(path, written.id))

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
        entry = self._own(name_or_id, "keeps its card")
        with locked(self.folder), _told_if_gone(entry):
            edited = edit_card(entry.place.path, changes)
            return self._whole(self._catalogue.enter(entry.place.path, edited.id))

    def mark(
        self,
        name_or_id: str,
        *,
        favourite: bool | None = None,
        tags: Iterable[str] | None = None,
        note: str | None = None,
    ) -> Mark:
        """Note something about a style for oneself, in `marks.json`; what is not given stays. Raises BadInput."""
        entry = self._catalogue.identified(self._match(name_or_id))
        own_tags = None if tags is None else tuple(tags)
        return self._marks.change(
            entry.id, entry.name, entry.place, favourite=favourite, tags=own_tags, note=note
        )

    def marks(self) -> dict[str, Mark]:
        """Return what is noted, by style id."""
        return self._marks.all()

    def rename(self, name_or_id: str, name: str) -> StyleCard:
        """Give a style another name in its folder; one that is taken gets a number. Bundled styles keep theirs."""
        name = safe_name(name)
        entry = self._own(name_or_id, "keeps its name")
        path = entry.place.path
        if entry.name == name:
            return self._whole(entry)
        with locked(self.folder), _told_if_gone(entry):
            suffix = path.name[len(entry.name) :]
            if folded(entry.name) == folded(name):
                target = path.with_name(name + suffix)
            else:
                target = free_path(path.parent, name, self._names(), suffix)
            move(path, target)
            self._catalogue.forget([entry])
            return self._whole(self._catalogue.enter(target, entry.id))

    def delete(self, name_or_id: str) -> Path:
        """Move a style to the trash and return where it is; a bundled one is only hidden from this home."""
        entry = self._match(name_or_id)
        path = entry.place.path
        with locked(self.folder), _told_if_gone(entry):
            if entry.bundled:
                self._hidden.hide(entry.id)
                return path
            target = self._trash.put(path, path.parent.relative_to(self.folder).as_posix())
            self._catalogue.forget([entry])
            return target

    def trashed(self) -> list[str]:
        """Return the names of the styles that `restore` can bring back."""
        hidden = self._hidden.ids()
        return sorted(
            {one.name for one in self._trash.all()}
            | {entry.name for entry in self._bundled() if entry.id in hidden}
        )

    def restore(self, name: str) -> StyleCard:
        """Bring back the style of that name that was deleted last; raises UnknownStyleError."""
        with locked(self.folder):
            if last := self._trash.latest(name):
                suffix = "" if last.path.is_dir() else SUFFIX
                target = free_path(self.folder / last.inner, last.name, self._names(), suffix)
                move(last.path, target)
                return self._whole(self._catalogue.enter(target))
            for entry in self._bundled():
                if entry.id in self._hidden.ids() and folded(entry.name) == folded(name.strip()):
                    self._hidden.show(entry.id)
                    return self._whole(entry)
        raise not_found(name, self.trashed(), "deleted style")

    # Below

    def _bundled(self) -> list[Entry]:
        bundled = [entry for entry in self._catalogue.entries() if entry.bundled]
        return list(self._catalogue.identifying(bundled))

    def _listed(self) -> list[Entry]:
        """All but the hidden ones; bundled ones always have an id, by which they are hidden."""
        entries = self._catalogue.entries()
        if any(entry.bundled and entry.card and not entry.id for entry in entries):
            self._bundled()
            entries = self._catalogue.entries()
        hidden = self._hidden.ids()
        return (
            [entry for entry in entries if not (entry.bundled and entry.id in hidden)] if hidden else entries
        )

    def _names(self) -> set[str]:
        return {folded(entry.name) for entry in self._catalogue.entries()}

    def _own(self, name_or_id: str, what: str) -> Entry:
        entry = self._match(name_or_id)
        if entry.bundled:
            raise BadInput(f"“{entry.name}” comes with Atelier and {what}.", "Export it to have a copy.")
        return entry

    def _whole(self, entry: Entry) -> StyleCard:
        if entry.card is None:
            raise StyleFileError(entry.problem)
        card = self._catalogue.identified(entry).card
        assert card is not None
        return replace(card, thumbnail=self.thumbnail(card))

    def _match(self, name_or_id: str) -> Entry:
        wanted = name_or_id.strip()
        if len(wanted) == 64 and (entry := self._catalogue.current(wanted.casefold())):
            return entry
        entries = [entry for entry in self._listed() if entry.card]
        if found := named(wanted, entries) or with_id(wanted, entries, self._catalogue, thorough=True):
            return found
        if wanted:
            self._explain(wanted.casefold())
        raise not_found(wanted, [entry.name for entry in entries])

    def _explain(self, wanted: str) -> None:
        """Raise UnknownStyleError for a style that was here, or is but can't be read."""
        for entry in self._catalogue.entries():
            if entry.card is None and wanted == entry.name.casefold():
                raise UnknownStyleError(f"“{clean_text(entry.name, 80)}” can't be used: {entry.problem}")
        for lost in self.vanished():
            if wanted in (lost.name.casefold(), lost.id):
                raise UnknownStyleError(
                    f"“{clean_text(lost.name, 80)}” has vanished: {lost.file} was missed on {lost.missed[:10]}.",
                    "Put the file back, or import the style again.",
                )


@contextmanager
def _told_if_gone(entry: Entry) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise StyleFileError(
            f"“{entry.name}” has just been taken away by something else.", "Look at the library again."
        ) from error


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
