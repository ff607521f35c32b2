"""What is known about each style file, its card as short JSON among it, in a small sqlite3 file that only saves time.

It may be deleted at any time. A file that is damaged is begun anew, a row that is damaged is not believed, and where
nothing can be written nothing is kept. Each use opens and closes it, so that no other process ever waits for long.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Callable, Iterable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from styles.families import family_of
from styles.formats.bake_record import BakeRecord
from styles.formats.style import StyleCard
from styles.text import text_from_json, text_to_json

VERSION = 3
PATIENCE_SECONDS = 5.0  # for another process to finish writing a few hundred rows
COLUMNS = (
    "place, size, mtime_ns, reader, id, section, sample, claimed, card, words, problem, pictured, gone, sum"
)
KEPT_APART = frozenset(("thumbnail", "path", "id"))
# No text of a card has such characters.
MARKS = {"name": "\x01", "trigger": "\x02", "author": "\x03", "tag": "\x04", "base": "\x05"}
READER = json.JSONDecoder()
DEFAULTS = {f.name: f.default for f in fields(StyleCard) if f.default is not MISSING}
T = TypeVar("T")


class Row(NamedTuple):
    """What is known about one file, as it was when it had this size and time."""

    where: str
    size: int  # bytes
    mtime_ns: int
    reader: int  # a number for the code that read it; other code may read more
    id: str  # sha256 of the tensors, empty until it was made
    section: int  # bytes that the tensors take
    sample: str  # hash of the first of these bytes
    claimed: str  # the hash that the file itself names
    card: str  # as `packed` makes it; empty where the file is no style
    words: str  # that a search looks through
    problem: str  # why it is no style, as `text_to_json` makes it; empty for one
    pictured: int = 0  # 1 where the file holds a thumbnail
    gone: float = 0.0  # when the file was missed, in unix seconds; 0 while it is there


class Index:
    """The rows, by a file's place in the styles folder."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def rows(self, wheres: Iterable[str] | None = None) -> dict[str, Row]:
        """Return the rows of these places, or all; damaged ones are left out."""
        if wheres is None:
            return self._asked("", [()])
        return self._asked("WHERE place = ?", [(where,) for where in wheres if is_text(where)])

    def gone(self) -> dict[str, Row]:
        """Return the rows of the files that were missed."""
        return self._asked("WHERE gone != 0", [()])

    def save(self, rows: Iterable[Row]) -> None:
        """Write rows over what was known of their places."""
        values = [(*row, _sum(row)) for row in rows if is_text(row.where)]
        marks = ", ".join("?" * len(COLUMNS.split(",")))

        def write(connection: sqlite3.Connection) -> None:
            connection.executemany(f"INSERT OR REPLACE INTO styles ({COLUMNS}) VALUES ({marks})", values)

        if values:
            self._use(write, None)

    def forget(self, wheres: Iterable[str]) -> None:
        """Drop what is known of these places: their files were moved or deleted on purpose."""
        values = [(where,) for where in wheres if is_text(where)]

        def drop(connection: sqlite3.Connection) -> None:
            connection.executemany("DELETE FROM styles WHERE place = ?", values)

        if values:
            self._use(drop, None)

    def lose(self, rows: Iterable[Row], now: float) -> None:
        """Note when files were missed, unless something else became known of them meanwhile."""
        values = []
        for row in rows:
            if is_text(row.where):
                values.append((now, _sum(row._replace(gone=now)), row.where, _sum(row)))

        def write(connection: sqlite3.Connection) -> None:
            connection.executemany("UPDATE styles SET gone = ?, sum = ? WHERE place = ? AND sum = ?", values)

        if values:
            self._use(write, None)

    def identify(self, rows: Iterable[Row]) -> None:
        """Keep the ids of these rows where a file is still known as the row says."""
        storable = [row for row in rows if is_text(row.where)]

        def write(connection: sqlite3.Connection) -> None:
            for row in storable:
                stored = connection.execute(
                    f"SELECT {COLUMNS} FROM styles WHERE place = ?", (row.where,)
                ).fetchone()
                now = _believed(stored) if stored else None
                if now and (now.size, now.mtime_ns) == (row.size, row.mtime_ns):
                    now = now._replace(id=row.id)
                    connection.execute(
                        "UPDATE styles SET id = ?, sum = ? WHERE place = ?", (now.id, _sum(now), now.where)
                    )

        if storable:
            self._use(write, None)

    def _asked(self, condition: str, parameters: list[tuple[str, ...]]) -> dict[str, Row]:
        def read(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
            rows = []
            for values in parameters:
                rows += connection.execute(f"SELECT {COLUMNS} FROM styles {condition}", values).fetchall()
            return rows

        nothing: list[tuple[Any, ...]] = []
        stored = self._use(read, nothing, "BEGIN")
        return {row.where: row for values in stored if (row := _believed(values))}

    def _use(
        self, work: Callable[[sqlite3.Connection], T], otherwise: T, begin: str = "BEGIN IMMEDIATE"
    ) -> T:
        """Do something in one transaction; what can't be done is left, since the folder tells it all again."""
        if not self.file.parent.parent.is_dir():  # no home, so nothing to keep
            return otherwise
        for _ in range(2):
            try:
                self.file.parent.mkdir(exist_ok=True)
                connection = sqlite3.connect(self.file, timeout=PATIENCE_SECONDS, isolation_level=None)
                try:
                    _prepare(connection)
                    connection.execute(begin)
                    done = work(connection)
                    connection.execute("COMMIT")
                    return done
                finally:
                    connection.close()
            except sqlite3.Error as error:
                if not _damaged(error):
                    return otherwise
                try:
                    self.file.unlink(missing_ok=True)
                except OSError:  # Windows, while another process has it open
                    return otherwise
            except OSError:
                return otherwise
        return otherwise


def reader_number(folder: Path) -> int:
    """Return a number for the state of the code in a folder: a newer Atelier reads all headers again."""
    states = []
    for file in sorted(folder.rglob("*.py")):
        stat = file.stat()
        states.append(f"{file.name} {stat.st_size} {stat.st_mtime_ns}")
    return zlib.crc32("\n".join(states).encode())


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA synchronous = OFF")  # a power cut may spoil it: see `_believed`
    if _version(connection) == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    if _version(connection) == VERSION:  # another process was quicker
        connection.execute("COMMIT")
        return
    connection.execute("DROP TABLE IF EXISTS styles")
    connection.execute(
        "CREATE TABLE styles (place TEXT PRIMARY KEY, size INTEGER, mtime_ns INTEGER, reader INTEGER, id TEXT, "
        "section INTEGER, sample TEXT, claimed TEXT, card TEXT, words TEXT, problem TEXT, pictured INTEGER, gone REAL, sum INTEGER)"
    )
    connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")


def _version(connection: sqlite3.Connection) -> int:
    return connection.execute("PRAGMA user_version").fetchone()[0]


def _damaged(error: sqlite3.Error) -> bool:
    """Whether the file itself is at fault, rather than a lock, a full disk or a missing permission."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:  # from Python's own side, such as text that is no UTF-8
        return True
    return (code & 0xFF) in (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _believed(values: tuple[Any, ...]) -> Row | None:
    """Return a row as it was read with its checksum, None for a damaged one: it can still look right."""
    row = Row._make(values[:-1])
    try:
        return row if _sum(row) == values[-1] else None
    except TypeError:  # text where a number was, or nothing
        return None


def _sum(row: Row) -> int:
    texts = (row.where, row.id, row.sample, row.claimed, row.card, row.words, row.problem)
    numbers = row.size ^ row.mtime_ns ^ row.reader ^ row.section ^ row.pictured ^ hash(row.gone)
    return zlib.crc32("\0".join(texts).encode("utf-8", "surrogatepass"), numbers & 0xFFFFFFFF)


def is_text(where: str) -> bool:
    """Whether a file's name is Unicode, as sqlite and a page want it; on Linux it may be any bytes."""
    try:
        where.encode()
    except UnicodeEncodeError:
        return False
    return True


def packed(card: StyleCard) -> str:
    """Return a card as JSON, without what is kept apart; nothing that is as usual is written."""
    values = {
        field.name: getattr(card, field.name)
        for field in fields(card)
        if field.name not in KEPT_APART and getattr(card, field.name) != field.default
    }
    if card.problems:
        values["problems"] = [text_to_json(problem) for problem in card.problems]
    if card.bake:
        values["bake"] = card.bake.to_json()
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"))


def unpacked(text: str, style_id: str, path: Path) -> StyleCard:
    """Return the card that `packed` wrote."""
    values = READER.raw_decode(text)[0]
    for name in ("tags", "tokens"):
        if name in values:
            values[name] = tuple(values[name])
    if "problems" in values:
        values["problems"] = tuple(map(text_from_json, values["problems"]))
    if "bake" in values:
        values["bake"] = BakeRecord.from_json(values["bake"])
    # Not by its constructor: its text was cleaned when the file was read, and cleaning ten thousand takes a second.
    card = object.__new__(StyleCard)
    object.__setattr__(card, "__dict__", DEFAULTS | values | {"id": style_id, "path": path})
    return card


def words_of(card: StyleCard) -> str:
    """Return what a search looks through, folded: a line for each text, which begins with the mark of its field."""
    fields = {
        "name": (card.name,),
        "trigger": (card.trigger, *card.tokens),
        "author": (card.author,),
        "tag": card.tags,
        "base": (card.family, family_of(card.family).name, card.base_name),
    }
    lines = [MARKS[field] + text for field, texts in fields.items() for text in texts if text]
    return "\n".join((*lines, card.made_for, card.description)).casefold()


def is_in(field: str, word: str, words: str) -> bool:
    """Whether a folded word is in one field of what `words_of` returned, or in any where `field` is empty."""
    if word not in words or not field:
        return word in words
    return any(word in line for line in words.split("\n") if line.startswith(MARKS[field]))
