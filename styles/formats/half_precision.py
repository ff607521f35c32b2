"""A style's layers as its file can hold them: one alpha for all of a network, and factors that fit into fp16.

diffusers (0.42, `get_peft_kwargs`) takes the alpha that most layers of a network have, and finds the others by names
that it has not translated: attention layers with an alpha of their own would get the common one, twice as strong or
half as strong as they were made. A layer that was hardly trained has numbers that fp16 would round away.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from styles.errors import StyleFileError
from styles.formats.style import StyleLayer

if TYPE_CHECKING:
    from torch import Tensor

TINY = 2.0**-12  # a factor whose largest number is below that would lose digits in fp16
HUGE = 2.0**15
COMFORTABLE = 2.0**8  # the largest number that is left in a factor; fp16 ends at 2^16
SMALLEST = 2.0**-6  # the least that a factor's largest number may become; fp16 loses digits below 2^-14


def even_alphas(layers: Sequence[StyleLayer]) -> tuple[StyleLayer, ...]:
    """Return the layers with the commonest alpha of their network, what they do unchanged up to one rounding of `up`.

    A layer whose numbers would leave fp16's range keeps its own alpha; all are fit for fp16.
    """
    counts: dict[str, Counter[float]] = {}
    for layer in layers:
        # 0 could stand for no other.
        counts.setdefault(layer.network, Counter())[layer.alpha] += layer.alpha != 0
    return tuple(
        fit_for_fp16(_with_alpha(layer, counts[layer.network].most_common(1)[0][0])) for layer in layers
    )


def _with_alpha(layer: StyleLayer, alpha: float) -> StyleLayer:
    if layer.alpha == alpha:
        return layer
    down, up = layer.down.float(), layer.up.float() * (layer.alpha / alpha)
    high, low = _largest(down), _largest(up)
    if high == 0 or low == 0:  # the layer changes nothing
        return replace(layer, up=up, alpha=alpha)
    if low > COMFORTABLE or low < SMALLEST:  # a power of two moved between the factors rounds nothing
        down, up = _levelled(down, up)
        high, low = _largest(down), _largest(up)
    if max(high, low) > COMFORTABLE or min(high, low) < SMALLEST:
        return layer
    return replace(layer, down=down, up=up, alpha=alpha)


def fit_for_fp16(layer: StyleLayer) -> StyleLayer:
    """Return the layer with a power of two moved between its factors where fp16 can't hold the numbers of one well."""
    import torch

    high, low = _largest(layer.down), _largest(layer.up)
    held = min(high, low) >= TINY and max(high, low) <= HUGE
    if held or layer.down.dtype == layer.up.dtype == torch.float16 or not 0 < high * low < math.inf:
        return layer
    down, up = _levelled(layer.down.float(), layer.up.float())
    return replace(layer, down=down, up=up)


def fp16(weight: Tensor, layer: StyleLayer) -> Tensor:
    """Return a factor as a file holds it; raises StyleFileError where fp16 can't hold its numbers."""
    import torch

    half = weight.detach().to("cpu", torch.float16).contiguous()
    if not bool(torch.isfinite(half).all()):
        raise StyleFileError(
            "{layer} holds values that are no numbers, or too large for a style file.",
            "The training diverged: use a lower learning rate.",
            layer=layer.name,
        )
    return half


def _levelled(down: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
    """Return two factors about as large as each other; neither may be all zeros."""
    shift = 2.0 ** round(math.log2(_largest(down) / _largest(up)) / 2)
    return down / shift, up * shift


def _largest(weight: Tensor) -> float:
    return float(weight.detach().abs().max())
