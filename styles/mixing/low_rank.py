"""The two small products of a layer's ranks, in as few kernels as there can be."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# A rank's largest number in `up`: at the strongest weight and knob, 4 x 4, it is far from fp16's 65504.
LARGEST_UP = 1024.0


def normalised(down: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
    """Bring down (r, in, ...) and up (out, r) to a size that half precision holds; their product stays what it is.

    With the sum of a row of `down` at most 1, no product `A x` is larger than the largest number of x, so none
    overflows, whatever alpha is. By powers of two, which round nothing.
    """
    rows = down.flatten(1).abs().sum(1)  # (r,)
    factor = torch.minimum(rows, LARGEST_UP / up.abs().amax(0))
    factor = torch.exp2(torch.ceil(torch.log2(factor)))
    factor = torch.where(torch.isfinite(factor) & (factor > 0), factor, torch.ones_like(factor))
    # A rank that reads nothing might overflow all the same.
    up = torch.where(rows == 0, torch.zeros_like(up), up)
    return down / factor.view(-1, *[1] * (down.dim() - 1)), up * factor


def down_product(x: Tensor, down: Tensor, conv: nn.Conv2d | None) -> Tensor:
    """Return `A x`: (batch, ..., R), or (batch, R, H', W') for a convolution."""
    if conv is None:
        return F.linear(x, down)
    return F.conv2d(x, down, None, conv.stride, conv.padding, conv.dilation)


def add_product(y: Tensor, h: Tensor, up: Tensor, fresh: bool, exact: bool) -> Tensor:
    """Return `y + B h` in y's dtype, y (batch, ..., out) or (batch, out, H', W'); into y where it is `fresh` memory.

    In half precision it is accumulated in fp32 and rounded once. `exact`: on a CPU, where pictures of older versions
    have to come out bit for bit.
    """
    out, ranks = y.shape[-1], h.shape[-1]
    own = fresh and y.is_contiguous()
    if h.dim() != 4:
        if own and y.dtype == h.dtype:
            y.view(-1, out).addmm_(h.reshape(-1, ranks), up)
            return y
        if not exact and y.dtype == h.dtype:
            return torch.addmm(y.reshape(-1, out), h.reshape(-1, ranks), up).view(y.shape)
        delta = h @ up  # (batch, ..., out)
    elif not exact and y.dtype == h.dtype and fresh:
        return _add_to_channels(y, h, up)
    else:
        delta = (up.T @ h.flatten(2)).view(y.shape)
    return y.add_(delta) if own else (y + delta).to(y.dtype)


def _add_to_channels(y: Tensor, h: Tensor, up: Tensor) -> Tensor:
    """Write `y + B h` into y (batch, out, H, W), in whichever order its numbers lie."""
    if y.is_contiguous():
        y.flatten(2).baddbmm_(up.T.expand(len(y), -1, -1), h.flatten(2))
        return y
    if y.is_contiguous(memory_format=torch.channels_last):
        rows = y.permute(0, 2, 3, 1).view(-1, y.shape[1])
        rows.addmm_(h.permute(0, 2, 3, 1).reshape(-1, h.shape[1]), up)
        return y
    return y.add_((up.T @ h.flatten(2)).view(y.shape))


class SharedRanks:
    """The products of layers that are given the very same input one after the other: q, k and v of an attention.

    Computed for all of them when the first asks, and let go when the last has taken its part, or the input is gone.
    """

    def __init__(self, down: Tensor, spans: Sequence[slice], ups: Tensor | None) -> None:
        """`down` is (R of all, in), `ups` (members, R, out) where all are alike and all pictures have the same gains."""
        self.down, self.spans, self.ups = down, tuple(spans), ups
        self._waiting: set[int] = set()
        self._input: Callable[[], Tensor | None] = lambda: None
        self._version = -1
        self._parts: Sequence[Tensor] = ()

    def product(self, member: int, x: Tensor) -> Tensor:
        """Return a member's `A x` (batch, ..., R), or its `B A x` (batch * ..., out) where there are `ups`; ours to write into."""
        if not self._is_waiting(member, x):
            h = F.linear(x, self.down)
            if self.ups is None:
                self._parts = [h[..., span] for span in self.spans]
            else:
                h = h.view(-1, *self.ups.shape[:2])
                self._parts = torch.bmm(h.transpose(0, 1), self.ups).unbind()
            self._input, self._version = weakref.ref(x, self._let_go), x._version
            self._waiting = set(range(len(self.spans)))
        part = self._parts[member]
        self._waiting.discard(member)
        if not self._waiting:
            self._let_go()
        return part

    def _is_waiting(self, member: int, x: Tensor) -> bool:
        return member in self._waiting and self._input() is x and self._version == x._version

    def _let_go(self, reference: Any = None) -> None:
        if reference is None or reference is self._input:
            self._parts, self._input, self._waiting = (), lambda: None, set()


@dataclass
class ActiveRanks:
    """The ranks of a layer whose style has a gain, ready for the next calls."""

    down: Tensor  # (R, in[, kh, kw])
    up: Tensor  # (R, out), with the gains in it where all pictures have the same
    gains: Tensor | None  # (pictures, R) where they have not
    places: tuple[int, ...]  # of the layer's ranks
    shared: SharedRanks | None = None
    member: int = 0  # of the shared products

    def shares(self, x: Tensor) -> bool:
        """Whether the product of this input may be shared: whoever changes it is noticed, and nobody learns from it."""
        return self.shared is not None and not x.is_inference() and not x.requires_grad

    def product(self, x: Tensor, conv: nn.Conv2d | None) -> Tensor:
        """Return `A x`, ours to write into."""
        if self.shares(x) and self.shared is not None and self.shared.ups is None:
            return self.shared.product(self.member, x)
        return down_product(x, self.down, conv)

    def change(self, x: Tensor) -> Tensor | None:
        """Return `B A x` (batch * ..., out), ours to write into, where that is shared."""
        if self.shares(x) and self.shared is not None and self.shared.ups is not None:
            return self.shared.product(self.member, x)
        return None
