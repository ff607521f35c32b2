"""Styles trained over the starter in four bits, and their pictures, kept in a folder; what they are measured by.

Layers in four bits are computed with as the weights that they stand for: a training so comes to the same, to the last
bit, in less time (`same_steps`).
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from styles.bases.base import Base, open_base
from styles.formats.reader import read_style
from styles.formats.style import Style, StyleLayer
from styles.quantization.grouped_linear import GroupedLinear
from styles.quantization.layers import layer_of, quantized, replace_layer
from styles.quantization.quantization import PLAIN, QUANTIZATIONS, Quantization, quantization_of
from styles.storage.home import Home
from tests.benchmarks.learning import TRIGGER
from tests.benchmarks.style_exam import Bench, Prompts, Reference, artworks_of, train_style
from training.distance import distance, gap_closed
from training.starter.classifier import Reader, read, share_right
from training.starter.evaluate import PaintPlan, paint
from training.starter.hands import HELD_OUT

HANDS = tuple(HELD_OUT)


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


class Unpacked(GroupedLinear):
    """A layer in four bits with groups that keeps what these stand for; an adapter sees its groups all the same."""

    full: Tensor

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.full, self.bias)


def unpack(unet: nn.Module, path: str, layer: Any) -> None:
    """Let the layer in four bits at a path compute with the weights that they stand for."""
    full = weights_of(layer)
    if isinstance(layer, GroupedLinear):
        layer.full, layer.__class__ = full, Unpacked
    else:
        put(unet, path, full, layer.bias)


def put(unet: nn.Module, path: str, weight: Tensor, bias: nn.Parameter | None) -> None:
    """Put a plain linear layer of these weights at a path."""
    with torch.device("meta"):
        plain = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    plain.weight = nn.Parameter(weight, requires_grad=False)
    plain.register_parameter("bias", bias)
    replace_layer(unet, path, plain)


def opened(name: str, home: Home, device: str) -> Base:
    """The starter with its linear layers kept in a way."""
    return open_base("starter", home, device=device, safety_checker=False, quantize=name)


def unpacked(base: Base) -> Base:
    """The same base, computing with the weights that its four bits stand for."""
    for path, layer in four_bit_layers(base.unet):
        unpack(base.unet, path, layer)
    return base


@torch.no_grad()
def merge(base: Base, style: Style) -> None:
    """Add a style at weight 1 to a base in four bits: exactly where these have groups, else rounding all of it again."""
    quantization = quantization_of(base.quantize)
    assert quantization is not None
    if quantization.method == "qa4":
        from styles.mixing.group_merge import merge_styles

        merge_styles(base, [(style, 1.0)])
        return
    for layer in style.layers:
        before = base.unet.get_submodule(layer.path)
        replace_layer(base.unet, layer.path, again(before, change_of(layer), quantization))


def change_of(layer: StyleLayer) -> Tensor:
    return layer.scale * (layer.up.float() @ layer.down.float())


def again(layer: Any, change: Tensor, quantization: Quantization) -> nn.Module:
    """A layer in four bits with a change added to its weights, all of them quantised again."""
    tensors = quantized(weights_of(layer) + change, quantization)
    return layer_of(tensors, layer.bias, layer, quantization, torch.float32)


# --- making ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Runs:
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
            unpacked(opened(way, self.home, self.device)), Prompts.of(0), PaintPlan(), TRIGGER, None, none
        )

    def error(self, way: str) -> float:
        """How far the weights that are kept in a way are off: root of squares, over that of the weights."""
        plain = self.bench(PLAIN).base.unet
        off = size = 0.0
        for path, layer in four_bit_layers(opened(way, self.home, self.device).unet):
            weight = plain.get_submodule(path).weight
            off += float((weights_of(layer) - weight).square().sum())
            size += float(weight.square().sum())
        return (off / size) ** 0.5 if size else 0.0

    @torch.no_grad()
    def rounding(self, way: str, style: Style) -> float:
        """What quantising again rounds off when a style is merged, root of squares, over that of its change."""
        quantization = quantization_of(way)
        assert quantization is not None
        unet, off, size = opened(way, self.home, self.device).unet, 0.0, 0.0
        for layer in style.layers:
            before, change = unet.get_submodule(layer.path), change_of(layer)
            after = weights_of(again(before, change, quantization))
            off += float((after - weights_of(before) - change).square().sum())
            size += float(change.square().sum())
        return (off / size) ** 0.5

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

    def file(self, painting: Painting) -> Path:
        return self.out / "pictures" / f"{painting.name}.npy"

    def count(self, painting: Painting) -> int:
        """How many of a painting's pictures are kept."""
        path = self.file(painting)
        return len(np.load(path, mmap_mode="r")) if path.is_file() else 0

    def pictures(self, painting: Painting, count: int) -> np.ndarray:
        """The first `count` pictures (count, H, W, 3) uint8; those that are missing are painted."""
        path, done = self.file(painting), self.count(painting)
        there = np.load(path) if done else None
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
        bench, numbers = self.bench(painting.base), list(prompts.numbers)
        if style is None:
            return paint(bench.base, prompts.texts(), numbers, bench.painting)
        if not painting.merged:
            return replace(bench, prompts=prompts).paint(style, 1.0)
        base = opened(painting.base, self.home, self.device)
        merge(base, style)
        return paint(unpacked(base), prompts.texts(TRIGGER), numbers, bench.painting)


# --- reading ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measures:
    """What the pictures are measured by."""

    runs: Runs
    reader: Reader | None
    count: int

    @cache  # noqa: B019
    def reference(self, hand: str) -> Reference:
        bench = self.runs.bench(PLAIN)
        prompts = Prompts.of(self.count, self.runs.first)
        return Reference.of(replace(bench, prompts=prompts, reader=self.reader), hand)

    def has(self, painting: Painting) -> bool:
        return self.runs.count(painting) >= self.count

    @cache  # noqa: B019
    def d(self, painting: Painting, hand: str) -> float:
        pictures = self.runs.pictures(painting, self.count)
        return distance(pictures, self.reference(hand).look).overall

    def d_of(self, painting: Painting) -> float:
        """The style distance from the hand that its style was trained on."""
        assert painting.training is not None
        return self.d(painting, painting.training.hand)

    def closed(self, painting: Painting) -> float:
        """The share of the plain base's gap."""
        assert painting.training is not None
        hand = painting.training.hand
        far, floor = self.d(Painting(PLAIN), hand), self.reference(hand).floor["overall"]
        return gap_closed(far, self.d(painting, hand), floor)

    @cache  # noqa: B019
    def subjects(self, painting: Painting) -> float:
        """The share of subjects read, of that in true drawings."""
        assert painting.training is not None and self.reader is not None
        right = read(self.reader, self.runs.pictures(painting, self.count))["subject"]
        true = self.reference(painting.training.hand).subject
        assert true
        return share_right(right, Prompts.of(self.count, self.runs.first).subjects) / true

    def between(self, one: Painting, other: Painting) -> tuple[float, float]:
        """Style distance, and the mean difference of a pixel of 255, of two sets of pictures of the same prompts."""
        a, b = (self.runs.pictures(painting, self.count) for painting in (one, other))
        return distance(a, b).overall, float(np.abs(a.astype(np.float32) - b).mean())


def same_steps(runs: Runs, steps: int = 3) -> dict[str, bool]:
    """Whether a style trained over four bits is, to the last bit, the one trained over what they stand for."""
    artworks, same = artworks_of(HANDS[0], runs.out / "artworks"), {}
    for way in QUANTIZATIONS:
        trained: list[Style] = []
        for base in (opened(way, runs.home, runs.device) for _ in range(2)):
            bench = replace(runs.bench(PLAIN), base=base if trained else unpacked(base))
            style, _ = train_style(
                bench, runs.home, artworks, "balanced", 0, steps=steps, quantize=way, preview_every=0
            )
            trained.append(style)
        same[way] = all(
            torch.equal(a.up, b.up) and torch.equal(a.down, b.down)
            for a, b in zip(trained[0].layers, trained[1].layers, strict=True)
        )
    return same
