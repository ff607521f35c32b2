"""The style file: one `.safetensors` that opens everywhere.

Read as `reader.py` says, written as `writer.py` says, its metadata as `metadata.py` says. The id
of a style is the sha256 of its tensor section.
"""

from __future__ import annotations

from pathlib import Path

from styles.formats.layer_inspection import Judged, judge
from styles.formats.reader import read_card, read_style, style_of_bytes
from styles.formats.style import Style
from styles.formats.writer import LARGEST_HEADER_WRITTEN, style_bytes
from styles.storage import atomic

__all__ = [
    "LARGEST_HEADER_WRITTEN",
    "Judged",
    "judge",
    "read_card",
    "read_style",
    "style_bytes",
    "write_style",
]


def write_style(style: Style, path: Path, *, with_date: bool = False) -> Style:
    """Write a style to `path`, whole or not at all, and return it as it reads back: fp16, with its id.

    The date of the card is private, written only `with_date`. Raises StyleFileError, DiskFullError.
    """
    data = style_bytes(style, with_date=with_date)
    written = style_of_bytes(data, path)
    atomic.write_bytes(path, data)
    return written
