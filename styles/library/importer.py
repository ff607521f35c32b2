"""Bringing styles into the library: found, read whole, copied under a hidden name, and only then given a name.

Reading and copying needs no lock; names and duplicates are settled under it, many files at once.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from styles.errors import AtelierError, StyleFileError
from styles.formats.hub import HUB_WEIGHTS
from styles.formats.reader import read_style
from styles.formats.safetensors_header import hash_rest, open_header
from styles.formats.style import StyleCard
from styles.library.catalogue import Catalogue
from styles.library.folder import (
    SUFFIX,
    TEXT_ENDINGS,
    free_path,
    is_peft,
    locked,
    move,
    name_of,
    parts_of,
    places,
    weights_of,
)
from styles.library.header_cache import likeness_of
from styles.library.listing import Entry, Refused
from styles.library.side_files import LARGEST_TEXT, side_thumbnail
from styles.library.trash import Hidden
from styles.storage import atomic
from styles.storage.file_reading import open_file, read_bytes
from styles.storage.names import folded, suggested_name

PICKLED = (".pt", ".ckpt", ".bin", ".pth")
TAKEN_AT_ONCE = 64  # files that are copied before the library is locked


@dataclass(frozen=True)
class ImportReport:
    """What became of the files given: the styles that are in the library now, and the files refused."""

    styles: list[StyleCard]
    refused: list[Refused]


@dataclass(frozen=True)
class ImportSource:
    """A style to take in, and the subfolder of the library that it belongs into."""

    path: Path
    inner: str = ""


@dataclass(frozen=True)
class Incoming:
    """A style that was read whole and copied; nothing of it can be seen in the library yet."""

    source: ImportSource
    id: str
    likeness: tuple[int, str]
    copy: Path
    thumbnail: bytes | None  # of a picture beside the source
    texts: Mapping[str, bytes]  # those beside it, by their endings


class Importer:
    """Imports into one styles folder."""

    def __init__(self, folder: Path, catalogue: Catalogue, hidden: Hidden) -> None:
        self.folder = folder
        self._catalogue = catalogue
        self._hidden = hidden

    def run(self, paths: Iterable[Path], cancelled: Callable[[], bool]) -> ImportReport:
        """Take in what can be, in the order given, and say of the rest why not."""
        outcomes: dict[int, StyleCard | Refused] = {}
        batch: dict[int, Incoming] = {}
        atomic.check_folder(self.folder)
        try:
            for number, (path, source) in enumerate(sources(paths)):
                if cancelled():
                    break
                try:
                    if source is None and path.suffix.lower() == ".gguf":
                        open_header(path)
                    if source is None:
                        raise StyleFileError(
                            "There is no style file in {path}.",
                            "Styles end in {suffix}.",
                            path=path,
                            suffix=SUFFIX,
                        )
                    batch[number] = take(source, self.folder)
                except AtelierError as error:
                    outcomes[number] = Refused(path, error.text)
                if len(batch) == TAKEN_AT_ONCE:
                    self._settle(batch, outcomes)
            self._settle(batch, outcomes)
        finally:
            for incoming in batch.values():
                atomic.discard(incoming.copy)
        ordered = [outcomes[number] for number in sorted(outcomes)]
        return ImportReport(
            [one for one in ordered if isinstance(one, StyleCard)],
            [one for one in ordered if isinstance(one, Refused)],
        )

    def _settle(self, batch: dict[int, Incoming], outcomes: dict[int, StyleCard | Refused]) -> None:
        """Give names to what was copied, and take out of the batch what has become a style or was refused."""
        if not batch:
            return
        with locked(self.folder):
            entries = self._catalogue.entries()
            used_names = {folded(entry.name) for entry in entries}
            likenesses = {incoming.likeness for incoming in batch.values()}
            alike = [entry for entry in entries if entry.likeness in likenesses or entry.bundled]
            here = {entry.id: entry for entry in self._catalogue.identifying(alike)}
            for number, incoming in list(batch.items()):
                try:
                    twin = here.get(incoming.id)
                    if twin is None:
                        entry = self._named(incoming, used_names)
                        here[incoming.id] = entry
                    elif twin.bundled and twin.id in self._hidden.ids():
                        self._hidden.show(twin.id)
                        entry = twin
                    else:
                        raise StyleFileError(
                            "This style is in the library already, as “{name}”.", name=twin.name
                        )
                    assert entry.card is not None
                    outcomes[number] = replace(entry.card, thumbnail=incoming.thumbnail)
                except AtelierError as error:
                    outcomes[number] = Refused(incoming.source.path, error.text)
                atomic.discard(batch.pop(number).copy)

    def _named(self, incoming: Incoming, used_names: set[str]) -> Entry:
        source = incoming.source
        suffix = "" if incoming.copy.is_dir() else SUFFIX
        target = free_path(
            self.folder / source.inner, suggested_name(name_from(source.path)), used_names, suffix
        )
        # First what lies beside it: killed in between, the same import finds it there and goes on.
        for ending, data in ((".jpg", incoming.thumbnail), *incoming.texts.items()):
            beside = target.with_name(name_of(target) + ending)
            if data and not os.path.lexists(beside):  # nobody's file is written over
                atomic.write_bytes(beside, data)
        move(incoming.copy, target)
        used_names.add(folded(name_of(target)))
        return self._catalogue.enter(target, incoming.id)


def sources(paths: Iterable[Path]) -> Iterator[tuple[Path, ImportSource | None]]:
    """Yield the styles that paths name; a folder stands for all in it, in subfolders as they are there.

    The pickles in a folder are among them, to be refused; a folder without anything is yielded with None.
    """
    for path in paths:
        if not os.path.isdir(path) or is_peft(path):  # unlike Path's, this answers without rights, too
            yield path, ImportSource(path)
            continue
        locations = sorted(places(path, also=PICKLED), key=lambda place: place.where)
        if not locations:
            yield path, None
        for place in locations:
            inner = [suggested_name(part) for part in place.where.split("/")[:-1]]
            yield place.path, ImportSource(place.path, "/".join(inner))


def take(source: ImportSource, folder: Path) -> Incoming:
    """Read a style whole, so that a damaged one is refused now and not when it is used, and copy it into `folder`.

    Raises StyleFileError with the reason, DiskFullError, BadInput; then nothing is left in the folder.
    """
    path = source.path
    style = read_style(path)
    copy = atomic.unfinished(folder, "" if path.is_dir() else SUFFIX)
    try:
        with atomic.disk_errors(copy):
            style_id = _copied(path, copy)
        if style_id != style.id:
            raise StyleFileError(
                "“{file}” was changed while it was being copied.", "Import it again.", file=path.name
            )
        return Incoming(source, style.id, likeness_of(copy), copy, side_thumbnail(path), _texts_beside(path))
    except BaseException as error:
        atomic.discard(copy)
        if isinstance(error, OSError):
            raise StyleFileError(
                "{path} can't be copied: {reason}.", "Try again.", path=path, reason=error.strerror
            ) from error
        raise


def _copied(source: Path, target: Path) -> str:
    """Copy the files that a style is, and return the sha256 of its tensors as they were copied."""
    digest = hashlib.sha256()
    weights = weights_of(source)
    for part in parts_of(source):
        copy = target / part.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        with open_file(part) as old, copy.open("xb") as new:
            if part in weights:
                start = old.read(8)
                new.write(start + old.read(int.from_bytes(start, "little")))
                hash_rest(old, digest, new)
            else:
                shutil.copyfileobj(old, new)
            new.flush()
            os.fsync(new.fileno())
    return digest.hexdigest()


def _texts_beside(path: Path) -> dict[str, bytes]:
    texts = {}
    for ending in TEXT_ENDINGS:
        with suppress(OSError):
            texts[ending] = read_bytes(path.with_name(name_of(path) + ending), LARGEST_TEXT)
    return texts


def name_from(path: Path) -> str:
    """Return the name that a style gets by its file, which a folder for the Hub calls alike in all of them."""
    return path.parent.name if path.name == HUB_WEIGHTS else name_of(path)
