"""Arithmetic on low-rank changes `up @ down`: their size, their best smaller rank, and their form in a file.

Everything here works on the factors, `down` (R, in) and `up` (out, R) in fp64; the full change is never formed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

COMFORTABLE = (2.0**-6, 2.0**8)  # largest number of a factor; fp16 is exact to 2^-11 from 2^-14 to 2^16
LARGEST_ALPHA = 2.0**19  # what a style file may hold, with room to spare


@dataclass(frozen=True, eq=False)
class Factors:
    """A change `up @ down` of one layer; convolutions are flattened to (R, in * kh * kw)."""

    down: Tensor  # (R, in) fp64
    up: Tensor  # (out, R) fp64

    @property
    def rank(self) -> int:
        return int(self.down.shape[0])

    @property
    def widest_rank(self) -> int:
        """No change of this shape has a higher rank."""
        return min(int(self.down.shape[1]), int(self.up.shape[0]))

    def minus(self, other: Factors) -> Factors:
        """The difference of two changes, of the sum of their ranks."""
        return Factors(torch.cat([self.down, other.down]), torch.cat([self.up, -other.up], dim=1))

    def square(self) -> float:
        """The squared Frobenius norm, from R x R products only; differences are exact to 1e-8 of their parts."""
        return max(0.0, float(((self.up.T @ self.up) * (self.down @ self.down.T)).sum()))


def stacked(parts: list[Factors]) -> Factors:
    """The sum of changes: ranks add."""
    return Factors(torch.cat([part.down for part in parts]), torch.cat([part.up for part in parts], dim=1))


def squeezed(change: Factors, rank: int, look: Callable[[], None] = lambda: None) -> Factors:
    """The change of at most this rank that is nearest (Eckart-Young), by QR of both factors and the SVD of a small core.

    `look` is called in front of each of them.
    """
    look()
    down_basis, down_core = torch.linalg.qr(change.down.T)  # (in, k), (k, R)
    look()
    up_basis, up_core = torch.linalg.qr(change.up)  # (out, l), (l, R)
    look()
    left, sizes, right = torch.linalg.svd(up_core @ down_core.T, full_matrices=False)
    ranks = min(rank, int((sizes > 0).sum()))
    root = sizes[:ranks].sqrt()
    return Factors(root[:, None] * (right[:ranks] @ down_basis.T), (up_basis @ left[:, :ranks]) * root)


def factored(change: Tensor, rank: int) -> Factors:
    """The nearest factors of at most this rank of a full (out, in) change."""
    left, sizes, right = torch.linalg.svd(change, full_matrices=False)
    ranks = min(rank, int((sizes > 0).sum()))
    root = sizes[:ranks].sqrt()
    return Factors(root[:, None] * right[:ranks], left[:, :ranks] * root)


@dataclass(frozen=True, eq=False)
class Halved:
    """A change as a style file holds it: `alpha / R * up @ down`, the factors of fp16 numbers (as fp64 tensors)."""

    down: Tensor  # (R, in)
    up: Tensor  # (out, R)
    alpha: float

    @property
    def rank(self) -> int:
        return int(self.down.shape[0])

    @property
    def scale(self) -> float:
        return self.alpha / self.rank

    def factors(self) -> Factors:
        return Factors(self.down, self.up * self.scale)


def halved(change: Factors, alpha: float | None = None) -> Halved:
    """Round a change to a style file's numbers, with this alpha, or the rank where none is given.

    Each rank's row and column are brought to the same size, and all together into fp16's range, by powers of two:
    that rounds nothing, whatever weights and scales were folded in; extreme sizes change alpha by a power of four.
    What is left is one rounding of each number, by 2^-11 of it at most. A change that is no change has rank 1 and
    zeros.
    """
    if change.rank == 0:
        return Halved(
            change.down.new_zeros(1, change.down.shape[1]), change.up.new_zeros(len(change.up), 1), 1.0
        )
    alpha = alpha or float(change.rank)
    change = Factors(change.down, change.up * (change.rank / alpha))
    row, column = change.down.abs().amax(1), change.up.abs().amax(0)  # (R,)
    alive = (row > 0) & (column > 0)
    shift = torch.where(alive, ((column / row).log2() / 2).round(), 0.0).nan_to_num(0.0).exp2()
    down, up = change.down * shift[:, None], change.up / shift
    largest = float(torch.where(alive, row * shift, 0.0).max())
    if largest > 0 and not COMFORTABLE[0] <= largest <= COMFORTABLE[1]:
        exponent = min(round(math.log2(largest)), math.floor(math.log2(LARGEST_ALPHA / alpha) / 2))
        down, up, alpha = down * 2.0**-exponent, up * 2.0**-exponent, alpha * 4.0**exponent
    return Halved(_fp16(down), _fp16(up), alpha)


def _fp16(values: Tensor) -> Tensor:
    return values.to(torch.float16).to(torch.float64)
