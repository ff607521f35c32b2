"""A linear layer in four bits whose groups have a scale and an offset each (QA-LoRA, arXiv 2309.14717, section 3.3).

With torch's own operations alone, so that it computes wherever torch does. An update that is the same for all inputs of
a group is added to the offsets exactly: what comes of it is such a layer again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from styles.quantization.autocast import in_dtype_of

LEVELS = 15
MIDDLE = LEVELS / 2
AT_ONCE = 1 << 20  # weights that are quantised together


class GroupedLinear(nn.Linear):
    """`weight` (out, in / 2) uint8 holds two inputs to a byte, the even one in the low half.

    The weight of input i and output o is `scale[o, g] * (q[o, i] - 7.5) + offset[o, g]`, g = i // group; `scale` and
    `offset` are (out, in / group) fp16. Counted from the middle of the group, not from its least as in the paper, which
    is the same set of weights: the middle is smaller, so that fp16 rounds less of it and of what is added to it.
    """

    scale: Tensor
    offset: Tensor

    def __init__(
        self, weight: Tensor, scale: Tensor, offset: Tensor, bias: Tensor | None, dtype: torch.dtype
    ) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = 2 * weight.shape[1], weight.shape[0]
        self.group = self.in_features // scale.shape[1]
        self.dtype = dtype  # that it computes in
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.register_parameter("bias", None if bias is None else nn.Parameter(bias.to(dtype), False))
        self.register_buffer("scale", scale)
        self.register_buffer("offset", offset)

    def forward(self, input: Tensor) -> Tensor:
        """Return `W x + b`, (..., out), in the input's dtype; under autocast as any linear layer in what is computed in."""
        product: Tensor = _Product.apply(
            input.to(self.dtype), self.weight, self.scale, self.offset, self.bias
        )
        return in_dtype_of(input, product)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> GroupedLinear:
        """Move it, and leave its precisions as they are: its scales would be rounded."""

        def moved(tensor: Tensor) -> Tensor:
            return fn(tensor.view(torch.uint8)).view(tensor.dtype)

        super()._apply(moved, recurse)
        return self

    def dequantized(self) -> Tensor:
        """Return the weights (out, in) in the dtype that the layer computes in."""
        return unpacked(self.weight, self.scale, self.offset).to(self.dtype)


class SummedInputs(nn.Linear):
    """A LoRA's `down` over such a layer: `weight` (rank, in / group) reads the sum of each group of inputs.

    QA-LoRA, algorithm 1: the mean of each group times its size. The same as a plain `down` (rank, in) whose columns
    repeat, see `column_groups`.
    """

    def __init__(self, groups: int, rank: int) -> None:
        super().__init__(groups, rank, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        """Return (..., rank) of (..., in)."""
        return super().forward(input.unflatten(-1, (self.in_features, -1)).sum(-1))


class _Product(torch.autograd.Function):
    """Keeps the packed weights for the way back, and not what they come to."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, scale: Tensor, offset: Tensor, bias: Tensor | None
    ) -> Tensor:
        ctx.save_for_backward(weight, scale, offset)
        return F.linear(x, unpacked(weight, scale, offset).to(x.dtype), bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        return gradient @ unpacked(*ctx.saved_tensors).to(gradient.dtype), None, None, None, None


def packed(weight: Tensor, group: int) -> tuple[Tensor, Tensor, Tensor]:
    """Quantise weights (out, in) between the least and the largest of each group; returns (weight, scale, offset)."""
    # A few rows at once, as their numbers take much more memory on the way.
    parts = [_packed_rows(rows, group) for rows in weight.split(max(1, AT_ONCE // weight.shape[1]))]
    data, scale, offset = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    return data, scale, offset


def _packed_rows(weight: Tensor, group: int) -> tuple[Tensor, Tensor, Tensor]:
    grouped = weight.to(torch.float32).unflatten(1, (-1, group))
    least, largest = grouped.aminmax(dim=2)
    offset = ((least + largest) / 2).to(torch.float16)
    # From what is kept of the offset, so that both ends are reached all the same.
    reach = torch.maximum(largest - offset.float(), offset.float() - least)
    scale = (reach / MIDDLE).to(torch.float16)
    steps = torch.where(scale == 0, 1, scale.float()).unsqueeze(2)
    levels = ((grouped - offset.float().unsqueeze(2)) / steps + MIDDLE).round().clamp(0, LEVELS)
    levels = torch.where(scale.unsqueeze(2) == 0, 0, levels).flatten(1).to(torch.uint8)
    return levels[:, 0::2] | levels[:, 1::2] << 4, scale, offset


def unpacked(weight: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
    """Return the weights (out, in) that four bits stand for, in fp32."""
    levels = torch.stack((weight & LEVELS, weight >> 4), dim=2).flatten(1)
    grouped = levels.unflatten(1, (scale.shape[1], -1)).float() - MIDDLE
    return torch.addcmul(offset.float().unsqueeze(2), grouped, scale.float().unsqueeze(2)).flatten(1)
