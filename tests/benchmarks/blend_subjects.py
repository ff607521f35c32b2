"""What the blend engine is measured on: UNets over the same weights in memory, random styles, and PEFT's way."""

from __future__ import annotations

import argparse
import copy
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from styles.devices.device import device_for
from styles.devices.precision import DTYPES
from styles.formats.style import Style, StyleCard
from tests.styles.making import random_style

STARTER = Path(__file__).resolve().parents[2] / "styles" / "starter"
TARGETS = r".*attn2\.to_(q|k|v|out\.0)"
GUIDANCE = 7.5


@dataclass(frozen=True)
class Subject:
    """A UNet to measure on, with what a step is given."""

    name: str
    unet: Any
    latents: Tensor  # (1, C, h, w)
    states: Tensor  # (2, tokens, width): negative, positive
    scheduler: Any

    @property
    def device(self) -> torch.device:
        return self.latents.device

    def shared(self, own: str = "") -> Any:
        """Return another UNet over the same weights in memory, but with its own of the layers under `own`."""
        kept = [
            tensor
            for name, tensor in (*self.unet.named_parameters(), *self.unet.named_buffers())
            if not own or own not in name
        ]
        return copy.deepcopy(self.unet, {id(tensor): tensor for tensor in kept})

    @torch.no_grad()
    def step(self, unet: Any, latents: Tensor, states: Tensor) -> Tensor:
        """Do one denoising step as the diffusers pipeline does."""
        timestep = self.scheduler.timesteps[10]
        both = self.scheduler.scale_model_input(torch.cat([latents, latents]), timestep)
        prediction = unet(both, timestep, encoder_hidden_states=states, return_dict=False)[0]
        without, withs = prediction.chunk(2)
        return self.scheduler.step(without + GUIDANCE * (withs - without), timestep, latents).prev_sample

    def many(self, pictures: int) -> tuple[Tensor, Tensor]:
        """Return (latents, states) of several pictures of the same prompt."""
        return self.latents.repeat(pictures, 1, 1, 1), self.states.repeat_interleave(pictures, 0)


def subject_of(name: str, arguments: argparse.Namespace) -> Subject:
    """Build or open what is measured on."""
    from diffusers import DDIMScheduler, UNet2DConditionModel

    device = device_for(arguments.device)
    torch.manual_seed(0)
    if name == "starter":
        unet, side, tokens = UNet2DConditionModel.from_pretrained(STARTER, subfolder="unet"), 16, 40
    elif name == "sd15":
        # diffusers' defaults are Stable Diffusion 1.5's, but for the width of its words.
        unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768)
        side, tokens = 32 if device.type == "cpu" else 64, 77
    else:
        unet = UNet2DConditionModel(
            block_out_channels=(32, 64), layers_per_block=1, cross_attention_dim=64, norm_num_groups=16,
            down_block_types=("CrossAttnDownBlock2D",) * 2, up_block_types=("CrossAttnUpBlock2D",) * 2,
        )  # fmt: skip
        side, tokens = 16, 7
    dtype = DTYPES[arguments.dtype or ("fp32" if device.type == "cpu" else "bf16")]
    unet = (unet if dtype == unet.dtype else unet.to(dtype)).to(device).requires_grad_(False).eval()
    side = arguments.latents or side
    scheduler = DDIMScheduler(clip_sample=False)
    scheduler.set_timesteps(20, device=device)
    return Subject(
        name,
        unet,
        torch.randn(1, unet.config.in_channels, side, side).to(device, dtype),
        torch.randn(2, tokens, unet.config.cross_attention_dim).to(device, dtype),
        scheduler,
    )


def styles_for(unet: Any, count: int) -> list[Style]:
    """Make random rank-8 styles on every attn2 layer."""
    styles = []
    for number in range(count):
        made = random_style(unet, f"style{number}", family="unknown", seed=number, rank=8)
        card = StyleCard(made.name, "unknown", 8, id=hashlib.sha256(made.name.encode()).hexdigest())
        styles.append(Style(card, made.layers))
    return styles


def with_peft(unet: Any, styles: Sequence[Style]) -> Any:
    """Put the same styles on through diffusers and PEFT, all of them on at once."""
    from peft import LoraConfig

    for style in styles:
        unet.add_adapter(
            LoraConfig(r=8, lora_alpha=style.layers[0].alpha, target_modules=TARGETS), style.name
        )
        for layer in style.layers:
            module = unet.get_submodule(layer.path)
            for factor, ours in ((module.lora_A, layer.down), (module.lora_B, layer.up)):
                factor[style.name].weight.data = ours.to(module.base_layer.weight)
    unet.set_adapters([style.name for style in styles], weights_for(len(styles)))
    return unet.requires_grad_(False)


def weights_for(count: int) -> list[float]:
    return [0.3 + 0.1 * (number % 5) for number in range(count)]


def fingerprint(unet: Any) -> str:
    digest = hashlib.sha256()
    for name, tensor in unet.state_dict().items():
        digest.update(
            name.encode() + tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
        )
    return digest.hexdigest()


def flops_of(call: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counted:
        call()
    return int(counted.get_total_flops())
