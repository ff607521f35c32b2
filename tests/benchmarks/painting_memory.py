"""What painting a picture takes on a card at each stage, counted: with all parts of the base on it, and with those at work.

    python -m tests.benchmarks.painting_memory [--styles 2] [--rank 32] [--quantize nf4]

In fp16 with styles on all layers that kohya's scripts train, their ranks kept; what the work takes is times 1.25, and
0.5 GB are left to CUDA itself. GB are 10^9 bytes, a card's are 2^30.
"""

from __future__ import annotations

import argparse

from styles.quantization.quantization import PLAIN, QUANTIZATIONS
from tests.accelerator.painting_stages import CONTEXT_BYTES, GIB, SIDES_PX, stages


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--styles", type=int, default=2)
    parser.add_argument("--rank", type=int, default=32)
    parser.add_argument("--quantize", default=PLAIN, choices=(PLAIN, *QUANTIZATIONS))
    asked = parser.parse_args()
    for family, side_px in SIDES_PX.items():
        print(f"{family}, {side_px} px, {asked.styles} styles of rank {asked.rank}")
        for stage in stages(family, styles=asked.styles, rank=asked.rank, quantize=asked.quantize):
            cards = [(total + CONTEXT_BYTES) / GIB for total in (stage.resident, stage.offloaded)]
            print(
                f"  {stage.name:26} weights {stage.part_bytes / 1e9:.2f} work {stage.work_bytes / 1e9:.2f} "
                f"ranks {stage.ranks_bytes / 1e9:.2f}; all resident {stage.resident / 1e9:.2f} GB "
                f"(a card of {cards[0]:.2f}), offloaded {stage.offloaded / 1e9:.2f} GB (a card of {cards[1]:.2f})"
            )


if __name__ == "__main__":
    main()
