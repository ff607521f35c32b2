"""Pictures of nothing: the statistics of photographs and paintings, for the autoencoder to see beside drawings."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from training.starter.scenes import NATIVE_SIZE_PX


def texture(seed: int, size_px: int = NATIVE_SIZE_PX) -> np.ndarray:
    """One picture (H, W, 3) uint8: dead leaves, gradients, coloured 1/f noise, strokes, or a mixture of two."""
    rng = np.random.default_rng([seed, 77])
    kinds = (_dead_leaves, _gradient, _coloured_noise, _strokes)
    first, second = rng.choice(len(kinds), 2)
    picture = kinds[first](rng, size_px)
    if rng.random() < 0.5:
        share = _smooth_noise(rng, size_px, 2.5)[..., None]
        picture = picture * share + kinds[second](rng, size_px) * (1 - share)
    return (np.clip(picture, 0, 1) * 255).round().astype(np.uint8)


def _smooth_noise(rng: np.random.Generator, size_px: int, power: float) -> np.ndarray:
    """(H, W) in 0..1 with a 1/f^power amplitude spectrum."""
    fy, fx = np.fft.fftfreq(size_px)[:, None], np.fft.rfftfreq(size_px)[None]
    amplitude = 1 / np.maximum(np.hypot(fx, fy), 1 / size_px) ** (power / 2 + 0.5)
    spectrum = amplitude * np.exp(2j * np.pi * rng.random(amplitude.shape))
    field = np.fft.irfft2(spectrum, s=(size_px, size_px))
    low, high = np.percentile(field, [2, 98])
    return np.clip((field - low) / (high - low + 1e-9), 0, 1)


def _coloured_noise(rng: np.random.Generator, size_px: int) -> np.ndarray:
    power = rng.uniform(0.6, 2.5)
    axes = rng.normal(size=(2, 3)) * [[0.45], [0.2]]
    fields = np.stack([_smooth_noise(rng, size_px, power) - 0.5 for _ in range(2)], -1)
    return rng.uniform(0.25, 0.75, 3) + fields @ axes


def _gradient(rng: np.random.Generator, size_px: int) -> np.ndarray:
    y, x = np.mgrid[0:size_px, 0:size_px] / size_px
    angle = rng.uniform(0, 2 * np.pi)
    along = np.clip(
        0.5 + (np.cos(angle) * (x - 0.5) + np.sin(angle) * (y - 0.5)) * rng.uniform(0.6, 1.6), 0, 1
    )
    start, end = rng.random((2, 3))
    return start + along[..., None] * (end - start)


def _dead_leaves(rng: np.random.Generator, size_px: int) -> np.ndarray:
    """Overlapping discs and polygons with radii from a power law: the edges and scales of natural scenes."""
    image = Image.new("RGB", (size_px, size_px), tuple(rng.integers(0, 256, 3).tolist()))
    draw = ImageDraw.Draw(image)
    palette = rng.integers(0, 256, (8, 3))
    for _ in range(int(rng.integers(40, 160))):
        radius = 3 / (rng.random() + 0.04)
        x, y = rng.uniform(0, size_px, 2)
        colour = np.clip(palette[rng.integers(8)] + rng.normal(0, 12, 3), 0, 255).astype(int)
        if rng.random() < 0.5:
            draw.ellipse(
                (x - radius, y - radius * rng.uniform(0.4, 1), x + radius, y + radius), fill=tuple(colour)
            )
        else:
            corners = [
                (x + radius * np.cos(a), y + radius * np.sin(a)) for a in np.sort(rng.uniform(0, 6.28, 5))
            ]
            draw.polygon(corners, fill=tuple(colour))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(rng.uniform(0, 0.8))), np.float32) / 255


def _strokes(rng: np.random.Generator, size_px: int) -> np.ndarray:
    """Short thick lines that follow a slowly turning direction, as a brush leaves them."""
    direction = _smooth_noise(rng, size_px, 2.5) * 2 * np.pi
    tint = _coloured_noise(rng, size_px)
    image = Image.fromarray((np.clip(tint, 0, 1) * 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(200, 500))):
        x, y = rng.integers(0, size_px, 2)
        angle, length = direction[y, x], rng.uniform(4, 14)
        colour = np.clip(tint[y, x] + rng.normal(0, 0.12, 3), 0, 1) * 255
        end = (x + length * np.cos(angle), y + length * np.sin(angle))
        draw.line((x, y, *end), fill=tuple(colour.astype(int)), width=int(rng.integers(1, 5)))
    return np.asarray(image, np.float32) / 255
