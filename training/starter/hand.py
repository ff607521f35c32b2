"""What a hand is, and how a drawing function is entered among the hands."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from training.starter.scenes import DrawingCanvas

Paint = Callable[[DrawingCanvas, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Hand:
    """A way of drawing, with phrases that follow a description and titles that stand before it."""

    paint: Paint
    phrases: tuple[str, ...] = ()
    titles: tuple[str, ...] = ()


def enter(
    hands: dict[str, Hand], name: str, phrases: tuple[str, ...] = (), titles: tuple[str, ...] = ()
) -> Callable[[Paint], Paint]:
    """A decorator that enters a drawing function among `hands`; it makes (H, W, 3) float32 in 0..1."""

    def keep(paint: Paint) -> Paint:
        hands[name] = Hand(paint, phrases, titles)
        return paint

    return keep
