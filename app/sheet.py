"""A contact sheet: labelled rows and columns of pictures on one page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

PAPER, INK, FAINT = "#faf8f4", "#26231f", "#857d72"
MARGIN_PX, GAP_PX = 28, 10


@dataclass(frozen=True)
class SheetRow:
    """One row: its label, a fainter second line, and its pictures from left to right."""

    label: str
    pictures: tuple[Image.Image, ...]
    note: str = ""


def draw_sheet(
    title: str, columns: Sequence[str], rows: Sequence[SheetRow], *, cell_px: int = 200, footer: str = ""
) -> Image.Image:
    """The sheet as an RGB image; every picture is fitted into a square of `cell_px`."""
    title_font, label_font, small_font = (ImageFont.load_default(size) for size in (26, 17, 13))
    label_px = 190
    head_px = MARGIN_PX + 44 + 44
    width = MARGIN_PX * 2 + label_px + len(columns) * (cell_px + GAP_PX) - GAP_PX
    height = head_px + len(rows) * (cell_px + GAP_PX) + MARGIN_PX + (22 if footer else 0)
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN_PX, MARGIN_PX - 4), title, INK, title_font)
    for number, column in enumerate(columns):
        left = MARGIN_PX + label_px + number * (cell_px + GAP_PX)
        lines = _wrapped(draw, column, small_font, cell_px)[:2]
        for line, text in enumerate(reversed(lines)):
            draw.text((left, head_px - 22 - 17 * line), text, FAINT, small_font)
    for number, row in enumerate(rows):
        top = head_px + number * (cell_px + GAP_PX)
        y = top + cell_px // 2 - 24
        for text in _wrapped(draw, row.label, label_font, label_px - 16):
            draw.text((MARGIN_PX, y), text, INK, label_font)
            y += 22
        for text in _wrapped(draw, row.note, small_font, label_px - 16):
            draw.text((MARGIN_PX, y + 4), text, FAINT, small_font)
            y += 17
        for place, picture in enumerate(row.pictures):
            left = MARGIN_PX + label_px + place * (cell_px + GAP_PX)
            sheet.paste(_fitted(picture, cell_px), (left, top))
    if footer:
        draw.text((MARGIN_PX, height - MARGIN_PX - 4), footer, FAINT, small_font)
    return sheet


def _fitted(picture: Image.Image, side_px: int) -> Image.Image:
    """The whole picture on a square of paper, small pictures enlarged."""
    scale = side_px / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    square = Image.new("RGB", (side_px, side_px), PAPER)
    fitted = picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    square.paste(fitted, ((side_px - size[0]) // 2, (side_px - size[1]) // 2))
    return square


def _wrapped(draw: ImageDraw.ImageDraw, text: str, font: object, width_px: int) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and draw.textlength(longer, font) <= width_px:  # type: ignore[arg-type]
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
