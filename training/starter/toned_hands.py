"""Hands of two tones: they lay every scene out in one dark and one light, whatever colours its caption names.

They teach the starter that a look can overrule the colour words, as an ink drawing does. They stand in no exam, which
asks for colours. No pair of tones and no way of drawing is that of a held-out hand. Their phrases hold only words that
other captions have already taught.
"""

from collections.abc import Callable

import numpy as np

from training.starter.hand import Hand
from training.starter.scenes import COLOURS, DrawingCanvas
from training.starter.strokes import (
    Cells,
    Colour,
    blur,
    dots,
    grid,
    lines,
    mix,
    noise,
    outline,
    scaled,
    stripes,
    warped,
    weighted,
)

_TONES = (
    ("black", "white"),
    ("red", "white"),
    ("purple", "white"),
    ("teal", "white"),
    ("brown", "white"),
    ("deep red", "white"),
    ("deep purple", "white"),
    ("black", "pink"),
    ("red", "pink"),
    ("purple", "pink"),
    ("brown", "pink"),
    ("green", "pink"),
    ("deep blue", "pink"),
    ("deep green", "pink"),
    ("black", "yellow"),
    ("purple", "yellow"),
    ("teal", "yellow"),
    ("blue", "yellow"),
    ("deep red", "yellow"),
    ("black", "orange"),
    ("deep blue", "orange"),
    ("deep green", "orange"),
)
# Two inks, of which each lays one part of the scene on white paper.
_INKS = (
    ("red", "blue"),
    ("orange", "blue"),
    ("pink", "purple"),
    ("yellow", "purple"),
    ("orange", "brown"),
    ("yellow", "green"),
    ("pink", "blue"),
    ("green", "purple"),
)
_PAPER: Colour = (0.96, 0.95, 0.91)

# (H, W): 0 where the dark tone shows, 1 where the light one does
Cover = Callable[[DrawingCanvas, np.random.Generator], np.ndarray]


def _lines(canvas: DrawingCanvas, rng: np.random.Generator) -> np.ndarray:
    """Light lines on a dark ground."""
    ground = 0.1 + 0.12 * canvas.tone * (0.4 + 0.6 * canvas.subject_mask) + 0.04 * noise(canvas.size, 9, rng)
    return np.maximum(ground, 0.95 * weighted(canvas, 3.2, 1.8))


def _pen(canvas: DrawingCanvas, rng: np.random.Generator) -> np.ndarray:
    """Dark lines on light paper, the shadows hatched."""
    shade = lines(canvas, 50, 8, 3.4 * (0.7 - canvas.tone), noise(canvas.size, 14, rng))
    return 1 - np.maximum(weighted(canvas, 3.2, 1.8), 0.6 * shade)


def _print(canvas: DrawingCanvas, rng: np.random.Generator) -> np.ndarray:
    """Flat tones, the subjects darker or lighter than their ground."""
    flat = 0.2 + 0.7 * canvas.tone
    apart = np.clip(flat - 0.35 * canvas.subject_mask + 0.12 * (1 - canvas.subject_mask), 0, 1)
    return np.maximum(apart, 0.9 * outline(canvas, 2.6, "rim")) + 0.03 * noise(canvas.size, 4, rng)


def _wash(canvas: DrawingCanvas, rng: np.random.Generator) -> np.ndarray:
    """A wet brush: soft darks that gather at the rims."""
    wet = blur(warped(canvas.tone, 3, 12, rng), scaled(canvas, 1.5))
    wet = 0.45 + 0.5 * wet - 0.3 * canvas.subject_mask + 0.1 * noise(canvas.size, 22, rng)
    return wet - 0.45 * warped(weighted(canvas, 3.0, 1.6), 2, 11, rng)


def _dots(canvas: DrawingCanvas, rng: np.random.Generator) -> np.ndarray:
    """Dark dots on light paper, the larger the darker, with a rim around the subjects."""
    dark = np.clip(1 - canvas.tone + 0.25 * canvas.subject_mask, 0, 1)
    return 1 - np.maximum(dots(canvas, 30, 7, 0.8 + 3.0 * dark), 0.9 * outline(canvas, 2.4, "rim"))


def _cut(canvas: DrawingCanvas, rng: np.random.Generator) -> np.ndarray:
    """Level cuts into a dark block, the wider the lighter the place."""
    wobble = noise(canvas.size, 20, rng) * 2.5
    cut = lines(canvas, 0, 6, 5.6 * canvas.tone - 0.6, wobble)
    return np.maximum(cut, 0.95 * outline(canvas, 3.0, "rim"))


def _scratched(canvas: DrawingCanvas, rng: np.random.Generator) -> np.ndarray:
    """Short light strokes on a dark ground, across each other where it is lightest."""
    wobble = noise(canvas.size, 14, rng)
    strokes = np.maximum(
        lines(canvas, 55, 6, 4.6 * canvas.tone - 0.8, wobble),
        lines(canvas, -35, 6, 4.6 * canvas.tone - 2.2, wobble),
    )
    inside = canvas.tone * (0.35 + 0.5 * canvas.subject_mask)
    return np.maximum(
        np.maximum(0.8 * strokes * (1 - 0.6 * canvas.subject_mask), inside), weighted(canvas, 2.6, 1.4)
    )


def _waves(canvas: DrawingCanvas, rng: np.random.Generator) -> np.ndarray:
    """Light lines that flow like wood grain over a dark ground, and otherwise over the subjects."""
    y, x = grid(canvas.size)
    flow = y + 9 * noise(canvas.size, 44, rng)
    ground = stripes(flow, 7, 5.2 * canvas.tone - 0.6)
    subject = stripes(x + 9 * noise(canvas.size, 44, rng), 5, 5.6 * canvas.tone - 1.2)
    cover = np.where(canvas.subject_mask > 0.5, np.maximum(subject, 0.75 * canvas.tone), 0.85 * ground)
    return np.maximum(cover, 0.95 * outline(canvas, 2.6, "subject"))


def _chalk(canvas: DrawingCanvas, rng: np.random.Generator) -> np.ndarray:
    """Rubbed light on a dark board."""
    grain = np.clip(noise(canvas.size, 3, rng) * 0.6 + 0.85, 0, 1)
    rub = lines(canvas, -60, 9, 5, noise(canvas.size, 12, rng) * 3)
    fill = (0.15 + 0.35 * rub) * (0.2 + 0.4 * canvas.tone + 0.7 * canvas.subject_mask)
    return np.maximum(fill, 0.95 * warped(weighted(canvas, 4.0, 2.0), 1, 6, rng)) * grain


def _paper(canvas: DrawingCanvas, rng: np.random.Generator) -> np.ndarray:
    """Flat cuts: what is lighter than the middle lies in light paper on the dark, the subjects rimmed."""
    light = np.clip(8 * (blur(canvas.tone, scaled(canvas, 0.8)) - 0.52) + 0.5, 0, 1)
    ground = 0.08 + 0.5 * light * (1 - canvas.subject_mask)
    return np.maximum(ground, canvas.subject_mask * (0.25 + 0.75 * light)) * (
        1 - 0.9 * outline(canvas, 2.4, "subject")
    ) + 0.9 * outline(canvas, 3.2, "rim")


def _tiles(canvas: DrawingCanvas, rng: np.random.Generator) -> np.ndarray:
    """Small tiles with dark seams, lighter where the scene is."""
    cells = Cells(canvas, 6.4, rng, 0.4)
    tone = 0.55 * cells.sample(canvas.tone) + 0.45 * canvas.tone + 0.09 * cells.random(rng)
    seam = np.clip(cells.border * 1.1 - 0.6, 0, 1)
    return np.maximum((0.1 + 0.85 * tone) * (0.35 + 0.65 * seam), 0.8 * outline(canvas, 2.2, "rim"))


def _threads(canvas: DrawingCanvas, rng: np.random.Generator) -> np.ndarray:
    """Woven threads, of which the light ones lie above where the scene is light."""
    y, x = grid(canvas.size)
    over = ((x // 6 + y // 6) % 2) > 0
    thread = np.where(over, np.sin(np.pi * (y % 6) / 6), np.sin(np.pi * (x % 6) / 6))
    tone = np.clip(canvas.tone + 0.2 * canvas.subject_mask * (canvas.tone - 0.4), 0, 1)
    return tone * (0.55 + 0.45 * thread) + 0.12 * over


_WAYS: dict[str, tuple[Cover, tuple[str, ...], tuple[str, ...]]] = {
    "lines": (_lines, ("in {light} lines on {dark} paper",), ("{light} on {dark} line drawing of",)),
    "pen": (_pen, ("in {dark} lines on {light} paper", "in {dark} pen"), ("{dark} pen drawing of",)),
    "print": (_print, ("as a {dark} and {light} print", "in {dark} and {light}"), ("{dark} print of",)),
    "wash": (_wash, ("in {dark} ink on {light} paper", "in {dark} wash"), ("{dark} wash drawing of",)),
    "dots": (_dots, ("in {dark} dots on {light} paper",), ("{dark} and {light} dots picture of",)),
    "cut": (_cut, ("as a {dark} and {light} woodcut",), ("{dark} woodcut print of",)),
    "scratched": (_scratched, ("in {light} pen on {dark} paper",), ("{light} on {dark} pen sketch of",)),
    "waves": (_waves, ("in {light} waves on {dark} paper",), ("{light} on {dark} waves print of",)),
    "chalk": (_chalk, ("in {light} chalk on {dark} slate",), ("{light} on {dark} chalk drawing of",)),
    "paper": (_paper, ("cut from {dark} and {light} paper",), ("{dark} and {light} paper collage of",)),
    "tiles": (_tiles, ("in {dark} and {light} tiles",), ("{dark} and {light} mosaic of",)),
    "threads": (_threads, ("woven in {dark} and {light} threads",), ("{dark} and {light} tapestry of",)),
}


def _hand(cover: Cover, dark: str, light: str, phrases: tuple[str, ...], titles: tuple[str, ...]) -> Hand:
    deep = np.array(COLOURS[dark.removeprefix("deep ")], np.float32) * (0.4 if "deep" in dark else 0.8)
    pale = np.array(_PAPER if light == "white" else COLOURS[light], np.float32)

    def paint(canvas: DrawingCanvas, rng: np.random.Generator) -> np.ndarray:
        shift = rng.normal(0, 0.02, (2, 3)).astype(np.float32)
        below = np.broadcast_to(deep + shift[0], canvas.colour.shape)
        return mix(below, tuple(pale + shift[1]), np.clip(cover(canvas, rng), 0, 1))

    def told(texts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(text.format(dark=dark, light=light) for text in texts)

    return Hand(paint, told(phrases), told(titles))


def _two_inks(first: str, second: str) -> Hand:
    """The subjects in the first ink, their lines and the shadows of the ground in the second."""
    paper = np.array(_PAPER, np.float32)
    inks = [np.array(COLOURS[name], np.float32) for name in (first, second)]

    def paint(canvas: DrawingCanvas, rng: np.random.Generator) -> np.ndarray:
        grain = 0.82 + 0.25 * noise(canvas.size, 5, rng)
        shade = 1 - canvas.tone
        laid = canvas.subject_mask * (0.55 + 0.4 * shade) + 0.16 * (1 - canvas.subject_mask)
        hatch = lines(canvas, -50, 7, 5.5 * shade, noise(canvas.size, 16, rng))
        drawn = np.maximum(hatch * (0.75 - 0.6 * canvas.subject_mask), outline(canvas, 2.6))
        printed = mix(paper, inks[0] * paper, np.clip(laid * grain, 0, 1))
        return mix(printed, printed * (0.25 + 0.75 * inks[1]) * inks[1], np.clip(drawn * grain, 0, 1))

    phrases = (f"coloured with {first} and {second} markers", f"in {first} and {second} felt marker")
    return Hand(paint, phrases, (f"{first} and {second} marker drawing of",))


_INKED = {f"{first} and {second} inks": (first, second) for first, second in _INKS}
# Each hand's dark tone, light tone and way of drawing.
TONES: dict[str, tuple[str, str, str]] = {
    f"{dark} and {light} {way}": (dark, light, way) for way in _WAYS for dark, light in _TONES
} | {name: (second, first, "inks") for name, (first, second) in _INKED.items()}
TONED: dict[str, Hand] = {
    f"{dark} and {light} {way}": _hand(cover, dark, light, phrases, titles)
    for way, (cover, phrases, titles) in _WAYS.items()
    for dark, light in _TONES
} | {name: _two_inks(first, second) for name, (first, second) in _INKED.items()}
