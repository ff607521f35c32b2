"""How near a base with a style merged into it comes to the mix, and what it takes, on the starter.

python -m tests.benchmarks.merging --home DIR
python -m tests.benchmarks.merging --full-width

For each size of groups a style is trained by the quick preset on the pictures that come along, merged at weights 1 and
0.6, saved, opened again and painted with: four seeds of 20 steps, in fp32 on the CPU, beside the style mixed on the base
in the same groups. The home is kept, and what lies there is not trained again.

At full width a style over groups of 32 is merged twice into random weights in the shapes of Stable Diffusion 1.5:
quantising them, and with the cache of the first time. Memory is anonymous (Linux), at its highest over the start.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from styles.bases.base import Base, open_base
from styles.bases.files.loading import import_models
from styles.formats.style import Style, StyleCard, StyleLayer
from styles.generation.generate import PictureDone, generate
from styles.generation.request import CreateRequest
from styles.library.library import Library
from styles.mixing.base_merge import merge_base
from styles.quantization.column_groups import expanded_columns
from styles.quantization.grouped_linear import GroupedLinear, unpacked
from styles.storage.home import Home
from tests.benchmarks.full_width import write_base
from training.job import Job
from training.loop import train
from training.plan import plan_for

ARTWORKS = Path("training/bundled/ochre_dabs")
PROMPT = "dabs, a red house in a meadow"
WEIGHTS = (1.0, 0.6)


def trained(home: Home, quantize: str) -> Style:
    """The style that was trained over groups of that size, made where it is not there."""
    library, name = Library(home), f"dabs {quantize}"
    if name not in {card.name for card in library.cards()}:
        plan = plan_for("quick", "starter", 8, name=name, trigger="dabs", quantize=quantize, preview_every=0)
        job = Job.create(home.jobs, plan, [ARTWORKS])
        with job.held():
            for event in train(job, device="cpu"):
                job.append(event)
    return library.open(name)


def opened(home: Home, source: str, quantize: str) -> Base:
    return open_base(source, home, device="cpu", dtype="fp32", quantize=quantize)


def painted(base: Base, styles: tuple[Style, ...], weights: tuple[float, ...]) -> np.ndarray[Any, Any]:
    """(pictures, height, width, 3), levels of 0 to 255."""
    request = CreateRequest(PROMPT, weights=(weights,) if weights else (), seeds=(1, 2, 3, 4), steps=20)
    events = generate(base, request, styles)
    return np.stack([np.asarray(one.image, dtype=float) for one in events if isinstance(one, PictureDone)])


def linear_bytes(base: Base) -> tuple[int, float]:
    """The bytes of the layers in four bits without their biases, and the bits for each weight."""
    layers = [module for module in base.unet.modules() if isinstance(module, GroupedLinear)]
    size = sum(layer.weight.nbytes + layer.scale.nbytes + layer.offset.nbytes for layer in layers)
    return size, 8 * size / sum(layer.in_features * layer.out_features for layer in layers)


def rounding(base: Base, merged: Base, style: Style, weight: float) -> tuple[float, float]:
    """How far the merged weights are off: of the style's change, and at most in halves of a unit of fp16."""
    off = change = most = 0.0
    for layer in style.layers:
        before, after = (one.unet.get_submodule(layer.path) for one in (base, merged))
        delta = weight * layer.scale * (layer.up.double() @ layer.down.double())
        error = _weights(after) - _weights(before) - delta
        off, change = off + float(error.square().sum()), change + float(delta.square().sum())
        offset = after.offset.double().abs().repeat_interleave(after.group, 1)
        most = max(most, float((error.abs() / (offset * 2.0**-11 + 2.0**-25)).max()))
    return (off / change) ** 0.5, most


def _weights(layer: Any) -> Any:
    return unpacked(layer.weight, layer.scale, layer.offset).double()


def wide_style(folder: Path) -> tuple[Style, int]:
    """A style of rank 16 over groups of 32 for all attention and feed-forward layers of a base, and the bytes of its
    largest linear layer in half precision.
    """
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(folder, subfolder="unet"))
    layers, largest = [], 0
    for path, module in unet.named_modules():
        if isinstance(module, torch.nn.Linear):
            largest = max(largest, 2 * module.weight.numel())
            if ".attn" in path or ".ff." in path:
                down = expanded_columns(0.02 * torch.randn(16, module.in_features // 32), 32).half()
                up = (0.02 * torch.randn(module.out_features, 16)).half()
                layers.append(StyleLayer("unet", path, down, up, 16.0))
    return Style(StyleCard("wide", "sd1", 16), tuple(layers)), largest


def anonymous_bytes() -> int:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def merge_full_width(scratch: Path) -> None:
    """Merge twice at full width; print a line for each."""
    folder, home = scratch / "base", Home(scratch / "home").create()
    # In a process of its own, as the memory that it frees would be taken again by the merge, and not counted.
    writing = multiprocessing.get_context("spawn").Process(
        target=write_base, args=(folder, "sd1", torch.float16)
    )
    writing.start()
    writing.join()
    style, largest = wide_style(folder)
    import_models()
    for cached in (False, True):
        start = peak = anonymous_bytes()
        ended = threading.Event()

        def watch() -> None:
            nonlocal peak
            while not ended.wait(0.01):  # noqa: B023
                peak = max(peak, anonymous_bytes())

        watching = threading.Thread(target=watch)
        watching.start()
        began = time.monotonic()
        merge_base(home, folder, [(style, 0.8)], f"Wide {cached}")
        seconds = time.monotonic() - began
        ended.set()
        watching.join()
        counted = sum(file.stat().st_size for file in (home.bases / "quantized").glob("*"))
        beyond = peak - start - (0 if cached else counted)
        print(
            f"{'cached' if cached else 'quantising'}: {seconds:.1f} s, {(peak - start) / 1e9:.3f} GB over the start; "
            f"weights in four bits {counted / 1e9:.3f} GB, beyond them {beyond / largest:.1f} times the largest layer "
            f"of {largest / 1e6:.0f} MB",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure merging into the starter.")
    parser.add_argument("--home", type=Path)
    parser.add_argument("--groups", type=int, nargs="*", default=(16, 32, 64))
    parser.add_argument(
        "--full-width", action="store_true", help="only merge random weights of SD1.5's shape"
    )
    arguments = parser.parse_args()
    if arguments.full_width:
        with tempfile.TemporaryDirectory() as scratch:
            merge_full_width(Path(scratch))
        return
    if arguments.home is None:
        parser.error("--home is missing")
    home = Home(arguments.home).create()
    for group in arguments.groups:
        quantize = f"qa4-{group}"
        style, base = trained(home, quantize), opened(home, "starter", quantize)
        plain, (size, _) = painted(base, (), ()), linear_bytes(base)
        for weight in WEIGHTS:
            name = f"{quantize} at {weight:g}"
            if not (home.bases / name).exists():
                merge_base(home, "starter", [(style, weight)], name)
            merged = opened(home, name, quantize)
            merged_size, bits = linear_bytes(merged)
            share, halves = rounding(base, merged, style, weight)
            mixed = painted(base, (style,), (weight,))
            difference = np.abs(painted(merged, (), ()) - mixed)
            print(
                f"{name}: bytes {merged_size / size:.2f}, bits {bits:.2f}; rounding {share:.2e} of the change, "
                f"at most {halves:.3f} halves of a unit; pictures {difference.max():.0f} of 255 at most, "
                f"{difference.mean():.4f} in the mean, of a change of {np.abs(mixed - plain).mean():.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
