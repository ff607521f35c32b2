"""Many small pictures on one sheet, to be looked at."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_GAP, _LINE = 6, 11  # px


def contact_sheet(pictures: np.ndarray, labels: Sequence[str], columns: int) -> Image.Image:
    """Pictures (N, H, W, 3) uint8 in rows, each with up to three lines of its label below."""
    height, width = pictures.shape[1:3]
    rows = -(-len(pictures) // columns)
    cell = (width + _GAP, height + 3 * _LINE + _GAP)
    sheet = Image.new("RGB", (columns * cell[0] + _GAP, rows * cell[1] + _GAP), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(9)
    for place, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        x, y = _GAP + place % columns * cell[0], _GAP + place // columns * cell[1]
        sheet.paste(Image.fromarray(picture), (x, y))
        for number, line in enumerate(textwrap.wrap(label, width // 5)[:3]):
            pen.text((x, y + height + number * _LINE), line, fill="black", font=font)
    return sheet
