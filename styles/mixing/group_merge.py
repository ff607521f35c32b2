"""Merging styles into a base in four bits with groups: exactly, and for good (QA-LoRA, arXiv 2309.14717, section 3.3).

What a style with such groups adds is the same for all inputs of a group, so it is added to the offsets:
`offset += weight * alpha / r * (B A)[o, g]`, in fp64 and rounded once. The four bits and the scales stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from styles.errors import BaseError, BlendError, WrongFamilyError
from styles.formats.style import Style, StyleLayer
from styles.mixing.layer_matching import OpenBase, check_family, fitting
from styles.quantization.column_groups import columns_repeat, grouped_columns
from styles.quantization.grouped_linear import AT_ONCE, GroupedLinear

Weighed = tuple[Style, float]


@dataclass(frozen=True)
class Merged:
    """How many layers of a base a merge has changed."""

    grouped: int
    # That are not in four bits: added to their weights, and rounded as those are.
    plain: int


def check_weights(styles: Sequence[Weighed]) -> None:
    """Raise BlendError for no style at all, and for a weight that changes nothing or is no number."""
    if not styles:
        raise BlendError("There is no style to merge.", "Name one or more: `--style NAME`, or NAME=0.8.")
    for style, weight in styles:
        if weight == 0 or not math.isfinite(weight):
            raise BlendError(
                "“{style}” can't be merged at weight {weight:g}.",
                "Give it a weight that changes something, or leave it out.",
                style=style.name,
                weight=weight,
            )


def check_layers(style: Style) -> None:
    """Raise WrongFamilyError for a style that changes text encoders, which stay as they are in a merge."""
    if any(layer.network != "unet" for layer in style.layers):
        raise WrongFamilyError(
            "“{style}” changes the text encoder as well, and only the UNet is merged.",
            "Merge a style that was trained here over qa4, or go on mixing this one.",
            style=style.name,
        )


def merge_styles(
    base: OpenBase, styles: Sequence[Weighed], look: Callable[[float], None] = lambda share: None
) -> Merged:
    """Merge styles at these weights into an open base, whose layers are changed in place.

    `look` is told the share that is computed, 0..1, before each layer, and may raise. Raises BaseError for a base that is not in four bits with groups, WrongFamilyError for a style of another base,
    without its groups, or with layers of text encoders, BlendError for weights that can't be; then the base is as it
    was.
    """
    check_weights(styles)
    if not any(isinstance(module, GroupedLinear) for module in base.unet.modules()):
        raise BaseError(
            "“{base}” is not in four bits with groups, so nothing can be merged into it exactly.",
            "Train the style over qa4, such as `train --quantize qa4-32`, and merge it into the base kept so.",
            base=base.name,
        )
    check_family(base, [style for style, _ in styles])
    changes: dict[str, list[tuple[StyleLayer, float]]] = {}
    for style, weight in styles:
        check_layers(style)
        for layer, module in fitting(base, style):
            if isinstance(module, GroupedLinear) and not columns_repeat(_down(layer), module.group):
                raise without_groups(style, module.group)
            changes.setdefault(layer.path, []).append((layer, weight))
    modules = {path: base.unet.get_submodule(path) for path in changes}
    made = {}
    for done, (path, parts) in enumerate(changes.items()):
        look(done / len(changes))
        made[path] = _changed(modules[path], parts)
    if not all(bool(tensor.isfinite().all()) for tensor in made.values()):
        raise BlendError(
            "At these weights the merged base would hold numbers that are too large.",
            "Merge with smaller weights.",
        )
    for path, tensor in made.items():
        module = modules[path]
        if isinstance(module, GroupedLinear):
            module.offset = tensor
        else:
            module.weight = nn.Parameter(tensor, requires_grad=False)
    grouped = sum(isinstance(module, GroupedLinear) for module in modules.values())
    return Merged(grouped, len(modules) - grouped)


def without_groups(style: Style, group: int) -> WrongFamilyError:
    """Return what is raised for a style whose columns don't repeat in groups of that size."""
    if style.card.bake is not None:
        return WrongFamilyError(
            "“{style}” was baked, and does not keep groups of {group} inputs, so it can't be merged exactly.",
            "If its styles were trained over qa4-{group}, bake them exactly or merge them; else mix it as it is.",
            style=style.name,
            group=group,
        )
    return WrongFamilyError(
        "“{style}” was not trained over groups of {group} inputs, so it can't be merged exactly.",
        "Train it over qa4-{group}, or mix it as it is.",
        style=style.name,
        group=group,
    )


def _down(layer: StyleLayer) -> Tensor:
    """A linear layer's `down` (rank, in), which a file may write as a 1x1 convolution's."""
    return layer.down.flatten(1)


def _changed(module: nn.Module, parts: Sequence[tuple[StyleLayer, float]]) -> Tensor:
    """Return a layer's offsets, or the weights of one not in four bits, with the styles' layers at their weights."""
    with torch.no_grad():
        if isinstance(module, GroupedLinear):
            before = module.offset
            downs = [grouped_columns(_down(layer), module.group) for layer, _ in parts]
        else:
            before = module.get_parameter("weight").data
            downs = [_down(layer) for layer, _ in parts]
        at: Any = {"device": before.device, "dtype": torch.float64}
        ups = [layer.up.flatten(1).to(**at) * (weight * layer.scale) for layer, weight in parts]
        downs = [down.to(**at) for down in downs]
        after = torch.empty_like(before)
        # A few rows at once: in fp64 they take four times the memory of a layer in half precision.
        step = max(1, AT_ONCE // before[0].numel())
        for start in range(0, len(before), step):
            rows = slice(start, start + step)
            total = before[rows].flatten(1).double()
            for up, down in zip(ups, downs, strict=True):
                total.addmm_(up[rows], down)
            after[rows] = total.view_as(after[rows])
        return after
