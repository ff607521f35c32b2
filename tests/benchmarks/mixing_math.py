"""What the arithmetic on styles costs, before anything is painted: the conflict meter and baking, for eight styles.

python -m tests.benchmarks.mixing_math

Eight random styles of rank 8 on the 64 attn2 layers of a UNet in the shapes of Stable Diffusion 1.5, in fp16 as their
files hold them. No base is needed. Medians with their 95 % interval; baking is timed a few times only.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from styles.formats.style import Style, StyleCard, StyleLayer
from styles.mixing.bake import BakePlan, bake
from styles.mixing.blend import Blend, BlendPart
from styles.mixing.conflict import overlap
from tests.benchmarks.pairs import alone

CONFIG = Path(__file__).resolve().parents[2] / "styles" / "bases" / "files" / "configs" / "sd1"
CPU = torch.device("cpu")


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Read the command line, measure, print a table and one line of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--styles", type=int, default=8)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--times", type=int, default=30, help="of the conflict meter")
    parser.add_argument("--bakes", type=int, default=3, help="of each way of baking")
    parser.add_argument("--methods", nargs="*", default=["exact", "squeezed", "ties", "dare"])
    parser.add_argument("--layers", type=int, default=0, help="only the first ones; default: all")
    options = parser.parse_args(argv)
    styles = [random_style(number, options.rank, options.layers) for number in range(options.styles)]
    result = measure(styles, options)
    print(table(result), flush=True)
    print(json.dumps(result), flush=True)
    return result


def shapes() -> dict[str, tuple[int, int]]:
    """(out, in) of each attn2 layer by path; the UNet is only thought of, not made."""
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(CONFIG, subfolder="unet"))
    return {
        path: (module.out_features, module.in_features)
        for path, module in unet.named_modules()
        if "attn2" in path and isinstance(module, torch.nn.Linear)
    }


def random_style(seed: int, rank: int, layers: int) -> Style:
    """A style whose factors have the sizes of a usual training's."""
    generator = torch.Generator().manual_seed(seed)
    made = [
        StyleLayer(
            "unet",
            path,
            (torch.randn(rank, width, generator=generator) / rank).half(),
            (torch.randn(out, rank, generator=generator) * 0.01).half(),
            float(rank),
        )
        for path, (out, width) in list(shapes().items())[: layers or None]
    ]
    return Style(StyleCard(f"Style {seed}", "sd1", rank, id=f"{seed:064x}"), tuple(made))


def measure(styles: Sequence[Style], options: argparse.Namespace) -> dict[str, Any]:
    """Time everything once all is warm."""
    weights = [0.5 + 0.1 * number for number in range(len(styles))]
    found = overlap(styles)
    result: dict[str, Any] = {
        "styles": len(styles),
        "rank": options.rank,
        "layers": len(found.layers),
        "threads": torch.get_num_threads(),
        "conflict meter, new set of styles, ms": milliseconds(lambda: overlap(styles), options.times),
        "conflict meter, slider moved, ms": milliseconds(lambda: found.judge(weights), options.times),
        "bake": {},
    }
    parts = [BlendPart(style.id, weight) for style, weight in zip(styles, weights, strict=True)]
    for method in options.methods:
        plan = BakePlan("Baked", method, None if method == "exact" else options.rank)
        baked: list[Style] = []
        took = alone(
            lambda plan=plan, baked=baked: baked.append(bake(Blend(tuple(parts)), styles, plan)),
            options.bakes,
            CPU,
        )  # type: ignore[misc]
        record = baked[-1].card.bake
        assert record is not None
        errors = [error for _, error in record.layer_errors]
        result["bake"][method] = {
            "seconds": round(took.median, 3),
            "rank": baked[-1].card.rank,
            "error": record.error,
            "layer errors": [min(errors), statistics.median(errors), max(errors)],
        }
    return result


def milliseconds(action: Any, times: int) -> list[float]:
    """Median and its interval."""
    took = alone(action, times, CPU)
    return [round(value * 1000, 3) for value in (took.median, took.low, took.high)]


def table(result: dict[str, Any]) -> str:
    """The result as a table to read."""
    lines = [
        f"{result['styles']} styles of rank {result['rank']} on {result['layers']} layers, {result['threads']} threads"
    ]
    for name in ("conflict meter, new set of styles, ms", "conflict meter, slider moved, ms"):
        median, low, high = result[name]
        lines.append(f"{name}: {median} ({low} to {high})")
    lines += [
        "| bake | seconds | rank | error in all | least, median, worst layer |",
        "|---|---|---|---|---|",
    ]
    for method, row in result["bake"].items():
        layers = ", ".join(f"{error:g}" for error in row["layer errors"])
        lines.append(f"| {method} | {row['seconds']} | {row['rank']} | {row['error']:g} | {layers} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
