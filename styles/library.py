"""The artist's styles: a folder of files, which is the only truth, and the bundled ones beside it."""

from __future__ import annotations

import difflib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from styles import atomic
from styles.errors import AtelierError, BadInput, Failure, StyleFileError, UnknownStyleError
from styles.home import Home
from styles.names import clean_text, safe_name, suggested_name
from styles.style import Style, StyleCard
from styles.style_file import read_card, read_style, write_style

SUFFIX = ".safetensors"
BUNDLED = Path(__file__).with_name("bundled")
LOCK_SECONDS = 30


@dataclass(frozen=True)
class Refused:
    """A file that was not taken, with the reason in a sentence."""

    file: Path
    reason: str


@dataclass(frozen=True)
class ImportReport:
    """What became of the files given: the styles that are in the library now, and the files refused."""

    styles: list[StyleCard]
    refused: list[Refused]


class Library:
    """The styles in a home's `styles/` folder, by file name; bundled styles are listed, never written.

    Nothing is ever overwritten: a name that is taken gets a number. Changes hold a lock, so that a training
    that ends and a window can't meet.
    """

    def __init__(self, home: Home, bundled: Path = BUNDLED) -> None:
        self.home = home
        self.bundled = bundled
        # Hashing a large file takes a while, and files here hardly ever change.
        self._seen: dict[tuple[Path, int, int], StyleCard | Refused] = {}

    def cards(self) -> list[StyleCard]:
        """Return the cards of all styles that can be read, by name, the artist's own before bundled ones."""
        return [card for card in self._listing() if isinstance(card, StyleCard)]

    def unreadable(self) -> list[Refused]:
        """Return the files in the folder that are no styles that can be read."""
        return [entry for entry in self._listing() if isinstance(entry, Refused)]

    def find(self, name_or_id: str) -> StyleCard:
        """Return the card of a style by name, or by its id or at least 8 digits of it.

        Raises UnknownStyleError, which names similar ones.
        """
        cards = self.cards()
        wanted = name_or_id.strip()
        for matches in (
            [card for card in cards if card.name == wanted],
            [card for card in cards if card.name.casefold() == wanted.casefold()],
            [card for card in cards if len(wanted) >= 8 and card.id.startswith(wanted.casefold())],
        ):
            if len({card.id for card in matches}) == 1 or (matches and matches[0].name == wanted):
                return matches[0]
        raise _unknown(wanted, [card.name for card in cards], "style")

    def open(self, name_or_id: str) -> Style:
        """Read a style with its layers; raises UnknownStyleError, StyleFileError."""
        card = self.find(name_or_id)
        assert card.path is not None
        style = read_style(card.path)
        return replace(style, card=replace(style.card, name=card.name, created=card.created))

    def add(self, style: Style) -> StyleCard:
        """Write a style into the library under its card's name; a name that is taken gets a number."""
        name = safe_name(style.card.name)
        with self._locked():
            path = self._free(name)
            write_style(replace(style, card=replace(style.card, name=path.stem)), path)
            return self._card(path)

    def import_files(self, paths: Iterable[Path]) -> ImportReport:
        """Copy style files, or all of a folder, into the library as they are; names are made safe.

        One file's refusal does not stop the others. A style that is here already is refused and said where.
        """
        report = ImportReport([], [])
        for path in _files(paths):
            try:
                report.styles.append(self._import(path))
            except AtelierError as error:
                report.refused.append(Refused(path, str(error)))
        return report

    def export(self, name_or_id: str, folder: Path) -> Path:
        """Copy a style's file into a folder, under a number where the name is taken; return its path."""
        card = self.find(name_or_id)
        assert card.path is not None
        if folder.exists() and not folder.is_dir():
            raise BadInput(f"{folder} is not a folder.", "Choose a folder to put the style in.")
        target = atomic.unused_name(folder, suggested_name(card.name), SUFFIX)
        _copy(card.path, target)
        return target

    def delete(self, name_or_id: str) -> Path:
        """Move a style to the trash and return where it is; a bundled one is only hidden from this home."""
        card = self.find(name_or_id)
        assert card.path is not None
        with self._locked():
            if self._is_bundled(card.path):
                self._hide(self._hidden() | {card.id})
                return card.path
            # `~` is in no style's name, so the name can be told from the time; a person can read both.
            stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")
            target = self.home.trash / f"{card.path.stem}~{stamp}{SUFFIX}"
            with atomic.telling(target):
                self.home.trash.mkdir(parents=True, exist_ok=True)
                os.replace(card.path, target)
            return target

    def trashed(self) -> list[str]:
        """Return the names of the styles that `restore` can bring back."""
        names = {path.stem.rpartition("~")[0] for path in self.home.trash.glob(f"*~*{SUFFIX}")}
        hidden = self._hidden()
        return sorted(names | {card.name for card in self._bundled_cards() if card.id in hidden})

    def restore(self, name: str) -> StyleCard:
        """Bring back the style of that name that was deleted last; raises UnknownStyleError."""
        wanted = name.strip().casefold()
        with self._locked():
            found = sorted(
                (path for path in self.home.trash.glob(f"*~*{SUFFIX}")),
                key=lambda path: path.stem.rpartition("~")[2],
            )
            for path in reversed(found):
                if path.stem.rpartition("~")[0].casefold() == wanted:
                    target = self._free(path.stem.rpartition("~")[0])
                    with atomic.telling(target):
                        os.replace(path, target)
                    return self._card(target)
            hidden = self._hidden()
            for card in self._bundled_cards():
                if card.id in hidden and card.name.casefold() == wanted:
                    self._hide(hidden - {card.id})
                    return card
        raise _unknown(name, self.trashed(), "deleted style")

    def rename(self, name_or_id: str, name: str) -> StyleCard:
        """Give a style another name; one that is taken gets a number. Bundled styles keep theirs."""
        card, name = self.find(name_or_id), safe_name(name)
        assert card.path is not None
        if self._is_bundled(card.path):
            raise BadInput(
                f"“{card.name}” comes with Atelier and keeps its name.", "Export it to have a copy."
            )
        if card.path.stem == name:
            return card
        with self._locked():
            only_case = card.path.stem.casefold() == name.casefold()
            target = card.path.with_name(name + SUFFIX) if only_case else self._free(name)
            with atomic.telling(target):
                os.replace(card.path, target)
            return self._card(target)

    # The folder

    def _listing(self) -> Iterator[StyleCard | Refused]:
        if self.home.styles.is_dir():
            for path in sorted(self.home.styles.glob(f"*{SUFFIX}"), key=lambda path: path.stem.casefold()):
                if not path.name.startswith("."):
                    yield self._entry(path)
        hidden = self._hidden()
        yield from (card for card in self._bundled_cards() if card.id not in hidden)

    def _bundled_cards(self) -> list[StyleCard]:
        entries = [self._entry(path) for path in sorted(self.bundled.glob(f"*{SUFFIX}"))]
        return [entry for entry in entries if isinstance(entry, StyleCard)]

    def _entry(self, path: Path) -> StyleCard | Refused:
        try:
            stat = path.stat()
        except OSError as error:
            return Refused(path, f"It can't be read: {error.strerror}.")
        key = (path, stat.st_size, stat.st_mtime_ns)
        if key not in self._seen:
            try:
                card = read_card(path)
            except StyleFileError as error:
                self._seen[key] = Refused(path, str(error))
            else:
                written = datetime.fromtimestamp(stat.st_mtime, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
                self._seen[key] = replace(card, name=path.stem, created=card.created or written)
        return self._seen[key]

    def _card(self, path: Path) -> StyleCard:
        entry = self._entry(path)
        if isinstance(entry, Refused):
            raise StyleFileError(entry.reason)
        return entry

    def _import(self, path: Path) -> StyleCard:
        style = read_style(path)  # all of it, so that a damaged file is refused now and not when it is used
        with self._locked():
            for card in self.cards():
                if card.id == style.id:
                    raise StyleFileError(f"This style is in the library already, as “{card.name}”.")
            for card in self._bundled_cards():
                if card.id == style.id:  # hidden until now
                    self._hide(self._hidden() - {card.id})
                    return card
            target = self._free(suggested_name(path.stem))
            _copy(path, target)
            return self._card(target)

    def _free(self, name: str) -> Path:
        """Return a path of our folder that no style has, bundled ones included."""
        bundled = {path.stem.casefold() for path in self.bundled.glob(f"*{SUFFIX}")}
        number, path = 1, atomic.unused_name(self.home.styles, name, SUFFIX)
        while path.stem.casefold() in bundled:
            number += 1
            path = atomic.unused_name(self.home.styles, f"{name} {number}", SUFFIX)
        return path

    def _is_bundled(self, path: Path) -> bool:
        return path.parent == self.bundled

    def _hidden(self) -> set[str]:
        try:
            values = json.loads((self.home.styles / ".hidden.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return set()
        return {str(value) for value in values} if isinstance(values, list) else set()

    def _hide(self, ids: set[str]) -> None:
        atomic.write_text(self.home.styles / ".hidden.json", json.dumps(sorted(ids)))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with atomic.telling(self.home.styles):
            self.home.styles.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.home.styles / ".lock", timeout=LOCK_SECONDS)
            try:
                lock.acquire()
            except Timeout as error:
                raise Failure(
                    "Another Atelier has been changing the library for half a minute.", "Try again."
                ) from error
        try:
            yield
        finally:
            lock.release()


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(path.glob(f"*{SUFFIX}"))
        else:
            yield path


def _copy(source: Path, target: Path) -> None:
    with atomic.replacing(target) as temporary:
        shutil.copyfile(source, temporary)


def _unknown(wanted: str, names: list[str], kind: str) -> UnknownStyleError:
    folded = {name.casefold(): name for name in names}
    near = [folded[name] for name in difflib.get_close_matches(wanted.casefold(), folded, n=3, cutoff=0.5)]
    near += [name for name in names if wanted and wanted.casefold() in name.casefold() and name not in near]
    if near:
        hint = f"Did you mean {' or '.join(f'“{name}”' for name in near[:3])}?"
    elif names:
        hint = f"There is {', '.join(f'“{name}”' for name in names[:8])}{' …' if len(names) > 8 else ''}."
    else:
        hint = f"There is no {kind} yet."
    return UnknownStyleError(f"There is no {kind} “{clean_text(wanted, 80)}”.", hint)
