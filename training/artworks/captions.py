"""The caption of an artwork: the artist's own in a text file beside it, with the trigger word."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from styles.formats.triggers import with_trigger
from styles.storage.file_reading import open_file
from training.artworks.encodings import DecodedText, decode_all

# Of two files beside a picture the first counts.
CAPTION_ENDINGS = (".txt", ".caption")
LONGEST_CAPTION = 1000  # characters
LARGEST_FILE = 1 << 16  # bytes; what is larger is no caption


@dataclass(frozen=True)
class Caption:
    """The text of a caption's file on one line, and how it was read."""

    text: str
    # The encoding that it was read by, where that is a guess.
    guess: str = ""
    # More stands in the file than a caption may have.
    is_cut: bool = False


def read_captions(files: Sequence[Path]) -> list[Caption | None]:
    """Read the captions of one folder; None for a file that can't be read, or is too large to be one."""
    datas = [_bytes_of(file) for file in files]
    texts = iter(decode_all([data for data in datas if data is not None]))
    return [None if data is None else _on_one_line(next(texts)) for data in datas]


def _on_one_line(decoded: DecodedText) -> Caption:
    text = " ".join(decoded.text.split())
    return Caption(text[:LONGEST_CAPTION].rstrip(), decoded.guess, len(text) > LONGEST_CAPTION)


def _bytes_of(file: Path) -> bytes | None:
    try:
        with open_file(file) as opened:
            data = opened.read(LARGEST_FILE + 1)
    except OSError:  # not ours to read, or gone since
        return None
    return data if len(data) <= LARGEST_FILE else None


def caption_of(path: Path) -> str | None:
    """Read the caption beside a picture (picture.txt or picture.jpg.txt); None without one."""
    for ending in CAPTION_ENDINGS:
        for side_file in (path.with_suffix(ending), path.with_name(path.name + ending)):
            if side_file != path and os.path.isfile(side_file):
                (caption,) = read_captions([side_file])
                return None if caption is None else caption.text
    return None


def full_caption(caption: str | None, trigger: str) -> str:
    """Return the caption to train with: the artist's own with the trigger word, else one made from the trigger."""
    return with_trigger(caption or "", trigger)
