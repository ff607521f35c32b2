"""The training that is being prepared: artworks, captions and choices, kept in the home until they are cleared.

draft/artworks/       copies of the pictures, each with its caption in a `.txt` and its mask beside it
draft/repeats.json    how often some pictures are shown beside the others
draft/looks/          what was seen of each picture, and a small JPEG of it; made again where it is missing
draft/undo/           what the last change of many captions, or the last removal, took away
draft/form.json       name, trigger, preset and the numbers

So a reload, a second tab and another start find everything, and a training is given the folder as it is.
"""

from __future__ import annotations

import filecmp
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from app.train.looks import Grid, Looks, looked_at, small_mask
from styles.errors import BadInput, PictureError
from styles.storage.atomic import disk_errors, replacing, unused_name, write_text
from styles.storage.file_reading import read_json, read_text
from styles.storage.home import Home
from styles.storage.names import clean_text, folded, suggested_name
from styles.text import Text
from training.artworks.captions import LONGEST_CAPTION, caption_of, read_captions
from training.artworks.collecting import MOST_ARTWORKS, in_natural_order
from training.artworks.dataset import KnownPicture, captions_of
from training.artworks.folders import (
    MASK,
    MOST_REPEATS,
    PICTURE_ENDINGS,
    FoundPicture,
    GivenFile,
    sort_out,
)
from training.artworks.picture_checks import Framing, PictureCheck, Remark, framing, remarks

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class DraftArtwork:
    """One picture of the draft, with all that the page shows of it."""

    name: str  # of its file
    caption: str
    look: PictureCheck
    framing: Framing
    remarks: tuple[Remark, ...]
    thumb: bytes  # a JPEG of the whole picture
    mask: bytes = b""  # a small PNG of the whole mask: white is learnt
    repeats: int = 1


@dataclass(frozen=True)
class Added:
    """What became of the files that were dropped."""

    pictures: int = 0
    captions: int = 0
    known: int = 0  # pictures that are in the draft already
    refused: tuple[Text, ...] = ()  # why, in sentences
    notes: tuple[Text, ...] = ()  # what else is to be known of them

    def __add__(self, other: Added) -> Added:
        return Added(
            self.pictures + other.pictures,
            self.captions + other.captions,
            self.known + other.known,
            self.refused + other.refused,
            self.notes + other.notes,
        )


class Draft:
    """The draft of one home; all changes go through here, one at a time."""

    def __init__(self, home: Home) -> None:
        self.folder = home.root / "draft"
        self.artworks_folder = self.folder / "artworks"
        self._looks, self._undo = Looks(self.folder / "looks"), self.folder / "undo"
        self._changing = threading.RLock()
        # From the clock, so that a page from before a restart sees a change.
        self.version = int(time.time() * 1000)

    @contextmanager
    def _change(self) -> Iterator[None]:
        with self._changing, disk_errors(self.folder):
            yield
            self.version += 1

    def touch(self) -> None:
        """Let all pages draw the artworks anew: what their cards show depends on the form, too."""
        self.version += 1

    # Artworks

    def paths(self) -> list[Path]:
        """The pictures in natural order."""
        if not self.artworks_folder.is_dir():
            return []
        files = [path for path in self.artworks_folder.iterdir() if path.suffix != ".txt"]
        stems = {path.stem for path in files}
        pictures = (path for path in files if not _is_mask(path, stems))
        return in_natural_order(path for path in pictures if path.name[0] != "." and os.path.isfile(path))

    def add(self, files: Iterable[Path | GivenFile], grid: Grid) -> Iterator[Added]:
        """Copy pictures, captions and masks in, telling after each how far it is; what can't be read is refused.

        A path stands for a file that was given by itself.
        """
        given = [file if isinstance(file, GivenFile) else named_file(file) for file in files]
        found = sort_out(given)
        captions, said = captions_of(found.pictures)
        done = Added(notes=(*found.notes, *said))
        captioned = {path.name for path in self.paths() if caption_of(path)}
        for picture, caption in zip(found.pictures, captions, strict=True):
            name, done = self._add_picture(picture, grid, done)
            # What was here with a caption may have been written since.
            if name and caption and name not in captioned:
                with self._change():
                    self._write_caption(self.artworks_folder / name, caption)
                done = replace(done, captions=done.captions + 1)
            yield done
        paths = [file.path for file in found.captions]
        for file, text in zip(found.captions, read_captions(paths), strict=True):
            if text is not None:
                with self._change():
                    # Of a picture that came before, or is still to come.
                    of = PurePosixPath(file.shown.stem)
                    stem = of.stem if of.suffix.lower() in PICTURE_ENDINGS else of.name
                    self._write_caption(self.artworks_folder / f"{stem}.txt", text.text)
                done = replace(done, captions=done.captions + 1)
        yield done

    def _add_picture(self, picture: FoundPicture, grid: Grid, done: Added) -> tuple[str, Added]:
        """Copy one picture in; its name in the draft, empty where it was refused, and what became of all so far."""
        path, here = picture.file.path, self.paths()
        twin = next((artwork for artwork in here if _same(artwork, path)), None)
        if twin is not None:
            self._note_beside(twin, picture)
            return twin.name, replace(done, known=done.known + 1)
        if len(here) >= MOST_ARTWORKS:
            said = Text(
                "{file}: there are {count} pictures already.",
                file=path.name,
                count=MOST_ARTWORKS,
            )
            return "", replace(done, refused=(*done.refused, said))
        try:
            look, thumb = looked_at(path, grid)
        except PictureError as error:
            return "", replace(done, refused=(*done.refused, error.text))
        with self._change():
            self.artworks_folder.mkdir(parents=True, exist_ok=True)
            # A caption belongs to a stem, so two pictures may not share one.
            used_names = {folded(artwork.stem) for artwork in here}
            stem, number = suggested_name(PurePosixPath(picture.file.shown.name).stem), 1
            while folded(stem if number == 1 else f"{stem} {number}") in used_names:
                number += 1
            stem = stem if number == 1 else f"{stem} {number}"
            target = unused_name(self.artworks_folder, stem, path.suffix.lower())
            with replacing(target) as copy:
                shutil.copyfile(path, copy)
            self._looks.keep(target, grid, look, thumb)
            self._note_beside(target, picture)
        return target.name, replace(done, pictures=done.pictures + 1)

    def _note_beside(self, target: Path, picture: FoundPicture) -> None:
        """Keep the mask and the repeats of a picture."""
        with self._change():
            if picture.mask is not None:
                for mask in self._masks(target):
                    mask.unlink()
                mask = target.with_name(f"{target.stem}{MASK}{picture.mask.path.suffix.lower()}")
                with replacing(mask) as copy:
                    shutil.copyfile(picture.mask.path, copy)
            repeats = {name: count for name, count in self._repeats().items() if name != target.name}
            if picture.repeats > 1:
                repeats[target.name] = picture.repeats
            if repeats != self._repeats():
                write_text(self.folder / "repeats.json", json.dumps(repeats))

    def _masks(self, picture: Path) -> list[Path]:
        """List the masks of a picture, of which there is one at most unless somebody put more there."""
        if not self.artworks_folder.is_dir():
            return []
        stem = f"{picture.stem}{MASK}"
        return sorted(path for path in self.artworks_folder.iterdir() if path.stem == stem)

    def _repeats(self) -> dict[str, int]:
        """How often pictures are shown beside the others, by name, where it is more than once."""
        try:
            stored = read_json(self.folder / "repeats.json")
        except (OSError, ValueError):
            return {}
        usable = stored.items() if isinstance(stored, dict) else ()
        return {name: count for name, count in usable if type(count) is int and 1 < count <= MOST_REPEATS}

    def artworks(self, grid: Grid) -> list[DraftArtwork]:
        """All pictures as a training on this grid will see them; one that has become unreadable is left out."""
        seen = []
        for path in self.paths():
            with suppress(PictureError):
                seen.append((path, *self._looks.of(path, grid)))
        remarks_of = remarks([look for _, look, _ in seen], grid.resolution_px, grid.multiple_px)
        repeats = self._repeats()
        return [
            DraftArtwork(
                path.name,
                caption_of(path) or "",
                look,
                framing(look.size_px, grid.resolution_px, grid.multiple_px),
                said,
                thumb,
                self._mask_of(path),
                repeats.get(path.name, 1),
            )
            for (path, look, thumb), said in zip(seen, remarks_of, strict=True)
        ]

    def remove(self, name: str) -> None:
        """Take one picture out; `undo` brings it back."""
        with self._change():
            path = self._path(name)  # before what the last removal took away is forgotten
            self._remember_captions()
            self._take_out([path])

    def clear(self) -> None:
        """Take all pictures out; `undo` brings them back."""
        with self._change():
            if paths := self.paths():  # else it is the last removal that `undo` brings back
                self._remember_captions()
                self._take_out(paths)
            for left in self.artworks_folder.glob("*.txt"):  # of pictures that never came
                left.unlink()

    def _take_out(self, paths: Iterable[Path]) -> None:
        for path in paths:
            for mask in self._masks(path):
                mask.replace(self._undo / mask.name)
            path.replace(self._undo / path.name)
            self._write_caption(path, "")

    # Captions

    def caption(self, name: str, text: str) -> None:
        """Set the caption of one picture; none where the text is empty."""
        with self._change():
            self._write_caption(self._path(name), text)

    def caption_all(self, text: str) -> None:
        """Give every picture the same caption, or none."""
        self._recaption(lambda caption: text)

    def replace_in_captions(self, find: str, put: str) -> int:
        """Replace a piece of text wherever it stands in the captions; in how many it stood."""
        if not find:
            raise BadInput("There is nothing to look for.", "Write the words that are to be replaced.")
        return self._recaption(lambda caption: caption.replace(find, put))

    def caption_missing(self, name: str, text: str) -> None:
        """Give a picture a caption unless it has one, or has gone meanwhile."""
        with suppress(BadInput), self._change():
            path = self._path(name)
            if not caption_of(path):
                self._write_caption(path, text)

    def _recaption(self, change: Callable[[str], str]) -> int:
        changed = 0
        with self._change():
            self._remember_captions()
            for path in self.paths():
                before = caption_of(path) or ""
                after = change(before)
                if after != before:
                    self._write_caption(path, after)
                    changed += 1
        return changed

    def _write_caption(self, picture: Path, text: str) -> None:
        """Write the caption of a picture, which may not have come yet, or take it away where the text is empty."""
        text = clean_text(" ".join(text.split()), LONGEST_CAPTION)
        picture.with_name(picture.name + ".txt").unlink(missing_ok=True)  # of an older version's draft
        if text:
            write_text(picture.with_suffix(".txt"), text)
        else:
            picture.with_suffix(".txt").unlink(missing_ok=True)

    # Undo

    @property
    def can_undo(self) -> bool:
        """There is something to bring back."""
        return (self._undo / "captions.json").is_file()

    def undo(self) -> None:
        """Bring back the pictures and captions that the last removal, or change of all captions, took away."""
        if not self.can_undo:
            raise BadInput("There is nothing to bring back.")
        with self._change():
            file = self._undo / "captions.json"
            try:
                removed = json.loads(read_text(file))
                captions: dict[str, str] = {str(name): str(text) for name, text in removed.items()}
            except (OSError, ValueError, AttributeError, RecursionError):
                captions = {}  # the pictures can be brought back without them
            self.artworks_folder.mkdir(parents=True, exist_ok=True)
            for path in self._undo.iterdir():
                if path != file and not (self.artworks_folder / path.name).exists():
                    path.replace(self.artworks_folder / path.name)
            for path in self.paths():
                if path.name in captions:  # and not added since
                    self._write_caption(path, captions[path.name])
            shutil.rmtree(self._undo)

    def _remember_captions(self) -> None:
        shutil.rmtree(self._undo, ignore_errors=True)
        captions = {path.name: caption_of(path) or "" for path in self.paths()}
        # In ASCII, as the name of a file put here by hand may be no text.
        write_text(self._undo / "captions.json", json.dumps(captions))

    # The form

    def form(self) -> dict[str, Any]:
        """The choices as they were last made; empty where none were, or they can't be read."""
        try:
            form = read_json(self.folder / "form.json")
        except (OSError, ValueError):
            return {}
        return form if isinstance(form, dict) else {}

    def remember(self, form: dict[str, Any]) -> None:
        """Keep the choices."""
        with self._changing:
            if form != self.form():
                write_text(self.folder / "form.json", json.dumps(form, ensure_ascii=False, indent=2))

    # What was seen of the pictures

    def _path(self, name: str) -> Path:
        match = next((path for path in self.paths() if path.name == name), None)
        if match is None:
            raise BadInput(
                "There is no artwork “{name}” here.", "It was removed, perhaps.", name=clean_text(name, 80)
            )
        return match

    def known(self) -> dict[Path, KnownPicture]:
        """What is known of the pictures that are as they were when they were opened here."""
        known, repeats = {}, self._repeats()
        for path in self.paths():
            if (size_px := self._looks.size_px(path)) is not None:
                known[path.absolute()] = KnownPicture(size_px, repeats.get(path.name, 1))
        return known

    def _mask_of(self, path: Path) -> bytes:
        """A small PNG of a picture's mask; empty without one, or where it can't be read."""
        for mask in self._masks(path):
            with suppress(PictureError):
                return small_mask(mask)
        return b""


def named_file(path: Path) -> GivenFile:
    """A file that was given by itself."""
    return GivenFile(path, PurePosixPath(path.name), is_named=True)


def _is_mask(path: Path, stems: set[str]) -> bool:
    return path.stem.endswith(MASK) and path.stem.removesuffix(MASK) in stems


def _same(one: Path, other: Path) -> bool:
    return one.stat().st_size == other.stat().st_size and filecmp.cmp(one, other, shallow=False)
