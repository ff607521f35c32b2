"""Ways to spoil a file or what stands in its place; all chance comes from the generator given."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from tests.styles.mutations import DEEP, HUGE, TEXTS, dumped, spoil_json, spoil_text

NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FC00000, 0xFF800000)
NAMES = [
    "step-abc.safetensors",
    "step-000100 (conflicted copy 2026).safetensors",
    ".DS_Store",
    "desktop.ini",
    "Thumbs.db",
    "a\n\u202eb",
    "\udce9\udcff",
    "x" * 250,
    "-rf",
    "~",
    "con",
]


def spoiled_text(rng: Random, values: Any) -> str:
    """Return JSON of which one to three nodes are spoiled, and sometimes a letter."""
    raw: dict[str, str] = {}
    for _ in range(rng.choice((1, 1, 2, 3))):
        values = spoil_json(rng, values, raw)
    text = dumped(values, raw, rng)
    return spoil_text(rng, text) if rng.random() < 0.1 else text


def values_in(file: Path) -> Any:
    """Return the JSON of a file that may have been spoiled before."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return {}


def spoiled_bytes(rng: Random, data: bytes) -> bytes:
    """Return bytes that are cut, repeated, flipped, or hold an extreme number in place of two or four of them."""
    spoilt = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        place = rng.randrange(min(len(spoilt), rng.choice((64, 512, 1 << 30)))) if spoilt else 0
        match rng.randrange(6):
            case 0:
                del spoilt[place:]
            case 1:
                spoilt[place:place] = rng.randbytes(rng.choice((1, 2, 4, 300)))
            case 2:
                del spoilt[place : place + rng.choice((1, 2, 4, 12))]
            case 3 if spoilt:
                spoilt[place] ^= 1 << rng.randrange(8)
            case 4:
                size = rng.choice((2, 4))
                number = rng.choice(NUMBERS) % (1 << 8 * size)
                spoilt[place : place + size] = number.to_bytes(size, rng.choice(("big", "little")))
            case 5:
                other = rng.randrange(len(spoilt)) if spoilt else 0
                spoilt[place : place + 12] = spoilt[other : other + 12]
    return bytes(spoilt)


def write_text(path: Path, text: str) -> None:
    """Write text that may hold what no encoding has; whatever was there goes first, as it may be a link's."""
    put(path, text.encode("utf-8", "surrogatepass"))


def put(path: Path, data: bytes) -> None:
    """Write bytes in place of whatever is there."""
    remove(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def remove(path: Path) -> None:
    """Take away whatever is at a path."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif os.path.lexists(path):
        path.unlink()


def replace_oddly(rng: Random, path: Path) -> str:
    """Put something else in the place of a file, and say what."""
    if not path.parent.is_dir():
        return "no folder"
    remove(path)
    ways: dict[str, Callable[[], object]] = {
        "nothing": lambda: None,
        "empty": path.touch,
        "folder": path.mkdir,
        "full folder": lambda: (path / "inner").mkdir(parents=True),
        "no text": lambda: path.write_bytes(b"\xff\xfe\xe9" + rng.randbytes(9)),
        "noise": lambda: path.write_bytes(rng.randbytes(rng.choice((1, 8, 9, 4000)))),
        "odd JSON": lambda: path.write_bytes(
            rng.choice(TEXTS + DEEP + HUGE + ["[]", "null", '""', "{}"]).encode("utf-8", "surrogatepass")
        ),
    }
    if os.name == "posix":
        ways |= {
            "dangling": lambda: path.symlink_to(path.parent / "nowhere"),
            "loop": lambda: path.symlink_to(path),
            "pipe": lambda: os.mkfifo(path),
            "device": lambda: path.symlink_to("/dev/zero"),
            "no rights": lambda: (path.touch(), path.chmod(0)),
            "up": lambda: path.symlink_to(path.parent),
        }
    way = rng.choice(sorted(ways))
    ways[way]()
    return way


def add_stray(rng: Random, folder: Path, like: str = "") -> None:
    """Put something under an odd name into a folder."""
    if folder.is_dir():
        name = rng.choice([*NAMES, *([f"{stem}{like}" for stem in ("x", "x 2", "é", ".y")] if like else [])])
        replace_oddly(rng, folder / name)
