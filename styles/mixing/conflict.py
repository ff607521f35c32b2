"""Which styles of a mix fight, told from their files before anything is rendered.

Two styles change a layer by `D_i = s_i B_i A_i`. The cosine between `D_1` and `D_2`, as if each were one long vector,
needs only `B_1^T B_2` and `A_1 A_2^T`, both r x r. Below 0 they pull against each other and part of both is lost;
above 0 they pull the same way and add up; near 0, which is usual, they keep out of each other's way.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from styles.errors import BlendError
from styles.formats.kohya import kohya_name
from styles.formats.style import Style, StyleLayer
from styles.mixing.blend import MODES
from styles.mixing.layer_matching import check_one_family
from styles.text import Text

FIGHT = -0.1  # cosine over all layers; independent styles stay within 0.01 of 0
SAME_WAY = 0.3
WORST = 3  # places that are named for a pair


@dataclass(frozen=True)
class LayerCosine:
    """How two styles pull at one layer, -1 against each other to 1 the same way."""

    layer: str  # "network.path"
    cosine: float
    share: float  # 0..1, of the whole pair's fight or agreement that happens here

    @property
    def place(self) -> str:
        """The layer's place in words."""
        return place_of(self.layer)


@dataclass(frozen=True)
class Pair:
    """How two styles of a mix pull, with the signs of their weights; `worst` are the layers where most of it happens."""

    first: str  # style id
    second: str
    cosine: float  # over all layers together
    worst: tuple[LayerCosine, ...]

    @property
    def fights(self) -> bool:
        return self.cosine <= FIGHT

    @property
    def same_way(self) -> bool:
        return self.cosine >= SAME_WAY


@dataclass(frozen=True)
class Verdict:
    """What to know about a mix before rendering it: pairs, the worst fight first, and a mode with its reason."""

    pairs: tuple[Pair, ...]
    mode: str  # one of styles.mixing.blend.MODES
    reason: Text

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        pairs = [
            {
                "first": pair.first,
                "second": pair.second,
                "cosine": pair.cosine,
                "fights": pair.fights,
                "same_way": pair.same_way,
                "where": [
                    {"layer": at.layer, "place": at.place, "cosine": at.cosine, "share": at.share}
                    for at in pair.worst
                ],
            }
            for pair in self.pairs
        ]
        return {"pairs": pairs, "mode": self.mode, "reason": self.reason}


@dataclass(frozen=True, eq=False)
class Overlap:
    """The inner products of all styles' changes at weight 1, layer by layer.

    They don't depend on the weights: computed once for a set of styles, every move of a slider is judged from these.
    """

    ids: tuple[str, ...]
    names: tuple[str, ...]  # in the order of ids
    layers: tuple[str, ...]
    products: Tensor  # (layers, styles, styles) fp64

    @property
    def cosines(self) -> Tensor:
        """(layers, styles, styles): the cosine at each layer, 0 where one of the two does nothing."""
        return _cosines(self.products)

    def judge(self, weights: Sequence[float], mode: str = MODES[0]) -> Verdict:
        """Say which styles fight at these weights, in the order of `ids`; styles of weight 0 are left out.

        `mode` is how they are mixed now, one of `styles.mixing.blend.MODES`. Raises BlendError.
        """
        if len(weights) != len(self.ids) or not all(math.isfinite(weight) for weight in weights):
            raise BlendError(
                "{count} weights don't fit {ids} styles.",
                "Give one number for each style.",
                count=len(weights),
                ids=len(self.ids),
            )
        signs = torch.tensor([math.copysign(1.0, weight) for weight in weights], dtype=torch.float64)
        products = self.products * signs[:, None] * signs
        at_layers, overall = _cosines(products), _cosines(products.sum(0, keepdim=True))[0]
        acting = [column for column, weight in enumerate(weights) if weight != 0]
        pairs = [
            Pair(
                self.ids[a],
                self.ids[b],
                float(overall[a, b]),
                self._worst(products[:, a, b], at_layers[:, a, b], float(overall[a, b])),
            )
            for a, b in itertools.combinations(acting, 2)
        ]
        pairs.sort(key=lambda pair: pair.cosine)
        return Verdict(tuple(pairs), *self._advice(pairs, mode))

    def _worst(self, products: Tensor, cosines: Tensor, overall: float) -> tuple[LayerCosine, ...]:
        """The layers that make most of a pair's fight, or of its agreement where it agrees."""
        pull = (products * math.copysign(1.0, overall)).clamp_min(0.0)
        whole = float(pull.sum())
        if whole == 0:
            return ()
        most = pull.topk(min(WORST, len(pull))).indices.tolist()
        return tuple(
            LayerCosine(self.layers[row], float(cosines[row]), float(pull[row]) / whole) for row in most
        )

    def _advice(self, pairs: Sequence[Pair], mode: str) -> tuple[str, Text]:
        name = dict(zip(self.ids, self.names, strict=True))
        summed, turns = MODES[0], MODES[1]
        if pairs and pairs[0].fights:
            worst = pairs[0]
            where = worst.worst[0].place if worst.worst else Text("everywhere")
            fight = Text(
                "“{first}” and “{second}” pull against each other, most of all in {where}: added up, both lose.",
                first=name[worst.first],
                second=name[worst.second],
                where=where,
            )
            if mode == summed:
                way, advice = turns, Text("Taking turns lets each work at full strength.")
            else:
                way, advice = mode, Text("As this mix is, neither stands in the other's way.")
            return way, Text.joined(" ", [fight, advice])
        if pairs and pairs[-1].same_way:
            most = pairs[-1]
            two = {"first": name[most.first], "second": name[most.second]}
            if mode == summed:
                return summed, Text(
                    "“{first}” and “{second}” pull the same way and add up: lower their weights.", **two
                )
            return mode, Text(
                "“{first}” and “{second}” pull the same way; as this mix is, they don't add up.", **two
            )
        return summed, Text("These styles keep out of each other's way: they can simply be added.")


def overlap(styles: Sequence[Style]) -> Overlap:
    """Compute the inner products of all styles' changes; raises WrongFamilyError for two families.

    Raises BlendError where a layer differs in shape.
    """
    check_one_family(styles, Text("Compare styles of one family only."))
    layers: dict[str, list[tuple[int, StyleLayer]]] = {}
    names: dict[str, str] = {}
    for column, style in enumerate(styles):
        for layer in style.layers:
            key = kohya_name(layer.network, layer.path)
            layers.setdefault(key, []).append((column, layer))
            names.setdefault(key, layer.name)
    keys = sorted(layers)
    products = torch.zeros(len(keys), len(styles), len(styles), dtype=torch.float64)
    for row, key in enumerate(keys):
        _write_products(products[row], layers[key])
    ids = tuple(style.id for style in styles)
    return Overlap(ids, tuple(style.name for style in styles), tuple(names[key] for key in keys), products)


def _write_products(products: Tensor, parts: Sequence[tuple[int, StyleLayer]]) -> None:
    """Write the inner products of one layer into (styles, styles)."""
    if len({(layer.down[0].numel(), len(layer.up)) for _, layer in parts}) > 1:
        raise BlendError(
            "{style} has not the same shape in all of these styles.",
            "They are for different bases.",
            style=parts[0][1].name,
        )
    downs = torch.cat([layer.down.flatten(1).float() for _, layer in parts])  # (R, in)
    ups = torch.cat([layer.up.flatten(1).float() * layer.scale for _, layer in parts], dim=1)  # (out, R)
    both = (downs @ downs.T) * (ups.T @ ups)  # (R, R); summed over two styles' ranks: their inner product
    owners = torch.tensor([column for column, layer in parts for _ in range(layer.rank)])
    rows = torch.zeros(len(products), len(owners), dtype=torch.float64)
    rows.index_add_(0, owners, both.double())
    products.index_add_(1, owners, rows)


def _cosines(products: Tensor) -> Tensor:
    """(…, styles, styles) inner products to cosines."""
    sizes = products.diagonal(dim1=-2, dim2=-1).clamp_min(0.0).sqrt()
    both = sizes[..., :, None] * sizes[..., None, :]
    return torch.where(both > 0, products / both.clamp_min(1e-300), 0.0).clamp(-1.0, 1.0)


def place_of(layer: str) -> Text:
    """Say in words where in a base a layer is; `layer` is "network.path"."""
    network, _, path = layer.partition(".")
    if network != "unet":
        return Text("the reading of the words")
    block, _, rest = path.partition(".")
    number = rest.partition(".")[0]
    where = {
        "down_blocks": Text("down block {number}", number=number),
        "mid_block": Text("the middle block"),
        "up_blocks": Text("up block {number}", number=number),
    }
    part = {
        "to_q": Text("where the picture asks"),
        "to_k": Text("which words are heard"),
        "to_v": Text("what the words bring"),
        "to_out.0": Text("what is painted"),
    }
    what = next((words for end, words in part.items() if path.endswith(end)), None)
    place = where.get(block, Text("the rest of the UNet"))
    return Text("{place} ({what})", place=place, what=what) if what else place
