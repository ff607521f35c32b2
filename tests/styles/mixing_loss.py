"""How much of a mix a base in half precision loses."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from styles.formats.style import Style
from styles.mixing.model_patcher import blended
from tests.styles.making import PlainBase

PLENTY = 10**9  # bytes
Predicted = Callable[[Any, torch.dtype, dict[str, Tensor]], Tensor]


def deltas(styles: list[Style], gains: list[float]) -> dict[str, Tensor]:
    """What the styles change, exactly, by the path of the layer."""
    total: dict[str, Tensor] = {}
    for style, gain in zip(styles, gains, strict=True):
        for layer in style.layers:
            product = layer.up.double().flatten(1) @ layer.down.double().flatten(1)
            total[layer.path] = total.get(layer.path, 0) + product * (layer.scale * gain)
    return total


def loss(unet: Any, styles: list[Style], gains: list[float], predicted: Predicted) -> tuple[float, float]:
    """Return (how much of the mix is lost, how much of its layers is merged); a UNet in half precision.

    Lost is what the weights and ranks that it computes with are off, as a share of the mix's change of the prediction,
    with all else in fp32: the base's own rounding, which is larger than a weak mix, is none of it.
    """
    dtype = next(unet.parameters()).dtype
    reference = copy.deepcopy(unet).float()
    plain = predicted(reference, torch.float32, {})
    noise = (predicted(unet, dtype, {}) - plain).norm()
    exact, ours = {}, {}
    with blended(PlainBase(unet, "starter"), styles) as mix:
        mix.allow_merging(PLENTY)
        mix.set_gains(gains)
        got = predicted(unet, dtype, {})
        share = sum(patch.merged_weight is not None for patch in mix.patches.values()) / len(mix.patches)
        for path, delta in deltas(styles, gains).items():
            patch = mix.patches[f"unet.{path}"]
            weight = patch.weight.double()
            exact[f"{path}.weight"] = (weight + delta.view_as(weight)).float()
            if patch.merged_weight is not None:
                ours[f"{path}.weight"] = patch.merged_weight.float()
            elif patch.active_ranks is not None:
                product = patch.active_ranks.up.double().T @ patch.active_ranks.down.double().flatten(1)
                ours[f"{path}.weight"] = (weight + product.view_as(weight)).float()
    wanted = predicted(reference, torch.float32, exact)
    # A step rounds as much as the base's own does.
    assert (got - wanted).norm() <= 1.25 * noise
    off = (predicted(reference, torch.float32, ours) - wanted).norm() / (wanted - plain).norm()
    return float(off), share


def starter_predicted(unet: Any) -> Predicted:
    """Return what computes the starter's prediction, with some weights exchanged, for two pictures at two steps."""
    generator = torch.Generator().manual_seed(0)
    side, channels = unet.config.sample_size, unet.config.in_channels
    x = torch.randn(2, channels, side, side, generator=generator)
    words = torch.randn(2, 40, unet.config.cross_attention_dim, generator=generator)

    def predicted(network: Any, dtype: torch.dtype, weights: dict[str, Tensor]) -> Tensor:
        steps = [
            functional_call(network, weights, (x.to(dtype), step, words.to(dtype))).sample.float()
            for step in (800, 200)
        ]
        return torch.cat(steps)

    return predicted
