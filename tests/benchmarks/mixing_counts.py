"""Kernels and bytes of a painting step with styles in half precision, counted on meta tensors, over those without.

python -m tests.benchmarks.mixing_counts --families sd1 sdxl

One picture at native size with guidance, as on CUDA (attention in one kernel), the prompt's keys and values kept.
`merged` has the mix in weights of their own, `ranks` beside the base's; `move` is what the first step after a slider's
move has on top, in bytes of a step without styles, and `moved` that whole step, kernels and bytes.
"""

from __future__ import annotations

import argparse

from styles.devices.precision import DTYPES
from tests.accelerator.counting import meta_unet, unet_config
from tests.accelerator.mixing import LAYERS, MixCounter, meta_style

CASES = (
    (4, 32, "cross-attention"),
    (1, 32, "all"),
    (4, 32, "all"),
    (4, 128, "all"),
    (1, 32, "convolutions, too"),
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--families", nargs="+", choices=("sd1", "sd2", "sdxl"), default=["sd1", "sdxl"])
    parser.add_argument("--dtype", choices=tuple(DTYPES), default="fp16")
    parser.add_argument("--layers", nargs="+", choices=tuple(LAYERS), default=list(LAYERS))
    arguments = parser.parse_args()
    dtype = DTYPES[arguments.dtype]
    for family in arguments.families:
        unet = meta_unet(unet_config(family), dtype)
        side_px = 8 * unet.config.sample_size
        counter = MixCounter(unet, side_px, dtype)
        print(f"\n| {family}, {side_px} px, {arguments.dtype} | kernels | bytes | move | moved | weights |")
        print("|---|---|---|---|---|---|")
        for count, rank, layers in CASES:
            if layers in arguments.layers:
                measure(counter, count, rank, layers)


def measure(counter: MixCounter, count: int, rank: int, layers: str) -> None:
    """Print the lines of so many styles, merged and as ranks."""
    styles = [meta_style(counter.unet, f"style {number}", rank, layers) for number in range(count)]
    for merging in (True, False):
        counted = counter.count(styles, merging=merging)
        print(
            f"| {count} of rank {rank}, {layers}, {'merged' if merging else 'ranks'} "
            f"| {counted.step.kernels} of {counted.plain.kernels}, x{counted.kernels:.3f} "
            f"| {counted.step.moved_bytes / 1e9:.2f} of {counted.plain.moved_bytes / 1e9:.2f} GB, x{counted.moved:.3f} "
            f"| x{counted.move:.3f} "
            f"| x{counted.first.kernels / counted.plain.kernels:.3f}, x{counted.first.moved_bytes / counted.plain.moved_bytes:.3f} "
            f"| {counted.merged_bytes / 1e9:.2f} GB |",
            flush=True,
        )


if __name__ == "__main__":
    main()
