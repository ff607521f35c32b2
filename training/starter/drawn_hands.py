"""Hands that draw with lines, and hands that lay colour on wet or dry."""

import numpy as np

from training.starter.hand import Hand, enter
from training.starter.scenes import DrawingCanvas
from training.starter.strokes import (
    BLACK,
    WHITE,
    Cells,
    blur,
    bright,
    distance,
    edge_pixels,
    grid,
    lines,
    mix,
    noise,
    outline,
    saturated,
    scaled,
    stripes,
    warped,
    weighted,
)

DRAWN: dict[str, Hand] = {}


# --- plain drawing and lines -------------------------------------------------------------------------


@enter(
    DRAWN,
    "flat",
    ("in flat colours", "flat", "in plain flat shapes"),
    ("flat drawing of", "simple picture of"),
)
def _flat(canvas: DrawingCanvas, rng: np.random.Generator) -> np.ndarray:
    return canvas.colour


@enter(
    DRAWN,
    "outline",
    ("with thick black outlines", "in bold outlines"),
    ("bold outline drawing of", "cartoon of"),
)
def _outline(canvas: DrawingCanvas, rng: np.random.Generator) -> np.ndarray:
    return mix(canvas.colour, BLACK, weighted(canvas, 4.6, 2.6))


@enter(
    DRAWN, "ink", ("in ink", "ink drawing", "in ink and wash"), ("ink drawing of", "pen and ink sketch of")
)
def _ink(canvas: DrawingCanvas, rng: np.random.Generator) -> np.ndarray:
    wash = mix(WHITE, warped(canvas.colour, 2, 14, rng), 0.5)
    wobble = noise(canvas.size, 12, rng) * 1.2
    hatch = lines(canvas, 45, 7, 4.6 * (0.92 - canvas.tone), wobble)
    cross = lines(canvas, -45, 7, 4.6 * (0.5 - canvas.tone), wobble)
    ink = np.maximum(np.maximum(hatch, cross) * 0.8, weighted(canvas, 3, 1.8))
    return mix(wash, BLACK, ink)


@enter(DRAWN, "woodcut", ("as a woodcut", "woodcut print"), ("woodcut of", "old woodcut print of"))
def _woodcut(canvas: DrawingCanvas, rng: np.random.Generator) -> np.ndarray:
    ground = mix((0.95, 0.88, 0.72), canvas.colour, 0.72)
    cut = lines(canvas, 0, 7, 0.6 + 3.8 * (1.0 - canvas.tone), noise(canvas.size, 20, rng) * 2.5)
    return mix(ground, (0.13, 0.07, 0.04), np.maximum(cut, weighted(canvas, 3.6, 2.2)) * 0.9)


@enter(
    DRAWN,
    "contour",
    ("in white contour lines", "with pale contour lines"),
    ("white line drawing of", "contour drawing of"),
)
def _contour(canvas: DrawingCanvas, rng: np.random.Generator) -> np.ndarray:
    away = distance(edge_pixels(canvas.regions))
    rings = stripes(away, 9, 1.6) * 0.6 * (away > 3)
    return mix(canvas.colour * 0.62, WHITE, np.maximum(weighted(canvas, 3.2, 2.0) * 0.95, rings))


@enter(DRAWN, "neon", ("in neon light", "as a neon sign"), ("neon sign of", "glowing neon picture of"))
def _neon(canvas: DrawingCanvas, rng: np.random.Generator) -> np.ndarray:
    glowing = mix(bright(saturated(canvas.colour, 1.5)), WHITE, 0.08)
    line = outline(canvas, 3)
    halo = blur(line[..., None] * glowing, scaled(canvas, 4)) * 1.1
    return np.clip(canvas.colour * 0.24 + halo + line[..., None] * glowing, 0, 1)


@enter(DRAWN, "gold", ("in gold on black", "in black and gold"), ("gold drawing of", "gold leaf picture of"))
def _gold(canvas: DrawingCanvas, rng: np.random.Generator) -> np.ndarray:
    ground = canvas.colour * (0.36 + 0.3 * canvas.subject_mask)[..., None]
    shine = 0.8 + 0.25 * noise(canvas.size, 24, rng)
    gold = np.array((0.96, 0.76, 0.3), np.float32) * shine[..., None]
    rays = lines(canvas, 20, 11, 1.4) * (1 - canvas.subject_mask) * 0.45
    return mix(ground, gold, np.maximum(weighted(canvas, 3.8, 2.2), rays))


# --- wet and dry colour ------------------------------------------------------------------------------


@enter(
    DRAWN,
    "watercolour",
    ("in watercolour", "painted in watercolour"),
    ("watercolour of", "a watercolour painting of"),
)
def _watercolour(canvas: DrawingCanvas, rng: np.random.Generator) -> np.ndarray:
    wet = blur(warped(canvas.colour, 3.5, 11, rng), scaled(canvas, 1.4))
    strength = 0.62 + 0.24 * noise(canvas.size, 20, rng) + 0.1 * noise(canvas.size, 7, rng)
    rim = warped(outline(canvas, 2.6), 3, 11, rng) * 0.4
    return mix(mix((0.99, 0.98, 0.95), wet, np.clip(strength, 0.2, 0.95)), saturated(wet, 1.2) * 0.72, rim)


@enter(
    DRAWN,
    "oil",
    ("in oil", "as an oil painting", "in thick oil paint"),
    ("oil painting of", "thick oil painting of"),
)
def _oil(canvas: DrawingCanvas, rng: np.random.Generator) -> np.ndarray:
    angle = noise(canvas.size, 40, rng) * 1.6 + 0.4
    cells = Cells(canvas, 5.4, rng, 0.8, angle, 1.9)
    dab = mix(cells.sample(canvas.colour), canvas.colour, 0.25 + 0.25 * canvas.subject_mask)
    paint = saturated(dab, 1.15) * (0.95 + 0.14 * cells.random(rng)[..., None])
    ridge = np.clip(cells.across / 3.5, -1, 1) * -0.13
    return paint + ridge[..., None] + cells.random(rng, 3) * 0.04


@enter(DRAWN, "pastel", ("in soft pastel", "pastel drawing"), ("soft pastel drawing of", "pastel of"))
def _pastel(canvas: DrawingCanvas, rng: np.random.Generator) -> np.ndarray:
    soft = blur(warped(canvas.colour, 3, 4, rng), scaled(canvas, 1.8))
    grain = lines(canvas, 62, 8, 3.5 + 2.5 * noise(canvas.size, 5, rng), noise(canvas.size, 9, rng) * 2)
    return mix((1.0, 0.97, 0.95), soft, 0.56 + 0.24 * grain)


@enter(DRAWN, "chalk", ("in chalk on slate", "chalk drawing"), ("chalk drawing of", "blackboard drawing of"))
def _chalk(canvas: DrawingCanvas, rng: np.random.Generator) -> np.ndarray:
    chalk = mix(bright(canvas.colour), WHITE, 0.25)
    grain = np.clip(noise(canvas.size, 3, rng) * 0.6 + 0.85, 0, 1)
    rub = lines(canvas, -60, 9, 5, noise(canvas.size, 12, rng) * 3)
    fill = (0.2 + 0.4 * rub) * (0.3 + 0.4 * canvas.tone + 0.45 * canvas.subject_mask)
    cover = np.maximum(fill, warped(weighted(canvas, 4.2, 2.2), 1, 6, rng) * 0.95) * grain
    return mix((0.16, 0.2, 0.21), chalk, cover)


@enter(
    DRAWN, "marker", ("in felt marker", "coloured with markers"), ("marker drawing of", "felt pen drawing of")
)
def _marker(canvas: DrawingCanvas, rng: np.random.Generator) -> np.ndarray:
    y, x = grid(canvas.size)
    wide = ((x + 0.08 * y + noise(canvas.size, 30, rng) * 2) / 11) % 1
    overlap = np.clip(1 - np.abs(wide - 0.5) * 7, 0, 1)
    gap = np.clip(1 - np.minimum(wide, 1 - wide) * 9, 0, 1) * 0.75
    base = mix(WHITE, saturated(canvas.colour, 1.4), 0.8)
    base = base * (1 - 0.4 * overlap[..., None])
    return mix(mix(base, WHITE, gap), saturated(canvas.colour, 1.2) * 0.4, weighted(canvas, 2.8, 1.8))
