"""What a base in four bits costs a style, and how much rank a style needs: trainings and pictures on the starter.

python -m tests.benchmarks.four_bits --state STATE --out DIR
python -m tests.benchmarks.four_bits --state STATE --out DIR --report

In the four hands of tests/benchmarks/learning.py, measured as there. All pairs are painted from the same prompts and seeds, and trained
from the same seed, so that their differences are paired; the gap is that of the plain base. Trainings and pictures are kept in DIR, and
what lies there is not made again. Layers in four bits are computed with as the weights that they stand for, which is the
same to the last bit (`same_steps` checks it) in half the time.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from styles.bases.base import Base, open_base
from styles.formats.reader import read_style
from styles.formats.style import Style
from styles.quantization.grouped_linear import GroupedLinear
from styles.quantization.layers import layer_of, quantized, replace_layer
from styles.quantization.quantization import PLAIN, QUANTIZATIONS, quantization_of
from styles.storage.home import Home
from tests.benchmarks.learning import TRIGGER
from tests.benchmarks.style_exam import Bench, Prompts, Reference, artworks_of, train_style
from training.distance import distance
from training.starter.classifier import Reader, open_reader, read, share_right
from training.starter.evaluate import PaintPlan
from training.starter.hands import HELD_OUT

HANDS = tuple(HELD_OUT)
# Of Student's t, two-sided 95 %, by degrees of freedom.
T95 = {1: 12.706, 2: 4.303, 3: 3.182, 5: 2.571, 7: 2.365, 11: 2.201}
GROUPED = tuple(name for name in QUANTIZATIONS if name.startswith("qa4"))


@dataclass(frozen=True)
class Training:
    """One style to train; the strength is alpha / rank."""

    hand: str
    quantize: str = PLAIN
    seed: int = 0
    preset: str = "balanced"
    layers: str = "cross"
    rank: int = 8
    alpha: float = 8.0

    @property
    def name(self) -> str:
        return (
            f"{self.hand} {self.seed} {self.preset} {self.quantize} {self.layers} {self.rank} {self.alpha:g}"
        )


@dataclass(frozen=True)
class Painting:
    """The pictures of a style at weight 1 on a base, or those of the bare base; `merged`: added to the base's weights."""

    base: str
    training: Training | None = None
    merged: bool = False

    @property
    def name(self) -> str:
        if self.training is None:
            return f"bare on {self.base}"
        return f"{self.training.name} {'merged into' if self.merged else 'on'} {self.base}"


def at_home(training: Training) -> Painting:
    """Its pictures on the base that it was trained on."""
    return Painting(training.quantize, training)


# --- what is to be made, in the order of its worth ---------------------------------------------------------


def of_all(quantize: str, **numbers: Any) -> list[Training]:
    return [Training(hand, quantize, **numbers) for hand in HANDS]


def ranked(rank: int, alpha: float) -> list[Training]:
    return of_all(PLAIN, preset="quick", rank=rank, alpha=alpha)


RANKS = (1, 2, 4, 8, 16, 64)
ALPHAS = (4.0, 8.0, 16.0)


def paintings(table: str) -> list[Painting]:
    """What one of the tables needs."""
    if table == "exchange":
        return [
            Painting(other, training)
            for own, other in ((PLAIN, "nf4"), ("nf4", PLAIN))
            for training in of_all(own)
        ]
    if table.startswith("seed "):
        seed = int(table.removeprefix("seed "))
        return [at_home(training) for hand in HANDS for way in (PLAIN, "nf4")
                for training in (Training(hand, way, seed),)]  # fmt: skip
    if table.startswith("way "):
        return [Painting(table.removeprefix("way ")), *map(at_home, of_all(table.removeprefix("way ")))]
    if table.startswith("rank "):
        rank = int(table.removeprefix("rank "))
        return [at_home(training) for training in ranked(rank, rank)]
    if table.startswith("alpha "):
        return [at_home(training) for training in ranked(8, float(table.removeprefix("alpha ")))]
    if table == "layers":
        return [at_home(training) for training in of_all("nf4", layers="transformer")]
    assert table.startswith("merged ")
    way = table.removeprefix("merged ")
    trainings = of_all(way)
    return [one for training in trainings for one in (at_home(training), Painting(way, training, merged=True))]


TABLES = (
    "seed 0", "exchange", "way nf4", "merged nf4", "rank 1", "rank 64", "rank 8", "layers", "merged qa4-32", "rank 16",
    "rank 4", "rank 2", "alpha 4", "alpha 16", "merged qa4-64", "merged qa4-16", "way fp4", "way nf4-single", "seed 1", "seed 2",
)  # fmt: skip


# --- bases --------------------------------------------------------------------------------------------------


def four_bit_layers(unet: nn.Module) -> Iterator[tuple[str, Any]]:
    """The layers of a UNet that are in four bits, by their paths."""
    for path, layer in list(unet.named_modules()):
        if isinstance(layer, GroupedLinear) or hasattr(getattr(layer, "weight", None), "quant_state"):
            yield path, layer


@torch.no_grad()
def weights_of(layer: Any) -> Tensor:
    """What a layer's four bits stand for, (out, in) fp32."""
    if isinstance(layer, GroupedLinear):
        return layer.dequantized()
    from bitsandbytes.functional import dequantize_4bit

    return dequantize_4bit(layer.weight.data, layer.weight.quant_state)


def put(unet: nn.Module, path: str, weight: Tensor, bias: Tensor | None) -> None:
    """Put a plain linear layer of these weights at a path."""
    with torch.device("meta"):
        plain = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    plain.weight = nn.Parameter(weight, requires_grad=False)
    plain.register_parameter("bias", bias)
    replace_layer(unet, path, plain)


def opened(name: str, home: Home, device: str, in_full: bool = True) -> Base:
    """The starter, its linear layers kept in a way and, `in_full`, computed with as the weights that they stand for."""
    base = open_base("starter", home, device=device, safety_checker=False, quantize=name)
    for path, layer in four_bit_layers(base.unet) if in_full else ():
        put(base.unet, path, weights_of(layer), layer.bias)
    return base


@torch.no_grad()
def merge(base: Base, style: Style) -> None:
    """Add a style at weight 1 to a base's weights, each of them to the four bits that it stands for again."""
    quantization = quantization_of(base.quantize)
    assert quantization is not None and quantization.method != "qa4"
    for layer in style.layers:
        plain = base.unet.get_submodule(layer.path)
        changed = plain.weight + layer.scale * (layer.up.float() @ layer.down.float())
        again = layer_of(quantized(changed, quantization), None, plain, quantization, torch.float32)
        put(base.unet, layer.path, weights_of(again), plain.bias)


# --- making ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Studio:
    """The folder in which everything is kept, and the bases that are open."""

    out: Path
    device: str
    first: int = 0  # number of the first prompt

    @cached_property
    def home(self) -> Home:
        return Home(self.out / "home").create()

    @cache  # noqa: B019 - there is one, to the end
    def bench(self, way: str) -> Bench:
        """A base opened in a way; nothing is painted yet."""
        none = np.empty(0)
        return Bench(
            opened(way, self.home, self.device), Prompts.of(0), PaintPlan(), TRIGGER, None, none
        )

    def note(self, row: dict[str, Any]) -> None:
        """Append a line to the journal, and show it."""
        line = json.dumps({"at": time.strftime("%H:%M:%S"), **row})
        print(line, flush=True)
        with (self.out / "four_bits.jsonl").open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def style(self, training: Training) -> Style:
        """The style of a training, trained where it isn't there."""
        path = self.out / "styles" / f"{training.name}.safetensors"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            began = time.process_time()
            artworks = artworks_of(training.hand, self.out / "artworks")
            style, _ = train_style(
                self.bench(training.quantize), self.home, artworks, training.preset, training.seed, quantize=training.quantize,
                layers=training.layers, rank=training.rank, alpha=training.alpha, preview_every=0, checkpoint_every=10_000,
            )  # fmt: skip
            assert style.card.path is not None
            shutil.copyfile(style.card.path, path)
            spent = round(time.process_time() - began, 1)
            self.note({"trained": training.name, "processor seconds": spent, "bytes": path.stat().st_size})
        return read_style(path)

    def pictures(self, painting: Painting, count: int) -> np.ndarray:
        """The first `count` pictures (count, H, W, 3) uint8; those that are missing are painted."""
        path = self.out / "pictures" / f"{painting.name}.npy"
        there = np.load(path) if path.is_file() else None
        done = 0 if there is None else len(there)
        if done < count:
            style = None if painting.training is None else self.style(painting.training)
            began = time.process_time()
            more = self._painted(painting, style, Prompts.of(count - done, self.first + done))
            there = more if there is None else np.concatenate([there, more])
            path.parent.mkdir(parents=True, exist_ok=True)
            unfinished = path.with_suffix(".tmp.npy")
            np.save(unfinished, there)
            unfinished.replace(path)
            spent = round(time.process_time() - began, 1)
            self.note({"painted": painting.name, "pictures": count - done, "processor seconds": spent})
        assert there is not None
        return there[:count]

    def _painted(self, painting: Painting, style: Style | None, prompts: Prompts) -> np.ndarray:
        from training.starter.evaluate import paint

        bench, numbers = self.bench(painting.base), list(prompts.numbers)
        if style is None:
            return paint(bench.base, prompts.texts(), numbers, bench.painting)
        if not painting.merged:
            return replace(bench, prompts=prompts).paint(style, 1.0)
        base = opened(painting.base, self.home, self.device)
        merge(base, style)
        return paint(base, prompts.texts(TRIGGER), numbers, bench.painting)


# --- reading ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Exam:
    """What the pictures are measured by."""

    studio: Studio
    reader: Reader | None
    count: int

    @cache  # noqa: B019
    def reference(self, hand: str) -> Reference:
        bench = self.studio.bench(PLAIN)
        prompts = Prompts.of(self.count, self.studio.first)
        return Reference.of(replace(bench, prompts=prompts, reader=self.reader), hand)

    def has(self, painting: Painting) -> bool:
        return (self.studio.out / "pictures" / f"{painting.name}.npy").is_file()

    @cache  # noqa: B019
    def d(self, painting: Painting, hand: str) -> float:
        pictures = self.studio.pictures(painting, self.count)
        return distance(pictures, self.reference(hand).look).overall

    def closed(self, painting: Painting) -> float:
        """The share of the plain base's gap."""
        assert painting.training is not None
        hand = painting.training.hand
        far, floor = self.d(Painting(PLAIN), hand), self.reference(hand).floor["overall"]
        return (far - self.d(painting, hand)) / (far - floor)

    @cache  # noqa: B019
    def subjects(self, painting: Painting) -> float:
        """The share of subjects read, of that in true drawings."""
        assert painting.training is not None and self.reader is not None
        right = read(self.reader, self.studio.pictures(painting, self.count))["subject"]
        true = self.reference(painting.training.hand).subject
        assert true
        return share_right(right, Prompts.of(self.count, self.studio.first).subjects) / true

    def between(self, one: Painting, other: Painting) -> tuple[float, float]:
        """Style distance, and the mean difference of a pixel of 255, of two sets of pictures of the same prompts."""
        a, b = (self.studio.pictures(painting, self.count) for painting in (one, other))
        return distance(a, b).overall, float(np.abs(a.astype(np.float32) - b).mean())


def interval(values: Sequence[float]) -> str:
    """Mean with a 95 % interval of Student's t, in hundredths."""
    mean = statistics.fmean(values)
    if len(values) - 1 not in T95:
        return f"{mean:+.1%}"
    half = T95[len(values) - 1] * statistics.stdev(values) / len(values) ** 0.5
    return f"{100 * mean:+.1f} ({100 * (mean - half):+.1f} to {100 * (mean + half):+.1f})"


def percent(values: Iterable[float]) -> str:
    return ", ".join(f"{100 * value:.1f}" for value in values)


def same_steps(studio: Studio, steps: int = 3) -> dict[str, bool]:
    """Whether a style trained over four bits is, to the last bit, the one trained over what they stand for."""
    artworks, same = artworks_of(HANDS[0], studio.out / "artworks"), {}
    for way in QUANTIZATIONS:
        trained = []
        for in_full in (True, False):
            bench = replace(studio.bench(PLAIN), base=opened(way, studio.home, studio.device, in_full))
            style, _ = train_style(
                bench, studio.home, artworks, "balanced", 0, steps=steps, quantize=way, preview_every=0
            )
            trained.append(style)
        same[way] = all(
            torch.equal(a.up, b.up) and torch.equal(a.down, b.down)
            for a, b in zip(trained[0].layers, trained[1].layers, strict=True)
        )
    return same


def main(argv: Sequence[str] | None = None) -> None:
    """Make what is missing, table by table, or print the tables as they stand."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--state", type=Path, required=True, help="folder with the starter's classifier")
    parser.add_argument("--out", type=Path, required=True, help="folder for everything")
    parser.add_argument("--tables", nargs="+", default=list(TABLES), choices=TABLES)
    parser.add_argument("--pictures", type=int, default=32, help="prompts for each style")
    parser.add_argument("--first-prompt", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--check", action="store_true", help="only that both ways of computing are the same")
    parser.add_argument("--report", action="store_true", help="make nothing; print what there is")
    options = parser.parse_args(argv)
    studio = Studio(options.out, options.device, options.first_prompt)
    if options.check:
        print(json.dumps(same_steps(studio)))
        return
    for table in () if options.report else options.tables:
        for painting in (Painting(PLAIN), *paintings(table)):
            studio.pictures(painting, options.pictures)


if __name__ == "__main__":
    main()
