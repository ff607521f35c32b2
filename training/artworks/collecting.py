"""The files of a training among files and folders that were given, in natural order."""

from __future__ import annotations

import os
import re
import stat
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from styles.errors import PictureError
from training.artworks.folders import MASK, Found, GivenFile, caption_endings, sort_out

MOST_ARTWORKS = 1000


def collect(paths: Iterable[Path | str], caption_ending: str = "") -> Found:
    """List what is trained on among files and folders (with their sub-folders), in natural order, each once.

    A file named directly is kept whatever its ending. Raises PictureError where nothing is found or a folder can't
    be read.
    """
    files: dict[Path, GivenFile] = {}
    named: list[Path] = []
    for path in map(Path, paths):
        try:
            kind = path.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            kind = 0
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise PictureError(
                "{path} can't be read: {reason}.",
                "Check the path, and allow reading it.",
                path=path,
                reason=reason,
            ) from error
        if stat.S_ISDIR(kind):
            for file in _files_in(path):
                files.setdefault(file.path, file)
        elif stat.S_ISREG(kind):
            files[path] = GivenFile(path, _shown(path), is_named=True)
            named.append(path)
        else:
            raise PictureError(
                "{path} is not there.", "Check the path; it may be mistyped or on another disk.", path=path
            )
    for file in _beside(named, caption_ending):
        files.setdefault(file.path, file)
    found = sort_out(files.values(), caption_ending)
    if not found.pictures:
        raise PictureError(
            "There are no pictures to learn from.",
            "Give one or more picture files (JPEG, PNG, WebP, TIFF, BMP, HEIC, PSD), or a folder that holds some.",
        )
    if len(found.pictures) > MOST_ARTWORKS:
        raise PictureError(
            "There are {count} pictures.",
            "At most {most_artworks}; 5 to 30 are usual.",
            count=len(found.pictures),
            most_artworks=MOST_ARTWORKS,
        )
    return found


def _shown(path: Path) -> PurePosixPath:
    # Two folders of one name, in different places, are two.
    return PurePosixPath(path.absolute().as_posix())


def _files_in(folder: Path) -> Iterator[GivenFile]:
    def refuse(error: OSError) -> None:
        raise PictureError(
            "{file} can't be read: {reason}.",
            "Allow reading that folder.",
            file=error.filename,
            reason=error.strerror,
        ) from error

    root = folder.absolute().parent
    for where, folders, names in os.walk(folder, onerror=refuse):
        folders.sort(key=_natural)
        for name in sorted(names, key=_natural):
            path = Path(where) / name
            if path.is_file():  # a pipe of that name would never end
                yield GivenFile(path, PurePosixPath(path.absolute().relative_to(root).as_posix()))


def _beside(named: Iterable[Path], caption_ending: str) -> Iterator[GivenFile]:
    """List the captions and masks that may belong to pictures that were named by themselves."""
    stems: dict[Path, set[str]] = defaultdict(set)
    for path in named:
        stems[path.parent] |= {path.stem.casefold(), path.name.casefold(), f"{path.stem}{MASK}".casefold()}
    for folder, wanted in stems.items():
        try:
            entries = sorted(os.listdir(folder), key=_natural)
        except OSError:  # the pictures in it can be read all the same
            continue
        for name in entries:
            path = folder / name
            stem, ending = path.stem.casefold(), path.suffix.lower()
            belongs = ending in caption_endings(caption_ending) or stem.endswith(MASK)
            if belongs and stem in wanted and path.is_file():
                yield GivenFile(path, _shown(path), is_named=True)


def in_natural_order(paths: Iterable[Path]) -> list[Path]:
    """Return the paths by name, 2.png before 10.png."""
    return sorted(paths, key=lambda path: _natural(path.name))


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort key in which 2.png comes before 10.png."""
    return [
        (int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name.casefold())
    ]
