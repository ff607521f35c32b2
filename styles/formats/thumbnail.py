"""The small picture on a style's card."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

from styles.storage.picture_budget import check_shown

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE_PX = 256
LARGEST = 200 << 10  # bytes, so that the header stays under 1 MiB with room to spare
# The segments of a JPEG (ITU T.81, table B.1) that hold pixels or say how to read them.
JFIF, JFIF_BYTES, SCAN = 0xE0, 16, 0xDA  # 16 bytes: without a small picture of its own
NEEDED = {JFIF, SCAN, 0xC0, 0xC4, 0xDB, 0xDD}
AFTER_PIXELS = re.compile(rb"\xff[^\x00\xd0-\xd7]")  # among pixels 0xff stands before 0x00, or is a restart


def thumbnail_jpeg(image: Image) -> bytes:
    """Return the middle square of a picture as a 256x256 JPEG without any metadata of its own."""
    from PIL import ImageOps

    upright = ImageOps.exif_transpose(image)
    square = ImageOps.fit(upright.convert("RGB"), (SIDE_PX, SIDE_PX))
    for quality in (88, 70, 40):
        square.info.clear()
        out = io.BytesIO()
        square.save(out, "JPEG", quality=quality)
        if out.tell() <= LARGEST:
            break
    return out.getvalue()


def thumbnail_png(data: bytes) -> bytes:
    """Return a thumbnail's pixels as a PNG with nothing but pixels in it."""
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        plain = Image.frombytes("RGB", image.size, image.convert("RGB").tobytes())
    out = io.BytesIO()
    plain.save(out, "PNG", optimize=True)
    return out.getvalue()


def public_thumbnail(data: bytes | None) -> bytes | None:
    """Return a thumbnail that can be shared: 256x256 pixels and nothing else; None where the bytes are no picture."""
    if not data:
        return None
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP")) as image:
            if image.size == (SIDE_PX, SIDE_PX) and len(data) <= LARGEST and _only_pixels(data):
                return data
            check_shown(image)
            return thumbnail_jpeg(image)
    # Pillow's decoders raise anything of damaged bytes: KeyError, TypeError, struct.error, ...
    except Exception:
        return None


def _only_pixels(jpeg: bytes) -> bool:
    """Whether a JPEG has no segment that a picture doesn't need, such as EXIF or a comment, and ends where it ends."""
    position = 2
    while jpeg[:2] == b"\xff\xd8" and position + 4 <= len(jpeg) and jpeg[position] == 0xFF:
        marker, length = jpeg[position + 1], int.from_bytes(jpeg[position + 2 : position + 4], "big")
        if marker not in NEEDED or (marker == JFIF and length != JFIF_BYTES):
            return False
        position += 2 + length
        if marker == SCAN:
            end = AFTER_PIXELS.search(jpeg, position)
            return end is not None and jpeg[end.start() :] == b"\xff\xd9"
    return False
