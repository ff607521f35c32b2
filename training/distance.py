"""How far two sets of pictures lie apart in style: in palette, in gradients and in fine texture.

Nothing is learnt or downloaded: fixed filters over an opponent colour space. All is measured on the means of 2x2
pixels, so that a difference in detail finer than 4 px, which no small autoencoder keeps, plays no part. Each part is
divided by a fixed unit, the median distance between sets of 32 drawings in two different hands of the starter's
school book, so that 1 means "as different as two hands usually are".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

# Median differences between two hands (32 drawings each); tests/training/test_distance.py holds them to that.
PALETTE_UNIT = 0.089  # OKLab units, chroma counted twice
ORIENTATION_UNIT = 0.14  # share of the gradient that turned elsewhere
STRENGTH_UNIT = 0.018  # lightness per pixel of the scale
ENERGY_UNIT = 0.386  # natural logarithm of a band's mean amplitude
SPARSITY_UNIT = 0.127  # deviation of that logarithm over the picture
GRAM_UNIT = 0.142  # correlation between bands

_QUANTILES = (np.arange(64) + 0.5) / 64
_DIRECTIONS = 16
_ORIENTATIONS = 12
_WAVELENGTHS = (2.8, 5.0, 9.0)  # in halved pixels: 5.6, 10 and 18 px of the picture
_BAND_ORIENTATIONS = 4
_BORDER = 5  # halved pixels at the edge, where the filters would see the opposite side
_FLOOR = 0.01  # OKLab units; fainter than this is nothing to the eye
_AT_ONCE = 8


@dataclass(frozen=True)
class StyleDistance:
    """The parts of a distance, each about 1 for two different hands and 0 for one and the same set."""

    palette: float
    gradient: float
    texture: float

    @property
    def overall(self) -> float:
        """The mean of the three parts."""
        return (self.palette + self.gradient + self.texture) / 3

    def part(self, name: str) -> float:
        """`overall`, `palette`, `gradient` or `texture`."""
        return float(getattr(self, name))


PARTS = ("overall", "palette", "gradient", "texture")


@dataclass(frozen=True, eq=False)
class StyleStatistics:
    """What is measured of one set of pictures; distances are taken between two of these."""

    palette: np.ndarray  # (directions, quantiles): sorted colours along fixed directions
    orientation: np.ndarray  # (scales, orientations): share of the gradient in each direction
    strength: np.ndarray  # (scales, quantiles): sorted strengths of the gradient
    energy: np.ndarray  # (bands,)
    sparsity: np.ndarray  # (bands,)
    gram: np.ndarray  # (bands, bands)


def look(pictures: np.ndarray) -> StyleStatistics:
    """Measure a set of pictures (N, H, W, 3) uint8, all of one size of at least 32 px.

    Raises ValueError for anything else.
    """
    if pictures.ndim != 4 or pictures.shape[-1] != 3 or pictures.dtype != np.uint8 or not len(pictures):
        raise ValueError(f"Expected pictures (N, H, W, 3) uint8, got {pictures.shape} {pictures.dtype}.")
    if min(pictures.shape[1:3]) < 32:
        raise ValueError(f"Pictures of {pictures.shape[2]}x{pictures.shape[1]} px are too small to measure.")
    lab = np.concatenate([_oklab(pictures[i : i + _AT_ONCE]) for i in range(0, len(pictures), _AT_ONCE)])
    orientation, strength = zip(*(_gradients(light) for light in _scales(lab[..., 0])), strict=True)
    energy, sparsity, gram = _texture(lab)
    return StyleStatistics(_palette(lab), np.stack(orientation), np.stack(strength), energy, sparsity, gram)


def distance(
    pictures: np.ndarray | StyleStatistics, reference: np.ndarray | StyleStatistics
) -> StyleDistance:
    """The style distance between two sets of pictures (N, H, W, 3) uint8, or what `look` measured of them."""
    a = pictures if isinstance(pictures, StyleStatistics) else look(pictures)
    b = reference if isinstance(reference, StyleStatistics) else look(reference)
    parts = raw_parts(a, b)
    return StyleDistance(
        palette=parts["palette"] / PALETTE_UNIT,
        gradient=(parts["orientation"] / ORIENTATION_UNIT + parts["strength"] / STRENGTH_UNIT) / 2,
        texture=parts["energy"] / ENERGY_UNIT / 2
        + parts["sparsity"] / SPARSITY_UNIT / 4
        + parts["gram"] / GRAM_UNIT / 4,
    )


def raw_parts(a: StyleStatistics, b: StyleStatistics) -> dict[str, float]:
    """The six measured differences before they are divided by their units."""
    return {
        "palette": float(np.abs(a.palette - b.palette).mean()),
        "orientation": float(np.abs(a.orientation - b.orientation).sum(1).mean() / 2),
        "strength": float(np.abs(a.strength - b.strength).mean()),
        "energy": float(np.abs(a.energy - b.energy).mean()),
        "sparsity": float(np.abs(a.sparsity - b.sparsity).mean()),
        "gram": float(np.abs(a.gram - b.gram).mean()),
    }


def nearest(pictures: np.ndarray | StyleStatistics, references: Mapping[str, StyleStatistics]) -> str:
    """The name of the reference at the smallest overall distance."""
    mine = pictures if isinstance(pictures, StyleStatistics) else look(pictures)
    return min(references, key=lambda name: distance(mine, references[name]).overall)


def gap_closed(d0: float, d1: float, floor: float) -> float:
    """The share of the way from d0 down to the floor that d1 has gone: 0 nothing, 1 all, negative astray."""
    return (d0 - d1) / (d0 - floor) if d0 != floor else 0.0


def _oklab(pictures: np.ndarray) -> np.ndarray:
    """(N, H/2, W/2, 3) float32 of the means of 2x2 pixels; lightness 0..1, chroma doubled (OKLab, B. Ottosson)."""
    n, height, width, _ = pictures.shape
    even = pictures[:, : height // 2 * 2, : width // 2 * 2].astype(np.float32) / 255
    # Averaged as light, as the eye does from afar.
    linear = np.where(even <= 0.04045, even / 12.92, ((even + 0.055) / 1.055) ** 2.4)
    linear = linear.reshape(n, height // 2, 2, width // 2, 2, 3).mean((2, 4))
    cones = np.cbrt(linear @ _TO_CONES.T)
    return cones @ _TO_LAB.T * np.array([1, 2, 2], np.float32)


_TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ],
    np.float32,
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ],
    np.float32,
)


def _palette(lab: np.ndarray) -> np.ndarray:
    """Quantiles of all colours along directions spread over half a sphere: a sliced Wasserstein distance."""
    turn = np.arange(_DIRECTIONS)
    height = (turn + 0.5) / _DIRECTIONS
    angle = turn * np.pi * (3 - np.sqrt(5))
    ring = np.sqrt(1 - height**2)
    directions = np.stack([height, ring * np.cos(angle), ring * np.sin(angle)])  # (3, directions)
    along = np.sort(lab.reshape(-1, 3) @ directions.astype(np.float32), axis=0)
    return along[(_QUANTILES * len(along)).astype(int)].T


def _scales(light: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lightness (N, h, w) smoothed once, and the means of 2x2 of that."""
    padded = np.pad(light, ((0, 0), (1, 1), (1, 1)), mode="edge")
    smooth = (padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]) / 4
    smooth = (smooth[:, :, :-2] + 2 * smooth[:, :, 1:-1] + smooth[:, :, 2:]) / 4
    height, width = (size // 2 * 2 for size in smooth.shape[1:])
    coarse = smooth[:, :height, :width].reshape(len(light), height // 2, 2, width // 2, 2).mean((2, 4))
    return smooth, coarse


def _gradients(light: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shares of the gradient over orientations (of half a turn), and quantiles of its strength."""
    across = (light[:, 1:-1, 2:] - light[:, 1:-1, :-2]) / 2
    down = (light[:, 2:, 1:-1] - light[:, :-2, 1:-1]) / 2
    strength = np.hypot(across, down).ravel()
    turn = (np.arctan2(down, across).ravel() / np.pi % 1) * _ORIENTATIONS
    # Each gradient is shared between the two nearest orientations, so that a small turn is a small change.
    low = np.floor(turn).astype(int)
    high_share = turn - low
    shares = np.bincount(low % _ORIENTATIONS, strength * (1 - high_share), _ORIENTATIONS)
    shares += np.bincount((low + 1) % _ORIENTATIONS, strength * high_share, _ORIENTATIONS)
    ordered = np.sort(strength)
    return shares / max(shares.sum(), 1e-9), ordered[(_QUANTILES * len(ordered)).astype(int)]


@cache
def _bands(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Log-Gabor filters over frequencies: oriented ones for lightness (bands, h, w), round ones for chroma."""
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None]
    radius = np.maximum(np.hypot(fx, fy), 1e-6)
    angle = np.arctan2(fy, fx)
    oriented, round_ones = [], []
    for wavelength in _WAVELENGTHS:
        band = np.exp(-(np.log(radius * wavelength) ** 2) / (2 * np.log(0.6) ** 2))
        band[0, 0] = 0
        round_ones.append(band)
        for number in range(_BAND_ORIENTATIONS):
            away = np.angle(np.exp(1j * (angle - np.pi * number / _BAND_ORIENTATIONS)))
            # One side of the spectrum only: the response's magnitude is then the texture's local amplitude.
            oriented.append(2 * band * np.exp(-(away**2) / (2 * (np.pi / 6) ** 2)))
    return np.stack(oriented).astype(np.float32), np.stack(round_ones).astype(np.float32)


def _texture(lab: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each band's log amplitude, how unevenly it is spread, and the correlations between bands (a Gram matrix)."""
    oriented, round_ones = _bands(*lab.shape[1:3])
    count = len(oriented) + 2 * len(round_ones)
    amplitude, logs, squares = np.zeros(count), np.zeros(count), np.zeros((count, count))
    samples = 0
    inside = (slice(_BORDER, -_BORDER), slice(_BORDER, -_BORDER))
    for picture in lab:
        light, first, second = np.fft.fft2(picture.transpose(2, 0, 1))
        responses = np.concatenate([light * oriented, first * round_ones, second * round_ones])
        strength = np.abs(np.fft.ifft2(responses))[:, *inside].reshape(count, -1)  # (bands, pixels)
        amplitude += strength.sum(1)
        level = np.log(strength + _FLOOR)
        logs += level.sum(1)
        squares += level @ level.T
        samples += strength.shape[1]
    mean = logs / samples
    covariance = squares / samples - np.outer(mean, mean)
    deviation = np.sqrt(np.maximum(np.diag(covariance), 1e-6))
    return np.log(amplitude / samples + _FLOOR), deviation, covariance / np.outer(deviation, deviation)
