"""How long an artist waits between two pictures of one blend: from the order until the first denoising step begins.

python -m tests.benchmarks.between_pictures --styles 8 --pairs 30

On the starter, with random rank-8 styles on all of cross-attention as files in a library. With nothing kept, as in a
window just opened but for the base, and with what the picture before left at hand; in turns, as a ratio with its 95 %
interval. Once with the same styles, once with one style that comes and goes.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from app.create.mix_orders import MixOrder, StyleOrder
from app.create.style_cache import SETTLED_SECONDS
from app.orders import PictureOrder
from app.studio import Studio
from styles.generation.settings import PictureSettings
from styles.storage.home import Home
from tests.benchmarks.pairs import spread_of
from tests.styles.making import random_style


class Painter:
    """A studio that paints tiny pictures, and when the UNet was called first."""

    def __init__(self, folder: Path, styles: int) -> None:
        self.studio = Studio(Home(folder / "home").create())
        self.studio.settings = replace(self.studio.settings, device="cpu", safety_checker=False)
        self.folder = folder / "pictures"
        with self.studio.base_session.opened("starter", self.studio.settings) as base:
            self.base = base
            for seed in range(styles):
                style = random_style(base.unet, f"Style {seed}", family="starter", seed=seed, rank=8)
                small = tuple(replace(layer, up=layer.up * 0.01) for layer in style.layers)
                self.studio.library.add(replace(style, layers=small))
        self.began = 0.0
        self.base.unet.register_forward_pre_hook(self._called)
        time.sleep(SETTLED_SECONDS + 0.5)  # what was written just now is not trusted

    def _called(self, *_: Any) -> None:
        self.began = self.began or time.perf_counter()

    def waits(self, styles: int, *, afresh: bool) -> float:
        """Return the seconds until the first step of a picture of that many styles."""
        if afresh:
            self.studio.base_session.styles.put_away()
            vars(self.base).pop("carried", None)
        names = tuple(StyleOrder(f"Style {number}", 0.5) for number in range(styles))
        order = PictureOrder(
            "a house",
            PictureSettings(seed=1, steps=1, guidance=1.0, width_px=32, height_px=32),
            mix=MixOrder(names),
        )
        self.began, start = 0.0, time.perf_counter()
        list(self.studio.create(order, self.folder))
        return self.began - start


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Read the command line, measure, print a table and one line of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--styles", type=int, default=8)
    parser.add_argument("--pairs", type=int, default=30)
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        painter = Painter(Path(folder), options.styles)
        result = measure(painter, options)
    print(table(result), flush=True)
    print(json.dumps(result), flush=True)
    return result


def measure(painter: Painter, options: argparse.Namespace) -> dict[str, Any]:
    """Wait for pictures in turns."""
    kinds = {"the same styles": 0, "one style less, and again": 1}
    taken: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
    for pair in range(options.pairs + 1):
        for kind, fewer in kinds.items():
            afresh = painter.waits(options.styles - fewer * (pair % 2), afresh=True)
            painter.waits(options.styles - fewer * (1 - pair % 2), afresh=False)
            kept = painter.waits(options.styles - fewer * (pair % 2), afresh=False)
            if pair:  # what only happens once happened in the first
                taken[kind].append((afresh, kept))
    return {
        "styles": options.styles,
        **{
            kind: {
                "afresh, seconds": spread_of([one for one, _ in both]).to_json(),
                "kept, seconds": spread_of([other for _, other in both]).to_json(),
                "kept / afresh": spread_of([other / one for one, other in both]).to_json(),
            }
            for kind, both in taken.items()
        },
    }


def table(result: dict[str, Any]) -> str:
    """The result as a Markdown table."""
    lines = [
        f"{result['styles']} styles, until the first step",
        "",
        "| | afresh | kept | ratio | 95 % interval |",
        "|---|---|---|---|---|",
    ]
    for kind, row in result.items():
        if isinstance(row, dict):
            afresh, kept = (row[f"{name}, seconds"]["median"] * 1000 for name in ("afresh", "kept"))
            ratio = row["kept / afresh"]
            lines.append(
                f"| {kind} | {afresh:.0f} ms | {kept:.0f} ms | {ratio['median']:.2f} "
                f"| {ratio['low']:.2f} to {ratio['high']:.2f} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
