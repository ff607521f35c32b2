"""How much of a mix's change of the predicted noise is lost in half precision: the starter with its two styles.

python -m tests.benchmarks.mixing_loss

Against fp32, by the weights and ranks that the mix computes with; what the base's own rounding does to a step is left out.
`merged` is the share of its layers that have a weight of their own (those of cross-attention's keys and values never).
"""

from __future__ import annotations

import torch

from styles.bases.shelf import STARTER
from styles.formats.reader import read_style
from tests.conftest import REPOSITORY
from tests.styles.making import unet_of
from tests.styles.mixing_loss import loss, starter_predicted


@torch.no_grad()
def main() -> None:
    files = sorted((REPOSITORY / "styles" / "bundled").glob("*.safetensors"))
    styles = [read_style(file) for file in files]
    for dtype in (torch.float16, torch.bfloat16):
        unet = unet_of(STARTER, dtype).requires_grad_(False)
        for mix in (styles[:1], styles[1:], styles):
            for gain in (1.0, 0.5, 0.1):
                off, merged = loss(unet, mix, [gain] * len(mix), starter_predicted(unet))
                names = " and ".join(style.name for style in mix)
                print(f"{dtype}, {names} at {gain}: {off:.2%} lost, {merged:.0%} merged", flush=True)


if __name__ == "__main__":
    main()
