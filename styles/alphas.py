"""One alpha for all layers of a network, so that diffusers gives each layer the strength that its file says.

diffusers (0.42, `get_peft_kwargs`) takes the alpha that most layers of a network have, and finds the others by names
that it has not translated: attention layers with an alpha of their own would get the common one, twice as strong or
half as strong as they were made.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from styles.style import StyleLayer

if TYPE_CHECKING:
    from torch import Tensor

COMFORTABLE = 2.0**8  # the largest number that is left in a factor; fp16 ends at 2^16
SMALLEST = 2.0**-6  # the least that a factor's largest number may become; fp16 loses digits below 2^-14


def even_alphas(layers: Sequence[StyleLayer]) -> tuple[StyleLayer, ...]:
    """Return the layers with the commonest alpha of their network, what they do unchanged up to one rounding of `up`.

    A layer whose numbers would leave fp16's range keeps its own alpha.
    """
    told: dict[str, Counter[float]] = {}
    for layer in layers:
        told.setdefault(layer.network, Counter())[layer.alpha] += (
            layer.alpha != 0
        )  # 0 could stand for no other
    return tuple(_with_alpha(layer, told[layer.network].most_common(1)[0][0]) for layer in layers)


def _with_alpha(layer: StyleLayer, alpha: float) -> StyleLayer:
    if layer.alpha == alpha:
        return layer
    down, up = layer.down.float(), layer.up.float() * (layer.alpha / alpha)
    high, low = _largest(down), _largest(up)
    if high == 0 or low == 0:  # the layer changes nothing
        return replace(layer, up=up, alpha=alpha)
    if low > COMFORTABLE or low < SMALLEST:  # a power of two moved between the factors rounds nothing
        shift = 2.0 ** round(math.log2(high / low) / 2)
        down, up = down / shift, up * shift
        high, low = high / shift, low * shift
    if max(high, low) > COMFORTABLE or min(high, low) < SMALLEST:
        return layer
    return replace(layer, down=down, up=up, alpha=alpha)


def _largest(weight: Tensor) -> float:
    return float(weight.detach().abs().max())
