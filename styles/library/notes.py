"""What an artist notes about styles: favourites, tags of one's own, notes. In `marks.json` beside the styles.

Kept by the hash of a style's tensors, so that a mark follows its file through any renaming. This file is no cache:
one that can't be read is set aside, never written over.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from styles.errors import BadInput, Failure
from styles.formats.style import LONGEST_TAG, MOST_TAGS
from styles.library.folder import MARKED, MARKS, StyleLocation, locked
from styles.storage import atomic
from styles.storage.file_reading import read_json
from styles.storage.names import SHA256, clean_text
from styles.text import NO_TEXT, Text

FORMAT = 1
LONGEST_NOTE = 4000  # characters
LARGEST = 256 << 20  # bytes; ten thousand long notes take a fifth


@dataclass(frozen=True)
class Note:
    """What is noted about one style; the text is cleaned on construction."""

    favourite: bool = False
    tags: tuple[str, ...] = ()
    note: str = ""

    def __post_init__(self) -> None:
        cleaned = [clean_text(tag, LONGEST_TAG) for tag in self.tags]
        object.__setattr__(self, "tags", tuple(dict.fromkeys(tag for tag in cleaned if tag)))
        object.__setattr__(self, "note", clean_text(self.note, LONGEST_NOTE, lines=True))


class Notes:
    """The marks of one styles folder, by style id."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / MARKS
        self._read_at: tuple[int, int] | None = None
        self._values: dict[str, Any] | None = {}
        self._unreadable = NO_TEXT

    @property
    def problem(self) -> Text:
        """Why nothing of the file can be shown; empty where all is well."""
        self._styles()
        if self._values is not None:
            return NO_TEXT
        return self._unreadable or (
            Text(
                "It is damaged, so that no favourites, tags and notes are shown. With the next note it is set aside."
            )
        )

    def all(self) -> dict[str, Note]:
        """Return the marks of all styles that have one, also of styles that are not here."""
        return {style: _mark(value) for style, value in self._styles().items()}

    def hints(self) -> dict[tuple[str, int, int], str]:
        """Return the ids of marked styles by the place, size and time that their files had then."""
        hints = {}
        for style, value in self._styles().items():
            file = value.get("file")
            if isinstance(file, dict) and type(file.get("size")) is type(file.get("mtime_ns")) is int:
                hints[str(file.get("place")), file["size"], file["mtime_ns"]] = style
        return hints

    def change(
        self,
        style_id: str,
        name: str,
        place: StyleLocation,
        *,
        favourite: bool | None = None,
        tags: tuple[str, ...] | None = None,
        note: str | None = None,
    ) -> Note:
        """Note something about a style, and keep what is not given; what other processes noted stays.

        `name` is only for people who look into the file. Raises BadInput for text that is too long, Failure.
        """
        _check(tags or (), note or "")
        with locked(self.folder):
            values = self._from_disk()
            if values is None:
                atomic.set_aside(self.file)
                values = {}
            styles = values.setdefault("styles", {})
            before = styles.get(style_id)
            entry: dict[str, Any] = before if isinstance(before, dict) else {}
            changes = {"favourite": favourite, "tags": tags, "note": note}
            mark = replace(_mark(entry), **{k: v for k, v in changes.items() if v is not None})  # type: ignore[arg-type]
            if mark == Note():
                styles.pop(style_id, None)
            else:
                file = {"place": place.where, "size": place.size, "mtime_ns": place.mtime_ns}
                changed = {"favourite": mark.favourite, "tags": list(mark.tags), "note": mark.note}
                styles[style_id] = entry | {"name": name} | changed | {"file": file}
            whole = values | {MARKED: FORMAT}
            atomic.write_text(
                self.file, json.dumps(whole, ensure_ascii=False, indent=1, sort_keys=True) + "\n"
            )
            self._read_at = None
        return mark

    def _styles(self) -> dict[str, dict[str, Any]]:
        try:
            stat = self.file.stat()
        except OSError:
            self._values, self._read_at = {}, None
            return {}
        if self._read_at != (stat.st_size, stat.st_mtime_ns):
            self._unreadable = NO_TEXT
            try:
                self._values = self._from_disk()
            except Failure as error:  # the styles can be listed without it
                self._values, self._unreadable = None, error.text
            self._read_at = (stat.st_size, stat.st_mtime_ns)
        styles = (self._values or {}).get("styles", {})
        return {k: v for k, v in styles.items() if SHA256.fullmatch(k) and isinstance(v, dict)}

    def _from_disk(self) -> dict[str, Any] | None:
        """Return what the file holds, nothing where there is none, and None where it is damaged."""
        try:
            values = read_json(self.file, LARGEST)
        except FileNotFoundError:
            return {}
        except ValueError:
            return None
        except OSError as error:
            raise Failure(
                "{file} can't be read: {reason}.",
                "Allow reading it; it holds your notes.",
                file=self.file,
                reason=error.strerror,
            ) from error
        whole = isinstance(values, dict) and isinstance(values.get("styles", {}), dict)
        return values if whole else None


def _mark(values: dict[str, Any]) -> Note:
    tags, note = values.get("tags"), values.get("note")
    return Note(
        favourite=values.get("favourite") is True,
        tags=tuple(str(tag) for tag in tags[:MOST_TAGS]) if isinstance(tags, list) else (),
        note=note if isinstance(note, str) else "",
    )


def _check(tags: tuple[str, ...], note: str) -> None:
    if len(tags) > MOST_TAGS:
        raise BadInput(
            "{count} tags are too many for one style.",
            "Give at most {most_tags}.",
            count=len(tags),
            most_tags=MOST_TAGS,
        )
    for tag in tags:
        if len(tag) > LONGEST_TAG:
            raise BadInput(
                "The tag “{tag} …” has {count} characters.",
                "Give at most {longest_tag}.",
                tag=clean_text(tag, 30),
                count=len(tag),
                longest_tag=LONGEST_TAG,
            )
    if len(note) > LONGEST_NOTE:
        raise BadInput(
            "The note has {count} characters.",
            "Write at most {longest_note}.",
            count=len(note),
            longest_note=LONGEST_NOTE,
        )
