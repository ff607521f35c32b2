"""The hands: ways of drawing a scene, each a function from a flat canvas to a finished picture.

`HANDS` are the ones the starter model is trained on and examined in; it sees those in `TONED` as well, which are in no
exam. `HELD_OUT` are never shown to it, so that a style trained later on one of them is new to it.
"""

import zlib

import numpy as np

from training.starter.drawn_hands import DRAWN
from training.starter.hand import Hand, enter
from training.starter.scenes import NATIVE_SIZE_PX, DrawingCanvas, Scene, rasterise
from training.starter.strokes import (
    Cells,
    blur,
    distance,
    dots,
    edge_pixels,
    grid,
    lines,
    mix,
    noise,
    outline,
    scaled,
    shifted,
    stripes,
    tinted,
)
from training.starter.tiled_hands import TILED
from training.starter.toned_hands import TONED

LIT: dict[str, Hand] = {}
HELD_OUT: dict[str, Hand] = {}


# --- light and palette -------------------------------------------------------------------------------


@enter(
    LIT,
    "sepia",
    ("in sepia", "as an old sepia photograph"),
    ("sepia photograph of", "old brown photograph of"),
)
def _sepia(canvas: DrawingCanvas, rng: np.random.Generator) -> np.ndarray:
    y, x = grid(canvas.size)
    fall = 1.06 - 0.4 * np.clip(np.hypot(x - 64, y - 64) / 90, 0, 1) ** 2
    return tinted(canvas.colour, (0.2, 0.11, 0.04), (0.98, 0.86, 0.64), 0.5) * fall[..., None]


@enter(LIT, "moonlight", ("in moonlight", "in dim blue light"), ("moonlit picture of", "dim blue picture of"))
def _moonlight(canvas: DrawingCanvas, rng: np.random.Generator) -> np.ndarray:
    dim = tinted(canvas.colour, (0.01, 0.03, 0.16), (0.5, 0.68, 1.0), 0.58)
    return dim * (0.72 + 0.12 * noise(canvas.size, 50, rng))[..., None]


@enter(LIT, "fog", ("in thick fog", "in pale mist"), ("misty picture of", "foggy picture of"))
def _fog(canvas: DrawingCanvas, rng: np.random.Generator) -> np.ndarray:
    veil = 0.5 + 0.14 * noise(canvas.size, 36, rng) - 0.1 * canvas.subject_mask
    return mix(blur(canvas.colour, scaled(canvas, 1.5)), (0.82, 0.85, 0.86), np.clip(veil, 0.2, 0.75))


@enter(LIT, "red light", ("in red light", "lit in deep red"), ("red lit picture of", "darkroom picture of"))
def _red_light(canvas: DrawingCanvas, rng: np.random.Generator) -> np.ndarray:
    return tinted(canvas.colour, (0.2, 0.0, 0.03), (1.0, 0.52, 0.44), 0.5) * 0.95


@enter(
    LIT,
    "green light",
    ("in green light", "lit in eerie green"),
    ("green lit picture of", "eerie green picture of"),
)
def _green_light(canvas: DrawingCanvas, rng: np.random.Generator) -> np.ndarray:
    lit = tinted(canvas.colour, (0.0, 0.13, 0.06), (0.66, 1.0, 0.55), 0.58)
    return lit * (1 - 0.2 * lines(canvas, 90, 7, 2.4))[..., None]


@enter(
    LIT, "bleached", ("bleached by the sun", "in faded colours"), ("faded print of", "bleached picture of")
)
def _bleached(canvas: DrawingCanvas, rng: np.random.Generator) -> np.ndarray:
    y, x = grid(canvas.size)
    glare = np.clip(1 - np.hypot(x - 20, y - 10) / 150, 0, 1)
    return mix(canvas.colour * 0.9 + 0.1, (1.0, 0.95, 0.84), 0.38 + 0.3 * glare)


@enter(
    LIT, "golden hour", ("in golden light", "in warm evening light"), ("golden picture of", "warm picture of")
)
def _golden_hour(canvas: DrawingCanvas, rng: np.random.Generator) -> np.ndarray:
    y, x = grid(canvas.size)
    glow = np.clip((x - y + 128) / 256, 0, 1)[..., None]
    warm = canvas.colour * np.array((1.08, 0.88, 0.58), np.float32) + np.array((0.1, 0.04, 0.0), np.float32)
    return mix(warm * (0.78 + 0.25 * glow), (1.0, 0.8, 0.4), 0.32 * glow[..., 0])


@enter(LIT, "frost", ("in frosty light", "under icy frost"), ("frosty picture of", "icy picture of"))
def _frost(canvas: DrawingCanvas, rng: np.random.Generator) -> np.ndarray:
    cold = canvas.colour * np.array((0.76, 0.86, 0.98), np.float32) + np.array((0.08, 0.12, 0.16), np.float32)
    y, x = grid(canvas.size)
    inward = np.minimum(np.minimum(x, 127 - x), np.minimum(y, 127 - y)) / 40
    ice = np.abs(noise(canvas.size, 8, rng)) + 0.5 * np.abs(noise(canvas.size, 4, rng))
    return mix(cold, (0.93, 0.98, 1.0), np.clip(0.28 + ice - inward - 0.3 * canvas.subject_mask, 0.14, 0.85))


@enter(
    LIT,
    "violet tone",
    ("with violet shadows", "in violet and lemon tones"),
    ("violet toned print of", "split toned print of"),
)
def _split_tone(canvas: DrawingCanvas, rng: np.random.Generator) -> np.ndarray:
    return tinted(canvas.colour, (0.26, 0.05, 0.42), (1.0, 0.98, 0.62), 0.48)


HANDS: dict[str, Hand] = {**DRAWN, **TILED, **LIT}
TAUGHT: dict[str, Hand] = {**HANDS, **TONED}


# --- held out: never drawn for the starter model's training ----------------------------------------------


@enter(HELD_OUT, "cyanotype")
def _cyanotype(canvas: DrawingCanvas, rng: np.random.Generator) -> np.ndarray:
    tone = np.clip(canvas.tone * 0.9 + 0.03 * noise(canvas.size, 5, rng), 0, 1)
    body = mix((0.02, 0.12, 0.36), (0.3, 0.5, 0.76), tone * (0.35 + 0.65 * canvas.subject_mask))
    squares = np.maximum(lines(canvas, 0, 16, 1.2), lines(canvas, 90, 16, 1.2)) * 0.28
    body = mix(body, (0.62, 0.8, 0.95), squares * (1 - 0.6 * canvas.subject_mask))
    marks = np.maximum(outline(canvas, 2.6, "subject"), 0.55 * outline(canvas, 1.8))
    return mix(body, (0.9, 0.96, 1.0), marks * 0.95)


@enter(HELD_OUT, "ochre dabs")
def _ochre_dabs(canvas: DrawingCanvas, rng: np.random.Generator) -> np.ndarray:
    field = blur(0.6 * canvas.tone + 0.4 * canvas.subject_mask, scaled(canvas, 5))
    down, right = np.gradient(field)
    angle = np.arctan2(right, -down) + 0.35 * noise(canvas.size, 20, rng)
    cells = Cells(canvas, 5.0, rng, 0.85, angle, 2.0)
    tone = 0.6 * cells.sample(canvas.tone) + 0.4 * canvas.tone
    inside = 0.5 * cells.sample(canvas.subject_mask) + 0.5 * canvas.subject_mask
    contrast = (0.6 + tone * 0.4) * (1 - inside) + tone * 0.6 * inside - 0.3 * outline(canvas, 2.4, "rim")
    stops = np.array(
        [(0.17, 0.08, 0.03), (0.48, 0.2, 0.07), (0.8, 0.5, 0.14), (0.99, 0.92, 0.72)], np.float32
    )
    level = np.clip(contrast + 0.1 * cells.random(rng), 0, 1) * 3
    paint = np.stack([np.interp(level, np.arange(4), stops[:, i]) for i in range(3)], axis=-1).astype(
        np.float32
    )
    return paint - (np.clip(np.abs(cells.across) / 2.6, 0, 1) ** 2 * 0.16)[..., None]


@enter(HELD_OUT, "risograph")
def _risograph(canvas: DrawingCanvas, rng: np.random.Generator) -> np.ndarray:
    paper = np.array((0.97, 0.94, 0.85), np.float32)
    coral, teal = np.array((1.0, 0.42, 0.36), np.float32), np.array((0.05, 0.53, 0.55), np.float32)
    off = int(scaled(canvas, 3))
    mask, tone = shifted(canvas.subject_mask, off, -off), shifted(canvas.tone, off, -off)
    grain = 0.75 + 0.35 * noise(canvas.size, 3, rng)
    warm = np.maximum(mask * 0.88, dots(canvas, 15, 8, 1.0 + 3.2 * (1 - tone)) * 0.45 * (1 - mask)) * grain
    shade = (1 - canvas.tone) * (0.45 + 0.55 * (1 - canvas.subject_mask))
    cool = np.maximum(dots(canvas, 60, 8, 5.4 * shade), outline(canvas, 2.6, "subject")) * grain
    printed = mix(paper, coral * paper, np.clip(warm, 0, 1))
    return mix(printed, printed * teal, np.clip(cool, 0, 1))


@enter(HELD_OUT, "linocut")
def _linocut(canvas: DrawingCanvas, rng: np.random.Generator) -> np.ndarray:
    away = distance(edge_pixels(canvas.regions >= 100)) + noise(canvas.size, 10, rng) * 0.9
    carved = stripes(away + 3.5, 7, 4.65 * canvas.tone - 0.4)
    carved = carved * np.clip(1.2 + 0.5 * noise(canvas.size, 6, rng), 0, 1)
    scraped = stripes(away + 3.5, 7, 7 * canvas.tone - 3.4)
    carved = np.where(canvas.subject_mask > 0.5, np.maximum(scraped, canvas.tone > 0.8), carved)
    edge = np.maximum(outline(canvas, 3.4, "rim"), outline(canvas, 2.8, "subject"))
    return mix(mix((0.05, 0.22, 0.13), (0.95, 0.92, 0.79), carved), (0.95, 0.92, 0.79), edge)


def draw(scene: Scene, hand_name: str, seed: int, size_px: int = NATIVE_SIZE_PX) -> np.ndarray:
    """The scene drawn by a hand: uint8 (H, W, 3); the same arguments give the same picture."""
    hand = TAUGHT.get(hand_name) or HELD_OUT[hand_name]
    rng = np.random.default_rng([seed, zlib.crc32(hand_name.encode())])
    picture = hand.paint(rasterise(scene, size_px), rng)
    return (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)
