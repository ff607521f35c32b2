"""The ways in which files write a low-rank change, told apart and judged by the shapes of their tensors alone.

LoRA (arXiv 2106.09685), LoCon with a middle factor, LoHa and LoKr (LyCORIS, arXiv 2309.14859); `lycoris.py` says what
their numbers mean.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from styles.families import kernel_of

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

    kind: str  # LoRA, LoHa or LoKr
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
        found = _lora(shapes)
    elif "hada_w1_a" in shapes:
        found = _loha(path, shapes)
    else:
        found = _lokr(path, shapes)
    if found is None or max(found.flat, found.outputs) > WIDEST:
        return None
    return found if found.plain or found.flat * found.outputs <= LARGEST_WHOLE else None


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
        found = _product(whole, shapes.get("lokr_w2_a"), shapes.get("lokr_w2_b"))
        if found is None:
            return None
        second, dim2 = found
    flat = c * second[1]
    if flat % (kernel[0] * kernel[1]):
        return None
    ranks = min(a, c, dim1 or a), min(*second, dim2 or second[0])
    inputs = flat // (kernel[0] * kernel[1])
    return _of_rank("LoKr", a * second[0], inputs, kernel, ranks[0] * ranks[1], dim2 or dim1)


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
