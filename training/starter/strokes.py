"""The tools the hands draw with: outlines, lines, cells, noise and tints, all on whole arrays.

Pictures are (H, W, 3) float32 in 0..1 and masks (H, W) float32; lengths are in pixels of a 128 px picture.
"""

from functools import lru_cache

import numpy as np
from PIL import Image, ImageFilter

from training.starter.scenes import DrawingCanvas

Colour = tuple[float, float, float]

BLACK: Colour = (0.05, 0.05, 0.06)
WHITE: Colour = (0.98, 0.98, 0.97)

_LUMINANCE = np.array([0.30, 0.59, 0.11], np.float32)


@lru_cache(maxsize=8)
def grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows y and columns x of every pixel, (H, W) each, in units of a 128 px picture."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) * np.float32(128 / size)
    return y, x


def scaled(canvas: DrawingCanvas, length: float) -> float:
    """A length given for a 128 px picture in pixels of this canvas."""
    return length * canvas.size / 128


def mix(under: np.ndarray | Colour, over: np.ndarray | Colour, share: np.ndarray | float) -> np.ndarray:
    """`over` laid on `under` with coverage `share`, a number or an (H, W) mask."""
    under, over = np.asarray(under, np.float32), np.asarray(over, np.float32)
    if isinstance(share, np.ndarray) and share.ndim == 2:
        share = share[..., None]
    return under + (over - under) * share


def grey(picture: np.ndarray) -> np.ndarray:
    """Luminance (H, W) of a picture."""
    return picture @ _LUMINANCE


def saturated(picture: np.ndarray, factor: np.ndarray | float) -> np.ndarray:
    """The picture with its distance from grey multiplied by `factor`."""
    base = grey(picture)[..., None]
    return np.clip(base + (picture - base) * factor, 0, 1)


def bright(picture: np.ndarray) -> np.ndarray:
    """The picture's hues at full brightness."""
    return picture / np.maximum(picture.max(axis=2, keepdims=True), 0.25)


def tinted(picture: np.ndarray, dark: Colour, light: Colour, keep: float) -> np.ndarray:
    """The picture mapped by luminance onto a ramp from `dark` to `light`, keeping a share of its own colour."""
    ramp = mix(dark, light, grey(picture))
    return mix(ramp, picture, keep)


def blur(array: np.ndarray, radius: float) -> np.ndarray:
    """Gaussian blur of a mask or a picture in 0..1; the radius is in pixels of the array."""
    image = Image.fromarray((np.clip(array, 0, 1) * 255).astype(np.uint8))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(radius)), np.float32) / 255


def noise(size: int, cell: float, rng: np.random.Generator) -> np.ndarray:
    """Smooth noise (H, W) of about -1..1 with spots of `cell` px (of a 128 px picture)."""
    count = max(2, round(128 / cell) + 1)
    coarse = Image.fromarray(rng.uniform(-1, 1, (count, count)).astype(np.float32))
    return np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC))


def warped(picture: np.ndarray, reach: float, cell: float, rng: np.random.Generator) -> np.ndarray:
    """The picture (or mask) with its pixels displaced up to `reach` px by noise with spots of `cell` px."""
    size = picture.shape[0]
    unit = reach * size / 128
    y, x = np.mgrid[0:size, 0:size]
    rows = np.clip(y + noise(size, cell, rng) * unit, 0, size - 1).astype(np.intp)
    columns = np.clip(x + noise(size, cell, rng) * unit, 0, size - 1).astype(np.intp)
    return picture[rows, columns]


def edge_pixels(regions: np.ndarray) -> np.ndarray:
    """1 where a pixel's region differs from that of its right or lower neighbour, else 0 (H, W)."""
    edge = np.zeros(regions.shape, np.float32)
    edge[:, :-1] = regions[:, 1:] != regions[:, :-1]
    edge[:-1] = np.maximum(edge[:-1], regions[1:] != regions[:-1])
    return edge


def outline(canvas: DrawingCanvas, width: float, part: str = "all") -> np.ndarray:
    """Coverage (H, W) of lines `width` px wide along region borders.

    `part` is "all", "subject" (borders of and within the subjects) or "rim" (around the subjects only).
    """
    regions = canvas.regions
    if part == "subject":
        regions = np.where(regions >= 100, regions, 0)
    elif part == "rim":
        regions = regions >= 100
    width = scaled(canvas, width)
    soft = blur(edge_pixels(regions), 0.45 * width)
    return np.clip(soft * width * 1.5 - 0.6, 0, 1)


def weighted(canvas: DrawingCanvas, rim: float, rest: float) -> np.ndarray:
    """Outlines (H, W) with lines of one width around the subjects and of another elsewhere."""
    return np.maximum(outline(canvas, rim, "rim"), outline(canvas, rest))


def distance(edges: np.ndarray, side: int = 64) -> np.ndarray:
    """Distance (H, W) from the nearest edge pixel, in px of a 128 px picture, computed on a coarser grid."""
    size = edges.shape[0]
    step = max(1, size // side)
    side = size // step
    coarse = edges[: side * step, : side * step].reshape(side, step, side, step).max(axis=(1, 3)) > 0.5
    index = np.arange(side, dtype=np.float32)
    gap = np.abs(index[:, None] - index[None, :])
    across = np.where(coarse[:, None, :], gap[None], np.float32(999)).min(axis=2)
    squared = np.minimum(across, 999)[None] ** 2 + (gap**2)[:, :, None]
    field = np.sqrt(squared.min(axis=1)) * np.float32(128 / side)
    return np.asarray(Image.fromarray(field).resize((size, size), Image.Resampling.BILINEAR))


def lines(
    canvas: DrawingCanvas,
    angle: float,
    period: float,
    width: np.ndarray | float,
    wobble: np.ndarray | float = 0.0,
) -> np.ndarray:
    """Coverage (H, W) of parallel lines; the angle is in degrees (0 level), wobble shifts them by px."""
    y, x = grid(canvas.size)
    turn = np.radians(angle)
    across = x * np.float32(-np.sin(turn)) + y * np.float32(np.cos(turn)) + wobble
    return stripes(across, period, width)


def stripes(across: np.ndarray, period: float, width: np.ndarray | float) -> np.ndarray:
    """Coverage (H, W) of stripes where the field `across` (px) is near a multiple of the period."""
    gap = np.abs((across / period) % 1 - 0.5) * period
    return np.clip(np.asarray(width, np.float32) / 2 - gap + 0.6, 0, 1)


def dots(canvas: DrawingCanvas, angle: float, period: float, radius: np.ndarray | float) -> np.ndarray:
    """Coverage (H, W) of round dots on a turned square grid; the radius may differ from place to place."""
    y, x = grid(canvas.size)
    c, s = np.float32(np.cos(np.radians(angle))), np.float32(np.sin(np.radians(angle)))
    across = ((x * c + y * s) / period) % 1 - 0.5
    down = ((y * c - x * s) / period) % 1 - 0.5
    gap = np.sqrt(across**2 + down**2) * period
    return np.clip(radius - gap + 0.6, 0, 1)


class Cells:
    """For every pixel the nearest of jittered grid points, with room for turned, stretched marks about them."""

    def __init__(
        self,
        canvas: DrawingCanvas,
        period: float,
        rng: np.random.Generator,
        jitter: float = 0.8,
        angle: np.ndarray | float = 0.0,
        stretch: float = 1.0,
    ) -> None:
        size = canvas.size
        unit = scaled(canvas, period)
        count = int(np.ceil(size / unit)) + 2
        home = (np.arange(count, dtype=np.float32) - 0.5) * unit
        self.y = (home[:, None] + rng.uniform(-0.5, 0.5, (count, count)) * jitter * unit).astype(np.float32)
        self.x = (home[None, :] + rng.uniform(-0.5, 0.5, (count, count)) * jitter * unit).astype(np.float32)
        self.rows = np.clip(self.y, 0, size - 1).astype(np.intp)
        self.columns = np.clip(self.x, 0, size - 1).astype(np.intp)
        turn = np.asarray(angle, np.float32)
        if turn.ndim == 2:
            turn = turn[self.rows, self.columns]
        turn = np.broadcast_to(turn, (count, count))
        cosine, sine = np.cos(turn), np.sin(turn)
        self._search(size, unit, count, cosine, sine, stretch)

    def _search(
        self, size: int, unit: float, count: int, cosine: np.ndarray, sine: np.ndarray, stretch: float
    ) -> None:
        place = np.arange(size, dtype=np.float32)
        base = (place / unit + 1).astype(np.intp)
        best = np.full((size, size), 1e9, np.float32)
        second = best.copy()
        self.index = np.zeros((size, size), np.intp)
        self.across = np.zeros((size, size), np.float32)
        for dy in (-1, 0, 1):
            rows = np.clip(base + dy, 0, count - 1)[:, None]
            for dx in (-1, 0, 1):
                which = rows * count + np.clip(base + dx, 0, count - 1)[None, :]
                right = place[None, :] - self.x.ravel()[which]
                down = place[:, None] - self.y.ravel()[which]
                if stretch != 1.0:
                    c, s = cosine.ravel()[which], sine.ravel()[which]
                    right, down = (right * c + down * s) / stretch, down * c - right * s
                gap = right * right + down * down
                closer = gap < best
                second = np.where(closer, best, np.minimum(second, gap))
                best = np.where(closer, gap, best)
                self.index = np.where(closer, which, self.index)
                self.across = np.where(closer, down, self.across)
        scale = np.float32(128 / size)
        self.near = np.sqrt(best) * scale  # (H, W) px to the nearest point, in the mark's own measure
        self.border = (np.sqrt(second) - np.sqrt(best)) * scale  # (H, W) px, 0 on the border between cells
        self.across = self.across * scale  # (H, W) signed px across the mark
        self.count = count

    def sample(self, array: np.ndarray) -> np.ndarray:
        """Every pixel's value (H, W, ...) taken from the array at its cell's own point."""
        values = array[self.rows, self.columns]
        return values.reshape(-1, *array.shape[2:])[self.index]

    def random(self, rng: np.random.Generator, channels: int = 0) -> np.ndarray:
        """One random number in -1..1 per cell (or several), spread over its pixels."""
        shape = (self.count * self.count, channels) if channels else (self.count * self.count,)
        return rng.uniform(-1, 1, shape).astype(np.float32)[self.index]


def blocks(array: np.ndarray, count: int) -> np.ndarray:
    """The picture as count x count flat blocks, each in the colour of its middle."""
    size = array.shape[0]
    middle = ((np.arange(count) + 0.5) * size / count).astype(np.intp)
    which = (np.arange(size) * count // size).astype(np.intp)
    small = array[middle][:, middle]
    return small[which][:, which]


def shifted(array: np.ndarray, down: int, right: int) -> np.ndarray:
    """The array moved by whole pixels, its border repeated."""
    size = array.shape[0]
    rows = np.clip(np.arange(size) - down, 0, size - 1)
    columns = np.clip(np.arange(size) - right, 0, size - 1)
    return array[rows][:, columns]
