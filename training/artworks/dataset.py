"""The pictures of a training, each opened once to see that it can be read, with captions and masks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import TYPE_CHECKING

from styles.errors import PictureError, PromptError
from styles.generation.prompt_syntax import parse_prompt
from styles.text import Text
from training.artworks.buckets import crop_box
from training.artworks.captions import LONGEST_CAPTION, Caption, full_caption, read_captions
from training.artworks.collecting import collect
from training.artworks.folders import (
    NAMED,
    FoundPicture,
    GivenFile,
)
from training.artworks.opening import full_size, open_artwork

if TYPE_CHECKING:
    from PIL.Image import Image

CHECKED_PX = 1024  # artworks are looked at with no side below this, if they have it
SMALLEST_PX = 64  # a side below this is warned about
MASK_SHAPE = 0.03  # by which the aspect ratio of a mask may differ from its picture's


@dataclass(frozen=True)
class Artwork:
    """One training picture: its file, what it shows in words, and its upright size."""

    path: Path
    caption: str
    # (width, height)
    size_px: tuple[int, int]
    # Where the picture counts: white is learnt, black is not; None: all of it.
    mask: Path | None = None
    # How often it is shown, beside pictures of 1.
    repeats: int = 1
    # As the artist wrote it; None where the caption is the trigger alone.
    own_caption: str | None = None

    def load(self, bucket: tuple[int, int]) -> Image:
        """Open the picture, cropped around its centre to the bucket's shape and scaled to its (width, height)."""
        from PIL.Image import Resampling

        image = open_artwork(self.path, least_px=2 * max(bucket))
        box = crop_box(image.width, image.height, bucket)
        return image.resize(bucket, Resampling.LANCZOS, box=box)

    def load_mask(self, size: tuple[int, int]) -> Image:
        """Return the mask of the part that `load` shows, as greys of a (width, height); averaged over areas.

        Raises PictureError.
        """
        from PIL.Image import Resampling

        assert self.mask is not None
        image = open_artwork(self.mask).convert("L")
        box = crop_box(image.width, image.height, size)
        return image.resize(size, Resampling.BOX, box=box)


@dataclass(frozen=True)
class KnownPicture:
    """What is known of a picture before it is opened."""

    # Upright (width, height).
    size_px: tuple[int, int]
    repeats: int = 1


@dataclass(frozen=True)
class Dataset:
    """All artworks of a training, and what the artist should know about them."""

    artworks: tuple[Artwork, ...]
    warnings: tuple[Text, ...] = ()


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
    known: Mapping[Path, KnownPicture] = MappingProxyType({}),
    caption_ending: str = "",
) -> Dataset:
    """Open every artwork once to see that it can be read; the Dataset's warnings say what was left out and why.

    What stands in `known` was opened before. A broken file inside a folder is left out. Raises PictureError for a
    broken file that was named directly, where no picture remains, and as `collect`.
    """
    found = collect(paths, caption_ending)
    captions, said = captions_of(found.pictures)
    artworks: list[Artwork] = []
    notes: list[Text] = [*found.notes, *said]
    refused: list[Text] = []
    for picture, caption in zip(found.pictures, captions, strict=True):
        path = picture.file.path
        here = known.get(path)
        try:
            size = here.size_px if here else full_size(path, open_artwork(path, least_px=CHECKED_PX))
        except PictureError as error:
            (refused if picture.file.is_named else notes).append(error.message)
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
        mask = _usable_mask(picture, size, notes)
        text = _checked(full_caption(caption, trigger), path)
        repeats = here.repeats if here else picture.repeats
        artworks.append(Artwork(path, text, size, mask, repeats, caption))
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


def captions_of(pictures: Sequence[FoundPicture]) -> tuple[list[str | None], list[Text]]:
    """Return the caption of each picture, None without one, and what is to be said of how they were read."""
    folders: dict[PurePosixPath, list[GivenFile]] = defaultdict(list)
    for picture in pictures:
        if picture.captions:
            folders[picture.file.folder] += picture.captions
    read: dict[Path, Caption | None] = {}
    for files in folders.values():
        paths = list(dict.fromkeys(file.path for file in files))
        read |= zip(paths, read_captions(paths), strict=True)
    names = {file.path: file.shown.name for files in folders.values() for file in files}
    notes = _reading_said(names, read)
    texts: list[str | None] = []
    for picture in pictures:
        captions = [read[file.path] for file in picture.captions]
        first = next((caption for caption in captions if caption is not None), None)
        texts.append(None if first is None else first.text)
        if len({caption.text for caption in captions if caption is not None}) > 1:
            notes.append(
                Text(
                    "{picture} has more than one caption; that of {file} counts.",
                    picture=picture.file.shown.name,
                    file=picture.captions[captions.index(first)].shown.name,
                )
            )
    return texts, notes


def _reading_said(names: Mapping[Path, str], read: Mapping[Path, Caption | None]) -> list[Text]:
    notes = []
    by_guess: dict[str, list[str]] = defaultdict(list)
    for path, caption in read.items():
        if caption is not None and caption.guess:
            by_guess[caption.guess].append(names[path])
    for guess, files in by_guess.items():
        notes.append(
            Text(
                "{file} is not in UTF-8; it was read as {encoding}. Look whether its words are right.",
                "{count} captions are not in UTF-8 ({file}); they were read as {encoding}. Look whether their words "
                "are right.",
                count=len(files),
                file=", ".join(files[:NAMED]) + (" …" if len(files) > NAMED else ""),
                encoding=guess,
            )
        )
    for path, caption in read.items():
        if caption is None:
            notes.append(
                Text("{file} can't be read, or is too long for a caption; it is left out.", file=names[path])
            )
        elif caption.is_cut:
            notes.append(
                Text(
                    "The caption in {file} is longer than {most} characters; the rest is left out.",
                    file=names[path],
                    most=LONGEST_CAPTION,
                )
            )
    return notes


def _usable_mask(picture: FoundPicture, size_px: tuple[int, int], notes: list[Text]) -> Path | None:
    """Return the mask of a picture, None where it can't be used; why is added to the notes."""
    if picture.mask is None:
        return None
    name = picture.mask.shown.name
    try:
        width, height = open_artwork(picture.mask.path).size
    except PictureError as error:
        notes.append(error.message)
        return None
    if abs(width * size_px[1] - height * size_px[0]) > MASK_SHAPE * height * size_px[0]:
        notes.append(Text("The mask {file} has another shape than its picture; it is left out.", file=name))
        return None
    return picture.mask.path
