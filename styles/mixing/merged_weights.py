"""What is made of a mix's ranks when its gains have moved, so that the steps after it cost little or nothing.

Where all pictures have the same gains for many steps and memory allows, a layer gets a weight of its own,
`W + B g A`: accumulated in fp32, rounded once, always from the untouched W, so that nothing drifts. A step is then
one of the bare base. Elsewhere the ranks stay, without those of silent styles and with the gains in `up`.

Rounding to half precision loses what is small beside W. Of numbers spread over their powers of two the error is
0.19 eps of their own size; it is the same for every layer and independent from one to the next, so over n of L
layers, of which the mix changes each by d = ||B g A|| / ||W||, it is 0.19 eps sqrt(n) / (d sqrt(L)) of the mix's
change. Only so many layers are merged as keep that within `TOLERANCE`; a weak mix stays with its ranks.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from styles.devices.device import sent_to
from styles.errors import is_out_of_memory
from styles.mixing.gains import GROUPS, Gains
from styles.mixing.layer_patch import LayerPatch
from styles.mixing.low_rank import ActiveRanks, SharedRanks

# Of the mix's change: how much of it the rounding of merged weights may be.
TOLERANCE = {torch.float16: 0.02, torch.bfloat16: 0.05}
ROUNDING = 0.19  # of eps, root mean square
ATTENTION = (".attn1.to_q", ".attn1.to_k", ".attn1.to_v")  # which are given the same input


class MergedWeights:
    """The merged weights and the prepared ranks of a mix's layers, renewed by the first call after a gain moved."""

    def __init__(self, gains: Gains) -> None:
        self._gains = gains
        self._patches: list[LayerPatch] = []
        self._moves = -1
        self._budget_bytes = 0
        self._lasting = True
        self._spares_memory = False
        # Of a layer: the number of changes of its ranks, the products of what its styles change, and ||W||.
        self._norms: dict[str, tuple[int, Tensor, float]] = {}

    def serve(self, patches: Sequence[LayerPatch]) -> None:
        """Look after these layers from now on."""
        self._patches = list(patches)
        names = {patch.name for patch in patches}
        self._norms = {name: norms for name, norms in self._norms.items() if name in names}
        self._moves = -1

    def allow(self, budget_bytes: int) -> None:
        """Let the weights take so much memory in all; 0 lets go of them."""
        self._budget_bytes, self._moves = budget_bytes, -1
        if budget_bytes <= 0:
            self._let_go(self._patches)

    def last(self, lasting: bool) -> None:
        """Say whether the gains stay for more than one step, from which on merging pays."""
        if lasting != self._lasting:
            self._lasting, self._moves = lasting, -1

    def spare_memory(self, spare: bool) -> None:
        """Say whether to hold nothing beside the ranks: more kernels, and a third less memory than the prepared ones."""
        if spare != self._spares_memory:
            self._spares_memory = spare
            self.allow(0)
            for patch in self._patches:
                patch.active_ranks = None

    @property
    def held_bytes(self) -> int:
        """How much memory the weights take."""
        return sum(patch.merged_weight.nbytes for patch in self._patches if patch.merged_weight is not None)

    def bring_up_to_date(self) -> None:
        """Prepare all layers for the gains, if those have moved."""
        if self._moves != self._gains.moves:
            with torch.inference_mode(False), torch.no_grad():
                self._renew()
            self._moves = self._gains.moves

    def _renew(self) -> None:
        active = [patch for patch in self._patches if not patch.exact and not patch.silent]
        for patch in self._patches:
            patch.active_ranks = None if patch.silent else patch.active_ranks
        merged = self._chosen(active)
        here = {patch.name for patch in merged}
        self._let_go([patch for patch in self._patches if patch.name not in here])
        try:
            for patch in merged:
                self._merge(patch)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            self.allow(0)
            merged, here = [], set()
        self._prepare([patch for patch in active if patch.name not in here])

    # Weights

    def _chosen(self, active: Sequence[LayerPatch]) -> list[LayerPatch]:
        """The layers that get a weight of their own: the smallest first, which are those of the most places."""
        if self._budget_bytes <= 0 or self._spares_memory or not (self._lasting and self._gains.uniform):
            return []
        plain = sorted(
            (p for p in active if is_plain(p)), key=lambda patch: (patch.weight.nbytes, patch.name)
        )
        chosen, room = [], self._budget_bytes
        for patch in plain[: self._how_many(plain)]:
            room -= patch.weight.nbytes
            if room < 0:
                break
            chosen.append(patch)
        return chosen

    def _how_many(self, patches: Sequence[LayerPatch]) -> int:
        """How many of the layers may be rounded, by how much the mix changes them."""
        # A base may keep some of its layers in full precision.
        halves = {patch.weight_dtype for patch in patches} & TOLERANCE.keys()
        if not halves:
            return len(patches)
        dtype = max(halves, key=lambda half: torch.finfo(half).eps)
        change = sum(self._changes(patches)) / len(patches)
        share = TOLERANCE[dtype] * change / (ROUNDING * torch.finfo(dtype).eps)
        return min(len(patches), int(len(patches) * share**2)) if math.isfinite(share) else 0

    def _changes(self, patches: Sequence[LayerPatch]) -> list[float]:
        """||B g A|| / ||W|| of each layer, from products that don't depend on the gains."""
        old = [patch for patch in patches if self._norms.get(patch.name, (-1,))[0] != patch.changes]
        if old:
            places: dict[tuple[str, ...], Tensor] = {}
            products = [_products(patch, places) for patch in old]
            norms = [torch.linalg.vector_norm(patch.weight, dtype=torch.float32) for patch in old]
            # Brought over at once, so that the device is waited for a single time.
            numbers = torch.cat([*(matrix.flatten() for matrix in products), torch.stack(norms)])
            *parts, sizes = numbers.cpu().double().split([m.numel() for m in products] + [len(old)])
            for patch, part, size in zip(old, parts, sizes.tolist(), strict=True):
                self._norms[patch.name] = patch.changes, part.view(math.isqrt(len(part)), -1), size
        return [self._change(patch) for patch in patches]

    def _change(self, patch: LayerPatch) -> float:
        _, products, norm = self._norms[patch.name]
        gains = self._gains.of_first[patch.group]
        row = torch.tensor([gains[style] for style in _styles(patch)], dtype=torch.float64)
        return math.sqrt(max(0.0, float(row @ products @ row))) / norm if norm > 0 else math.inf

    def whole(self) -> dict[str, Tensor] | None:
        """Return the weights of all layers of the UNet that are active, by their names, with the mix in them.

        None where some of them can't have one: gains that differ or don't last, too little memory, a mix so weak that
        rounding would spoil it, a layer that computes in a way of its own.
        """
        active = [patch for patch in self._patches if patch.group != GROUPS[-1] and not patch.silent]
        if (
            not (self._lasting and self._gains.uniform)
            or sum(patch.weight.nbytes for patch in active) > self._budget_bytes
            or not all(patch.active and has_plain_weight(patch) for patch in active)
            or self._how_many(active) < len(active)
        ):
            return None
        with torch.inference_mode(False), torch.no_grad():
            for patch in active:
                self._merge(patch)
        return {patch.name: patch.merged_weight for patch in active if patch.merged_weight is not None}

    def _merge(self, patch: LayerPatch) -> None:
        """Make `W + B g A`, in the memory of the last one."""
        weight = patch.weight
        if patch.merged_weight is None:
            patch.merged_weight = torch.empty_like(weight)
        ranks = active_ranks(patch, self._gains)
        down = _rows(ranks.down, weight)
        torch.addmm(_rows(weight, weight), ranks.up.T, down, out=_rows(patch.merged_weight, weight))
        patch.merged_version = weight._version
        patch.active_ranks = None

    def _let_go(self, patches: Sequence[LayerPatch]) -> None:
        for patch in patches:
            patch.merged_weight = None

    # Ranks

    def _prepare(self, patches: Sequence[LayerPatch]) -> None:
        """Take the ranks that are active, those of one attention together."""
        attentions: dict[str, list[LayerPatch]] = {}
        for patch in patches:
            patch.active_ranks = active_ranks(patch, self._gains, copied=not self._spares_memory)
            if not self._spares_memory and patch.name.endswith(ATTENTION):
                attentions.setdefault(patch.name.rpartition(".")[0], []).append(patch)
        for members in attentions.values():
            share(members)


def active_ranks(patch: LayerPatch, gains: Gains, *, copied: bool = True) -> ActiveRanks:
    """Return the ranks of a layer whose style has a gain; what the last ones have in common with them is used again.

    Gains that all pictures share stand in a copy of `up`, if it may be `copied`.
    """
    last, active_styles = patch.active_ranks, gains.active_styles[patch.group]
    places = tuple(place for place, owner in enumerate(patch.owners) if owner in active_styles)
    first, count = places[0], len(places)
    if last is not None and last.places != places:
        last = None
    chosen: slice | Tensor = slice(first, first + count)
    if places[-1] - first + 1 != count:
        chosen = sent_to(patch.device, torch.tensor(places))
    down = patch.down[chosen] if last is None else last.down
    up, rows = patch.up[chosen], patch.rank_gains[:, chosen]
    if not (copied and gains.uniform):
        return ActiveRanks(down, up, rows, places, *((last.shared, last.member) if last else ()))
    # In the same memory, since it is done at every step of a schedule.
    memory = torch.empty_like(up) if last is None or last.gains is not None else last.up
    torch.mul(up, rows[0, :, None], out=memory)
    return ActiveRanks(down, memory, None, places, *((last.shared, last.member) if last else ()))


def share(members: Sequence[LayerPatch]) -> None:
    """Let the q, k and v of one attention compute their products together."""
    pairs = [(patch, patch.active_ranks) for patch in members if patch.active_ranks is not None]
    ranks = [one for _, one in pairs]
    last = ranks[0].shared
    if len(ranks) == 1:
        ranks[0].shared = None
        return
    ends = list(itertools.accumulate(len(one.down) for one in ranks))
    spans = tuple(slice(end - len(one.down), end) for end, one in zip(ends, ranks, strict=True))
    kept = last is not None and last.spans == spans and all(one.shared is last for one in ranks)
    down = last.down if kept and last is not None else torch.cat([one.down for one in ranks])
    alike = len({one.up.shape for one in ranks}) == 1 and all(one.gains is None for one in ranks)
    simple = all(is_plain(patch) and patch.module.bias is None for patch, _ in pairs)
    shared = SharedRanks(down, spans, torch.stack([one.up for one in ranks]) if alike and simple else None)
    for member, one in enumerate(ranks):
        one.shared, one.member = shared, member


def is_plain(patch: LayerPatch) -> bool:
    """Whether a layer of the UNet computes with another weight in the place of its own as it does with that."""
    return patch.prompt_states is None and patch.group != GROUPS[-1] and has_plain_weight(patch)


def has_plain_weight(patch: LayerPatch) -> bool:
    """Whether a layer's weight could be another one of the same kind."""
    weight = patch.weight
    return (
        patch.fresh
        and type(patch.module) in (nn.Linear, nn.Conv2d)
        and patch.module.weight is weight
        and weight.dtype == patch.down.dtype
        and weight.device == patch.down.device
        and not weight.is_inference()
        and (weight.is_contiguous() or weight.is_contiguous(memory_format=torch.channels_last))
    )


def _styles(patch: LayerPatch) -> list[str]:
    return sorted({owner for owner in patch.owners if owner})


def _products(patch: LayerPatch, places: dict[tuple[str, ...], Tensor]) -> Tensor:
    """The inner products of the changes of a layer's styles at gain 1, (styles, styles), in the order of `_styles`."""
    owners = tuple(patch.owners)
    if owners not in places:
        styles = _styles(patch)
        of_style = torch.tensor([[float(owner == style) for owner in owners] for style in styles])
        places[owners] = sent_to(patch.device, of_style)
    down, up = patch.down.flatten(1).float(), patch.up.float()
    return places[owners] @ ((down @ down.T) * (up @ up.T)) @ places[owners].T


def _rows(weight: Tensor, like: Tensor) -> Tensor:
    """View a weight as (out, everything else), in the order in which the numbers of `like` lie."""
    if weight.dim() == 4 and not like.is_contiguous():
        weight = weight.permute(0, 2, 3, 1)
    return weight.reshape(len(weight), -1)
