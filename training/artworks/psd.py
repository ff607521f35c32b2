"""The flattened picture of a Photoshop file."""

from __future__ import annotations

import os
import struct
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from styles.errors import PictureError
from styles.storage.picture_budget import check_bytes, check_pixels
from styles.text import Text

if TYPE_CHECKING:
    from PIL.Image import Image


def open_psd(path: Path) -> Image:
    from psd_tools import PSDDecompressionWarning, PSDImage

    with path.open("rb") as file:
        head = file.read(26)
    height, width = struct.unpack(">II", head[14:22])  # Adobe Photoshop file format, "file header section"
    check_pixels(width, height, path.name)
    channels, depth = struct.unpack(">H", head[12:14])[0], struct.unpack(">H", head[22:24])[0]
    # Its channels as they are packed at worst and unpacked, then a picture of them and its RGB.
    check_bytes(width * height * (2 * channels * max(1, depth // 8) + 8) + path.stat().st_size, path.name)
    if _lacks_rows(path):
        raise ValueError("the end of the picture is not there")
    try:
        document = PSDImage.open(path)
        with warnings.catch_warnings():
            warnings.simplefilter("error", PSDDecompressionWarning)  # what can't be unpacked would be black
            image = document.topil() if document.has_preview() else None
    except (
        AssertionError, KeyError, AttributeError, NotImplementedError, PSDDecompressionWarning, struct.error,
    ) as error:  # fmt: skip
        raise ValueError(Text("the Photoshop file can't be read ({reason})", reason=str(error))) from error
    if image is None:
        raise PictureError(
            "{file} holds layers only, no flattened picture.",
            "Save it in Photoshop with 'Maximise compatibility', or export it as PNG.",
            file=path.name,
        )
    return image


def _lacks_rows(path: Path) -> bool:
    """Whether the flattened picture ends before its packed rows do; what lacks would be read as black.

    Adobe Photoshop file format, "image data section": the rows' lengths stand before them.
    """
    with path.open("rb") as file:
        version, _, channels, height = struct.unpack(">H6sHI", file.read(18)[4:])
        file.seek(26)
        large = version == 2  # PSB
        for length in (">I", ">I", ">Q" if large else ">I"):  # colours, resources, layers
            (skipped,) = struct.unpack(length, file.read(struct.calcsize(length)))
            file.seek(skipped, os.SEEK_CUR)
        if file.read(2) != b"\0\1":  # not packed in rows
            return False
        counts = file.read(channels * height * (4 if large else 2))
        lengths = struct.unpack(f">{channels * height}{'I' if large else 'H'}", counts)
        start = file.tell()
        return file.seek(0, os.SEEK_END) - start < sum(lengths)
