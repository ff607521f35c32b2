"""Which layers of an open base a style is for, and whether it can carry the style at all."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

from styles.errors import BlendError, WrongFamilyError
from styles.families import UNKNOWN, family_of
from styles.formats.style import Style, StyleLayer
from styles.text import Text, few, quoted

# transformers >= 5.6 has CLIPTextModel without this level, its other models with it; files come both ways.
TEXT_LEVEL = "text_model."
LEVEL = re.compile(r"(down|up)_blocks\.(\d{1,2})\.attentions\.")


class OpenBase(Protocol):
    """What a blend needs of an open base."""

    @property
    def name(self) -> str: ...
    @property
    def family(self) -> str: ...
    @property
    def unet(self) -> Any: ...
    @property
    def text_encoders(self) -> Sequence[Any]: ...
    @property
    def device(self) -> torch.device: ...


def key_of(style: Style) -> str:
    """Return the style's id, or a name for the time being of one that was never written."""
    return style.id or f"unsaved-{id(style)}"


def spot_of(layer: StyleLayer) -> str:
    """Name the module of a base that a layer is for, "network.path"; a text encoder's has several names in files."""
    if layer.network == "unet":
        return layer.name
    network = "te2" if layer.network == "te2" else "te"
    return f"{network}.{layer.path.removeprefix(TEXT_LEVEL)}"


@dataclass(frozen=True)
class InnerBlocks:
    """The blocks of a UNet that settle what is where; all others paint the surface."""

    within: tuple[str, ...]  # what their layers' paths begin with
    without: tuple[str, ...] = ()

    def hold(self, path: str) -> bool:
        """Whether a layer of the UNet is in one of them."""
        return path.startswith(self.within) and not path.startswith(self.without)


def inner_blocks(base: OpenBase) -> InnerBlocks:
    """Return the inner blocks of an open base.

    Inner are the middle, the lowest level with cross-attention, and all below it, on the way down and up: in Stable
    Diffusion 1 and 2 down_blocks 2 and 3 and up_blocks 0 and 1, in the starter and XL down_blocks 2 and up_blocks 0.
    Of these XL's up_blocks.0.attentions.1 is no inner one, see `Family.surface_blocks`.
    """
    down = getattr(base.unet, "down_blocks", ())
    return _inner([getattr(block, "has_cross_attention", False) for block in down], base.family)


def inner_blocks_of(paths: Iterable[str], family: str) -> InnerBlocks:
    """Return the inner blocks as far as the layers of a style show them, whatever base it will be used on."""
    places = [(match[1], int(match[2])) for path in paths if (match := LEVEL.match(path))]
    levels = 1 + max((number for _, number in places), default=0)
    return _inner([("down", level) in places for level in range(levels)], family)


def _inner(crossed: Sequence[bool], family: str) -> InnerBlocks:
    """The inner blocks of a UNet, given for each of its levels whether it has cross-attention."""
    last = len(crossed) - 1
    first = max((level for level, here in enumerate(crossed) if here), default=last)
    levels = range(max(first, 0), len(crossed))
    down = [f"down_blocks.{level}." for level in levels]
    up = [f"up_blocks.{last - level}." for level in levels]
    return InnerBlocks(("mid_block.", *down, *up), family_of(family).surface_blocks)


def check_family(base: OpenBase, styles: Sequence[Style]) -> None:
    """Raise WrongFamilyError unless all styles are for the base's family, BlendError for one given twice."""
    keys = [key_of(style) for style in styles]
    for style in styles:
        if keys.count(key_of(style)) > 1:
            raise BlendError("The style “{style}” is in the blend twice.", "Give it once.", style=style.name)
        if not style.card.may_fit(base.family):
            raise WrongFamilyError(
                "“{style}” is a {family}; the open base “{base}” is {base_family}.",
                "Open a base of its family, or choose another style.",
                style=style.name,
                family=style.card.made_for,
                base=base.name,
                base_family=family_of(base.family).name,
            )


def cross_attention_layers(unet: nn.Module) -> int:
    """Return how many layers of a UNet read the words: distilled ones have fewer than others of their family."""
    return sum(name.endswith(".attn2") for name, _ in unet.named_modules())


def check_same_blocks(base: OpenBase, style: Style) -> None:
    """Raise WrongFamilyError for a style that says that its base had more or fewer layers than the open one.

    Blocks of the same name stand for others there, even where all of the style's layers are found.
    """
    its = style.card.training.get("base_layers")
    if isinstance(its, int) and its != (ours := cross_attention_layers(base.unet)):
        raise WrongFamilyError(
            "“{style}” was trained on a base with {its} layers of cross-attention, {trained_on}; the open base “{base}” has {ours}, and its blocks stand for others.",
            "One of the two is distilled: open a base with the same layers, or choose another style.",
            style=style.name,
            its=its,
            trained_on=quoted(style.card.base_name),
            base=base.name,
            ours=ours,
        )


def check_one_family(styles: Sequence[Style], hint: Text) -> str:
    """Return the id of the family that all styles are for, `unknown` where none says; raises WrongFamilyError for two."""
    families = {style.card.family: style for style in styles if style.card.family != UNKNOWN.id}
    if len(families) > 1:
        (one, first), (other, second) = list(families.items())[:2]
        raise WrongFamilyError(
            "“{style}” is for {family}, “{other_style}” for {other_family}.",
            hint,
            style=first.name,
            family=family_of(one).name,
            other_style=second.name,
            other_family=family_of(other).name,
        )
    return next(iter(families), UNKNOWN.id)


def fitting(base: OpenBase, style: Style) -> list[tuple[StyleLayer, nn.Module]]:
    """Pair the style's layers with the base's.

    Raises WrongFamilyError naming those that don't fit, BlendError for a rank of 0 or above the layer's width.
    """
    check_same_blocks(base, style)
    pairs, misfits = [], []
    for layer in style.layers:
        widest = max(math.prod(layer.down.shape[1:]), layer.up.shape[0])
        if not 1 <= layer.rank <= widest or not math.isfinite(layer.scale):
            raise BlendError(
                "“{style}” has rank {rank} and alpha {alpha:g} at {layer}, which is {widest} wide.",
                "Such a layer can't be used; get or train the style anew.",
                style=style.name,
                rank=layer.rank,
                alpha=layer.alpha,
                layer=layer.name,
                widest=widest,
            )
        module = _module(base, layer)
        if module is None or not _fits(layer, module):
            misfits.append(layer.name)
        else:
            pairs.append((layer, module))
    if misfits:
        raise WrongFamilyError(
            "“{style}” changes {count} of {layers} layers that the open base “{base}” doesn't have in that shape: {misfits}.",
            "It is a {family}; half a style is worse than none, so it was not used. A distilled base has fewer layers than others of its family.",
            style=style.name,
            count=len(misfits),
            layers=len(style.layers),
            base=base.name,
            misfits=few(misfits, 3),
            family=style.card.made_for,
        )
    return pairs


def _module(base: OpenBase, layer: StyleLayer) -> nn.Module | None:
    if layer.network == "unet":
        root, paths = base.unet, [layer.path]
    else:
        which = 1 if layer.network == "te2" else 0
        if which >= len(base.text_encoders):
            return None
        root = base.text_encoders[which]
        bare = layer.path.removeprefix(TEXT_LEVEL)
        paths = [bare, TEXT_LEVEL + bare]
    for path in paths:
        try:
            return root.get_submodule(path)
        except AttributeError:
            continue
    return None


def _fits(layer: StyleLayer, module: nn.Module) -> bool:
    down, up = tuple(layer.down.shape), tuple(layer.up.shape)
    one_by_one = up[2:] in ((), (1, 1))
    if isinstance(module, nn.Linear):
        kernel: tuple[int, ...] = (1, 1)
        size = (module.in_features, module.out_features)
    elif isinstance(module, nn.Conv2d) and module.groups == 1 and module.padding_mode == "zeros":
        kernel = tuple(module.kernel_size)
        size = (module.in_channels, module.out_channels)
    else:
        return False
    return one_by_one and (down[1], up[0]) == size and (down[2:] or (1, 1)) == kernel and up[1] == down[0]
