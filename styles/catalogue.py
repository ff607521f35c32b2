"""All styles of a folder and the bundled ones, listed fast: what is known of a file is read once and kept.

The folder is the truth, looked at with every listing. A file is known by its path, size and time until its tensors
are hashed, which happens only when an id is needed or when there is time for it.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from styles.errors import StyleFileError
from styles.folder import Place, place_at, places, weights_of
from styles.index import Index, Row, packed, reader_number, unpacked
from styles.like_headers import LikeHeaders
from styles.side_files import with_side_text
from styles.style import StyleCard
from styles.tensor_header import LARGEST_HEADER

BUNDLED = "//bundled/"  # begins the place of a bundled style; no file of the styles folder has two slashes
SAMPLE_BYTES = 16 << 10
ROWS_AT_ONCE = 500
CLAIM = re.compile(rb'"sshs_model_hash"\s*:\s*"(?:0x)?([0-9a-f]{64})"')


@dataclass(frozen=True)
class Entry:
    """One file: its card, or why it is no style. The card has no thumbnail, and no id until the tensors are hashed.

    Two files with the same tensors have the same `section` (how many bytes they take) and `sample` (a hash of the
    first of them); two others hardly ever have. `claimed` is the hash that the file names, true or not.
    """

    place: Place
    card: StyleCard | None
    problem: str = ""
    section: int = 0
    sample: str = ""
    claimed: str = ""
    pictured: bool = False  # whether the file holds a thumbnail
    passing: bool = False  # a problem of the moment, such as a missing permission

    @property
    def id(self) -> str:
        return self.card.id if self.card else ""

    @property
    def bundled(self) -> bool:
        return self.place.where.startswith(BUNDLED)

    @property
    def likeness(self) -> tuple[int, str]:
        """What files with the same tensors have in common."""
        return self.section, self.sample

    @cached_property
    def name(self) -> str:
        return self.place.name

    @cached_property
    def order(self) -> tuple[bool, str, str]:
        """Where it stands in a list: by name, bundled ones at the end."""
        return self.bundled, self.name.casefold(), self.place.where

    @cached_property
    def words(self) -> str:
        """What a search looks through, folded."""
        if self.card is None:
            return ""
        card = self.card
        said = (
            self.name, card.trigger, card.author, card.description, card.family, card.base_name, card.made_for,
            *card.tags,
        )  # fmt: skip
        return "\n".join(said).casefold()


class Catalogue:
    """The entries of one styles folder; several threads and processes may use theirs at once."""

    def __init__(
        self, folder: Path, bundled: Path, index: Index, hints: Callable[[], dict[tuple[str, int, int], str]]
    ) -> None:
        self.folder = folder
        self.bundled = bundled
        self._index = index
        self._hints = hints  # ids of files by place, size and time, as far as they are noted elsewhere
        self._reader = reader_number(Path(__file__).parent)
        self._like = LikeHeaders()
        self._lock = threading.RLock()
        self._entries: dict[str, Entry] | None = None
        self._sorted: list[Entry] = []

    def entries(self) -> list[Entry]:
        """Return what lies in the folder now, by name, and then the bundled styles."""
        with self._lock:
            found = {place.where: place for place in places(self.folder)}
            for place in places(self.bundled):
                where = BUNDLED + place.where
                found[where] = place._replace(where=where)
            known = self._entries
            if known is None:
                new = list(found.values())
            else:
                new = [place for where, place in found.items() if not _still(known.get(where), place)]
            if known is None or new or len(found) != len(known):
                self._catch_up(found, new)
            return self._sorted

    def enter(self, path: Path, style_id: str = "") -> Entry:
        """Read a file that was just written or moved here, whose id may be known."""
        with self._lock:
            entry = self._read(place_at(path, self.folder), style_id)
            self._put([entry])
            self._index.save([_row(entry, self._reader)])
            return entry

    def enter_again(self, entry: Entry) -> None:
        """Read a file anew that turned out to be another one than its size and time said."""
        with self._lock:
            place = place_at(entry.place.path, self.bundled if entry.bundled else self.folder)
            again = self._read(place._replace(where=entry.place.where), "")
            self._put([again])
            self._index.save([_row(again, self._reader)])

    def forget(self, entries: Iterable[Entry]) -> None:
        """Drop what was moved or deleted on purpose, so that it does not count as vanished."""
        with self._lock:
            wheres = [entry.place.where for entry in entries]
            self._index.forget(wheres)
            for where in wheres:
                (self._entries or {}).pop(where, None)
            self._sort()

    def identified(self, entry: Entry) -> Entry:
        """Return an entry with its id; raises StyleFileError where the file can't be read any more."""
        for found in self.identifying([entry]):
            return found
        raise StyleFileError(
            f"“{entry.name}” has just been changed or taken away.", "Look at the library again."
        )

    def identifying(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """Hash what has no id yet, and yield each entry as it gets one; files that went away are left out.

        What was hashed is kept, also when the caller stops.
        """
        made: list[Entry] = []
        try:
            for entry in entries:
                if entry.card is None:
                    continue
                if not entry.id:
                    style_id = self._hash(entry)
                    if not style_id:
                        continue
                    entry = replace(entry, card=replace(entry.card, id=style_id))
                    made.append(entry)
                    if len(made) == ROWS_AT_ONCE:
                        self._keep_ids(made)
                        made = []
                yield entry
        finally:
            self._keep_ids(made)

    def current(self, style_id: str) -> Entry | None:
        """Return an entry of that whole id without looking at the rest of the folder; None where that is not known."""
        with self._lock:
            for entry in self._sorted:
                if entry.id == style_id and not entry.bundled:
                    return entry if place_at(entry.place.path, self.folder).same(entry.place) else None
        return None

    def lost(self) -> list[Row]:
        """Return what is known of the files that vanished and are not here under another name."""
        with self._lock:
            entries = self.entries()
            gone = [row for row in self._index.rows().values() if row.gone]
        ids = {entry.id for entry in entries if entry.id}
        traces = {(*entry.place[2:], *entry.likeness) for entry in entries}
        wheres = {entry.place.where for entry in entries}
        vanished = [
            row
            for row in gone
            if row.card and row.where not in wheres and row.id not in ids and _trace(row) not in traces
        ]
        return sorted(vanished, key=lambda row: row.where.casefold())

    def forget_lost(self) -> int:
        """Say no more of what vanished until now; return how many there were."""
        rows = self.lost()
        self._index.forget(row.where for row in rows)
        return len(rows)

    # With the lock held

    def _catch_up(self, found: dict[str, Place], new: list[Place]) -> None:
        first = self._entries is None
        known = self._entries or {}
        missed = [where for where in known if where not in found]
        few = not first and len(new) + len(missed) < ROWS_AT_ONCE
        rows = self._index.rows([place.where for place in new] + missed if few else None)
        # What lies in a subfolder that can't be looked into now has not vanished.
        closed = [place.where + "/" for place in new if place.size < 0]
        lost = [
            row
            for row in rows.values()
            if row.where not in found and not row.where.startswith((BUNDLED, *closed)) and "./" not in closed
        ]
        hints = self._hints() if first or new else {}
        self._entries = {where: entry for where, entry in known.items() if where in found}
        before = {_trace(row): row for row in lost if row.sample}
        moved: set[str] = set()
        unsaved: list[Row] = []
        for place in new:
            row = rows.get(place.where)
            entry = _from_row(row, place) if row and row.reader == self._reader else None
            if entry is None or (row and row.gone):
                same = row and (row.size, row.mtime_ns) == (place.size, place.mtime_ns)
                style_id = row.id if row and same else hints.get(place[1:], "")
                entry = entry or self._read(place, style_id)
                if entry.card and (elsewhere := before.pop((*place[2:], *entry.likeness), None)):
                    moved.add(elsewhere.where)
                    entry = replace(entry, card=replace(entry.card, id=entry.id or elsewhere.id))
                if not entry.passing:
                    unsaved.append(_row(entry, self._reader))
            self._entries[place.where] = entry
            if len(unsaved) == ROWS_AT_ONCE:  # so that a first look that is broken off is not in vain
                self._index.save(unsaved)
                unsaved = []
        self._index.save(unsaved)
        self._index.forget(moved | {row.where for row in lost if not row.card})
        missing = [row for row in lost if row.card and not row.gone and row.where not in moved]
        # Another process may have written one since, so that each is looked for once more.
        gone = [row for row in missing if not os.path.lexists(self.folder / row.where)]
        self._index.lose(gone, time.time())
        self._sort()

    def _read(self, place: Place, style_id: str) -> Entry:
        path = place.path
        try:
            written = path.stat().st_mtime
            section, sample, claimed = _look_into(weights_of(path))
            card = self._like.card(path)
        except StyleFileError as error:
            return Entry(place, None, str(error))
        except OSError as error:
            return Entry(place, None, f"It can't be read: {error.strerror}.", passing=True)
        card = with_side_text(card, path)
        date = datetime.fromtimestamp(written, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        pictured = card.thumbnail is not None
        card = replace(
            card, name=place.name, id=style_id, created=card.created or date, path=path, thumbnail=None
        )
        return Entry(place, card, "", section, sample, claimed, pictured)

    def _put(self, entries: Iterable[Entry]) -> None:
        if self._entries is not None:
            self._entries |= {entry.place.where: entry for entry in entries}
            self._sort()

    def _sort(self) -> None:
        self._sorted = sorted((self._entries or {}).values(), key=lambda entry: entry.order)

    # Without it, since hashing takes a while

    def _hash(self, entry: Entry) -> str:
        """Return the sha256 of a file's tensors; empty where it is not the file any more that was read."""
        path = entry.place.path
        digest = hashlib.sha256()
        try:
            for weights in weights_of(path):
                with weights.open("rb") as file:
                    file.seek(8 + int.from_bytes(file.read(8), "little"))
                    while block := file.read(1 << 20):
                        digest.update(block)
        except OSError:
            return ""
        root = self.bundled if entry.bundled else self.folder
        return digest.hexdigest() if place_at(path, root).same(entry.place) else ""

    def _keep_ids(self, entries: list[Entry]) -> None:
        with self._lock:
            known = self._entries or {}
            here = [entry for entry in entries if _still(known.get(entry.place.where), entry.place)]
            self._put(here)
            self._index.identify([_row(entry, self._reader) for entry in here])


def likeness_of(path: Path) -> tuple[int, str]:
    """Return what a style has in common with every other of the same tensors; raises OSError."""
    section, sample, _ = _look_into(weights_of(path))
    return section, sample


def _still(entry: Entry | None, place: Place) -> bool:
    return entry is not None and not entry.passing and place.same(entry.place)


def _trace(row: Row) -> tuple[int, int, int, str]:
    """What a file keeps when it is moved."""
    return row.size, row.mtime_ns, row.section, row.sample


def _row(entry: Entry, reader: int) -> Row:
    place, card = entry.place, entry.card
    return Row(
        place.where, place.size, place.mtime_ns, reader, entry.id, entry.section, entry.sample, entry.claimed,
        packed(card) if card else "", entry.problem, int(entry.pictured),
    )  # fmt: skip


def _from_row(row: Row, place: Place) -> Entry | None:
    if (row.size, row.mtime_ns) != (place.size, place.mtime_ns) or place.size < 0:
        return None
    card = unpacked(row.card, row.id, place.path) if row.card else None
    return Entry(place, card, row.problem, row.section, row.sample, row.claimed, bool(row.pictured))


def _look_into(files: list[Path]) -> tuple[int, str, str]:
    """Return how many bytes the tensors take, a hash of the first of them, and the hash that the files name.

    For files that turn out to be no style this means nothing. Raises OSError.
    """
    section, samples, claim = 0, hashlib.blake2b(digest_size=16), None
    for file in files:
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            size = opened.seek(0, 2) - 8 - length
            if size <= 0 or length > LARGEST_HEADER:
                return 0, "", ""
            opened.seek(8)
            claim = claim or CLAIM.search(opened.read(length))
            samples.update(opened.read(SAMPLE_BYTES))
            section += size
    return section, samples.hexdigest() if section else "", claim[1].decode() if claim else ""
