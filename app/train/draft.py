"""The training that is being prepared: artworks, captions and choices, kept in the home until they are cleared.

draft/artworks/       copies of the pictures, each with its caption in a `.txt` beside it
draft/looks/          what was seen of each picture, and a small JPEG of it; made again where it is missing
draft/undo/           what the last change of many captions, or the last removal, took away
draft/form.json       name, trigger, preset and the numbers

So a reload, a second tab and another start find everything, and a training is given the folder as it is.
"""

from __future__ import annotations

import filecmp
import io
import json
import math
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from styles.errors import BadInput, PictureError
from styles.storage.atomic import disk_errors, replacing, unused_name, write_bytes, write_text
from styles.storage.file_reading import open_file, read_bytes, read_json, read_text
from styles.storage.home import Home
from styles.storage.names import clean_text, folded, suggested_name
from styles.text import Text
from training.artworks.captions import LONGEST_CAPTION, caption_of
from training.artworks.dataset import MOST_ARTWORKS, SUFFIXES, in_natural_order
from training.artworks.opening import full_size, open_artwork
from training.artworks.picture_checks import Framing, PictureCheck, Remark, framing, look_at, remarks

if TYPE_CHECKING:
    from PIL.Image import Image

THUMB_PX = 220
LARGEST_THUMB = 1 << 20  # bytes


@dataclass(frozen=True)
class Grid:
    """What a base makes of pictures: the side of the square whose area they all get, and what sides divide by."""

    resolution_px: int
    multiple_px: int


@dataclass(frozen=True)
class DraftArtwork:
    """One picture of the draft, with all that the page shows of it."""

    name: str  # of its file
    caption: str
    look: PictureCheck
    framing: Framing
    remarks: tuple[Remark, ...]
    thumb: bytes  # a JPEG of the whole picture


@dataclass(frozen=True)
class Added:
    """What became of the files that were dropped."""

    pictures: int = 0
    captions: int = 0
    known: int = 0  # pictures that are in the draft already
    refused: tuple[Text, ...] = ()  # why, in sentences

    def __add__(self, other: Added) -> Added:
        return Added(
            self.pictures + other.pictures,
            self.captions + other.captions,
            self.known + other.known,
            self.refused + other.refused,
        )


class Draft:
    """The draft of one home; all changes go through here, one at a time."""

    def __init__(self, home: Home) -> None:
        self.folder = home.root / "draft"
        self.artworks_folder = self.folder / "artworks"
        self._looks, self._undo = self.folder / "looks", self.folder / "undo"
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
        files = (path for path in self.artworks_folder.iterdir() if path.suffix != ".txt")
        return in_natural_order(path for path in files if path.name[0] != "." and os.path.isfile(path))

    def add(self, files: Iterable[Path], grid: Grid) -> Iterator[Added]:
        """Copy a folder's pictures and captions in, telling after each how far it is; what can't be read is refused."""
        given = list(files)
        done = Added()
        stems: dict[str, str] = {}  # the name and the stem that a file came with, and the stem that it got
        captioned = {path.stem for path in self.paths() if caption_of(path)}
        for path in [path for path in given if path.suffix.lower() != ".txt"]:
            done = self._add_picture(path, grid, stems, done)
            yield done
        with self._change():
            texts = [path for path in given if path.suffix.lower() == ".txt"]
            # Of picture.txt and picture.jpg.txt the first counts, as in a training.
            for path in sorted(texts, key=lambda path: Path(path.stem).suffix.lower() not in SUFFIXES):
                of = Path(path.stem)
                stem = stems.get(of.name, of.stem if of.suffix.lower() in SUFFIXES else of.name)
                if stem in captioned and of.name in stems:
                    continue  # of a picture that was here with a caption, which may have been written since
                with open_file(path) as file:
                    text = file.read(4 * LONGEST_CAPTION).decode("utf-8-sig", errors="replace")
                self._write_caption(self.artworks_folder / f"{stem}.txt", text)
                done = replace(done, captions=done.captions + 1)
        yield done

    def _add_picture(self, path: Path, grid: Grid, stems: dict[str, str], done: Added) -> Added:
        here = self.paths()
        twin = next((artwork for artwork in here if _same(artwork, path)), None)
        if twin is not None:
            stems |= dict.fromkeys((path.name, path.stem), twin.stem)
            return replace(done, known=done.known + 1)
        if len(here) >= MOST_ARTWORKS:
            said = Text(
                "{file}: there are {count} pictures already.",
                file=path.name,
                count=MOST_ARTWORKS,
            )
            return replace(done, refused=(*done.refused, said))
        try:
            look, thumb = _looked_at(path, grid)
        except PictureError as error:
            return replace(done, refused=(*done.refused, error.text))
        with self._change():
            self.artworks_folder.mkdir(parents=True, exist_ok=True)
            # A caption belongs to a stem, so two pictures may not share one.
            used_names = {folded(artwork.stem) for artwork in here}
            stem, number = suggested_name(path.stem), 1
            while folded(stem if number == 1 else f"{stem} {number}") in used_names:
                number += 1
            stem = stem if number == 1 else f"{stem} {number}"
            target = unused_name(self.artworks_folder, stem, path.suffix.lower())
            with replacing(target) as copy:
                shutil.copyfile(path, copy)
            self._keep_look(target.name, grid, look, thumb)
            stems |= dict.fromkeys((path.name, path.stem), target.stem)
        return replace(done, pictures=done.pictures + 1)

    def artworks(self, grid: Grid) -> list[DraftArtwork]:
        """All pictures as a training on this grid will see them; one that has become unreadable is left out."""
        seen = []
        for path in self.paths():
            with suppress(PictureError):
                seen.append((path, *self._look_of(path, grid)))
        remarks_of = remarks([look for _, look, _ in seen], grid.resolution_px, grid.multiple_px)
        return [
            DraftArtwork(
                path.name,
                caption_of(path) or "",
                look,
                framing(look.size_px, grid.resolution_px, grid.multiple_px),
                said,
                thumb,
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

    def sizes(self) -> dict[Path, tuple[int, int]]:
        """The upright (width, height) in px of the pictures that are as they were when they were opened here."""
        sizes = {}
        for path in self.paths():
            with suppress(OSError, ValueError, KeyError, TypeError):
                stored = read_json(self._looks / f"{path.name}.json")
                if stored["key"][:2] == _file_key(path):
                    width, height = stored["size_px"]
                    sizes[path.absolute()] = int(width), int(height)
        return sizes

    def _look_of(self, path: Path, grid: Grid) -> tuple[PictureCheck, bytes]:
        try:
            stored = read_json(self._looks / f"{path.name}.json")
            if stored["key"] != _key(path, grid):
                raise ValueError
            sharpness = math.nan if stored["sharpness"] is None else float(stored["sharpness"])
            width, height = stored["size_px"]
            look = PictureCheck((int(width), int(height)), sharpness, int(stored["hash"], 16))
            return look, read_bytes(self._looks / f"{path.name}.jpg", LARGEST_THUMB)
        except (OSError, ValueError, KeyError, TypeError):
            look, thumb = _looked_at(path, grid)
            self._keep_look(path.name, grid, look, thumb)
            return look, thumb

    def _keep_look(self, name: str, grid: Grid, look: PictureCheck, thumb: bytes) -> None:
        stored = asdict(look) | {
            "key": _key(self.artworks_folder / name, grid),
            "hash": f"{look.hash:x}",
            "sharpness": None if math.isnan(look.sharpness) else look.sharpness,
        }
        write_bytes(self._looks / f"{name}.jpg", thumb)
        write_text(self._looks / f"{name}.json", json.dumps(stored))


def _key(path: Path, grid: Grid) -> list[int]:
    """What a look depends on."""
    return [*_file_key(path), grid.resolution_px]


def _file_key(path: Path) -> list[int]:
    facts = path.stat()
    return [facts.st_size, facts.st_mtime_ns]


def _looked_at(path: Path, grid: Grid) -> tuple[PictureCheck, bytes]:
    """Open a picture, look at it and make it small; raises PictureError."""
    image = open_artwork(path, least_px=max(2 * grid.resolution_px, THUMB_PX))
    return look_at(image, full_size(path, image), grid.resolution_px), _thumb(image)


def _thumb(image: Image) -> bytes:
    image = image.copy()
    image.thumbnail((THUMB_PX, THUMB_PX))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=82)
    return out.getvalue()


def _same(one: Path, other: Path) -> bool:
    return one.stat().st_size == other.stat().st_size and filecmp.cmp(one, other, shallow=False)
