"""What a base in four bits costs a style, and how much rank a style needs: trainings and pictures on the starter.

python -m tests.benchmarks.four_bits --state STATE --out DIR
python -m tests.benchmarks.four_bits --state STATE --out DIR --pictures 32 --lines plain nf4
python -m tests.benchmarks.four_bits --state STATE --out DIR --report

In the four hands of tests/benchmarks/learning.py, and measured as there. Each line of a table is four styles, trained
from the same seed and painted from the same prompts and seeds as those of the line that it is compared with, so that
their differences are paired; intervals are Student's t, 95 %, over these pairs. The gap is always that of the plain base.
Trainings and pictures are kept in DIR, and what lies there is not made again.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from styles.quantization.quantization import PLAIN, QUANTIZATIONS
from tests.benchmarks.four_bit_styles import HANDS, Measures, Painting, Runs, Training, same_steps
from training.starter.classifier import open_reader

# Of Student's t, two-sided 95 %, by degrees of freedom.
T95 = {2: 4.303, 3: 3.182, 7: 2.365, 11: 2.201}
RANKS = (1, 2, 4, 8, 16, 64)
ALPHAS = (4, 8, 16)
GROUPED = ("qa4-32", "qa4-64", "qa4-16")


def hands(base: str, merged: bool = False, **training: Any) -> list[Painting]:
    """The pictures of a style in each of the four hands on a base."""
    return [Painting(base, Training(hand, **training), merged) for hand in HANDS]


def lines() -> dict[str, list[Painting]]:
    """By their names the lines of all tables, in the order in which they are made."""
    made = {
        "plain": hands(PLAIN),
        "nf4": hands("nf4", quantize="nf4"),
        "plain on nf4": hands("nf4"),
        "nf4 on plain": hands(PLAIN, quantize="nf4"),
        "nf4, merged": hands("nf4", merged=True, quantize="nf4"),
    }
    for way in GROUPED:
        made[way] = hands(way, quantize=way)
        made[f"{way}, merged"] = hands(way, merged=True, quantize=way)
    made["nf4, whole blocks"] = hands("nf4", quantize="nf4", layers="transformer")
    for rank in RANKS:
        made[f"rank {rank}"] = hands(PLAIN, preset="quick", rank=rank, alpha=float(rank))
    for alpha in ALPHAS:
        made[f"alpha {alpha}"] = hands(PLAIN, preset="quick", alpha=float(alpha))
    for way in ("fp4", "nf4-single"):
        made[way] = hands(way, quantize=way)
    for seed in (1, 2):
        for way in (PLAIN, "nf4"):
            made[f"{'plain' if way == PLAIN else way}, seed {seed}"] = hands(way, quantize=way, seed=seed)
    return made


TABLES = {
    "What a base is kept as": ("plain", "nf4", "nf4-single", "fp4", *GROUPED),
    "Layers": ("plain", "nf4", "nf4, whole blocks"),
    "Trained over one, painted on another": ("plain", "plain on nf4", "nf4", "nf4 on plain"),
    "Merged": ("plain", "nf4", "nf4, merged", *(f"{way}{end}" for way in GROUPED for end in ("", ", merged"))),
    "Rank": ("rank 8", *(f"rank {rank}" for rank in RANKS if rank != 8)),
    "Strength at rank 8": ("alpha 8", "alpha 4", "alpha 16"),
}  # fmt: skip
PAINTED_MOST = ("Rank", "Strength at rank 8")
# The same styles, on two bases.
PAIRS = (
    ("plain on nf4", "plain"),
    ("nf4 on plain", "nf4"),
    *((f"{way}, merged", way) for way in ("nf4", *GROUPED)),
)


def interval(values: Sequence[float], unit: float) -> str:
    """Mean with a 95 % interval of Student's t, over `unit`."""
    if not values:
        return "-"
    mean = statistics.fmean(values) / unit
    if len(values) - 1 not in T95:
        return f"{mean:+.3g}"
    half = T95[len(values) - 1] * statistics.stdev(values) / len(values) ** 0.5 / unit
    return f"{mean:+.3g} ({mean - half:+.3g} to {mean + half:+.3g})"


def cell(values: Sequence[float | None], form: str, unit: float = 1) -> str:
    """The values over `unit`, a stroke for each that there is none of."""
    return ", ".join("-" if value is None else format(value / unit, form) for value in values)


def mean_of(values: Sequence[float | None]) -> float:
    return statistics.fmean(value for value in values if value is not None)


def less(values: Sequence[float | None], others: Sequence[float | None], unit: float) -> str:
    """The mean of what is paired, with its interval."""
    pairs = zip(values, others, strict=True)
    return interval([a - b for a, b in pairs if a is not None and b is not None], unit)


def table(measures: Measures, title: str, named: dict[str, list[Painting]]) -> list[str]:
    """Return one table in markdown of what there is; each line is compared with the first."""
    rows = [
        f"{title} ({measures.count} prompts): {', '.join(HANDS)}",
        "| figure | gap closed, % | mean | less the first, points | d | less the first | subjects, % | mean |",
        "|---|---|---|---|---|---|---|---|",
    ]
    first: list[list[float | None]] = []
    for name, line in named.items():
        if not any(map(measures.has, line)):
            continue
        closed, d, right = (
            [measure(one) if measures.has(one) else None for one in line]
            for measure in (measures.closed, measures.d_of, measures.subjects)
        )
        less_closed, less_d = (less(closed, first[0], 0.01), less(d, first[1], 1)) if first else ("", "")
        first = first or [closed, d]
        rows.append(
            f"| {name} | {cell(closed, '.1f', 0.01)} | {100 * mean_of(closed):.1f} | {less_closed} | {cell(d, '.3f')} "
            f"| {less_d} | {cell(right, '.0f', 0.01)} | {100 * mean_of(right):.1f} |"
        )
    return [*rows, ""]


def apart(measures: Measures) -> list[str]:
    """Return how far the pictures of the same styles lie apart on two bases."""
    made = lines()
    rows = [
        f"The same styles on two bases ({measures.count} prompts)",
        "| figure | style distance | mean difference of a pixel, of 255 |",
        "|---|---|---|",
    ]
    for one, other in PAIRS:
        both = zip(made[one], made[other], strict=True)
        pairs = [(a, b) for a, b in both if measures.has(a) and measures.has(b)]
        if pairs:
            between = [measures.between(a, b) for a, b in pairs]
            d, pixels = (
                ", ".join(f"{value:.4g}" for value in values) for values in zip(*between, strict=True)
            )
            rows.append(f"| {one} / {other} | {d} | {pixels} |")
    return [*rows, ""]


def report(most: Measures, fewer: Measures) -> list[str]:
    """Return all tables as they stand; `most` has the pictures of the first and of those in PAINTED_MOST."""
    made = lines()
    seeds = ["", *(f", seed {seed}" for seed in (1, 2) if all(map(most.has, made[f"nf4, seed {seed}"])))]
    rows = table(
        most,
        f"{len(seeds)} seeds",
        {way: [one for seed in seeds for one in made[f"{way}{seed}"]] for way in ("plain", "nf4")},
    )
    rows.append("| bare base: d(0) in each hand, weights' relative error |")
    for way in (PLAIN, *QUANTIZATIONS):
        bare = Painting(way)
        far = ", ".join(f"{fewer.d(bare, hand):.3f}" for hand in HANDS) if fewer.has(bare) else "-"
        rows.append(f"| {way}: {far}, {fewer.runs.error(way):.4f} |")
    merged = [one.training for one in made["nf4, merged"] if one.training and fewer.has(one)]
    lost = ", ".join(f"{fewer.runs.rounding('nf4', fewer.runs.style(one)):.2f}" for one in merged)
    rows += [f"merged into nf4: what is rounded off, over the change: {lost}", ""]
    for title, names in TABLES.items():
        measures = most if title in PAINTED_MOST else fewer
        rows += table(measures, title, {name: made[name] for name in names})
    return rows + apart(fewer)


def main(argv: Sequence[str] | None = None) -> None:
    """Make what is missing, line by line, or print the tables as they stand."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--state", type=Path, required=True, help="folder with the starter's classifier")
    parser.add_argument("--out", type=Path, required=True, help="folder for everything")
    parser.add_argument("--lines", nargs="+", default=list(lines()), choices=list(lines()), metavar="LINE")
    parser.add_argument("--hands", nargs="+", default=list(HANDS), choices=HANDS)
    parser.add_argument("--pictures", type=int, default=16, help="prompts for each style")
    parser.add_argument(
        "--most-pictures", type=int, default=32, help="of the seeds, ranks and strengths in the report"
    )
    parser.add_argument("--first-prompt", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--check", action="store_true", help="only that both ways of computing are the same")
    parser.add_argument("--report", action="store_true", help="make nothing; print what there is")
    options = parser.parse_args(argv)
    runs = Runs(options.out, options.device, options.first_prompt)
    if options.check:
        print(json.dumps(same_steps(runs)))
    elif options.report:
        reader = open_reader(options.state, torch.device(options.device))[0]
        both = [Measures(runs, reader, count) for count in (options.most_pictures, options.pictures)]
        print("\n".join(report(*both)))
    else:
        for line in options.lines:
            for painting in lines()[line]:
                if painting.training is None or painting.training.hand not in options.hands:
                    continue
                for one in (Painting(PLAIN), Painting(painting.base), painting):
                    runs.pictures(one, options.pictures)


if __name__ == "__main__":
    main()
