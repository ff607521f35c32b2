"""Whether channels_last is faster on this machine: a UNet's and a VAE's forward in both layouts, one after the other.

    python -m tests.benchmarks.memory_layout [--device cuda --dtype fp16] [--rounds 9]

Prints the median of channels_last's time over that of torch's usual layout; below 1 it is faster.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor

from styles.bases.conditioning import empty_conditioning
from styles.bases.prediction import predict
from styles.bases.shelf import STARTER
from styles.devices.device import wait_for
from styles.devices.precision import DTYPES
from tests.accelerator.counting import unet_config

# The first level of Stable Diffusion 1 and its second, one block each, as a whole UNet takes minutes on a CPU.
SD1_WIDTHS = {
    "block_out_channels": (320, 640),
    "layers_per_block": 1,
    "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
}
SIDE = 32  # latents


def seconds(call: Callable[[], Any], device: torch.device) -> float:
    began = time.perf_counter()
    call()
    wait_for(device)
    return time.perf_counter() - began


def ratio(model: Any, call: Callable[[], Tensor], device: torch.device, rounds: int) -> tuple[float, float]:
    """The median seconds in torch's usual layout, and those of channels_last over them."""
    layouts = (torch.contiguous_format, torch.channels_last)
    took: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + 1):
        for times, layout in zip(took, layouts, strict=True):
            model.to(memory_format=layout)
            seconds(call, device)
            spent = seconds(call, device)
            if number:
                times.append(spent)
    usual = statistics.median(took[0])
    return usual, statistics.median(last / first for first, last in zip(*took, strict=True))


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="fp32", choices=list(DTYPES))
    parser.add_argument("--rounds", type=int, default=9)
    asked = parser.parse_args()
    device, dtype = torch.device(asked.device), DTYPES[asked.dtype]
    torch.manual_seed(0)
    unets = {
        "the starter's UNet": UNet2DConditionModel.from_pretrained(STARTER, subfolder="unet"),
        "a UNet of SD1's first widths": UNet2DConditionModel(**{**unet_config("sd1"), **SD1_WIDTHS}),
    }
    for name, unet in unets.items():
        unet = unet.eval().to(device, dtype)
        side = 16 if "starter" in name else SIDE
        inputs = torch.randn(1, unet.config.in_channels, side, side).to(device, dtype)
        conditioning = empty_conditioning(unet, 2, 77, device, dtype)
        timestep = torch.tensor(500, device=device)
        call = partial(predict, unet, inputs, timestep, conditioning, 7.0)
        print(f"{name}: {_line(*ratio(unet, call, device, asked.rounds))}", flush=True)
    vae = AutoencoderKL.from_pretrained(STARTER, subfolder="vae").eval().to(device, dtype)
    latents = torch.randn(1, vae.config.latent_channels, SIDE, SIDE).to(device, dtype)
    decoding = ratio(vae, lambda: vae.decode(latents).sample, device, asked.rounds)
    print(f"the starter's VAE, decoding: {_line(*decoding)}", flush=True)


def _line(usual: float, share: float) -> str:
    return f"{usual * 1000:.0f} ms, channels_last x{share:.2f}"


if __name__ == "__main__":
    main()
