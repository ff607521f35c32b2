"""The shapes of the subjects, as filled polygons in a box from -1 to 1 (x to the right, y down)."""

from collections.abc import Iterable, Sequence

import numpy as np

# A shape is a tone letter and its outline, (n, 2).  Tones: m main, d darker and l lighter colour of
# the subject; k dark, w white, b bark brown, g dull green, y straw are neutral details.
Shape = tuple[str, np.ndarray]


def poly(tone: str, *points: Sequence[float]) -> Shape:
    """A polygon through the points given."""
    return tone, np.array(points, np.float32)


def soft(tone: str, *points: Sequence[float]) -> Shape:
    """A closed rounded outline: the polygon with its corners cut three times."""
    outline = np.array(points, np.float32)
    for _ in range(3):
        following = np.roll(outline, -1, axis=0)
        cuts = np.stack([0.75 * outline + 0.25 * following, 0.25 * outline + 0.75 * following], axis=1)
        outline = cuts.reshape(-1, 2)
    return tone, outline


def box(tone: str, left: float, top: float, right: float, bottom: float) -> Shape:
    """An upright rectangle."""
    return poly(tone, (left, top), (right, top), (right, bottom), (left, bottom))


def arc(x: float, y: float, rx: float, ry: float, start: float, end: float) -> np.ndarray:
    """Points (24, 2) along an elliptic arc; angles in degrees, clockwise from the right."""
    angle = np.radians(np.linspace(start, end, 24))
    return np.stack([x + rx * np.cos(angle), y + ry * np.sin(angle)], axis=1).astype(np.float32)


def oval(tone: str, x: float, y: float, rx: float, ry: float, turn: float = 0.0) -> Shape:
    """An ellipse about (x, y), turned clockwise by degrees."""
    c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    points = arc(0, 0, rx, ry, 0, 345) @ np.array([[c, s], [-s, c]], np.float32)
    return tone, points + np.array([x, y], np.float32)


def ring(
    tone: str, x: float, y: float, radius: float, width: float, start: float = 0, end: float = 360
) -> Shape:
    """A round band (open below 360 degrees) whose outer edge has the radius given."""
    inner = arc(x, y, radius - width, radius - width, end, start)
    return tone, np.concatenate([arc(x, y, radius, radius, start, end), inner])


def bar(tone: str, x0: float, y0: float, x1: float, y1: float, width: float) -> Shape:
    """A thick straight line."""
    along = np.array([x1 - x0, y1 - y0], np.float32)
    side = np.array([-along[1], along[0]], np.float32) / np.hypot(*along) * width / 2
    start, end = np.array([x0, y0], np.float32), np.array([x1, y1], np.float32)
    return tone, np.stack([start + side, end + side, end - side, start - side])


def _fitted(shapes: Iterable[Shape]) -> list[Shape]:
    """The shapes moved and scaled so that together they just fill the box in height or width."""
    shapes = list(shapes)
    corners = np.concatenate([points for _, points in shapes])
    low, high = corners.min(axis=0), corners.max(axis=0)
    return [(tone, (points - (low + high) / 2) * 2 / (high - low).max()) for tone, points in shapes]


def _turned(shapes: Iterable[Shape], degrees: float) -> list[Shape]:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return [(tone, points @ np.array([[c, s], [-s, c]], np.float32)) for tone, points in shapes]


def _star() -> list[Shape]:
    angle = np.radians(np.arange(10) * 36 - 90)
    radius = np.where(np.arange(10) % 2 == 0, 1.0, 0.46)
    tips = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    tips[:, 1] += 0.08
    facets = [poly("d", (0, 0.08), tips[i], tips[(i + 1) % 10]) for i in range(0, 10, 2)]
    return [poly("m", *tips), *facets]


def _flower() -> list[Shape]:
    petals = []
    for i in range(6):
        x, y = np.cos(np.radians(60 * i - 90)), np.sin(np.radians(60 * i - 90))
        petals.append(oval("m", 0.4 * x, -0.38 + 0.4 * y, 0.27, 0.21, 60 * i - 90))
    leaves = [oval("g", -0.3, 0.62, 0.32, 0.14, 30), oval("g", 0.3, 0.72, 0.32, 0.14, -30)]
    return [bar("g", 0, 0, 0, 1, 0.14), *leaves, *petals, oval("y", 0, -0.38, 0.24, 0.24)]


def _butterfly() -> list[Shape]:
    shapes = []
    for side in (-1, 1):
        shapes.append(
            soft("m", (side * 0.02, -0.05), (side * 0.55, -1.0), (side * 1.15, -0.85), (side * 0.95, 0.1))
        )
        shapes.append(
            soft("d", (side * 0.02, 0.0), (side * 0.8, 0.0), (side * 0.95, 0.75), (side * 0.3, 1.0))
        )
        shapes.append(oval("l", side * 0.66, -0.47, 0.17, 0.17))
        shapes.append(oval("l", side * 0.5, 0.42, 0.13, 0.13))
        shapes.append(bar("k", side * 0.03, -0.5, side * 0.24, -0.92, 0.08))
    return [*shapes, oval("k", 0, 0.05, 0.1, 0.6)]


def _umbrella() -> list[Shape]:
    scallops = [arc(x, 0.05, 0.2, -0.14, 0, -180) for x in (0.8, 0.4, 0, -0.4, -0.8)]
    dome = np.concatenate([arc(0, 0.05, 1, 0.95, 180, 360), *scallops])
    middle = np.concatenate([arc(0, 0.05, 0.2, 0.95, 180, 360), arc(0, 0.05, 0.2, 0.14, 0, -180)])
    sides = np.concatenate([arc(0, 0.05, 0.6, 0.95, 180, 360), arc(0, 0.05, 0.6, 0.1, 0, -180)])
    return [
        bar("k", 0, -0.98, 0, 0.75, 0.1),
        ring("k", 0.17, 0.73, 0.22, 0.1, 0, 180),
        ("m", dome),
        ("d", sides),
        ("m", middle),
    ]


def _shapes() -> dict[str, list[Shape]]:
    return {
        "house": [
            box("d", 0.38, -0.85, 0.62, -0.2),
            box("m", -0.72, -0.1, 0.72, 0.9),
            poly("d", (-0.98, -0.05), (0, -0.95), (0.98, -0.05)),
            box("k", -0.16, 0.35, 0.18, 0.9),
            box("w", -0.56, 0.15, -0.28, 0.45),
            box("w", 0.32, 0.15, 0.6, 0.45),
        ],
        "tree": [
            box("b", -0.14, 0.6, 0.14, 1.0),
            poly("m", (0, -0.2), (0.8, 0.68), (-0.8, 0.68)),
            poly("d", (0, 0.1), (0.55, 0.3), (0.42, 0.36), (-0.42, 0.36), (-0.55, 0.3)),
            poly("m", (0, -0.6), (0.64, 0.22), (-0.64, 0.22)),
            poly("d", (0, -0.3), (0.4, -0.2), (0.3, -0.12), (-0.3, -0.12), (-0.4, -0.2)),
            poly("m", (0, -1.0), (0.48, -0.24), (-0.48, -0.24)),
        ],
        "cactus": [
            soft("m", (-0.3, 0.8), (-0.3, -1.1), (0.3, -1.1), (0.3, 0.8)),
            soft("m", (-0.95, -0.5), (-0.6, -0.5), (-0.58, 0.02), (-0.1, 0.02), (-0.1, 0.34), (-0.95, 0.36)),
            soft("m", (0.95, -0.75), (0.6, -0.75), (0.58, -0.2), (0.1, -0.2), (0.1, 0.12), (0.95, 0.14)),
            bar("d", -0.08, -0.75, -0.08, 0.5, 0.08),
            bar("d", 0.1, -0.75, 0.1, 0.5, 0.08),
            poly("b", (-0.5, 0.5), (0.5, 0.5), (0.38, 0.98), (-0.38, 0.98)),
        ],
        "boat": [
            bar("k", 0, -0.95, 0, 0.4, 0.09),
            poly("m", (0.08, -0.9), (0.85, 0.3), (0.08, 0.3)),
            poly("l", (-0.08, -0.7), (-0.08, 0.3), (-0.65, 0.3)),
            poly("m", (-0.98, 0.42), (0.98, 0.42), (0.62, 0.95), (-0.62, 0.95)),
            poly("d", (-0.98, 0.42), (0.98, 0.42), (0.89, 0.56), (-0.89, 0.56)),
        ],
        "car": [
            soft("m", (-0.72, 0.2), (-0.48, -0.6), (0.4, -0.6), (0.72, 0.2)),
            soft("m", (-1.12, 0.5), (-1.08, -0.1), (1.0, -0.12), (1.12, 0.5)),
            poly("w", (-0.48, 0.0), (-0.34, -0.36), (-0.06, -0.36), (-0.06, 0.0)),
            poly("w", (0.06, 0.0), (0.06, -0.36), (0.3, -0.36), (0.46, 0.0)),
            box("d", -0.98, 0.26, 0.98, 0.38),
            oval("k", -0.55, 0.46, 0.27, 0.27),
            oval("k", 0.55, 0.46, 0.27, 0.27),
            oval("w", -0.55, 0.46, 0.11, 0.11),
            oval("w", 0.55, 0.46, 0.11, 0.11),
        ],
        "rocket": [
            poly("y", (-0.22, 0.6), (0.22, 0.6), (0, 1.0)),
            poly("d", (-0.3, 0.1), (-0.75, 0.55), (-0.7, 0.85), (-0.25, 0.6)),
            poly("d", (0.3, 0.1), (0.75, 0.55), (0.7, 0.85), (0.25, 0.6)),
            soft(
                "m",
                (0, -1.1),
                (0.32, -0.65),
                (0.44, 0.0),
                (0.32, 0.72),
                (-0.32, 0.72),
                (-0.44, 0.0),
                (-0.32, -0.65),
            ),
            soft("d", (0, -1.04), (0.3, -0.6), (0.28, -0.48), (-0.28, -0.48), (-0.3, -0.6)),
            oval("w", 0, -0.14, 0.19, 0.19),
            oval("k", 0, -0.14, 0.1, 0.1),
        ],
        "balloon": [
            bar("k", -0.4, 0.2, -0.2, 0.75, 0.06),
            bar("k", 0.4, 0.2, 0.2, 0.75, 0.06),
            soft(
                "m",
                (-0.3, 0.5),
                (-0.95, -0.1),
                (-0.75, -0.95),
                (0, -1.1),
                (0.75, -0.95),
                (0.95, -0.1),
                (0.3, 0.5),
            ),
            oval("d", 0, -0.28, 0.46, 0.7),
            oval("m", 0, -0.28, 0.2, 0.7),
            box("b", -0.27, 0.66, 0.27, 0.98),
        ],
        "fish": [
            poly("d", (0.45, 0), (0.98, -0.52), (0.85, 0), (0.98, 0.52)),
            soft("d", (-0.3, -0.4), (0.0, -0.85), (0.4, -0.7), (0.4, -0.2)),
            soft("d", (-0.2, 0.3), (0.0, 0.8), (0.3, 0.7), (0.3, 0.2)),
            soft(
                "m",
                (-1.15, 0.08),
                (-0.6, -0.56),
                (0.2, -0.56),
                (0.72, -0.1),
                (0.72, 0.1),
                (0.2, 0.56),
                (-0.6, 0.56),
            ),
            poly("l", (-0.22, -0.42), (-0.06, -0.46), (0.04, 0), (-0.06, 0.46), (-0.22, 0.42), (-0.12, 0)),
            poly("l", (0.18, -0.4), (0.32, -0.34), (0.38, 0), (0.32, 0.34), (0.18, 0.4), (0.25, 0)),
            oval("w", -0.58, -0.12, 0.14, 0.14),
            oval("k", -0.6, -0.12, 0.08, 0.08),
        ],
        "bird": [
            bar("k", -0.1, 0.5, -0.1, 0.95, 0.09),
            bar("k", 0.15, 0.5, 0.15, 0.95, 0.09),
            poly("d", (0.3, 0.05), (1.0, -0.3), (1.0, 0.1), (0.4, 0.45)),
            poly("k", (-0.8, -0.55), (-1.0, -0.36), (-0.72, -0.28)),
            soft(
                "m",
                (-0.95, -0.75),
                (-0.4, -0.95),
                (-0.1, -0.3),
                (0.75, -0.1),
                (0.55, 0.75),
                (-0.55, 0.75),
                (-0.8, -0.1),
            ),
            soft("d", (-0.3, -0.1), (0.55, -0.15), (0.75, 0.3), (0.1, 0.5), (-0.25, 0.3)),
            oval("w", -0.55, -0.52, 0.11, 0.11),
            oval("k", -0.57, -0.52, 0.065, 0.065),
        ],
        "cat": [
            soft(
                "d",
                (0.3, 0.95),
                (0.75, 0.95),
                (0.98, 0.5),
                (0.85, -0.05),
                (0.72, 0.0),
                (0.72, 0.5),
                (0.5, 0.68),
            ),
            soft("m", (-0.25, -0.3), (0.25, -0.3), (0.68, 0.75), (0.45, 1.08), (-0.45, 1.08), (-0.68, 0.75)),
            poly("m", (-0.56, -0.35), (-0.54, -1.0), (-0.08, -0.72)),
            poly("m", (0.56, -0.35), (0.54, -1.0), (0.08, -0.72)),
            poly("l", (-0.46, -0.55), (-0.45, -0.82), (-0.25, -0.68)),
            poly("l", (0.46, -0.55), (0.45, -0.82), (0.25, -0.68)),
            oval("m", 0, -0.38, 0.57, 0.42),
            oval("l", 0, 0.52, 0.24, 0.36),
            oval("w", -0.24, -0.42, 0.13, 0.12),
            oval("w", 0.24, -0.42, 0.13, 0.12),
            oval("k", -0.24, -0.42, 0.07, 0.11),
            oval("k", 0.24, -0.42, 0.07, 0.11),
            oval("k", 0, -0.2, 0.09, 0.06),
        ],
        "rabbit": [
            oval("m", -0.26, -0.62, 0.16, 0.42, -8),
            oval("m", 0.26, -0.62, 0.16, 0.42, 8),
            oval("l", -0.26, -0.6, 0.07, 0.3, -8),
            oval("l", 0.26, -0.6, 0.07, 0.3, 8),
            oval("m", 0, 0.55, 0.5, 0.44),
            oval("d", -0.34, 0.9, 0.26, 0.12),
            oval("d", 0.34, 0.9, 0.26, 0.12),
            oval("l", 0, 0.62, 0.26, 0.28),
            oval("m", 0, -0.08, 0.44, 0.36),
            oval("k", -0.18, -0.14, 0.08, 0.1),
            oval("k", 0.18, -0.14, 0.08, 0.1),
            oval("w", 0, 0.06, 0.16, 0.11),
            oval("k", 0, 0.01, 0.07, 0.05),
        ],
        "snail": [
            bar("l", -0.74, 0.0, -0.92, -0.5, 0.08),
            bar("l", -0.6, 0.0, -0.5, -0.5, 0.08),
            oval("k", -0.92, -0.52, 0.09, 0.09),
            oval("k", -0.5, -0.52, 0.09, 0.09),
            soft(
                "l",
                (-1.0, -0.1),
                (-0.55, -0.2),
                (-0.35, 0.4),
                (1.1, 0.65),
                (1.0, 0.85),
                (-0.75, 0.85),
                (-0.95, 0.4),
            ),
            oval("m", 0.2, -0.02, 0.66, 0.64),
            ring("d", 0.22, 0.0, 0.5, 0.12, -150, 150),
            ring("d", 0.18, 0.02, 0.24, 0.12, 20, 320),
        ],
        "butterfly": _butterfly(),
        "flower": _flower(),
        "leaf": _turned(
            [
                bar("b", 0, 0.5, 0, 1.1, 0.11),
                soft(
                    "m",
                    (0, -1.3),
                    (0.4, -0.6),
                    (0.72, 0.1),
                    (0.45, 0.72),
                    (0, 0.85),
                    (-0.45, 0.72),
                    (-0.72, 0.1),
                    (-0.4, -0.6),
                ),
                soft("d", (0, -1.3), (0.4, -0.6), (0.72, 0.1), (0.45, 0.72), (0, 0.85), (0, 0)),
                bar("l", 0, -0.85, 0, 0.75, 0.09),
                bar("l", 0, -0.15, 0.36, -0.42, 0.07),
                bar("l", 0, -0.15, -0.36, -0.42, 0.07),
                bar("l", 0, 0.3, 0.46, 0.0, 0.07),
                bar("l", 0, 0.3, -0.46, 0.0, 0.07),
            ],
            38,
        ),
        "mushroom": [
            soft("y", (-0.24, 0.0), (0.24, 0.0), (0.4, 0.98), (0.2, 1.02), (-0.2, 1.02), (-0.4, 0.98)),
            ("m", np.concatenate([arc(0, 0.15, 0.98, 1.08, 180, 360), arc(0, 0.15, 0.98, 0.18, 0, 180)])),
            oval("w", -0.42, -0.3, 0.19, 0.17),
            oval("w", 0.2, -0.58, 0.19, 0.15),
            oval("w", 0.52, -0.1, 0.17, 0.15),
            oval("w", -0.02, -0.05, 0.12, 0.1),
        ],
        "apple": [
            bar("b", 0.02, -0.4, 0.12, -0.95, 0.12),
            oval("g", 0.42, -0.76, 0.32, 0.14, -25),
            oval("m", -0.33, 0.1, 0.56, 0.66),
            oval("m", 0.33, 0.1, 0.56, 0.66),
            oval("m", -0.2, 0.55, 0.42, 0.42),
            oval("m", 0.2, 0.55, 0.42, 0.42),
            oval("d", 0.58, 0.22, 0.16, 0.4, 12),
            oval("l", -0.5, -0.14, 0.14, 0.24, 20),
        ],
        "cup": [
            ring("d", 0.5, 0.12, 0.48, 0.18),
            poly("m", (-0.8, -0.6), (0.62, -0.6), (0.46, 0.9), (-0.64, 0.9)),
            poly("l", (-0.75, -0.08), (0.57, -0.08), (0.53, 0.28), (-0.71, 0.28)),
            oval("d", -0.09, -0.6, 0.71, 0.19),
            oval("b", -0.09, -0.57, 0.56, 0.11),
        ],
        "lamp": [
            bar("d", 0, -0.1, 0, 0.75, 0.16),
            oval("d", 0, 0.45, 0.2, 0.2),
            poly("m", (-0.38, -0.95), (0.38, -0.95), (0.78, 0.12), (-0.78, 0.12)),
            poly("l", (-0.36, -0.86), (-0.12, -0.86), (-0.28, 0.04), (-0.66, 0.04)),
            soft("m", (-0.62, 1.0), (-0.45, 0.72), (0.45, 0.72), (0.62, 1.0)),
        ],
        "umbrella": _umbrella(),
        "key": _turned(
            [
                ring("m", 0, -0.55, 0.5, 0.2),
                box("m", -0.13, -0.1, 0.13, 1.08),
                box("m", 0.1, 0.82, 0.5, 1.06),
                box("m", 0.1, 0.44, 0.42, 0.66),
                box("d", -0.26, -0.14, 0.26, 0.06),
            ],
            35,
        ),
        "heart": [
            oval("m", -0.42, -0.32, 0.5, 0.5),
            oval("m", 0.42, -0.32, 0.5, 0.5),
            soft("m", (-0.95, -0.35), (0, -0.5), (0.95, -0.35), (0.72, 0.3), (0, 1.25), (-0.72, 0.3)),
            poly("m", (-0.84, -0.05), (0.84, -0.05), (0, 0.95)),
            oval("l", -0.5, -0.42, 0.16, 0.22, 35),
        ],
        "star": _star(),
        "moon": [
            ("m", np.concatenate([arc(-0.05, 0, 0.95, 0.95, 52, 308), arc(0.42, 0, 0.76, 0.75, -84, -276)])),
            oval("d", -0.68, -0.05, 0.12, 0.12),
            oval("d", -0.45, 0.45, 0.1, 0.1),
            oval("d", -0.45, -0.5, 0.14, 0.14),
        ],
    }


SHAPES: dict[str, list[Shape]] = {name: _fitted(shapes) for name, shapes in _shapes().items()}
