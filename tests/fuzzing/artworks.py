"""Artworks in every format that is taken, with a caption beside them."""

from __future__ import annotations

import io
from pathlib import Path
from random import Random

from styles.errors import PictureError
from tests.fuzzing.kinds import Kind, asked, shown
from tests.fuzzing.spoiling import replace_oddly, spoiled_bytes
from training.artworks.captions import caption_of
from training.artworks.dataset import inspect
from training.artworks.opening import full_size, open_artwork

SIDE_PX = 24


def prepare(folder: Path) -> list[tuple[str, bytes]]:
    """Return small pictures in many formats and modes, each of which opens."""
    import pillow_heif
    from PIL import Image
    from psd_tools import PSDImage

    pillow_heif.register_heif_opener()
    noise = Image.frombytes("RGB", (16, 16), bytes(range(256)) * 3).resize((SIDE_PX, SIDE_PX + 5))
    made: list[tuple[str, bytes]] = []

    def save(image: Image.Image, suffix: str, kind: str, **options: object) -> None:
        out = io.BytesIO()
        image.save(out, kind, **options)
        made.append((suffix, out.getvalue()))

    exif = noise.getexif()
    exif[0x0112] = 6
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        save(
            noise.convert("L").convert("I").convert(mode) if mode == "I;16" else noise.convert(mode),
            ".png",
            "PNG",
        )
    for mode in ("L", "RGB", "CMYK"):
        save(noise.convert(mode), ".jpg", "JPEG", exif=exif, comment=b"hello", progressive=mode == "L")
    for mode in ("1", "L", "P", "RGB", "RGBA", "CMYK", "LAB", "F", "I;16"):
        converted = noise.convert("L").convert("I").convert(mode) if mode == "I;16" else noise.convert(mode)
        for packing in ("raw", "tiff_lzw") if mode in ("RGB", "L") else ("raw",):
            save(converted, ".tif", "TIFF", compression=packing)
    save(noise, ".webp", "WEBP", lossless=True)
    save(noise.convert("RGBA"), ".webp", "WEBP", exif=exif)
    save(noise.convert("P"), ".gif", "GIF", save_all=True, append_images=[noise.rotate(90).convert("P")])
    save(noise, ".bmp", "BMP")
    save(noise, ".avif", "AVIF")
    save(noise, ".heic", "HEIF")
    out = io.BytesIO()
    PSDImage.frompil(noise).save(out)
    made.append((".psd", out.getvalue()))
    for number, (suffix, data) in enumerate(made):
        path = folder / f"{number}{suffix}"
        path.write_bytes(data)
        open_artwork(path)
    return made


def attempt(rng: Random, seeds: list[tuple[str, bytes]], folder: Path) -> None:
    """Open one, read its size and caption, and take its folder for a training."""
    suffix, data = rng.choice(seeds)
    folder.mkdir()
    path = folder / f"x{rng.choice((suffix, suffix, suffix, '.png', '.tif', '.psd', '.heic'))}"
    path.write_bytes(spoiled_bytes(rng, data))
    if rng.random() < 0.02:
        replace_oddly(rng, path)
    if rng.random() < 0.1:
        replace_oddly(rng, path.with_suffix(".txt"))
    image = asked(lambda: open_artwork(path, least_px=64))
    if image is not None:
        assert image.mode == "RGB" and min(image.size) > 0
        assert min(full_size(path, image)) > 0
    (caption_of(path) or "").encode("utf-8")
    if rng.random() < 0.05:
        asked(lambda: _whole(folder))


def _whole(folder: Path) -> None:
    try:
        inspect([folder])
    except PictureError as error:
        shown(str(error))


KIND = Kind("artworks", prepare, attempt, few=100, seconds=10.0)
