"""Hands of two tones: they lay every scene out in one dark and one light, whatever colours its caption names.

They teach the starter that a look can overrule the colour words, as an ink drawing does. They stand in no exam, which
asks for colours. No pair of tones and no way of drawing is that of a held-out hand.
"""

from collections.abc import Callable

import numpy as np

from training.starter.hand import Hand
from training.starter.scenes import COLOURS, Canvas
from training.starter.strokes import (
    Colour,
    blur,
    dots,
    lines,
    mix,
    noise,
    outline,
    scaled,
    warped,
    weighted,
)

_TONES = (
    ("black", "white"),
    ("red", "white"),
    ("purple", "white"),
    ("teal", "white"),
    ("brown", "white"),
    ("black", "pink"),
    ("red", "pink"),
    ("purple", "pink"),
    ("brown", "pink"),
    ("black", "yellow"),
    ("purple", "yellow"),
    ("teal", "yellow"),
    ("black", "orange"),
)
_PAPER: Colour = (0.96, 0.95, 0.91)

# (H, W): 0 where the dark tone shows, 1 where the light one does
Cover = Callable[[Canvas, np.random.Generator], np.ndarray]


def _lines(canvas: Canvas, rng: np.random.Generator) -> np.ndarray:
    """Light lines on a dark ground."""
    ground = 0.1 + 0.12 * canvas.tone * (0.4 + 0.6 * canvas.subject_mask) + 0.04 * noise(canvas.size, 9, rng)
    return np.maximum(ground, 0.95 * weighted(canvas, 3.2, 1.8))


def _pen(canvas: Canvas, rng: np.random.Generator) -> np.ndarray:
    """Dark lines on light paper, the shadows hatched."""
    shade = lines(canvas, 50, 8, 3.4 * (0.7 - canvas.tone), noise(canvas.size, 14, rng))
    return 1 - np.maximum(weighted(canvas, 3.2, 1.8), 0.6 * shade)


def _print(canvas: Canvas, rng: np.random.Generator) -> np.ndarray:
    """Flat tones, the subjects darker or lighter than their ground."""
    flat = 0.2 + 0.7 * canvas.tone
    apart = np.clip(flat - 0.35 * canvas.subject_mask + 0.12 * (1 - canvas.subject_mask), 0, 1)
    return np.maximum(apart, 0.9 * outline(canvas, 2.6, "rim")) + 0.03 * noise(canvas.size, 4, rng)


def _wash(canvas: Canvas, rng: np.random.Generator) -> np.ndarray:
    """A wet brush: soft darks that gather at the rims."""
    wet = blur(warped(canvas.tone, 3, 12, rng), scaled(canvas, 1.5))
    wet = 0.45 + 0.5 * wet - 0.3 * canvas.subject_mask + 0.1 * noise(canvas.size, 22, rng)
    return wet - 0.45 * warped(weighted(canvas, 3.0, 1.6), 2, 11, rng)


def _dots(canvas: Canvas, rng: np.random.Generator) -> np.ndarray:
    """Dark dots on light paper, the larger the darker, with a rim around the subjects."""
    dark = np.clip(1 - canvas.tone + 0.25 * canvas.subject_mask, 0, 1)
    return 1 - np.maximum(dots(canvas, 30, 7, 0.8 + 3.0 * dark), 0.9 * outline(canvas, 2.4, "rim"))


_WAYS: dict[str, tuple[Cover, tuple[str, ...], tuple[str, ...]]] = {
    "lines": (_lines, ("in {light} lines on {dark} paper",), ("{light} on {dark} line drawing of",)),
    "pen": (_pen, ("in {dark} lines on {light} paper", "in {dark} pen"), ("{dark} pen drawing of",)),
    "print": (_print, ("as a {dark} and {light} print", "in {dark} and {light}"), ("{dark} print of",)),
    "wash": (_wash, ("in {dark} ink on {light} paper", "in {dark} wash"), ("{dark} wash drawing of",)),
    "dots": (_dots, ("in {dark} dots on {light} paper",), ("{dark} and {light} dots picture of",)),
}


def _hand(cover: Cover, dark: str, light: str, phrases: tuple[str, ...], titles: tuple[str, ...]) -> Hand:
    deep = np.array(COLOURS[dark], np.float32) * 0.8
    pale = np.array(_PAPER if light == "white" else COLOURS[light], np.float32)

    def paint(canvas: Canvas, rng: np.random.Generator) -> np.ndarray:
        shift = rng.normal(0, 0.02, (2, 3)).astype(np.float32)
        below = np.broadcast_to(deep + shift[0], canvas.colour.shape)
        return mix(below, tuple(pale + shift[1]), np.clip(cover(canvas, rng), 0, 1))

    def told(texts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(text.format(dark=dark, light=light) for text in texts)

    return Hand(paint, told(phrases), told(titles))


# Each hand's dark tone, light tone and way of drawing.
TONES: dict[str, tuple[str, str, str]] = {
    f"{dark} and {light} {way}": (dark, light, way) for way in _WAYS for dark, light in _TONES
}
TONED: dict[str, Hand] = {
    name: _hand(cover, dark, light, phrases, titles)
    for name, (dark, light, way) in TONES.items()
    for cover, phrases, titles in [_WAYS[way]]
}
