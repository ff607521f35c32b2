"""The ways in which files write a low-rank change: told apart by shapes alone, then brought to the factors of a blend.

LoRA (arXiv 2106.09685), LoCon with a middle factor, LoHa and LoKr (LyCORIS, arXiv 2309.14859). With `W` the change,
`.` the Hadamard and `x` the Kronecker product:
LoCon: W = up mid down; LoHa: W = (a1 b1) . (a2 b2), a LoRA of rank r1 r2; LoKr: W = w1 x w2, of the product of
the factors' ranks; in full (`diff`): W itself, of as many ranks as it has rows. All are exact; a change that needs more ranks than there is room for is cut to the
nearest of fewer (Eckart-Young), and how much that loses is told.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from styles.formats.layer_tables import kernel_of

if TYPE_CHECKING:
    from torch import Tensor

WIDEST = 1 << 16  # inputs with their kernel, or outputs; the widest layer of all families has 23,040
LARGEST_WHOLE = 1 << 26  # numbers of one layer's whole change, where it has to be formed: 256 MiB in fp32
# Numbers that all factors of a style may grow to when it is opened: 4 GiB in fp32, as the largest file may have. Files
# of a few megabytes can stand for the whole base.
ROOM = 1 << 30
MOST_WORK = 1 << 42  # multiplications to cut all layers; all of SDXL's would take half of it
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Written:
    """How one layer's change is written, as the shapes prove it."""

    kind: str  # LoRA, LoHa, LoKr or full
    outputs: int
    inputs: int
    kernel: tuple[int, int]  # (1, 1) where there is none
    rank: int  # of the factors that it is brought to
    dim: int  # what alpha is divided by; 0 where alpha says nothing
    plain: bool  # down and up are taken as they are

    @property
    def flat(self) -> int:
        """Inputs with their kernel."""
        return self.inputs * self.kernel[0] * self.kernel[1]

    @property
    def numbers(self) -> int:
        """How many numbers each rank has."""
        return self.flat + self.outputs


def written(path: str, shapes: Mapping[str, Shape]) -> Written | None:
    """Judge the shapes of a layer's parts against each other; None where they don't fit or are beyond all bounds."""
    if not all(map(all, shapes.values())):  # a side of 0
        return None
    if "down" in shapes:
        form = _lora(shapes)
    elif "hada_w1_a" in shapes:
        form = _loha(path, shapes)
    elif "diff" in shapes:
        form = _full(shapes["diff"])
    else:
        form = _lokr(path, shapes)
    if form is None or max(form.flat, form.outputs) > WIDEST:
        return None
    return form if form.plain or form.flat * form.outputs <= LARGEST_WHOLE else None


def room_for(layers: list[Written]) -> int:
    """Return the most ranks that a layer may have so that all factors together stay within bounds; 0 if none do."""
    most = 1 << 16
    while most and sum(min(of.rank, most) * of.numbers for of in layers if not of.plain) > ROOM:
        most //= 2
    return most


def work_of(layers: list[Written], most: int) -> int:
    """Return about how many multiplications it takes to cut the layers that have more than `most` ranks."""
    return sum(min(of.flat, of.outputs) ** 3 for of in layers if not of.plain and of.rank > most)


def _lora(shapes: Mapping[str, Shape]) -> Written | None:
    down, up, mid = shapes["down"], shapes["up"], shapes.get("mid")
    if len(down) not in (2, 4) or len(up) not in (2, 4) or up[2:] not in ((), (1, 1)) or up[1] != down[0]:
        return None
    kernel = down[2:] or (1, 1)
    if mid is not None:
        if len(mid) != 4 or mid[:2] != (down[0], down[0]) or kernel != (1, 1):
            return None
        kernel = mid[2:]
    inputs, outputs, rank = down[1], up[0], down[0]
    flat = inputs * kernel[0] * kernel[1]
    # No layer is used with more ranks than it has numbers; the few that are written so are brought to fewer.
    plain = mid is None and rank <= max(flat, outputs)
    return Written(
        "LoRA",
        outputs,
        inputs,
        (kernel[0], kernel[1]),
        rank if plain else min(rank, flat, outputs),
        rank,
        plain,
    )


def _loha(path: str, shapes: Mapping[str, Shape]) -> Written | None:
    a1, b1, a2, b2 = (shapes[f"hada_w{n}_{side}"] for n in (1, 2) for side in "ab")
    if any(len(shape) != 2 for shape in (a1, b1, a2, b2)):
        return None
    if "hada_t1" in shapes:
        t1, t2 = shapes["hada_t1"], shapes["hada_t2"]
        ranks = a1[0], a2[0]
        sizes_fit = a1[1] == a2[1] and b1 == (ranks[0], b2[1]) and b2[0] == ranks[1]
        cores_fit = (
            t1 == (ranks[0], ranks[0], *t1[2:]) and t2 == (ranks[1], ranks[1], *t1[2:]) and len(t1) == 4
        )
        if not sizes_fit or not cores_fit:
            return None
        return _of_rank("LoHa", a1[1], b1[1], t1[2:], ranks[0] * ranks[1], ranks[0])
    ranks = a1[1], a2[1]
    kernel = kernel_of(path)
    if a1[0] != a2[0] or b1 != (ranks[0], b2[1]) or b2[0] != ranks[1] or b1[1] % kernel**2:
        return None
    return _of_rank("LoHa", a1[0], b1[1] // kernel**2, (kernel, kernel), ranks[0] * ranks[1], ranks[0])


def _lokr(path: str, shapes: Mapping[str, Shape]) -> Written | None:
    first = _product(shapes.get("lokr_w1"), shapes.get("lokr_w1_a"), shapes.get("lokr_w1_b"))
    if first is None:
        return None
    (a, c), dim1 = first
    kernel: Shape = (kernel_of(path),) * 2
    core = shapes.get("lokr_t2")
    if core is not None:
        left, right = shapes["lokr_w2_a"], shapes["lokr_w2_b"]
        if len(left) != 2 or len(right) != 2 or len(core) != 4 or core[:2] != (left[0], right[0]):
            return None
        second, dim2, kernel = (left[1], right[1] * core[2] * core[3]), left[0], core[2:]
        if left[0] != right[0]:
            return None
    else:
        whole = shapes.get("lokr_w2")
        if whole is not None and len(whole) == 4:
            kernel, whole = whole[2:], (whole[0], math.prod(whole[1:]))
        product = _product(whole, shapes.get("lokr_w2_a"), shapes.get("lokr_w2_b"))
        if product is None:
            return None
        second, dim2 = product
    flat = c * second[1]
    if flat % (kernel[0] * kernel[1]):
        return None
    ranks = min(a, c, dim1 or a), min(*second, dim2 or second[0])
    inputs = flat // (kernel[0] * kernel[1])
    return _of_rank("LoKr", a * second[0], inputs, kernel, ranks[0] * ranks[1], dim2 or dim1)


def _full(shape: Shape) -> Written | None:
    if len(shape) not in (2, 4):
        return None
    kernel = shape[2:] or (1, 1)
    return _of_rank("full", shape[0], shape[1], kernel, min(shape[0], math.prod(shape[1:])), 0)


def _product(
    whole: Shape | None, left: Shape | None, right: Shape | None
) -> tuple[tuple[int, int], int] | None:
    """Return (shape, rank or 0) of a matrix that is whole, or a product of two."""
    if whole is not None:
        return ((whole[0], whole[1]), 0) if len(whole) == 2 else None
    if left is None or right is None or len(left) != 2 or len(right) != 2 or left[1] != right[0]:
        return None
    return (left[0], right[1]), left[1]


def _of_rank(kind: str, outputs: int, inputs: int, kernel: Shape, rank: int, dim: int) -> Written:
    flat = inputs * kernel[0] * kernel[1]
    return Written(kind, outputs, inputs, (kernel[0], kernel[1]), min(rank, flat, outputs), dim, False)


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
    elif of.kind == "full":
        up, down = _trivial(parts["diff"].flatten(1))
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
    pairs: list[tuple[Tensor, ...]] = []
    for n in (1, 2):
        if f"lokr_w{n}" in parts:
            pairs.append((parts[f"lokr_w{n}"].flatten(1),))
        elif f"lokr_t{n}" in parts:
            pairs.append((parts[f"lokr_w{n}_a"].T, _with_core(parts[f"lokr_t{n}"], parts[f"lokr_w{n}_b"])))
        else:
            pairs.append((parts[f"lokr_w{n}_a"], parts[f"lokr_w{n}_b"]))
    return pairs[0], pairs[1]


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
    largest = all_sizes.topk(min(most, len(all_sizes))).indices
    i, j = largest // len(sizes2), largest % len(sizes2)
    basis = (basis1[:, i][:, None] * basis2[:, j][None]).flatten(0, 1)  # (out, r)
    rest1, rest2 = (basis1.T @ w1)[i], (basis2.T @ w2)[j]
    rest = (rest1[:, :, None] * rest2[:, None]).flatten(1)  # (r, in)
    square = float(all_sizes.sum())
    lost = max(0.0, square - float(all_sizes[largest].sum()))
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
