"""The memory that opening an artwork takes, at the largest size that is opened, in a process of its own.

    python -m tests.benchmarks.picture_memory FOLDER [KIND ...]

Writes its pictures into FOLDER (some hundred MB). At most 1.2 GB above the process before it opens the picture.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from styles.storage.picture_budget import DECODING, MOST_BYTES, MOST_PIXELS
from training.artworks.opening import open_artwork

# Bytes a pixel at the worst moment, as the budget counts them.
PER_PIXEL = {
    "grey16.png": 8, "rgb16.tif": 10, "float.tif": 8, "cmyk.tif": 8, "palette.png": 8, "rgba.png": 8,
    "still.webp": DECODING["WEBP"], "animated.webp": DECODING["WEBP"], "photo.heic": DECODING["HEIF"],
    "rgb.avif": DECODING["AVIF"], "flat.psd": 17, "deep.psd": 26, "baseline.jpg": 10, "progressive.jpg": 10,
    "cmyk.jpg": 12, "turned.jpg": 10, "first.gif": 9,
}  # fmt: skip


def make(file: Path) -> None:
    """Write a plain picture of that kind, just within the budget."""
    Image.MAX_IMAGE_PIXELS = None
    pixels = min(MOST_PIXELS, int(MOST_BYTES * 0.985) // PER_PIXEL[file.name])
    side = int(pixels**0.5)
    size, kind = (side, side), file.name
    if kind == "grey16.png":
        Image.fromarray(np.full((side, side), 999, np.uint16)).save(file)
    elif kind == "float.tif":
        Image.fromarray(np.ones((side, side), np.float32)).save(file, compression="tiff_adobe_deflate")
    elif kind == "rgb16.tif":
        _rgb16_tif(file, side)
    elif kind == "palette.png":
        Image.new("P", size, 1).save(file, transparency=b"\x00\x80" * 4)
    elif kind == "animated.webp":
        frames = [Image.new("RGBA", size, colour) for colour in ("#ff000080", "#00ff0080")]
        frames[0].save(file, save_all=True, append_images=frames[1:], method=0)
    elif kind == "photo.heic":
        import pillow_heif

        pillow_heif.from_pillow(Image.new("RGB", size, "teal")).save(file, quality=20)
    elif kind.endswith(".psd"):
        depth = 16 if kind == "deep.psd" else 8
        head = b"8BPS\0\1" + bytes(6) + (3).to_bytes(2, "big") + side.to_bytes(4, "big") * 2
        with file.open("wb") as out:
            out.write(head + depth.to_bytes(2, "big") + (3).to_bytes(2, "big") + bytes(12) + bytes(2))
            out.truncate(out.tell() + side * side * 3 * depth // 8)
    else:
        mode = {"cmyk": "CMYK", "rgba": "RGBA"}.get(file.stem, "RGB")
        options: dict[str, object] = {"compression": "tiff_lzw"} if file.suffix == ".tif" else {}
        if file.suffix == ".jpg":
            options = {"quality": 60, "subsampling": 0, "progressive": kind == "progressive.jpg"}
        if kind == "turned.jpg":
            exif = Image.Exif()
            exif[0x0112] = 6
            options["exif"] = exif.tobytes()
        image = Image.new(mode, size, 77 if mode == "P" else (9, 99, 199, 99)[: len(mode)])
        image.save(file, **options)


def _rgb16_tif(file: Path, side: int) -> None:
    """A 16-bit RGB TIFF as a single packed strip, which Pillow can't write itself."""
    import struct
    import zlib

    packer = zlib.compressobj(1)
    packed = b"".join(packer.compress(bytes(6 * side)) for _ in range(side)) + packer.flush()
    bits, data = 8 + 2 + 12 * 8 + 4, 8 + 2 + 12 * 8 + 4 + 6
    tags = [(256, 4, 1, side), (257, 4, 1, side), (258, 3, 3, bits), (259, 3, 1, 8), (262, 3, 1, 2),
            (273, 4, 1, data), (277, 3, 1, 3), (279, 4, 1, len(packed))]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    header = b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4)
    file.write_bytes(header + struct.pack("<3H", 16, 16, 16) + packed)


def opened(file: Path) -> str:
    """Open a picture and return the GB that it took above the process before."""
    Image.init()
    open_artwork(_small(file.with_name("small.png")))  # all libraries are there
    before = _peak_gb()
    image = open_artwork(file)
    return f"{file.name}: {image.width}x{image.height} px, {_peak_gb() - before:.2f} GB"


def _small(file: Path) -> Path:
    if not file.exists():
        Image.new("RGBA", (8, 8)).save(file)
    return file


def _peak_gb() -> float:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("kinds", nargs="*", default=list(PER_PIXEL))
    parser.add_argument("--step", choices=["make", "open"], help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.step:
        file = asked.folder / asked.kinds[0]
        print(opened(file) if asked.step == "open" else make(file) or "", flush=True)
        return
    for kind in asked.kinds:
        for step in ("make", "open"):
            command = [sys.executable, "-m", "tests.benchmarks.picture_memory", str(asked.folder), kind]
            done = subprocess.run([*command, "--step", step], capture_output=True, text=True)
            said = (done.stdout or done.stderr).strip().splitlines() or [""]
            if step == "open" or done.returncode:
                print(said[-1], flush=True)
        (asked.folder / kind).unlink(missing_ok=True)


if __name__ == "__main__":
    main()
