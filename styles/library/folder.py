"""The styles folder as it lies on the disk: which files are styles, and who may change it now. Nothing is opened."""

from __future__ import annotations

import errno
import filecmp
import os
import shutil
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from styles.errors import Failure
from styles.storage import atomic
from styles.storage.file_reading import LARGEST_JSON, read_bytes
from styles.storage.names import folded

SUFFIX = ".safetensors"
# A style as a folder, as PEFT writes it: these two in the folder itself, or in one for each network below it.
WEIGHTS, SETTINGS = "adapter_model.safetensors", "adapter_config.json"
NETWORKS = ("", "unet", "text_encoder", "text_encoder_2")
# What other tools put beside NAME.safetensors; the first picture counts.
PICTURE_ENDINGS = (
    ".png", ".preview.png", ".jpg", ".preview.jpg", ".jpeg", ".preview.jpeg", ".webp", ".preview.webp",
    ".thumb.jpg", ".thumb.png",
)  # fmt: skip
FILM_ENDINGS = (".preview.mp4", ".mp4", ".preview.webm", ".webm")
TEXT_ENDING = ".json"
# The texts that are read, what the artist typed before what a program fetched: of A1111, of LoRA Manager, of Stability
# Matrix, of SwarmUI, of Civitai Helper.
TEXT_ENDINGS = (TEXT_ENDING, ".metadata.json", ".cm-info.json", ".swarm.json", ".civitai.info")
SIDE_ENDINGS = (*PICTURE_ENDINGS, *FILM_ENDINGS, *TEXT_ENDINGS)
MARKS = "marks.json"  # lies among the styles and belongs to none of them
MARKED = "atelier_marks"  # a key that it always has
DEEPEST = 16  # subfolders within each other
LOCK_SECONDS = 30


class StyleLocation(NamedTuple):
    """A style's file, or its PEFT folder, and what a look at the folder tells about it.

    `where` is its path within the styles folder, with `/` on every system. `size` in bytes and `mtime_ns` take in
    the text files beside it; a size of -1 is something that can't be looked at.
    """

    file: str
    where: str
    name: str
    size: int
    mtime_ns: int

    @property
    def path(self) -> Path:
        return Path(self.file)

    def same(self, other: StyleLocation) -> bool:
        """Whether the file is as it was, as far as size and time tell."""
        return self.size == other.size >= 0 and self.mtime_ns == other.mtime_ns


def name_of(file: str | Path) -> str:
    """Return the name that a style has by its file or folder."""
    name = os.path.basename(file)
    return name[: -len(SUFFIX)] if name[-len(SUFFIX) :].lower() == SUFFIX else name


def is_peft(folder: Path) -> bool:
    """Whether a folder is a style as PEFT writes it."""
    return any(os.path.isfile(folder / network / SETTINGS) for network in NETWORKS)


def parts_of(path: Path) -> list[Path]:
    """Return the files that a style is: itself, or those of its PEFT folder that are there."""
    if not os.path.isdir(path):
        return [path]
    files = (path / network / name for network in NETWORKS for name in (WEIGHTS, SETTINGS))
    return [file for file in files if os.path.isfile(file)]


def weights_of(path: Path) -> list[Path]:
    """Return the safetensors files of a style: itself, or those of its PEFT folder in the order of its id."""
    return [file for file in parts_of(path) if file == path or file.name == WEIGHTS]


def side_files(path: Path) -> list[Path]:
    """Return the pictures and texts that lie beside a style under its name."""
    beside = (path.with_name(name_of(path) + ending) for ending in SIDE_ENDINGS)
    return [file for file in beside if os.path.isfile(file) and not _is_marks(file)]


def _is_marks(file: Path) -> bool:
    """Whether a file is the marks, and not what somebody put beside a style of that name."""
    try:
        return file.name.lower() == MARKS and MARKED.encode() in read_bytes(file, LARGEST_JSON)
    except OSError:
        return True  # then it stays where it is


def places(root: Path, also: tuple[str, ...] = ()) -> list[StyleLocation]:
    """Return all styles in a folder and its subfolders, hidden ones left out; none where there is no such folder.

    A subfolder that can't be looked into is a place of size -1. Files that end in one of `also` are among them.
    """
    locations: list[StyleLocation] = []
    linked: set[str] = set()
    todo: list[tuple[str, str, list[os.DirEntry[str]]]] = [(str(root), "", [])]
    while todo:
        folder, inner, texts = todo.pop()
        try:
            with os.scandir(folder) as entries:
                here = {entry.name: entry for entry in entries if not entry.name.startswith(".")}
        except OSError as error:
            if inner or not isinstance(error, FileNotFoundError | NotADirectoryError):
                locations.append(StyleLocation(folder, inner.rstrip("/") or ".", name_of(folder), -1, 0))
            continue
        if inner and not here.keys().isdisjoint((SETTINGS, *NETWORKS)) and is_peft(Path(folder)):
            parts = parts_of(Path(folder))
            locations.append(_place(folder, inner.rstrip("/"), name_of(folder), [*parts, *texts]))
            continue
        for name, entry in here.items():
            if name[-len(SUFFIX) :].lower() == SUFFIX:
                style = name[: -len(SUFFIX)]
                locations.append(_place(entry.path, inner + name, style, [entry, *_texts(here, style)]))
            elif also and name.lower().endswith(also) and entry.is_file():
                locations.append(_place(entry.path, inner + name, name, [entry]))
            elif _is_folder(entry) and inner.count("/") < DEEPEST and _leads_on(entry, root, linked):
                todo.append((entry.path, f"{inner}{name}/", _texts(here, name)))
    return locations


def _texts(here: Mapping[str, os.DirEntry[str]], name: str) -> list[os.DirEntry[str]]:
    return [entry for ending in TEXT_ENDINGS if (entry := here.get(name + ending))]


def place_at(path: Path, root: Path) -> StyleLocation:
    """Return what `places` says of one style; a size of -1 where it is gone."""
    where = path.relative_to(root).as_posix()
    name = name_of(path)
    beside = (path.with_name(name + ending) for ending in TEXT_ENDINGS)
    texts = [text for text in beside if os.path.isfile(text)]
    return _place(str(path), where, name, parts_of(path) + texts)


def _place(file: str, where: str, name: str, parts: Sequence[Path | os.DirEntry[str]]) -> StyleLocation:
    size, mtime_ns = 0, 0
    try:
        for part in parts:
            stat = part.stat()
            size += stat.st_size
            if stat.st_mtime_ns > mtime_ns:
                mtime_ns = stat.st_mtime_ns
    except OSError:
        size = -1
    return StyleLocation(file, where, name, size, mtime_ns)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _leads_on(entry: os.DirEntry[str], root: Path, linked: set[str]) -> bool:
    """Whether a subfolder is to be looked into: by a link only once, and never back to where it came from."""
    if not entry.is_symlink():
        return True
    real, home = os.path.realpath(entry.path), os.path.realpath(root)
    if real in linked or f"{real}/".startswith(f"{home}/") or f"{home}/".startswith(f"{real}/"):
        return False
    linked.add(real)
    return True


def free_path(folder: Path, name: str, used_names: Container[str], suffix: str = SUFFIX) -> Path:
    """Return a path in `folder` for a style of that name, numbered until it is none of the folded names taken."""
    number, numbered = 1, name
    # A style that has the name of the marks would have them for its text.
    while (
        folded(numbered) in used_names
        or folded(numbered + TEXT_ENDING) == MARKS
        or os.path.lexists(folder / (numbered + suffix))
    ):
        number += 1
        numbered = f"{name} {number}"
    return folder / (numbered + suffix)


def move(source: Path, target: Path) -> None:
    """Move a style with what lies beside it, also to another disk; raises DiskFullError, BadInput.

    What lies beside it is copied first and deleted last: a kill in between leaves no style without it.
    """
    beside = {
        side: target.with_name(name_of(target) + side.name[len(name_of(source)) :])
        for side in side_files(source)
    }
    with atomic.disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        for old, new in beside.items():
            if not os.path.lexists(new):
                with atomic.replacing(new) as copy:
                    shutil.copy2(old, copy)
        _move(source, target)
        for old, new in beside.items():
            if os.path.samefile(old, new):
                os.replace(old, new)
            elif filecmp.cmp(old, new, shallow=False):
                old.unlink()


def _move(source: Path, target: Path) -> None:
    try:
        os.replace(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        copy = atomic.unfinished(target.parent)  # a rename is all or nothing; so is this, from here on
        try:
            if source.is_dir():
                shutil.copytree(source, copy)
            else:
                shutil.copy2(source, copy)
            os.replace(copy, target)
        except BaseException:
            atomic.discard(copy)
            raise
        shutil.rmtree(source) if source.is_dir() else source.unlink()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep every other Atelier from changing the styles folder; raises Failure after half a minute of waiting."""
    with atomic.disk_errors(folder / "style"):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock", timeout=LOCK_SECONDS)
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
