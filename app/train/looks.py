"""What was seen of pictures, each opened once: the measures of `PictureCheck`, and a small JPEG."""

from __future__ import annotations

import io
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from styles.storage.atomic import write_bytes, write_text
from styles.storage.file_reading import read_bytes, read_json
from training.artworks.opening import full_size, open_artwork
from training.artworks.picture_checks import PictureCheck, look_at

if TYPE_CHECKING:
    from PIL.Image import Image

THUMB_PX = 220
LARGEST_THUMB = 1 << 20  # bytes


@dataclass(frozen=True)
class Grid:
    """What a base makes of pictures: the side of the square whose area they all get, and what sides divide by."""

    resolution_px: int
    multiple_px: int


class Looks:
    """What was seen of the pictures of one folder, in files; made again where the picture is another by now."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def of(self, path: Path, grid: Grid) -> tuple[PictureCheck, bytes]:
        """Return what was seen of a picture and its small JPEG; raises PictureError where it has to be opened."""
        try:
            stored = read_json(self._file(path))
            if stored["key"] != _key(path, grid):
                raise ValueError
            sharpness = math.nan if stored["sharpness"] is None else float(stored["sharpness"])
            width, height = stored["size_px"]
            look = PictureCheck(
                (int(width), int(height)),
                sharpness,
                int(stored["hash"], 16),
                float(stored["drawn"]),
                float(stored["lightest"]),
            )
            return look, read_bytes(self._thumb_file(path), LARGEST_THUMB)
        except (OSError, ValueError, KeyError, TypeError):
            look, thumb = looked_at(path, grid)
            self.keep(path, grid, look, thumb)
            return look, thumb

    def size_px(self, path: Path) -> tuple[int, int] | None:
        """Return the (width, height) of a picture as it is now, None where it has to be opened to know."""
        try:
            stored = read_json(self._file(path))
            if stored["key"][:2] != _file_key(path):
                return None
            width, height = stored["size_px"]
            return int(width), int(height)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def keep(self, path: Path, grid: Grid, look: PictureCheck, thumb: bytes) -> None:
        """Write down what was seen of a picture."""
        stored = asdict(look) | {
            "key": _key(path, grid),
            "hash": f"{look.hash:x}",
            "sharpness": None if math.isnan(look.sharpness) else look.sharpness,
        }
        write_bytes(self._thumb_file(path), thumb)
        write_text(self._file(path), json.dumps(stored))

    def _file(self, path: Path) -> Path:
        return self.folder / f"{path.name}.json"

    def _thumb_file(self, path: Path) -> Path:
        return self.folder / f"{path.name}.jpg"


def small_mask(path: Path) -> bytes:
    """Return a mask as a small PNG; raises PictureError."""
    image, out = open_artwork(path).convert("L"), io.BytesIO()
    image.thumbnail((THUMB_PX, THUMB_PX))
    image.save(out, "PNG")
    return out.getvalue()


def _key(path: Path, grid: Grid) -> list[int]:
    """What a look depends on."""
    return [*_file_key(path), grid.resolution_px]


def _file_key(path: Path) -> list[int]:
    facts = path.stat()
    return [facts.st_size, facts.st_mtime_ns]


def looked_at(path: Path, grid: Grid) -> tuple[PictureCheck, bytes]:
    """Open a picture, look at it and make it small; raises PictureError."""
    image = open_artwork(path, least_px=max(2 * grid.resolution_px, THUMB_PX))
    return look_at(image, full_size(path, image), grid.resolution_px), _thumb(image)


def _thumb(image: Image) -> bytes:
    image = image.copy()
    image.thumbnail((THUMB_PX, THUMB_PX))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=82)
    return out.getvalue()
