"""The ways in which files write a low-rank change, each brought to the factors that a blend stacks.

LoRA (arXiv 2106.09685), LoCon with a middle factor, LoHa and LoKr (LyCORIS, arXiv 2309.14859). With `W` the change,
`.` the Hadamard and `x` the Kronecker product:
LoCon: W = up mid down; LoHa: W = (a1 b1) . (a2 b2), a LoRA of rank r1 r2; LoKr: W = w1 x w2, of the product of
the factors' ranks. All three are exact; a change that needs more ranks than there is room for is cut to the
nearest of fewer (Eckart-Young), and how much that loses is told.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from styles.lycoris_shapes import Written

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Change:
    """The factors of a layer, and the squared sizes of its change and of what was cut off it."""

    down: Tensor  # (r, in) or (r, in, kh, kw)
    up: Tensor  # (out, r) or (out, r, 1, 1)
    gain: float = 1.0  # the change is gain * up @ down: a power of two
    square: float = 0.0
    lost: float = 0.0


def change(of: Written, parts: Mapping[str, Tensor], most: int, measured: bool = True) -> Change:
    """Return the factors of a layer, exactly, or with the `most` ranks that come nearest to it.

    The size of an exact change is 0 unless it is to be `measured`, which takes as much memory as ranks squared.
    """
    if of.plain:
        return Change(parts["down"], parts["up"])
    import torch

    parts = {name: part.to(torch.float32) for name, part in parts.items()}
    if of.kind == "LoRA":
        up, down = _of_lora(of, parts)
    elif of.kind == "LoHa":
        up, down = _of_loha(of, parts)
    elif of.rank > most:
        return _shaped(of, *_cut_kron(*_kron_parts(parts), most))
    else:
        (up1, down1), (up2, down2) = (_trivial(pair) for pair in _kron_parts(parts))
        up, down = _kron(up1, up2), _kron(down1, down2)
    if len(down) > most:
        return _shaped(of, *_cut(up.double() @ down.double(), most))
    square = 0.0
    if measured and of.kind != "LoRA":
        square = float(((up.T @ up).double() * (down @ down.T).double()).sum())
    return _shaped(of, up, down, max(square, 0.0), 0.0)


# Numbers, all in fp32 and flat: up (out, r), down (r, in * kh * kw)


def _of_lora(of: Written, parts: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    up, down = parts["up"].flatten(1), parts["down"].flatten(1)
    if "mid" in parts:
        down = _with_core(parts["mid"], down)
    return (up, down) if len(down) == of.rank else _trivial(up @ down)


def _of_loha(of: Written, parts: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    pairs = []
    for n in (1, 2):
        up, down = parts[f"hada_w{n}_a"], parts[f"hada_w{n}_b"]
        if f"hada_t{n}" in parts:
            up, down = up.T, _with_core(parts[f"hada_t{n}"], down)
        pairs.append((up, down))
    (up1, down1), (up2, down2) = pairs
    if len(down1) * len(down2) > of.rank:  # no change of that shape has so many ranks
        return _trivial((up1 @ down1) * (up2 @ down2))
    up = (up1[:, :, None] * up2[:, None, :]).flatten(1)  # (out, r1 r2)
    return up, (down1[:, None] * down2[None]).flatten(0, 1)


def _kron_parts(parts: Mapping[str, Tensor]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Return both Kronecker factors, each as one matrix or as (up, down)."""
    found: list[tuple[Tensor, ...]] = []
    for n in (1, 2):
        if f"lokr_w{n}" in parts:
            found.append((parts[f"lokr_w{n}"].flatten(1),))
        elif f"lokr_t{n}" in parts:
            found.append((parts[f"lokr_w{n}_a"].T, _with_core(parts[f"lokr_t{n}"], parts[f"lokr_w{n}_b"])))
        else:
            found.append((parts[f"lokr_w{n}_a"], parts[f"lokr_w{n}_b"]))
    return found[0], found[1]


def _kron(first: Tensor, second: Tensor) -> Tensor:
    """Return the Kronecker product of two matrices; torch's own fails on transposed ones of rank 1."""
    rows, columns = len(first) * len(second), first.shape[1] * second.shape[1]
    return (first[:, None, :, None] * second[None, :, None, :]).reshape(rows, columns)


def _with_core(core: Tensor, down: Tensor) -> Tensor:
    """Return (r, in * kh * kw) of a core (r, r, kh, kw), which stands on a 1x1 down (r, in)."""
    import torch

    return torch.einsum("ijkl,jc->ickl", core, down).flatten(1)


def _trivial(pair: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """Return exact factors (up, down) of as few ranks as a glance shows."""
    import torch

    if isinstance(pair, tuple):
        if len(pair) == 2:
            up, down = pair
            return (up, down) if len(down) <= min(len(up), down.shape[1]) else _trivial(up @ down)
        (pair,) = pair
    rows, columns = pair.shape
    if rows <= columns:
        return torch.eye(rows), pair
    return pair, torch.eye(columns)


def _cut(whole: Tensor, most: int) -> tuple[Tensor, Tensor, float, float]:
    """Return (up, down, square, lost) of the nearest change of `most` ranks of a whole one, fp64 (out, in)."""
    import torch

    left = whole.shape[0] <= whole.shape[1]
    sizes, basis = torch.linalg.eigh(whole @ whole.T if left else whole.T @ whole)  # ascending
    basis = basis[:, -most:]
    up, down = (basis, basis.T @ whole) if left else (whole @ basis, basis.T)
    square = float(sizes.sum())
    return up, down, square, max(0.0, square - float((down if left else up).square().sum()))


def _cut_kron(
    first: tuple[Tensor, ...], second: tuple[Tensor, ...], most: int
) -> tuple[Tensor, Tensor, float, float]:
    """Return the same of a Kronecker product, whose singular values are the products of its factors' ones."""
    import torch

    w1, w2 = (
        torch.linalg.multi_dot(pair).double() if len(pair) > 1 else pair[0].double()
        for pair in (first, second)
    )
    left = len(w1) * len(w2) <= w1.shape[1] * w2.shape[1]
    if not left:
        w1, w2 = w1.T, w2.T
    sizes1, basis1 = torch.linalg.eigh(w1 @ w1.T)
    sizes2, basis2 = torch.linalg.eigh(w2 @ w2.T)
    all_sizes = (sizes1.clamp(min=0)[:, None] * sizes2.clamp(min=0)[None]).flatten()
    kept = all_sizes.topk(min(most, len(all_sizes))).indices
    i, j = kept // len(sizes2), kept % len(sizes2)
    basis = (basis1[:, i][:, None] * basis2[:, j][None]).flatten(0, 1)  # (out, r)
    rest1, rest2 = (basis1.T @ w1)[i], (basis2.T @ w2)[j]
    rest = (rest1[:, :, None] * rest2[:, None]).flatten(1)  # (r, in)
    square = float(all_sizes.sum())
    lost = max(0.0, square - float(all_sizes[kept].sum()))
    return (basis, rest, square, lost) if left else (rest.T, basis.T, square, lost)


def _shaped(of: Written, up: Tensor, down: Tensor, square: float, lost: float) -> Change:
    """Give the factors their layer's shape and numbers around 1, by powers of two, which round nothing."""
    import torch

    gain = 1.0
    shifted = []
    for factor in (up, down):
        largest = float(factor.abs().max())
        exponent = round(math.log2(largest)) if 0 < largest < math.inf else 0
        shifted.append((factor * 2.0**-exponent).to(torch.float32).contiguous())
        gain *= 2.0**exponent
    up, down = shifted
    if of.kernel != (1, 1):
        down, up = down.reshape(-1, of.inputs, *of.kernel), up[:, :, None, None]
    return Change(down, up, gain, square, lost)
