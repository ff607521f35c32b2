"""Are equal sliders equally strong? Ten styles of very different strength, before and after calibration.

python -m tests.benchmarks.strength_spread --out DIR

On the starter: the two bundled styles and eight short trainings on the spot, in four hands that the starter never saw,
at several rates, lengths and ranks. Each is measured twice, as the app does: at weight 1, and where that says it has
its full effect. Then, on prompts, seeds and timesteps that this did not use, the effect of all ten is compared: at
weight 1, and at the weight for strength 1. The effect is the relative change of the predicted noise, and how far the
finished pictures are from the unstyled ones of the same seeds. The spread is the ratio of the largest to the smallest
and the coefficient of variation, with a 95 % interval from drawing the prompts and timesteps anew 2,000 times.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from styles.bases.base import Base, open_base
from styles.formats.reader import read_style
from styles.formats.style import Style
from styles.generation.effect_probe import PROMPTS, SEED, Probe, walk
from styles.library.library import BUNDLED
from styles.mixing.blend import STRONGEST
from styles.mixing.strength import FULL
from styles.storage.home import Home
from tests.benchmarks.style_exam import Prompts, artworks_of
from training.distance import distance
from training.job import Job
from training.plan import plan_for
from training.starter.evaluate import PaintPlan, paint
from training.starter.sheet import contact_sheet

OTHER_SEED = 77
OTHER_PLACES = 4  # timesteps 799, 599, 399 and 199; calibration has 749, 499 and 249
WEIGHTS = (0.25, 0.5, 1.5, 2.0)  # how proportional the effect is to the weight
DRAWS = 2000


@dataclass(frozen=True)
class Training:
    """One short training of the set."""

    hand: str
    steps: int
    learning_rate: float
    rank: int = 8
    alpha: float = 8.0

    @property
    def name(self) -> str:
        return (
            f"{self.hand} {self.steps} steps at {self.learning_rate:g} rank {self.rank} alpha {self.alpha:g}"
        )


TRAININGS = (
    Training("cyanotype", 40, 3e-3),
    Training("cyanotype", 120, 4e-3),
    Training("ochre dabs", 50, 2e-3),
    Training("ochre dabs", 100, 2e-3, 16, 16.0),
    Training("risograph", 60, 2e-3),
    Training("risograph", 60, 4e-3, 8, 16.0),
    Training("linocut", 80, 3e-3),
    Training("linocut", 50, 2e-3, 4, 4.0),
)


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Read the command line, measure, print a table and one line of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", default="starter")
    parser.add_argument("--out", type=Path, default=Path("strength"), help="folder for styles and pictures")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--styles", type=int, default=2 + len(TRAININGS))
    parser.add_argument("--steps-share", type=float, default=1.0, help="of each training's steps")
    parser.add_argument("--prompts", type=int, default=12, help="to compare on; calibration has its own")
    parser.add_argument("--pictures", type=int, default=12, help="per style and weight; 0 for none")
    parser.add_argument("--paint-steps", type=int, default=20)
    options = parser.parse_args(argv)
    home = Home(options.out / "home").create()
    base = open_base(options.base, home, device=options.device, safety_checker=False)
    styles = [read_style(path) for path in sorted(BUNDLED.glob("*.safetensors"))]
    wanted = TRAININGS[: max(0, options.styles - len(styles))]
    styles += [trained(base, home, options, training) for training in wanted]
    result = measure(base, styles, options)
    print(table(result), flush=True)
    print(json.dumps(result), flush=True)
    (options.out / "strength.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return result


def trained(base: Base, home: Home, options: argparse.Namespace, training: Training) -> Style:
    """Train one style as the app would; one that an earlier run left in the folder is taken as it is."""
    from training.loop import train

    path = options.out / f"{training.name} x{options.steps_share:g}.safetensors"
    if not path.is_file():
        artworks = artworks_of(training.hand, options.out / "artworks")
        plan = plan_for(
            "quick",
            base.family,
            len(list(artworks.glob("*.png"))),
            name=training.name,
            steps=max(1, round(training.steps * options.steps_share)),
            learning_rate=training.learning_rate,
            rank=training.rank,
            alpha=training.alpha,
            preview_every=0,
        )
        job = Job.create(home.jobs, plan, [artworks])
        with job.held():
            for event in train(job, base=base):
                job.append(event)
        (job.folder / "style.safetensors").replace(path)
        print(f"trained: {training.name}", flush=True)
    return read_style(path)


def measure(base: Base, styles: Sequence[Style], options: argparse.Namespace) -> dict[str, Any]:
    """Calibrate on the usual set, compare on the other one."""
    calibration = walk(base)
    effects = [calibration.effect(style) for style in styles]
    weights = [effect.weight_for(1.0) for effect in effects]
    prompts = Prompts.of(options.prompts).texts()
    assert not set(prompts) & set(PROMPTS)
    other = walk(base, prompts, OTHER_SEED, OTHER_PLACES)
    raw = np.stack([cells(other, style, 1.0) for style in styles])
    even = np.stack([cells(other, style, weight) for style, weight in zip(styles, weights, strict=True)])
    result: dict[str, Any] = {
        "calibrated on": {"prompts": len(PROMPTS), "seed": SEED, "timesteps": times(calibration)},
        "compared on": {"prompts": len(prompts), "seed": OTHER_SEED, "timesteps": times(other)},
        "full effect": FULL,
        "styles": [
            {
                "style": style.name,
                "measured": round(effect.size, 4),
                "weight": round(weight, 4),
                "as strong as wanted": abs(weight) < STRONGEST,  # else a blend takes no more
                "effect at weight 1": round(root(row), 4),
                "effect at strength 1": round(root(level), 4),
            }
            for style, effect, weight, row, level in zip(styles, effects, weights, raw, even, strict=True)
        ],
        "noise": spreads(raw, even),
        "linearity": linearity(other, styles, raw),
    }
    if options.pictures:
        result |= {"pictures": pictures(base, styles, weights, result["styles"], options)}
    return result


def times(probe: Probe) -> list[int]:
    return [int(place.timestep) for place in probe.places]


def cells(probe: Probe, style: Style, weight: float) -> np.ndarray:
    """The squared relative changes of the noise, one for each place and prompt, flat."""
    change = probe.change((style,), (weight,))  # (places, B, C, h, w)
    squares = change.square().sum(dim=(2, 3, 4)) * change.shape[0] * change.shape[1]
    return squares.flatten().double().cpu().numpy()


def root(squares: np.ndarray) -> float:
    return float(np.sqrt(squares.mean()))


def spread(sizes: Sequence[float]) -> dict[str, float]:
    """How unequal some sizes are."""
    return {
        "largest over smallest": max(sizes) / max(min(sizes), 1e-12),
        "variation": statistics.stdev(sizes) / statistics.mean(sizes) if len(sizes) > 1 else 0.0,
    }


def spreads(raw: np.ndarray, even: np.ndarray) -> dict[str, Any]:
    """The spread before and after, (styles, cells) each, and how much it shrinks, with an interval over the cells."""
    before = spread([root(row) for row in raw])
    after = spread([root(row) for row in even])
    chance, shrinks = random.Random(0), []
    for _ in range(DRAWS):
        drawn = chance.choices(range(raw.shape[1]), k=raw.shape[1])
        one, two = (spread([root(row[drawn]) for row in rows])["variation"] for rows in (raw, even))
        shrinks.append(one / max(two, 1e-12))
    shrinks.sort()
    return {
        "weight 1": rounded(before),
        "strength 1": rounded(after),
        "variation shrinks": round(before["variation"] / max(after["variation"], 1e-12), 2),
        "interval": [round(shrinks[int(DRAWS * share)], 2) for share in (0.025, 0.975)],
    }


def rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in values.items()}


def linearity(probe: Probe, styles: Sequence[Style], raw: np.ndarray) -> dict[str, Any]:
    """The effect at other weights over what it would be if it grew with the weight: median, least and most of all styles."""
    found = {}
    for weight in WEIGHTS:
        ratios = [
            root(cells(probe, style, weight)) / (weight * max(root(row), 1e-12))
            for style, row in zip(styles, raw, strict=True)
        ]
        found[f"{weight:g}"] = [
            round(value, 3) for value in (statistics.median(ratios), min(ratios), max(ratios))
        ]
    return found


def pictures(
    base: Base,
    styles: Sequence[Style],
    weights: Sequence[float],
    rows: list[dict[str, Any]],
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Paint the other prompts without and with each style, and compare the finished pictures; adds to the rows."""
    count = options.pictures
    prompts = Prompts.of(count).texts()
    seeds = [OTHER_SEED + number for number in range(count)]
    guidance, rescale = base.default_guidance
    plan = PaintPlan(steps=options.paint_steps, guidance=guidance, guidance_rescale=rescale, batch=8)
    bare = paint(base, prompts, seeds, plan)
    shown, labels = [bare[0]], ["none"]
    squares: dict[str, list[np.ndarray]] = {"weight 1": [], "strength 1": []}
    looks: dict[str, list[float]] = {"weight 1": [], "strength 1": []}
    for style, weight, row in zip(styles, weights, rows, strict=True):
        for kind, used in (("weight 1", 1.0), ("strength 1", weight)):
            painted = paint(base, prompts, seeds, plan, (style,), (used,))
            differences = (painted.astype(np.float64) - bare) / 255
            squares[kind].append(np.square(differences).mean(axis=(1, 2, 3)))  # (pictures,)
            looks[kind].append(distance(painted, bare).overall)
            row[f"picture distance at {kind}"] = round(root(squares[kind][-1]), 4)
            row[f"style distance at {kind}"] = round(looks[kind][-1], 3)
            shown.append(painted[0])
            labels.append(f"{style.name[:14]} {used:.2f}")
        print(f"painted: {style.name}", flush=True)
    contact_sheet(np.stack(shown), labels, columns=7).save(options.out / "strength.png")
    return {
        "pixels": spreads(np.stack(squares["weight 1"]), np.stack(squares["strength 1"])),
        "style distance": {kind: rounded(spread(values)) for kind, values in looks.items()},
    }


def table(result: dict[str, Any]) -> str:
    """The result as a table to read."""
    names = list(result["styles"][0])
    lines = [f"| {' | '.join(names)} |", f"|{'---|' * len(names)}"]
    lines += [f"| {' | '.join(str(row[name]) for name in names)} |" for row in result["styles"]]
    kinds = {"noise": result["noise"]} | (
        {"pixels of the pictures": result["pictures"]["pixels"]} if "pictures" in result else {}
    )
    for name, kind in kinds.items():
        before, after = kind["weight 1"], kind["strength 1"]
        lines.append(
            f"{name}: largest over smallest {before['largest over smallest']} -> {after['largest over smallest']}, "
            f"variation {before['variation']} -> {after['variation']}, "
            f"which is {kind['variation shrinks']} times less ({kind['interval'][0]} to {kind['interval'][1]})"
        )
    if "pictures" in result:
        looks = result["pictures"]["style distance"]
        lines.append(
            "style distance: variation "
            f"{looks['weight 1']['variation']} -> {looks['strength 1']['variation']}"
        )
    for weight, (median, least, most) in result["linearity"].items():
        lines.append(
            f"effect at weight {weight} over {weight} x that at 1: median {median}, {least} to {most}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
