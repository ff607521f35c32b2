"""The small picture on a style's card."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE_PX = 256
LARGEST = 200 << 10  # bytes, so that the header stays under 1 MiB with room to spare


def thumbnail_jpeg(image: Image) -> bytes:
    """Return the middle square of a picture as a 256x256 JPEG without any metadata of its own."""
    from PIL import ImageOps

    square = ImageOps.fit(image.convert("RGB"), (SIDE_PX, SIDE_PX))
    for quality in (88, 70, 40):
        square.info.clear()
        out = io.BytesIO()
        square.save(out, "JPEG", quality=quality)
        if out.tell() <= LARGEST:
            break
    return out.getvalue()


def public_thumbnail(data: bytes | None) -> bytes | None:
    """Return a thumbnail that can be shared: 256x256, no EXIF; None where the bytes are no picture."""
    if not data:
        return None
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP")) as image:
            plain = image.format == "JPEG" and not {"exif", "comment", "xmp", "photoshop"} & set(image.info)
            if plain and image.size == (SIDE_PX, SIDE_PX) and len(data) <= LARGEST:
                return data
            return thumbnail_jpeg(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
