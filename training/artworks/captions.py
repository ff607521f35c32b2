"""The caption of an artwork: the artist's own in a text file beside it, with the trigger word."""

from __future__ import annotations

import codecs
import os
from pathlib import Path

from styles.formats.triggers import with_trigger
from styles.storage.file_reading import open_file

LONGEST_CAPTION = 1000  # characters


def caption_of(path: Path) -> str | None:
    """Read the caption in the `.txt` file beside a picture (picture.txt or picture.jpg.txt); None without one."""
    for side_file in (path.with_suffix(".txt"), path.with_name(path.name + ".txt")):
        if os.path.isfile(side_file) and side_file != path:
            try:
                with open_file(side_file) as file:
                    data = file.read(4 * LONGEST_CAPTION)
            except OSError:  # not ours to read, or gone since
                return None
            wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
            text = data.decode("utf-16" if wide else "utf-8-sig", errors="replace")
            return " ".join(text.split())[:LONGEST_CAPTION]
    return None


def full_caption(caption: str | None, trigger: str) -> str:
    """Return the caption to train with: the artist's own with the trigger word, else one made from the trigger."""
    return with_trigger(caption or "", trigger)
