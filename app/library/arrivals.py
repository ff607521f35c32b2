"""Styles that were dropped on the page and wait for an answer: import them, or leave them.

They wait in a folder of the window's own, laid out as they were on the artist's disk, so that a PEFT folder is one
style again and a picture lies beside its style. A reload and a second tab find them; the end of the window does not.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from styles.library.folder import NETWORKS, SETTINGS, WEIGHTS, is_peft, side_files
from styles.library.import_card import ImportCard, import_cards
from styles.library.library import ImportReport, Library

UNSAFE = re.compile(r'[<>:"|?*\\/\x00-\x1f]')
LONGEST_PART = 150  # characters of a file's or folder's name


@dataclass(frozen=True)
class Waiting:
    """One style that waits, and the folder that it came in with."""

    number: int
    root: Path
    card: ImportCard

    @property
    def reason(self) -> str:
        """Why it is refused, without the name of a folder that means nothing to the artist; empty where it is not."""
        return self.card.reason.replace(f"{self.root}{os.sep}", "")


class Arrivals:
    """What waits in one window."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self._waiting: dict[int, Waiting] = {}
        self._coming: set[Path] = set()  # folders that are still being looked at
        self._count = 0
        self._changing = threading.Lock()

    def all(self) -> list[Waiting]:
        """What waits, in the order in which it came."""
        return list(self._waiting.values())

    def take(self, files: Iterable[tuple[Path, str]], folder: Path) -> Iterator[Waiting]:
        """Lay uploaded files out in `folder` by the paths that they had, and look at each style among them."""
        root = Path(tempfile.mkdtemp(prefix="arrived-", dir=folder))
        self._coming.add(root)
        try:
            for path, name in files:
                target = root.joinpath(*_parts(name))
                target.parent.mkdir(parents=True, exist_ok=True)
                if not target.exists():
                    _put(path, target)
            if is_peft(root):  # the files of a PEFT folder, without it
                _gather(root)
            for card in import_cards(_tops(root), self.library):
                with self._changing:
                    self._count += 1
                    one = self._waiting[self._count] = Waiting(self._count, root, card)
                yield one
        finally:
            self._coming.discard(root)

    def bring(self, number: int) -> ImportReport:
        """Import one that waits; it waits no longer."""
        chosen = self._answered([number])
        report = self.library.import_files(one.card.file for one in chosen)
        self._sweep(chosen)
        return report

    def bring_all(self) -> ImportReport:
        """Import all that can be, in the folders that they came in; those that are refused wait on."""
        chosen = self._answered([one.number for one in self.all() if not one.card.reason])
        files = {one.card.file for one in chosen}
        styles, refused = [], []
        for root in dict.fromkeys(one.root for one in chosen):
            report = self.library.import_files(_tops(root))
            styles += report.styles
            refused += [one for one in report.refused if one.file in files]
        self._sweep(chosen)
        return ImportReport(styles, refused)

    def leave(self, number: int | None = None) -> None:
        """Import one that waits not, or none of all."""
        self._sweep(self._answered([number] if number else [one.number for one in self.all()]))

    def _answered(self, numbers: Iterable[int]) -> list[Waiting]:
        with self._changing:
            return [self._waiting.pop(number) for number in numbers if number in self._waiting]

    def _sweep(self, answered: Iterable[Waiting]) -> None:
        """Take away the copies of what was answered, and the folders in which nothing waits any more."""
        needed = {one.root for one in self.all()} | self._coming
        for one in answered:
            if one.root not in needed:
                shutil.rmtree(one.root, ignore_errors=True)
            elif one.card.file.is_dir():
                shutil.rmtree(one.card.file, ignore_errors=True)
            else:
                one.card.file.unlink(missing_ok=True)


def _parts(name: str) -> list[str]:
    """The folders and the name of a file by the path that the browser tells, none of which leads elsewhere."""
    parts = [UNSAFE.sub("_", part).strip(" .")[-LONGEST_PART:] for part in PurePosixPath(name).parts]
    return [part for part in parts if part] or ["file"]


def _put(path: Path, target: Path) -> None:
    """Have a file at two places, in the room of one where the disk can do that."""
    try:
        os.link(path, target)
    except OSError:
        shutil.copyfile(path, target)


def _gather(root: Path) -> None:
    folder = root / "PEFT style"
    folder.mkdir()
    for name in (SETTINGS, WEIGHTS, *filter(None, NETWORKS)):
        if (root / name).exists():
            (root / name).rename(folder / name)


def _tops(root: Path) -> list[Path]:
    """What was dropped, without what only stands beside a style."""
    tops = sorted(root.iterdir())
    beside = {side for path in tops for side in side_files(path)}
    return [path for path in tops if path not in beside or is_peft(path)]
