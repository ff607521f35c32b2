"""All styles of a folder and the bundled ones, listed fast: what is known of a file is read once and kept.

The folder is the truth, looked at with every listing. A file is known by its path, size and time until its tensors
are hashed, which happens only when an id is needed or when there is time for it.
"""

from __future__ import annotations

import json
import math
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from styles.errors import StyleFileError
from styles.formats.safetensors_header import Hashing
from styles.library.folder import StyleLocation, place_at, places, weights_of
from styles.library.header_cache import HeaderCache, beginning_of
from styles.library.index import Index, Row, is_text, packed, reader_number, words_of
from styles.library.listing import BUNDLED, Entry
from styles.library.side_files import with_side_text
from styles.text import Text, text_to_json

ROWS_AT_ONCE = 500
# That a listing gives to another one's reading; of the first look nothing is known before.
WAIT_SECONDS, FIRST_WAIT_SECONDS = 1.0, 10.0


class Catalogue:
    """The entries of one styles folder; several threads and processes may use theirs at once."""

    def __init__(
        self, folder: Path, bundled: Path, index: Index, hints: Callable[[], dict[tuple[str, int, int], str]]
    ) -> None:
        self.folder = folder
        self.bundled = bundled
        self._index = index
        self._hints = hints  # ids of files by place, size and time, as far as they are noted elsewhere
        self._reader = reader_number(Path(__file__).parents[1])
        self._like = HeaderCache()
        self._lock = threading.RLock()  # of what is known
        self._looking = threading.RLock()  # taken before the other one
        self._looked = False  # a first look has come to its end
        self._entries: dict[str, Entry] | None = None
        self._sorted: list[Entry] = []
        self._unfinished: tuple[StyleLocation, Hashing] | None = None  # a large file that waits for more time

    def entries(self, *, patient: bool = True) -> list[Entry]:
        """Return what lies in the folder now, by name, and then the bundled styles.

        While another thread reads files that are new, whoever is not `patient` waits for a moment, for nearly always
        that is enough, and then gets what is known.
        """
        moment_seconds = WAIT_SECONDS if self._looked else FIRST_WAIT_SECONDS
        if not self._looking.acquire(timeout=-1 if patient else moment_seconds):
            return self._sorted
        try:
            self._look()
        finally:
            self._looking.release()
        return self._sorted

    def seen(self) -> list[Entry]:
        """Return what lay in the folder at the last look; looks only where there was none."""
        return self._sorted if self._looked else self.entries()

    def enter(self, path: Path, style_id: str = "") -> Entry:
        """Read a file that was just written or moved here, whose id may be known."""
        with self._looking:
            return self._enter(place_at(path, self.folder), style_id)

    def enter_again(self, entry: Entry) -> None:
        """Read a file anew that turned out to be another one than its size and time said."""
        with self._looking:
            place = place_at(entry.path, self.bundled if entry.bundled else self.folder)
            self._enter(place._replace(where=entry.place.where), "")

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
        for hashed in self.identifying([entry]):
            return hashed
        raise StyleFileError(
            "“{style}” has just been changed or taken away.", "Look at the library again.", style=entry.name
        )

    def identifying(self, entries: Iterable[Entry], until: float = math.inf) -> Iterator[Entry]:
        """Hash what has no id yet, and yield each entry as it gets one; files that went away are left out.

        It ends at `until`, of `time.monotonic`, though not before it has hashed something. What was hashed is kept,
        also when the caller stops.
        """
        made: list[Entry] = []
        try:
            for entry in entries:
                if not entry.readable:
                    continue
                if not entry.id:
                    style_id = self._hash(entry, until)
                    if not style_id and time.monotonic() >= until:
                        break
                    if not style_id:
                        continue
                    entry = entry.known_as(style_id)
                    made.append(entry)
                    if len(made) == ROWS_AT_ONCE:
                        self._keep_ids(made)
                        made = []
                yield entry
                if time.monotonic() >= until:
                    break
        finally:
            self._keep_ids(made)

    def current(self, style_id: str) -> Entry | None:
        """Return an entry of that whole id without looking at the rest of the folder; None where that is not known."""
        with self._lock:
            for entry in self._sorted:
                if entry.id == style_id and not entry.bundled:
                    return entry if place_at(entry.path, self.folder).same(entry.place) else None
        return None

    def at(self, where: str) -> Entry | None:
        """Return the style at a place without looking at the rest of the folder; None where it is not what it was."""
        with self._lock:
            entry = (self._entries or {}).get(where)
        if entry is None or not entry.readable:
            return None
        root = self.bundled if entry.bundled else self.folder
        return entry if entry.still(place_at(entry.path, root)) else None

    def lost(self) -> list[Row]:
        """Return what is known of the files that at the last look had vanished and were not here under another name."""
        entries = self.seen()
        gone = self._index.gone().values()
        if not gone:
            return []
        ids = {entry.id for entry in entries if entry.id}
        traces = {_trace(entry.row) for entry in entries}
        wheres = {entry.place.where for entry in entries}
        vanished = [
            row
            for row in gone
            if row.card and row.where not in wheres and row.id not in ids and _trace(row) not in traces
        ]
        return sorted(vanished, key=lambda row: row.where.casefold())

    def forget_lost(self) -> int:
        """Say no more of what vanished until now; return how many there were."""
        self.entries()
        rows = self.lost()
        self._index.forget(row.where for row in rows)
        return len(rows)

    # While looking: files are read without the lock, so that what is known can be had meanwhile

    def _look(self) -> None:
        here = {place.where: place for place in places(self.folder)}
        for place in places(self.bundled):
            where = BUNDLED + place.where
            here[where] = place._replace(where=where)
        entries = self._entries or {}
        new = [
            place
            for where, place in here.items()
            if (entry := entries.get(where)) is None or not entry.still(place)
        ]
        if not self._looked or new or len(here) != len(entries):
            self._catch_up(here, new)
        self._looked = True

    def _catch_up(self, here: dict[str, StyleLocation], new: list[StyleLocation]) -> None:
        first, entries = not self._looked, self._entries or {}
        missed = [where for where in entries if where not in here]
        few = not first and len(new) + len(missed) < ROWS_AT_ONCE
        rows = self._index.rows([place.where for place in new] + missed if few else None)
        # What lies in a subfolder that can't be looked into now has not vanished.
        closed = [place.where + "/" for place in new if place.size < 0]
        lost = [
            row
            for row in rows.values()
            if row.where not in here and not row.where.startswith((BUNDLED, *closed)) and "./" not in closed
        ]
        hints = self._hints() if first or new else {}
        before = {_trace(row): row for row in lost if row.sample}
        current = {place.where: row for place in new if (row := self._current(rows.get(place.where), place))}
        again = [
            Entry(place, current[place.where])
            for place in new
            if place.where in current and not current[place.where].gone
        ]
        with self._lock:
            unchanged = {where: entry for where, entry in (self._entries or {}).items() if where in here}
            self._entries = unchanged | {entry.place.where: entry for entry in again}
            self._sort()
        moved: set[str] = set()
        unsaved: list[Entry] = []
        for place in new:
            row = current.get(place.where)
            if row and not row.gone:
                continue
            if row:  # it is back
                entry = Entry(place, row._replace(gone=0.0))
            else:
                earlier = rows.get(place.where)
                noted = hints.get((place.where, place.size, place.mtime_ns), "")
                entry = self._read(place, earlier.id if earlier and _is_of(earlier, place) else noted)
            if entry.readable and (elsewhere := before.pop(_trace(entry.row), None)):
                moved.add(elsewhere.where)
                entry = entry if entry.id else entry.known_as(elsewhere.id)
            unsaved.append(entry)
            if len(unsaved) == ROWS_AT_ONCE:  # so that a first look that is broken off is not in vain
                self._publish(unsaved)
                unsaved = []
        self._publish(unsaved)
        self._index.forget(moved | {row.where for row in lost if not row.card})
        missing = [row for row in lost if row.card and not row.gone and row.where not in moved]
        # Another process may have written one since, so that each is looked for once more.
        gone = [row for row in missing if not os.path.lexists(self.folder / row.where)]
        self._index.lose(gone, time.time())

    def _current(self, row: Row | None, place: StyleLocation) -> Row | None:
        """What is known of a place, where that is of the file that lies there, and was read by this reader."""
        return row if row and _is_of(row, place) and row.reader == self._reader else None

    def _publish(self, entries: list[Entry]) -> None:
        """Enter what was read, save what was moved or deleted meanwhile."""
        here = [entry for entry in entries if os.path.lexists(entry.path)]
        with self._lock:
            self._put(here)
        self._index.save([entry.row for entry in here if not entry.passing])

    def _enter(self, place: StyleLocation, style_id: str) -> Entry:
        entry = self._read(place, style_id)
        with self._lock:
            self._put([entry])
        self._index.save([entry.row])
        return entry

    def _read(self, place: StyleLocation, style_id: str) -> Entry:
        path, about = place.path, (place.where, place.size, place.mtime_ns, self._reader)
        try:
            if not is_text(place.where):
                raise StyleFileError("Its name holds bytes that are no letters: rename it.")
            written = path.stat().st_mtime
            beginning = beginning_of(weights_of(path))
            card = self._like.card(path, beginning)
        except StyleFileError as error:
            problem = json.dumps(text_to_json(error.text))
            return Entry(place, Row(*about, "", 0, "", "", "", "", problem))
        except OSError as error:
            problem = json.dumps(text_to_json(Text("It can't be read: {reason}.", reason=error.strerror)))
            return Entry(place, Row(*about, "", 0, "", "", "", "", problem), passing=True)
        card = with_side_text(card, path)
        date = card.created or datetime.fromtimestamp(written, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        card = replace(card, name=place.name, created=date)
        row = Row(
            *about, style_id, beginning.section, beginning.sample, beginning.claimed,
            packed(card), words_of(card), "", int(card.thumbnail is not None),
        )  # fmt: skip
        return Entry(place, row)

    # With the lock held

    def _put(self, entries: Iterable[Entry]) -> None:
        if self._entries is not None:
            self._entries |= {entry.place.where: entry for entry in entries}
            self._sort()

    def _sort(self) -> None:
        self._sorted = sorted((self._entries or {}).values(), key=lambda entry: entry.order)

    # Without any, since hashing takes a while

    def _hash(self, entry: Entry, until: float = math.inf) -> str:
        """Return the sha256 of a file's tensors; empty at `until`, or where it is not the file any more that was read."""
        with self._lock:
            hashing = Hashing(weights_of(entry.path))
            if self._unfinished and self._unfinished[0] == entry.place:
                hashing, self._unfinished = self._unfinished[1], None
        try:
            style_id = hashing.go_on(until)
        except OSError:
            return ""
        if not style_id:
            self._unfinished = entry.place, hashing
            return ""
        root = self.bundled if entry.bundled else self.folder
        return style_id if place_at(entry.path, root).same(entry.place) else ""

    def _keep_ids(self, entries: list[Entry]) -> None:
        with self._lock:
            current = self._entries or {}
            here = [
                entry
                for entry in entries
                if (now := current.get(entry.place.where)) is not None and now.still(entry.place)
            ]
            self._put(here)
            self._index.identify([entry.row for entry in here])


def _trace(row: Row) -> tuple[int, int, int, str]:
    """What a file keeps when it is moved."""
    return row.size, row.mtime_ns, row.section, row.sample


def _is_of(row: Row, place: StyleLocation) -> bool:
    """Whether a row was made of the file that lies there now, as far as size and time tell."""
    return place.size >= 0 and (row.size, row.mtime_ns) == (place.size, place.mtime_ns)
