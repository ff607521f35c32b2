"""Do the colours of one's own pictures come through? `python -m tests.benchmarks.own_artworks FOLDER` trains on them.

There are no true drawings of the prompts in their manner to compare with, so the artworks themselves are the
reference: what is printed is the style distance of pictures of everyday prompts from the artworks, passed through
the autoencoder, without the style and at each weight. A sheet shows them above each other.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from styles.bases.shelf import STARTER
from styles.storage.home import Home
from tests.benchmarks.learning import TRIGGER
from tests.benchmarks.style_exam import Bench, Prompts, train_style
from training.artworks.dataset import inspect
from training.distance import PARTS, distance, look
from training.starter.evaluate import PaintPlan, through_vae
from training.starter.sheet import contact_sheet


def main(argv: Sequence[str] | None = None) -> dict:
    """Read the command line, train, and print a table and one JSON line."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.own_artworks", description=__doc__)
    parser.add_argument("artworks", type=Path, help="a folder of pictures")
    parser.add_argument("--base", type=Path, default=STARTER)
    parser.add_argument("--out", type=Path, default=Path("own_artworks"), help="a folder for everything")
    parser.add_argument("--preset", default="balanced")
    parser.add_argument("--trigger", default=TRIGGER, help="the word for the style")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--weights", nargs="+", type=float, default=[0.5, 0.7, 1])
    parser.add_argument("--pictures", type=int, default=16, help="prompts to paint at each weight")
    parser.add_argument(
        "--companions", nargs="*", help="instead of the preset's; none given: the trigger word alone"
    )
    parser.add_argument("--device", default="auto")
    options = parser.parse_args(argv)

    options.out.mkdir(parents=True, exist_ok=True)
    home = Home(options.out / "home").create()
    bench = Bench.open(
        options.base, home, Prompts.of(options.pictures), PaintPlan(), options.trigger, options.out, options.device
    )  # fmt: skip
    side = bench.base.native_size_px
    pictures = np.stack([np.asarray(one.load((side, side))) for one in inspect([options.artworks]).artworks])
    reference = look(through_vae(bench.base, pictures))

    companions = {} if options.companions is None else {"companions": tuple(options.companions)}
    style, seconds = train_style(
        bench, home, options.artworks, options.preset, options.seed, preview_every=0, **companions
    )
    painted = {weight: bench.paint(style, weight) for weight in sorted({0.0, *options.weights})}
    found = {f"{weight:g}": distance(some, reference) for weight, some in painted.items()}
    print("| weight | " + " | ".join(PARTS) + " |\n|---|" + "---|" * len(PARTS))
    for weight, parts in found.items():
        print(f"| {weight} | " + " | ".join(f"{parts.part(part):.3f}" for part in PARTS) + " |")
    result = {"style": style.card.id, "seconds": round(seconds, 1)} | {
        "d": {weight: {part: round(parts.part(part), 4) for part in PARTS} for weight, parts in found.items()}
    }
    print(json.dumps(result))

    names = [f"weight {weight:g}" for weight in painted for _ in range(8)] + ["artwork"] * min(
        8, len(pictures)
    )
    rows = np.concatenate([*(some[:8] for some in painted.values()), pictures[:8]])
    contact_sheet(rows, names, columns=8).save(options.out / "sheet.png")
    return result


if __name__ == "__main__":
    main()
