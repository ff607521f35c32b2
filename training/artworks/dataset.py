"""The pictures of a training: found among files and folders, and each opened once to see that it can be read."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from styles.errors import PictureError, PromptError
from styles.generation.prompt_syntax import parse_prompt
from styles.text import Text
from training.artworks.buckets import crop_box
from training.artworks.captions import caption_of, full_caption
from training.artworks.opening import full_size, open_artwork

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".webp",
        ".tif",
        ".tiff",
        ".bmp",
        ".heic",
        ".heif",
        ".hif",
        ".avif",
        ".psd",
        ".gif",
    ]
)
MOST_ARTWORKS = 1000
CHECKED_PX = 1024  # artworks are looked at with no side below this, if they have it
SMALLEST_PX = 64  # a side below this is warned about


@dataclass(frozen=True)
class Artwork:
    """One training picture: its file, what it shows in words, and its upright size."""

    path: Path
    caption: str
    # (width, height)
    size_px: tuple[int, int]

    def load(self, bucket: tuple[int, int]) -> Image:
        """Open the picture, cropped around its centre to the bucket's shape and scaled to its (width, height)."""
        from PIL.Image import Resampling

        image = open_artwork(self.path, least_px=2 * max(bucket))
        box = crop_box(image.width, image.height, bucket)
        return image.resize(bucket, Resampling.LANCZOS, box=box)


@dataclass(frozen=True)
class Dataset:
    """All artworks of a training, and what the artist should know about them."""

    artworks: tuple[Artwork, ...]
    warnings: tuple[Text, ...] = ()


def collect(paths: Iterable[Path | str]) -> list[Path]:
    """List the picture files among files and folders (with their sub-folders), in natural order, each once.

    A file named directly is kept whatever its ending. Raises PictureError where nothing is found or a folder can't
    be read.
    """
    files: dict[Path, None] = {}
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
            files.update(dict.fromkeys(_pictures_in(path)))
        elif stat.S_ISREG(kind):
            files[path] = None
        else:
            raise PictureError(
                "{path} is not there.", "Check the path; it may be mistyped or on another disk.", path=path
            )
    if not files:
        raise PictureError(
            "There are no pictures to learn from.",
            "Give one or more picture files (JPEG, PNG, WebP, TIFF, BMP, HEIC, PSD), or a folder that holds some.",
        )
    if len(files) > MOST_ARTWORKS:
        raise PictureError(
            "There are {count} pictures.",
            "At most {most_artworks}; 5 to 30 are usual.",
            count=len(files),
            most_artworks=MOST_ARTWORKS,
        )
    return list(files)


def _pictures_in(folder: Path) -> list[Path]:
    def refuse(error: OSError) -> None:
        raise PictureError(
            "{file} can't be read: {reason}.",
            "Allow reading that folder.",
            file=error.filename,
            reason=error.strerror,
        ) from error

    files = []
    for where, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted((name for name in folders if not name.startswith(".")), key=_natural)
        pictures = (
            name for name in names if Path(name).suffix.lower() in SUFFIXES and not name.startswith(".")
        )
        paths = (Path(where) / name for name in sorted(pictures, key=_natural))
        files += [path for path in paths if path.is_file()]  # a pipe of that name would never end
    return files


def in_natural_order(paths: Iterable[Path]) -> list[Path]:
    """Return the paths by name, 2.png before 10.png."""
    return sorted(paths, key=lambda path: _natural(path.name))


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort key in which 2.png comes before 10.png."""
    return [
        (int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name.casefold())
    ]


def _checked(caption: str, path: Path) -> str:
    """Return the caption; raises PictureError for one with a weight that is none."""
    try:
        parse_prompt(caption)
    except PromptError as error:
        raise PictureError(
            "The caption of {file} can't be used: {reason}", error.hint, file=path.name, reason=error.message
        ) from error
    return caption


def inspect(
    paths: Iterable[Path | str],
    trigger: str = "",
    sizes: Mapping[Path, tuple[int, int]] = MappingProxyType({}),
) -> Dataset:
    """Open every artwork once to see that it can be read; the Dataset's warnings say what was left out and why.

    Those whose (width, height) in px stands in `sizes` were opened before. A broken file inside a folder is left out. Raises PictureError for a broken file that was named directly, where no
    picture remains, and as `collect`.
    """
    given = [Path(path) for path in paths]
    named = {path for path in given if path.is_file()}
    artworks: list[Artwork] = []
    notes: list[Text] = []
    refused: list[Text] = []
    for path in collect(given):
        try:
            size = sizes.get(path) or full_size(path, open_artwork(path, least_px=CHECKED_PX))
        except PictureError as error:
            (refused if path in named else notes).append(error.message)
            last = error
            continue
        if min(size) < SMALLEST_PX:
            notes.append(
                Text(
                    "{file} is only {width_px} x {height_px} px; enlarged, it teaches blur.",
                    file=path.name,
                    width_px=size[0],
                    height_px=size[1],
                )
            )
        artworks.append(Artwork(path, _checked(full_caption(caption_of(path), trigger), path), size))
    if refused:
        raise PictureError(Text.joined(" ", refused), last.hint)
    if not artworks:
        raise PictureError(
            "None of the pictures can be read. {notes}", last.hint, notes=Text.joined(" ", notes)
        )
    if len(artworks) == 1:
        notes.append(
            Text(
                "There is only one picture: the style will copy it more than learn from it. 5 to 30 are better."
            )
        )
    return Dataset(tuple(artworks), tuple(notes))
