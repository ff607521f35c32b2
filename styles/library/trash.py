"""Deleted styles: moved to the home's trash under their name and time, with what lay beside them.

Bundled styles are only hidden from this home.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from styles.errors import StyleFileError
from styles.formats.reader import read_card
from styles.library.folder import SUFFIX, is_peft, move, name_of, weights_of
from styles.library.header_cache import beginning_of
from styles.storage import atomic
from styles.storage.file_reading import read_json
from styles.storage.names import folded

# `~` is in no style's name, so the name can be told from the time; a person can read both.
MARK = "~"


@dataclass(frozen=True)
class Trashed:
    """One deleted style: what it was called, when it was deleted, and the subfolder that it lay in."""

    path: Path
    name: str
    deleted: str  # as 20260131-235959-123456, UTC
    inner: str


class Trash:
    """The styles in a home's trash; subfolders are kept as they were."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, path: Path, inner: str) -> Path:
        """Move a style that lay in a subfolder (empty: none) here; return where it is now."""
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")
        suffix = "" if path.is_dir() else SUFFIX
        target = self.folder / inner / f"{name_of(path)}{MARK}{stamp}{suffix}"
        move(path, target)
        return target

    def all(self) -> list[Trashed]:
        """Return the deleted styles, the last one first."""
        items = []
        for folder, folders, files in os.walk(self.folder):
            here = Path(folder)
            peft = [name for name in folders if MARK in name and is_peft(here / name)]
            folders[:] = [name for name in folders if name not in peft and not name.startswith(".")]
            named = [name for name in files if name.endswith(SUFFIX) and MARK in name]
            for name in peft + named:
                style, _, stamp = name_of(name).rpartition(MARK)
                items.append(Trashed(here / name, style, stamp, here.relative_to(self.folder).as_posix()))
        return sorted(items, key=lambda one: one.deleted, reverse=True)

    def latest(self, name: str) -> Trashed | None:
        """Return the style of that name, in any case, that was deleted last."""
        return next((one for one in self.all() if folded(one.name) == folded(name.strip())), None)

    def with_id(self, style_id: str) -> Trashed | None:
        """Return the style of that id that was deleted last; what claims no id is hashed."""
        return next((one for one in self.all() if _id_of(one.path) == style_id), None)


def _id_of(path: Path) -> str:
    """Return the id that a deleted style claims, else the one that it has; empty for what can't be read."""
    try:
        return beginning_of(weights_of(path)).claimed or read_card(path).id
    except (OSError, StyleFileError):
        return ""


class Hidden:
    """The ids of the bundled styles that were deleted in one styles folder; changed only under its lock."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / ".hidden.json"

    def ids(self) -> set[str]:
        """Return the ids."""
        try:
            values = read_json(self.file)
        except (OSError, ValueError):
            return set()
        return {str(value) for value in values} if isinstance(values, list) else set()

    def hide(self, style_id: str) -> None:
        """Hide one more."""
        atomic.write_text(self.file, json.dumps(sorted(self.ids() | {style_id})))

    def show(self, style_id: str) -> None:
        """Hide one less."""
        atomic.write_text(self.file, json.dumps(sorted(self.ids() - {style_id})))
