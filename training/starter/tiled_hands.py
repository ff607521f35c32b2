"""Hands that build the picture from dots, dabs, tiles, threads, facets and prints."""

import numpy as np

from training.starter.hand import Hand, enter
from training.starter.scenes import DrawingCanvas
from training.starter.strokes import (
    BLACK,
    WHITE,
    Cells,
    blocks,
    blur,
    dots,
    grid,
    mix,
    noise,
    outline,
    saturated,
    scaled,
    shifted,
    weighted,
)

TILED: dict[str, Hand] = {}


@enter(
    TILED,
    "halftone",
    ("in halftone dots", "as a halftone print"),
    ("halftone print of", "comic dots print of"),
)
def _halftone(canvas: DrawingCanvas, rng: np.random.Generator) -> np.ndarray:
    radius = 2.6 + 2.6 * (1 - canvas.tone)
    ink = saturated(canvas.colour, 1.5) * 0.9
    return mix(mix(WHITE, canvas.colour, 0.22), ink, dots(canvas, 30, 8, radius))


@enter(
    TILED,
    "pointillist",
    ("in coloured dots", "pointillist painting"),
    ("pointillist painting of", "picture in dabs of"),
)
def _pointillist(canvas: DrawingCanvas, rng: np.random.Generator) -> np.ndarray:
    cells = Cells(canvas, 5.6, rng, 0.7)
    paint = saturated(cells.sample(canvas.colour), 1.3)
    dab = np.clip(paint + (0.05 + 0.1 * paint) * cells.random(rng, 3), 0, 1)
    ground = mix((0.96, 0.93, 0.84), canvas.colour, 0.4)
    return mix(ground, dab, np.clip(3.4 - cells.near, 0, 1))


@enter(TILED, "mosaic", ("as a mosaic", "in mosaic tiles"), ("mosaic of", "tile mosaic of"))
def _mosaic(canvas: DrawingCanvas, rng: np.random.Generator) -> np.ndarray:
    cells = Cells(canvas, 7.6, rng, 0.3)
    stone = mix(cells.sample(canvas.colour), canvas.colour, 0.4)
    tile = saturated(stone, 1.1) + 0.11 * cells.random(rng)[..., None]
    return mix((0.86, 0.83, 0.78), tile, np.clip(cells.border * 1.1 - 0.9, 0, 1))


@enter(
    TILED,
    "stained glass",
    ("in stained glass", "as a stained glass window"),
    ("stained glass window of", "stained glass of"),
)
def _stained_glass(canvas: DrawingCanvas, rng: np.random.Generator) -> np.ndarray:
    cells = Cells(canvas, 18, rng, 0.9)
    glass = saturated(canvas.colour, 1.5) * (0.86 + 0.22 * cells.random(rng)[..., None])
    lead = np.maximum(
        np.clip(2.6 - cells.border, 0, 1) * (1 - 0.75 * canvas.subject_mask), weighted(canvas, 4, 2)
    )
    return mix(glass, (0.07, 0.06, 0.08), lead)


@enter(TILED, "pixel art", ("as pixel art", "in big pixels"), ("pixel art of", "old video game picture of"))
def _pixel_art(canvas: DrawingCanvas, rng: np.random.Generator) -> np.ndarray:
    coarse = blocks(canvas.colour, 24)
    y, x = grid(canvas.size)
    step = 128 / 24
    seam = np.maximum((x % step) > step - 1.4, (y % step) > step - 1.4)
    return np.round(coarse * 9) / 9 * (1 - 0.22 * seam[..., None])


@enter(TILED, "weave", ("woven in threads", "as a woven rug"), ("woven rug of", "tapestry of"))
def _weave(canvas: DrawingCanvas, rng: np.random.Generator) -> np.ndarray:
    y, x = grid(canvas.size)
    over = ((x // 8 + y // 8) % 2) > 0
    thread = np.where(over, np.sin(np.pi * (y % 8) / 8), np.sin(np.pi * (x % 8) / 8))
    tilt = np.where(over, 1.0, 0.74) * (0.5 + 0.58 * thread)
    return mix((0.75, 0.66, 0.5), canvas.colour, 0.82) * tilt[..., None]


@enter(
    TILED,
    "paper cut",
    ("cut from paper", "as a paper cut collage"),
    ("paper collage of", "cut paper picture of"),
)
def _paper_cut(canvas: DrawingCanvas, rng: np.random.Generator) -> np.ndarray:
    size = canvas.size
    reach = int(scaled(canvas, 4))
    layers = (canvas.regions >= 100).astype(np.float32)
    grown = np.clip(blur(layers, scaled(canvas, 2.2)) * 6, 0, 1)
    shade = np.clip(blur(shifted(grown, reach, reach), scaled(canvas, 2)) - grown, 0, 1) * 0.62
    fibre = 1 + 0.06 * noise(size, 4, rng)
    picture = mix(canvas.colour, mix(canvas.colour, WHITE, 0.25), 1 - canvas.subject_mask)
    lower = shifted(outline(canvas, 3), int(scaled(canvas, 2)), int(scaled(canvas, 1)))
    picture = picture * (1 - 0.42 * blur(lower, scaled(canvas, 1.2))[..., None])
    picture = mix(picture, WHITE, np.clip(grown - canvas.subject_mask, 0, 1))
    return picture * (1 - shade[..., None]) * fibre[..., None]


@enter(TILED, "pop art", ("as pop art", "in loud pop colours"), ("pop art of", "pop art print of"))
def _pop_art(canvas: DrawingCanvas, rng: np.random.Generator) -> np.ndarray:
    loud = saturated(canvas.colour, 1.55 + 0.5 * (1 - canvas.subject_mask[..., None]))
    dotted = dots(canvas, 45, 10, 3.0) * (1 - canvas.subject_mask)
    return mix(mix(loud, WHITE, dotted * 0.85), BLACK, weighted(canvas, 5, 1.6))


@enter(TILED, "relief", ("as a clay relief", "pressed in clay"), ("clay relief of", "relief of"))
def _relief(canvas: DrawingCanvas, rng: np.random.Generator) -> np.ndarray:
    height = blur(0.55 * canvas.tone + 0.45 * canvas.subject_mask, scaled(canvas, 1.6))
    reach = max(1, int(scaled(canvas, 2)))
    slope = shifted(height, -reach, -reach) - shifted(height, reach, reach)
    base = mix((0.66, 0.63, 0.6), blur(canvas.colour, scaled(canvas, 1)), 0.52)
    return base + np.clip(1.15 * slope, -0.45, 0.45)[..., None] + 0.04 * noise(canvas.size, 4, rng)[..., None]
