"""A contact sheet: labelled rows and columns of pictures on one page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

PAPER, INK, FAINT = "#faf8f4", "#26231f", "#857d72"
MARGIN_PX, GAP_PX = 28, 10
LINE_PX = 17  # of small text


@dataclass(frozen=True)
class SheetRow:
    """One row: its label, a fainter second line, and its pictures from left to right, each with a caption below."""

    label: str
    pictures: tuple[Image.Image, ...]
    note: str = ""
    captions: tuple[str, ...] = ()


def draw_sheet(
    title: str, columns: Sequence[str], rows: Sequence[SheetRow], *, cell_px: int = 200, footer: str = ""
) -> Image.Image:
    """The sheet as an RGB image; every picture is fitted into a square of `cell_px`.

    There is room for labels, captions and the columns' heads only where some are.
    """
    title_font, label_font, small_font = (ImageFont.load_default(size) for size in (26, 17, 13))
    measure = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    captions = [[_wrapped(measure, text, small_font, cell_px) for text in row.captions] for row in rows]
    caption_px = LINE_PX * max((len(lines) for row in captions for lines in row), default=0)
    label_px = 190 if any(row.label or row.note for row in rows) else 0
    head_px = MARGIN_PX + 44 + (44 if any(columns) else 0)
    row_px = cell_px + caption_px + GAP_PX
    width = MARGIN_PX * 2 + label_px + len(columns) * (cell_px + GAP_PX) - GAP_PX
    titles = _wrapped(measure, title, title_font, width - 2 * MARGIN_PX)
    footers = _wrapped(measure, footer, small_font, width - 2 * MARGIN_PX)
    head_px += 32 * max(0, len(titles) - 1)
    height = head_px + len(rows) * row_px + MARGIN_PX + (5 if footer else 0) + LINE_PX * len(footers)
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    for line, text in enumerate(titles):
        draw.text((MARGIN_PX, MARGIN_PX - 4 + 32 * line), text, INK, title_font)
    for number, column in enumerate(columns):
        left = MARGIN_PX + label_px + number * (cell_px + GAP_PX)
        lines = _wrapped(draw, column, small_font, cell_px)[:2]
        for line, text in enumerate(reversed(lines)):
            draw.text((left, head_px - 22 - 17 * line), text, FAINT, small_font)
    for number, row in enumerate(rows):
        top = head_px + number * row_px
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
            for line, text in enumerate(captions[number][place] if row.captions else ()):
                draw.text((left, top + cell_px + 3 + LINE_PX * line), text, INK, small_font)
    for line, text in enumerate(footers):
        draw.text(
            (MARGIN_PX, height - MARGIN_PX - 4 - LINE_PX * (len(footers) - 1 - line)), text, FAINT, small_font
        )
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
