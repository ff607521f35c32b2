"""What a UNet predicts, with guidance and its rescale: for painting, previews, the effect probe and training alike."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from styles.bases.conditioning import Conditioning


def predict(
    unet: Any,
    inputs: Tensor,
    timestep: Tensor,
    conditioning: Conditioning,
    guidance: float | None = None,
    guidance_rescale: float = 0.0,
    *,
    apart: bool = False,
) -> Tensor:
    """Return the prediction (B, C, h, w) in fp32: noise or velocity, as the base has learnt.

    `inputs` (B, C, h, w) are noisy latents in the UNet's precision, scaled by the scheduler; `timestep` is a scalar or
    (B,); `conditioning` has B rows. With `guidance` (classifier-free, arXiv 2207.12598) it has 2B, the negative prompts'
    before the prompts', and `guidance_rescale` 0..1 brings the result's deviation back to that of the prompts'
    prediction (arXiv 2305.08891, section 3.4). Both halves go through the UNet together, or `apart` in half the memory.
    """
    if guidance is None:
        return _called(unet, inputs, timestep, conditioning)
    if apart:
        halves = conditioning.split(len(inputs))
        negative, positive = (_called(unet, inputs, timestep, half) for half in halves)
    else:
        negative, positive = _called(unet, torch.cat([inputs] * 2), timestep, conditioning).chunk(2)
    guided = negative + guidance * (positive - negative)
    if guidance_rescale > 0:
        axes = list(range(1, guided.ndim))
        rescaled = guided * (positive.std(axes, keepdim=True) / guided.std(axes, keepdim=True))
        guided = guidance_rescale * rescaled + (1 - guidance_rescale) * guided
    return guided


def _called(unet: Any, inputs: Tensor, timestep: Tensor, conditioning: Conditioning) -> Tensor:
    added = conditioning.added
    prediction: Tensor = unet(
        inputs,
        timestep,
        encoder_hidden_states=conditioning.states,
        return_dict=False,
        **({} if added is None else {"added_cond_kwargs": added}),
    )[0]
    return prediction.float()
