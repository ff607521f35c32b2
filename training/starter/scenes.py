"""Scenes of one or two coloured subjects before a background, and their flat drawing."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from training.starter.subjects import SHAPES

# The side of the drawings, and of the pictures that the starter learns to paint.
NATIVE_SIZE_PX = 128

SUBJECTS: tuple[str, ...] = tuple(SHAPES)

COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.86, 0.13, 0.14),
    "orange": (0.98, 0.52, 0.06),
    "yellow": (0.99, 0.87, 0.14),
    "green": (0.16, 0.58, 0.20),
    "teal": (0.05, 0.68, 0.66),
    "blue": (0.14, 0.30, 0.85),
    "purple": (0.52, 0.18, 0.70),
    "pink": (0.99, 0.54, 0.76),
    "brown": (0.46, 0.26, 0.12),
    "black": (0.15, 0.15, 0.17),
}

BACKGROUNDS: tuple[str, ...] = ("paper", "meadow", "sea", "desert", "night", "sunset", "snow", "room")

_NEUTRAL = {
    "k": (0.13, 0.12, 0.14),
    "w": (0.97, 0.96, 0.93),
    "b": (0.36, 0.26, 0.20),
    "g": (0.32, 0.44, 0.26),
    "y": (0.93, 0.86, 0.66),
}
_TONES = "mdlkwbgy"
_SUBJECT_IDS = 100  # region ids of the subjects start here; those of the background lie below
_SUPERSAMPLE = 2
_MARGIN = 0.02  # of the picture height, between a subject and the picture's edge


@dataclass(frozen=True)
class Placed:
    """One subject: centre (x, y) and size as shares of the picture's height, mirrored if flip."""

    subject: str
    colour: str
    x: float
    y: float
    size: float
    flip: bool = False


@dataclass(frozen=True)
class Scene:
    """Subjects from left to right before a background; the seed fixes colour jitter and small variety."""

    subjects: tuple[Placed, ...]
    background: str
    seed: int = 0

    @property
    def told(self) -> tuple[tuple[str, str], ...]:
        """The subjects' names and colours."""
        return tuple((placed.subject, placed.colour) for placed in self.subjects)


@dataclass(frozen=True)
class DrawingCanvas:
    """A scene drawn flat, as arrays of (H, W): clean colours, region ids, subject coverage and luminance."""

    colour: np.ndarray  # (H, W, 3) float32, 0..1
    regions: np.ndarray  # (H, W) int, the same number within one flat area
    subject_mask: np.ndarray  # (H, W) float32, 0..1
    tone: np.ndarray  # (H, W) float32, 0 dark to 1 light

    @property
    def size(self) -> int:
        """Height and width in pixels."""
        return self.tone.shape[0]


def sample_scene(
    rng: np.random.Generator,
    subject: str | None = None,
    colour: str | None = None,
    background: str | None = None,
    pair_share: float = 0.2,
) -> Scene:
    """A random scene with what is named (for the first subject); `pair_share` of them hold two subjects."""
    seed = int(rng.integers(2**31))
    background = background or str(rng.choice(BACKGROUNDS))
    first = subject or str(rng.choice(SUBJECTS))
    tint = colour or str(rng.choice(list(COLOURS)))
    if rng.random() >= pair_share:
        size = float(rng.uniform(0.45, 0.8))
        slack = (1 - size) / 2 - _MARGIN
        x, y = 0.5 + rng.uniform(-slack, slack), 0.5 + rng.uniform(-slack, slack)
        placed = Placed(first, tint, float(x), float(y), size, bool(rng.random() < 0.5))
        return Scene((placed,), background, seed)
    second = str(rng.choice([name for name in SUBJECTS if name != first]))
    other = str(rng.choice([name for name in COLOURS if name != tint]))
    pair = []
    for index, (name, shade) in enumerate(((first, tint), (second, other))):
        size = float(rng.uniform(0.32, 0.45))
        middle, slack = 0.26 + 0.48 * index, max(0.0, (0.48 - size) / 2)
        x, y = middle + rng.uniform(-slack, slack), 0.5 + rng.uniform(-1, 1) * ((1 - size) / 2 - 2 * _MARGIN)
        pair.append(Placed(name, shade, float(x), float(y), size, bool(rng.random() < 0.5)))
    return Scene(tuple(pair), background, seed)


def rasterise(scene: Scene, size_px: int = NATIVE_SIZE_PX) -> DrawingCanvas:
    """The scene in flat colours on a square of size_px pixels; the same scene gives the same arrays."""
    pen = _Pen(size_px, np.random.default_rng(scene.seed))
    _PAINTERS[scene.background](pen)
    for index, placed in enumerate(scene.subjects):
        _draw_subject(pen, placed, _SUBJECT_IDS + index * len(_TONES))
    colour = np.asarray(pen.picture.reduce(_SUPERSAMPLE), np.float32) / 255
    fine = np.asarray(pen.regions)
    regions = fine[::_SUPERSAMPLE, ::_SUPERSAMPLE].astype(np.int32)
    covered = Image.fromarray(((fine >= _SUBJECT_IDS) * 255).astype(np.uint8))
    mask = np.asarray(covered.reduce(_SUPERSAMPLE), np.float32) / 255
    tone = colour @ np.array([0.30, 0.59, 0.11], np.float32)
    return DrawingCanvas(colour, regions, mask, tone)


class _Pen:
    """Draws filled polygons at once into a colour picture and a map of region ids."""

    def __init__(self, size_px: int, rng: np.random.Generator) -> None:
        self.rng = rng
        self.side = size_px * _SUPERSAMPLE
        self.picture = Image.new("RGB", (self.side, self.side))
        self.regions = Image.new("L", (self.side, self.side))
        self._colour, self._ids = ImageDraw.Draw(self.picture), ImageDraw.Draw(self.regions)

    def polygon(self, points: np.ndarray, colour: Iterable[float], region: int | None) -> None:
        """Fill a polygon (n, 2) in unit coordinates; without a region the map stays as it is."""
        flat = (points * self.side).ravel().tolist()
        self._colour.polygon(flat, fill=tuple(int(255 * channel + 0.5) for channel in colour))
        if region is not None:
            self._ids.polygon(flat, fill=region)

    def box(self, left: float, top: float, right: float, bottom: float, colour: tuple, region: int) -> None:
        """Fill an upright rectangle in unit coordinates."""
        corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
        self.polygon(np.array(corners), colour, region)

    def disc(self, x: float, y: float, radius: float, colour: tuple, region: int) -> None:
        """Fill a circle in unit coordinates."""
        angle = np.linspace(0, 2 * np.pi, 24)
        points = np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], axis=1)
        self.polygon(points, colour, region)

    def ground(self, top: float, swell: float, length: float, colour: tuple, region: int) -> None:
        """Fill everything below a wavy line; its height, swell and wave length are shares of the height."""
        x = np.linspace(-0.01, 1.01, 40)
        y = top + swell * np.sin(2 * np.pi * (x / length + self.rng.random()))
        ends = [(1.01, 1.01), (-0.01, 1.01)]
        self.polygon(np.concatenate([np.stack([x, y], axis=1), ends]), colour, region)


def _draw_subject(pen: _Pen, placed: Placed, first_id: int) -> None:
    main = np.clip(np.array(COLOURS[placed.colour]) + pen.rng.uniform(-0.035, 0.035, 3), 0, 1)
    tones = {tone: np.array(neutral) for tone, neutral in _NEUTRAL.items()}
    tones.update(m=main, d=main * 0.64, l=main + (1 - main) * 0.48)
    if placed.colour == "black":
        tones["d"], tones["l"], tones["k"] = main * 0.4, main + 0.28, main + 0.1
    scale = np.array([-1 if placed.flip else 1, 1]) * placed.size / 2
    outlines = [(tone, points * scale + (placed.x, placed.y)) for tone, points in SHAPES[placed.subject]]
    rim = _rim(pen, placed, main)
    if rim is not None:
        for _, points in outlines:
            middle = (points.min(axis=0) + points.max(axis=0)) / 2
            half = np.maximum((points.max(axis=0) - points.min(axis=0)) / 2, 0.01)
            pen.polygon(middle + (points - middle) * (1 + 0.02 / half), rim, None)
    for tone, points in outlines:
        pen.polygon(points, tones[tone], first_id + _TONES.index(tone))


def _rim(pen: _Pen, placed: Placed, main: np.ndarray) -> tuple[float, ...] | None:
    """A lighter rim's colour where the subject would hardly stand out from what lies behind it."""
    half = placed.size / 2
    low = [int(np.clip(v, 0, 1) * pen.side) for v in (placed.x - half, placed.y - half)]
    high = [int(np.clip(v, 0, 1) * pen.side) for v in (placed.x + half, placed.y + half)]
    behind = np.asarray(pen.picture)[low[1] : high[1] : 4, low[0] : high[0] : 4].reshape(-1, 3) / 255
    near = np.abs(behind - main).sum(axis=1) < 0.62
    if near.mean() < 0.2:
        return None
    return tuple(main * 0.25 + 0.75) if main.mean() < 0.66 else tuple(main * 0.5)


def _paper(pen: _Pen) -> None:
    pen.box(0, 0, 1, 1, (0.96, 0.94, 0.88), 1)


def _meadow(pen: _Pen) -> None:
    pen.box(0, 0, 1, 1, (0.76, 0.91, 0.99), 1)
    horizon = pen.rng.uniform(0.4, 0.52)
    pen.ground(horizon, 0.04, 0.9, (0.66, 0.86, 0.44), 2)
    pen.ground(horizon + 0.22, 0.03, 0.7, (0.46, 0.74, 0.30), 3)
    for _ in range(9):
        x, y = pen.rng.random(), pen.rng.uniform(horizon + 0.3, 0.99)
        tuft = [(-0.03, 0), (-0.035, -0.07), (0, -0.02), (0.035, -0.07), (0.03, 0)]
        pen.polygon(np.add(tuft, (x, y)), (0.28, 0.56, 0.2), 4)


def _sea(pen: _Pen) -> None:
    pen.box(0, 0, 1, 1, (0.84, 0.95, 0.98), 1)
    top = pen.rng.uniform(0.16, 0.26)
    blues = [(0.46, 0.76, 0.93), (0.28, 0.60, 0.86), (0.18, 0.48, 0.78), (0.12, 0.37, 0.68)]
    for index, blue in enumerate(blues):
        x = np.linspace(-0.01, 1.01, 60)
        y = top + 0.2 * index + 0.05 * np.abs(np.sin(np.pi * (x * 4 + pen.rng.random())))
        pen.polygon(
            np.concatenate([np.stack([x, y], axis=1), [(1.01, 1.01), (-0.01, 1.01)]]), blue, 2 + index
        )


def _desert(pen: _Pen) -> None:
    pen.box(0, 0, 1, 1, (1.0, 0.95, 0.80), 1)
    horizon = pen.rng.uniform(0.36, 0.46)
    sands = [(0.97, 0.84, 0.52), (0.91, 0.73, 0.40), (0.98, 0.87, 0.58)]
    for index, sand in enumerate(sands):
        pen.ground(horizon + 0.2 * index, 0.07, 1.1, sand, 2 + index)


def _night(pen: _Pen) -> None:
    pen.box(0, 0, 1, 1, (0.12, 0.15, 0.42), 1)
    for column in range(4):
        for row in range(3):
            x, y = (column + pen.rng.uniform(0.15, 0.85)) / 4, (row + pen.rng.uniform(0.15, 0.85)) / 4
            pen.disc(x, y, pen.rng.uniform(0.014, 0.024), (0.98, 0.96, 0.78), 2)
    pen.ground(0.84, 0.04, 0.8, (0.07, 0.08, 0.22), 3)


def _sunset(pen: _Pen) -> None:
    bands = [
        (0.99, 0.78, 0.36),
        (0.99, 0.62, 0.30),
        (0.96, 0.44, 0.36),
        (0.86, 0.30, 0.46),
        (0.66, 0.22, 0.50),
    ]
    shift = pen.rng.uniform(-0.04, 0.04)
    for index, band in enumerate(bands):
        pen.box(0, 0 if index == 0 else 0.19 * index + shift, 1, 1.01, band, 1 + index)
    pen.disc(pen.rng.uniform(0.2, 0.8), 0.76 + shift, 0.2, (1.0, 0.90, 0.52), 7)
    pen.box(0, 0.8 + shift, 1, 1.01, (0.40, 0.14, 0.40), 8)


def _snow(pen: _Pen) -> None:
    pen.box(0, 0, 1, 1, (0.56, 0.60, 0.66), 1)
    horizon = pen.rng.uniform(0.46, 0.56)
    for column in range(5):
        for row in range(2):
            x, y = (column + pen.rng.uniform(0.1, 0.9)) / 5, horizon * (row + pen.rng.uniform(0.1, 0.8)) / 2
            pen.disc(x, y, 0.022, (0.97, 0.98, 1.0), 2)
    pen.ground(horizon, 0.08, 0.8, (0.80, 0.84, 0.89), 3)
    pen.ground(horizon + 0.22, 0.05, 1.0, (0.95, 0.97, 0.99), 4)


def _room(pen: _Pen) -> None:
    pen.box(0, 0, 1, 1, (0.96, 0.76, 0.78), 1)
    shift = pen.rng.uniform(0, 0.2)
    for index in range(-1, 5):
        pen.box(shift + 0.2 * index, 0, shift + 0.2 * index + 0.1, 1, (0.91, 0.64, 0.68), 2)
    floor = pen.rng.uniform(0.68, 0.78)
    pen.box(0, floor, 1, 1.01, (0.60, 0.42, 0.28), 3)
    pen.box(0, floor - 0.04, 1, floor, (0.99, 0.93, 0.88), 4)


_PAINTERS = {
    "paper": _paper,
    "meadow": _meadow,
    "sea": _sea,
    "desert": _desert,
    "night": _night,
    "sunset": _sunset,
    "snow": _snow,
    "room": _room,
}
