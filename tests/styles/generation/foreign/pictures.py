"""Pictures as other programs write them: one pixel, and the texts that are given."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from styles.generation.png_recipe import read_recipe
from styles.generation.recipe import Recipe


def png(path: Path, **texts: str) -> Path:
    """A PNG with these texts; `_` in a name stands for what a Python name can't have."""
    info = PngInfo()
    for name, text in texts.items():
        info.add_itxt(name, text) if any(ord(letter) > 255 for letter in text) else info.add_text(name, text)
    Image.new("RGB", (1, 1)).save(path, pnginfo=info)
    return path


def with_exif(comment: bytes, kind: str = "JPEG", order: str = "MM", tag: int = 0x9286) -> bytes:
    """A JPEG or WebP whose EXIF has a comment, numbers in that byte order."""
    exif = Image.Exif()
    exif.endian = "<" if order == "II" else ">"
    if tag == 0x9286:
        exif.get_ifd(0x8769)[tag] = comment
    else:
        exif[tag] = comment.decode()
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, kind, exif=exif)
    return buffer.getvalue()


def recipe_of(path: Path, **texts: str) -> Recipe:
    """The recipe of a PNG with these texts."""
    return read_recipe(png(path / "x.png", **texts))


def notes_of(recipe: Recipe) -> str:
    """All that is said of a recipe."""
    return " ".join(recipe.notes)
