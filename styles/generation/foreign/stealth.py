"""Settings in the lowest bit of a picture's alpha channel, column by column, as NovelAI keeps them beside its texts.

"stealth_pngcomp"   the length in bits, four bytes, and so much of gzip; "stealth_pnginfo" the same without gzip
"""

from __future__ import annotations

import zlib
from pathlib import Path

from styles.errors import PictureError
from styles.generation.foreign.file_texts import LONGEST_TEXT
from styles.storage.file_reading import json_of
from styles.storage.picture_budget import check_picture

MARKS = (b"stealth_pngcomp", b"stealth_pnginfo")
LENGTH_BYTES = 4
GZIP = 16 + zlib.MAX_WBITS


def stealth_texts(path: Path) -> dict[str, str]:
    """Return the texts that a picture's alpha channel carries, by the names that they have in a PNG; none where it has none.

    Unpacks the picture, so it takes a while.
    """
    import numpy
    from PIL import Image

    try:
        with Image.open(path, formats=("PNG", "WEBP")) as image:
            if image.mode != "RGBA":
                return {}
            check_picture(image, path.name)
            alpha = numpy.asarray(image.getchannel("A"))  # (h, w)
    except (OSError, ValueError, SyntaxError, PictureError, Image.DecompressionBombError):
        return {}
    bits = (alpha & 1).T.reshape(-1)
    head = numpy.packbits(bits[: 8 * (len(MARKS[0]) + LENGTH_BYTES)]).tobytes()
    mark, length = head[: len(MARKS[0])], int.from_bytes(head[len(MARKS[0]) :], "big")
    if mark not in MARKS or length > min(8 * LONGEST_TEXT, bits.size):
        return {}
    data = numpy.packbits(bits[8 * len(head) : 8 * len(head) + length]).tobytes()
    return _named(_text(data, mark == MARKS[0]))


def _text(data: bytes, packed: bool) -> str:
    if packed:
        try:
            data = zlib.decompressobj(GZIP).decompress(data, LONGEST_TEXT)
        except zlib.error:
            return ""
    return data.decode("utf-8", errors="replace")


def _named(text: str) -> dict[str, str]:
    """NovelAI writes an object of texts there, an extension of A1111 its one text."""
    try:
        values = json_of(text)
    except ValueError:
        return {"parameters": text} if text.strip() else {}
    if not isinstance(values, dict):
        return {}
    return {name: value for name, value in values.items() if isinstance(value, str)}
