"""What painting tells while it goes on, and how its pictures come onto the disk."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from styles.errors import Cancelled
from styles.generation.recipe import Recipe
from styles.storage.names import clean_text

if TYPE_CHECKING:
    from PIL.Image import Image

    from styles.bases.base import Base
    from styles.formats.style import Style
    from styles.generation.comparison_grids import Sheet
    from styles.generation.request import CreateRequest
    from styles.mixing.kept_patcher import KeptPatcher

FOOTER_WORDS = 300  # characters of the prompt below a sheet


@dataclass(frozen=True)
class Notice:
    """Something to know about the pictures that come."""

    text: str


@dataclass(frozen=True, eq=False)
class Painting:
    """One denoising step of some of the pictures is done; `previews` are theirs, small."""

    step: int
    steps: int
    share: float  # of all, 0..1
    previews: Callable[[], list[Image]]  # called only where they are shown: it waits for the device


@dataclass(frozen=True)
class PictureSaved:
    """A picture is finished and on the disk, its recipe inside."""

    index: int
    path: Path
    seed: int
    recipe: Recipe


@dataclass(frozen=True)
class SheetSaved:
    """All pictures of a sheet are finished, and lie on one page with their labels."""

    path: Path
    labels: tuple[str, ...]  # of the pictures, by their index
    columns: int


PaintingEvent = Notice | Painting | PictureSaved | SheetSaved


@dataclass
class Painted:
    """What has come of a painting so far."""

    pictures: list[PictureSaved] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    sheet: SheetSaved | None = None

    def take(self, event: PaintingEvent) -> None:
        """Add what an event tells."""
        match event:
            case Notice():
                self.notices.append(event.text)
            case PictureSaved():
                self.pictures.append(event)
            case SheetSaved():
                self.sheet = event

    def facts(self) -> dict[str, Any]:
        """The pictures' paths and seeds, what is to be known about them, and the sheet if it is one; plain JSON values."""
        told: dict[str, Any] = {
            "pictures": [str(picture.path) for picture in self.pictures],
            "seeds": [picture.seed for picture in self.pictures],
            "notices": self.notices,
        }
        if self.sheet is not None:
            labels, columns = list(self.sheet.labels), self.sheet.columns
            told |= {"sheet": str(self.sheet.path), "labels": labels, "columns": columns}
        return told


def painted(
    base: Base,
    request: CreateRequest,
    styles: Sequence[Style],
    folder: Path,
    cancelled: Callable[[], bool],
    kept: KeptPatcher | None = None,
) -> Iterator[PaintingEvent]:
    """Run the request and save each picture as soon as it is finished; raises what `generate` raises."""
    for event, _ in _finished(base, request, styles, folder, cancelled, kept):
        yield event


def sheet_painted(
    base: Base,
    sheet: Sheet,
    title: str,
    styles: Sequence[Style],
    folder: Path,
    cancelled: Callable[[], bool],
    kept: KeptPatcher | None = None,
) -> Iterator[PaintingEvent]:
    """Run a sheet's request, save each picture and, when all are there, the page that shows them with their labels."""
    images: dict[int, Image] = {}
    prompt, seed = clean_text(sheet.request.prompts[0], FOOTER_WORDS), sheet.request.seeds[0]
    stem = ""
    for event, image in _finished(base, sheet.request, styles, folder, cancelled, kept):
        if isinstance(event, PictureSaved) and image is not None:
            images[event.index] = image
            stem = stem or event.path.stem
        yield event
    pictures = [images[index] for index in sorted(images)]
    path = _save_sheet(pictures, sheet, title, f"{prompt}, seed {seed}", f"{stem} sheet", folder)
    yield SheetSaved(path.absolute(), sheet.labels, sheet.columns)


def _finished(
    base: Base,
    request: CreateRequest,
    styles: Sequence[Style],
    folder: Path,
    cancelled: Callable[[], bool],
    kept: KeptPatcher | None,
) -> Iterator[tuple[PaintingEvent, Image | None]]:
    """Each event, with the image of a picture that was saved."""
    from styles.generation.generate import DenoisingStep, generate
    from styles.generation.png_recipe import save_picture

    said: set[str] = set()
    for event in generate(base, request, styles, cancelled=cancelled, kept=kept):
        if isinstance(event, DenoisingStep):
            yield Painting(event.step, event.steps, event.share, lambda event=event: event.previews), None  # type: ignore[misc]
            continue
        for note in event.notes:
            if note not in said:
                said.add(note)
                yield Notice(note), None
        path = save_picture(event.image, event.recipe, folder)
        yield PictureSaved(event.index, path.absolute(), event.recipe.seed, event.recipe), event.image
    if cancelled():
        raise Cancelled("Stopped.")


def _save_sheet(
    pictures: Sequence[Image], sheet: Sheet, title: str, footer: str, stem: str, folder: Path
) -> Path:
    from app.create.contact_sheet import SheetRow, draw_sheet
    from styles.storage.atomic import write_new

    rows = []
    for first in range(0, len(pictures), sheet.columns):
        row = slice(first, first + sheet.columns)
        rows.append(SheetRow("", tuple(pictures[row]), captions=sheet.labels[row]))
    buffer = io.BytesIO()
    draw_sheet(title, [""] * sheet.columns, rows, footer=footer).save(buffer, format="PNG")
    return write_new(folder, stem, ".png", buffer.getvalue())
