"""How much memory a picture takes until it is 8-bit RGB, told by its header before anything of it is unpacked.

A file of some KiB may stand for gigabytes. What each decoder holds beside the picture was measured
(`tests/benchmarks/picture_memory.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from styles.errors import PictureError

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_PIXELS = 179_000_000  # Pillow's own limit for a decompression bomb
MOST_BYTES = 1_150_000_000  # of one picture, unpacked and brought to RGB
# Of one that is only shown small, on a card or among previews: 64 megapixels of a PNG.
SHOWN_BYTES = 512_000_000
RGB_BYTES = 4  # a pixel, as Pillow keeps it
PIXEL_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}  # all others take four
# Formats whose decoders keep whole copies: bytes a pixel until it is unpacked.
DECODING = {"WEBP": 16, "AVIF": 16, "HEIF": 16, "GIF": 9}


def check_pixels(width_px: int, height_px: int, name: str) -> None:
    """Raise PictureError for a picture with more pixels than are ever opened."""
    if width_px * height_px > MOST_PIXELS:
        raise too_many_pixels(name)


def too_many_pixels(name: str) -> PictureError:
    """Return the error for a picture of that many pixels."""
    return PictureError(
        "{name} has more than {megapixels} megapixels.",
        "Save it smaller.",
        name=name,
        megapixels=MOST_PIXELS // 10**6,
    )


def check_picture(image: Image, name: str, full_size: tuple[int, int] | None = None) -> None:
    """Raise PictureError for a picture, opened and not loaded, that would take too much memory.

    `full_size` in px is that of a JPEG which is to be decoded at a fraction of it.
    """
    check_bytes(bytes_needed(image, full_size), name)


def check_shown(image: Image) -> None:
    """Raise PictureError for a stranger's picture, opened and not loaded, that is too large to be shown small."""
    check_bytes(bytes_needed(image), "A picture", SHOWN_BYTES)


def check_bytes(needed: int, name: str, most: int = MOST_BYTES) -> None:
    """Raise PictureError where a picture takes more bytes than there may be."""
    if needed > most:
        raise PictureError(
            "{name} would take {needed:.1f} GB of memory to open, at most {most:.1f} GB are given.",
            "Save it smaller; a plain PNG or JPEG with 8 bits a channel takes the least.",
            name=name,
            needed=needed / 1e9,
            most=most / 1e9,
        )


def bytes_needed(image: Image, full_size: tuple[int, int] | None = None) -> int:
    """Return the bytes at the worst moment between a picture's header and its 8-bit RGB, upright."""
    pixels = image.width * image.height
    own = pixels * PIXEL_BYTES.get(image.mode, 4)
    kind = image.format or ""
    decoding = own
    if kind in DECODING:
        decoding = pixels * DECODING[kind]
    elif kind in ("JPEG", "MPO"):
        # One with several scans is kept as coefficients of two bytes, at its full size whatever it is decoded to.
        width, height = full_size or image.size
        decoding = own + 2 * width * height * len(image.getbands())
    elif kind == "TIFF":
        decoding = own + _strip_bytes(image)
    # A PNG may say at its end how it is turned, and Pillow would unpack it to tell.
    turned = kind == "PNG" or image.getexif().get(0x0112, 1) != 1
    changing = own + pixels * RGB_BYTES if image.mode != "RGB" or turned else own
    return max(decoding, changing, 2 * pixels * RGB_BYTES if turned else 0)


def _strip_bytes(image: Image) -> int:
    """Return the bytes of a TIFF's strip or tile, which is unpacked as one; the whole picture may be one."""
    tags = getattr(image, "tag_v2", {})
    samples, bits = int(tags.get(277, 1)), max(map(int, tags.get(258, (8,))))
    width, rows = int(tags.get(322, image.width)), int(tags.get(323, tags.get(278, image.height)))
    if 323 not in tags:
        rows = min(rows, image.height)
    return width * rows * max(RGB_BYTES, samples * bits // 8)
