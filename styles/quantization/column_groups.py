"""Styles whose columns repeat within groups of inputs, as QA-LoRA (arXiv 2309.14717) makes them.

Such a layer is an ordinary LoRA whose `down` (rank, in) is a smaller one (rank, in / group), each of its columns
`group` times: what it adds to a weight is the same for all inputs of a group.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from styles.formats.style import Style


def expanded_columns(down: Tensor, group: int) -> Tensor:
    """Return (rank, in) of (rank, in / group): each column `group` times."""
    return down.repeat_interleave(group, dim=1)


def grouped_columns(down: Tensor, group: int) -> Tensor:
    """Return (rank, in / group) of (rank, in) whose columns repeat: the first column of each group."""
    return down[:, ::group]


def columns_repeat(down: Tensor, group: int) -> bool:
    """Whether the columns of (rank, in) are alike within each group, as precisely as a style's file in fp16 holds them.

    Each row is measured by its own largest number, so that none is too small or too large for fp16.
    """
    if down.shape[1] % group:
        return False
    rows = down.detach().to(torch.float32)
    largest = rows.abs().amax(1, keepdim=True)
    half = (rows / torch.where(largest == 0, 1, largest)).to(torch.float16).unflatten(1, (-1, group))
    return bool((half == half[:, :, :1]).all())


def style_repeats(style: Style, group: int) -> bool:
    """Whether the columns of all linear layers of a style's UNet repeat, where groups of that size divide them.

    Judged by its numbers, whatever its card says, so that it holds for files of other programs.
    """
    downs = [layer.down for layer in style.layers if layer.network == "unet" and layer.down.dim() == 2]
    return all(columns_repeat(down, group) for down in downs if down.shape[1] % group == 0)
