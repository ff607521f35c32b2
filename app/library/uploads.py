"""Files that were dropped on the page: looked at, and brought together in one folder."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from styles.atomic import unused_name
from styles.errors import PictureError
from styles.names import clean_text
from training.artworks import open_artwork

if TYPE_CHECKING:
    from PIL.Image import Image

THUMB_PX = 160


def look_at_artworks(files: Sequence[Path]) -> tuple[list[Image], str]:
    """Small pictures of the artworks, and a sentence about all files dropped."""
    thumbs: list[Image] = []
    refused: list[str] = []
    captions = sum(path.suffix.lower() == ".txt" for path in files)
    for path in files:
        if path.suffix.lower() == ".txt":
            continue
        try:
            picture = open_artwork(path, least_px=2 * THUMB_PX)
        except PictureError as error:
            refused.append(str(error))
            continue
        picture.thumbnail((THUMB_PX, THUMB_PX))
        thumbs.append(picture)
    words = [f"{len(thumbs)} artwork{'s' * (len(thumbs) != 1)}" if files else "No artworks yet"]
    if captions:
        words.append(f"{captions} caption{'s' * (captions != 1)}")
    text = ", ".join(words) + "."
    if len(thumbs) == 1:
        text += " One picture is enough to try, but a style needs more: 5 to 30 are usual."
    return thumbs, "\n\n".join([text, *(f"Left out: {_plain(reason)}" for reason in refused)])


@contextmanager
def beside_each_other(files: Sequence[Path]) -> Iterator[list[Path]]:
    """Lend copies of uploaded files in one folder, so that a caption stands beside its picture.

    Gradio puts every upload into a folder of its own. Yields the pictures that can be opened.
    """
    with tempfile.TemporaryDirectory(prefix="atelier-artworks-") as folder:
        pictures: list[Path] = []
        for path in files:
            if path.suffix.lower() == ".txt":
                shutil.copyfile(path, Path(folder) / path.name)
                continue
            try:
                open_artwork(path, least_px=64)
            except PictureError:
                if len(files) == 1:
                    raise
                continue
            target = unused_name(Path(folder), path.stem, path.suffix)
            shutil.copyfile(path, target)
            pictures.append(target)
        yield pictures


def _plain(text: str) -> str:
    """Text without what Markdown or HTML would make something of."""
    return "".join(
        character if character not in "<>*_`[]|#\\" else " " for character in clean_text(text, 300)
    )
