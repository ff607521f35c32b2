"""Any number of styles on an open base by stacked ranks; the base's weights are never touched.

For a layer `W` and styles i with `A_i` (r_i, in), `B_i` (out, r_i) and scale `s_i = alpha_i / r_i`:
`A = [A_1; ...; A_N]`, `B = [s_1 B_1 ... s_N B_N]` and `y = W x + B (g * (A x))`, where `g` (batch, R) holds the
weight of style i r_i times, a row for each picture. Two small products, however many styles there are.
Convolutions are the same with a convolution `A` and a 1x1 convolution `B`.

`gains.py` holds the weights, `stack.py` one layer; this module puts them on a base and takes them off again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from styles.errors import BlendError, WrongFamilyError
from styles.gains import Gains, Weights
from styles.stack import Stack, Words
from styles.style import FAMILY_NAMES, Style, StyleLayer

# transformers >= 5.6 has CLIPTextModel without this level, its other models with it; files come both ways.
TEXT_LEVEL = "text_model."


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


class BlendedModel:
    """A base with styles on it, as `blended` yields it."""

    def __init__(self, base: OpenBase) -> None:
        self.base = base
        self.styles: tuple[Style, ...] = ()
        self.gains = Gains(())
        self.stacks: dict[str, Stack] = {}  # by `spot_of`: one for each module of the base
        self._words = Words()
        self._inner = inner_blocks(base.unet)

    def set_gains(
        self, weights: Weights, composition: Weights | None = None, texture: Weights | None = None
    ) -> None:
        """Set the weights: (styles,) for all pictures, or (pictures, styles) with a row for each.

        In the order of `styles`. `composition` and `texture` are factors of the same shapes on the UNet's inner and
        outer blocks (see `inner_blocks`), 1 where they are not given. Where the model sees k times as many rows
        (guidance: negative, positive), the rows are repeated k times. Only writes numbers in place. Raises BlendError
        for a wrong shape or a number that is not finite, and then nothing has changed.
        """
        self.gains.set(weights, composition, texture)

    @property
    def active(self) -> bool:
        """Whether the styles act at all; off is the bare base, without losing the weights."""
        return all(stack.active for stack in self.stacks.values())

    @active.setter
    def active(self, value: bool) -> None:
        for stack in self.stacks.values():
            stack.active = value

    @torch.inference_mode(False)
    @torch.no_grad()
    def prompt(self, states: Tensor | None) -> None:
        """Tell which text states (batch, tokens, width) the UNet is going to be called with; None for none.

        Cross-attention's keys and values of them are then computed once, here, and not at every step; when a gain
        changes, only the styles' part again. A call with any other tensor computes everything afresh, and so does one
        after these states were written into (but for compiled and captured graphs: tell them anew). States made in
        inference mode or with gradients and prompts told under autocast aren't kept.
        """
        self._words.states = None  # so that an error below leaves nothing half-kept
        if states is not None and (
            states.is_inference() or states.requires_grad or torch.is_autocast_enabled(states.device.type)
        ):
            states = None
        for stack in self.stacks.values():
            if states is not None and stack.reads(states):
                stack.keep(states)
            else:
                stack.forget()
        if states is not None:
            self._words.states, self._words.version = states, states._version

    def add(self, style: Style) -> None:
        """Put one more style on, as the last of `styles` and with weight 0; the others' ranks stay as they are.

        Raises what `blended` raises, and then nothing has changed.
        """
        check_family(self.base, [*self.styles, style])
        self._put([style])

    def remove(self, style_id: str) -> None:
        """Take a style off by its id; the others keep their weights and ranks. Raises BlendError if it isn't on."""
        found = [style for style in self.styles if key_of(style) == style_id]
        if not found:
            raise BlendError(f"The style {style_id} is not in this blend.")
        self._remove(found[0])

    @torch.inference_mode(False)  # memory made inside inference mode could not be written outside it
    @torch.no_grad()
    def _put(self, styles: Sequence[Style]) -> None:
        """Stack the styles' ranks, or leave everything as it was."""
        pairs = {key_of(style): fitting(self.base, style) for style in styles}
        before, active = list(self.stacks), self.active
        ranks: dict[str, int] = {}
        try:
            for layer, module in (pair for fitted in pairs.values() for pair in fitted):
                spot = spot_of(layer)
                if spot not in self.stacks:
                    self.stacks[spot] = self._stack(layer, module, active)
                ranks[spot] = ranks.get(spot, 0) + layer.rank
            for name, more in ranks.items():
                self.stacks[name].reserve(self.stacks[name].taken + more)
            # Stacked by id, so that the order of the sliders can't change a single bit of the picture.
            for style in sorted(styles, key=lambda style: style.id):
                for layer in style.layers:
                    self.stacks[spot_of(layer)].put(key_of(style), layer)
        except BaseException:
            for name in ranks:
                for key in pairs:
                    self.stacks[name].remove(key)
            self.stacks = {name: self.stacks[name] for name in before}
            self._settle(ranks)
            raise
        for style in styles:
            self.gains.add(key_of(style))
        self.styles = (*self.styles, *styles)
        self._settle(ranks)
        for name in ranks:
            # On the instance: names in the state dict, hooks and the module's class stay as they are.
            self.stacks[name].module.forward = self.stacks[name]

    def _stack(self, layer: StyleLayer, module: nn.Module, active: bool) -> Stack:
        group = "words" if layer.network != "unet" else "outer"
        if group == "outer" and layer.path.startswith(self._inner):
            group = "inner"
        reads = layer.network == "unet" and layer.path.endswith(("attn2.to_k", "attn2.to_v"))
        stack = Stack(module, group, self.gains, self._words if reads else None)
        stack.active = active
        return stack

    @torch.inference_mode(False)
    @torch.no_grad()
    def _remove(self, style: Style) -> None:
        for layer in style.layers:
            self.stacks[spot_of(layer)].remove(key_of(style))
        self.gains.remove(key_of(style))
        self.styles = tuple(other for other in self.styles if other is not style)
        self._settle([spot_of(layer) for layer in style.layers])

    def _settle(self, changed: Iterable[str]) -> None:
        """Bring the gains, and what is kept of the prompt, up to the ranks."""
        self.gains.lay_out(list(self.stacks.values()))
        states = self._words.states
        if states is not None and not self._words.are(states):
            self.prompt(None)
        elif states is not None:
            for name in changed:
                if name in self.stacks and self.stacks[name].reads(states):
                    self.stacks[name].keep(states)

    def close(self) -> None:
        """Give every layer its own forward back."""
        for stack in self.stacks.values():
            if stack.before is None:
                vars(stack.module).pop("forward", None)
            else:
                stack.module.forward = stack.before


@contextmanager
def blended(base: OpenBase, styles: Sequence[Style]) -> Iterator[BlendedModel]:
    """Put the styles on the base for the time of the block, each with weight 0 until `set_gains`.

    Afterwards, also after an exception, the base is bit for bit what it was. Raises WrongFamilyError for a
    style of another family or with a layer that the base lacks (half a style is worse than none), and
    BlendError for a style given twice.
    """
    check_family(base, styles)
    mix = BlendedModel(base)
    try:
        mix._put(styles)
        yield mix
    finally:
        mix.close()


def key_of(style: Style) -> str:
    """Return the style's id, or a name for the time being of one that was never written."""
    return style.id or f"unsaved-{id(style)}"


def spot_of(layer: StyleLayer) -> str:
    """Name the module of a base that a layer is for, "network.path"; a text encoder's has several names in files."""
    if layer.network == "unet":
        return layer.name
    network = "te2" if layer.network == "te2" else "te"
    return f"{network}.{layer.path.removeprefix(TEXT_LEVEL)}"


def inner_blocks(unet: Any) -> tuple[str, ...]:
    """Return the paths of the UNet's inner blocks, which settle what is where; the outer ones paint the surface.

    Inner are the middle, the lowest level with cross-attention, and all below it, on the way down and up: in Stable
    Diffusion 1 and 2 down_blocks 2 and 3 and up_blocks 0 and 1,
    in the starter down_blocks 2 and up_blocks 0.
    """
    down = list(getattr(unet, "down_blocks", ()))
    crossed = [level for level, block in enumerate(down) if getattr(block, "has_cross_attention", False)]
    first = max(crossed, default=len(down) - 1)
    levels = range(max(first, 0), len(down))
    up = [f"up_blocks.{len(down) - 1 - level}." for level in levels]
    return ("mid_block.", *(f"down_blocks.{level}." for level in levels), *up)


def check_family(base: OpenBase, styles: Sequence[Style]) -> None:
    """Raise WrongFamilyError unless all styles are for the base's family, BlendError for one given twice."""
    keys = [key_of(style) for style in styles]
    for style in styles:
        if keys.count(key_of(style)) > 1:
            raise BlendError(f"The style “{style.name}” is in the blend twice.", "Give it once.")
        if style.card.family not in ("unknown", base.family):
            raise WrongFamilyError(
                f"“{style.name}” is a {style.card.made_for}; the open base “{base.name}” is "
                f"{FAMILY_NAMES.get(base.family, base.family)}.",
                "Open a base of its family, or choose another style.",
            )


def fitting(base: OpenBase, style: Style) -> list[tuple[StyleLayer, nn.Module]]:
    """Pair the style's layers with the base's.

    Raises WrongFamilyError naming those that don't fit, BlendError for a rank of 0 or above the layer's width.
    """
    pairs, misfits = [], []
    for layer in style.layers:
        widest = max(math.prod(layer.down.shape[1:]), layer.up.shape[0])
        if not 1 <= layer.rank <= widest or not math.isfinite(layer.scale):
            raise BlendError(
                f"“{style.name}” has rank {layer.rank} and alpha {layer.alpha:g} at {layer.name}, which is {widest} wide.",
                "Such a layer can't be used; get or train the style anew.",
            )
        module = _module(base, layer)
        if module is None or not _fits(layer, module):
            misfits.append(layer.name)
        else:
            pairs.append((layer, module))
    if misfits:
        more = f" and {len(misfits) - 3} more" if len(misfits) > 3 else ""
        raise WrongFamilyError(
            f"“{style.name}” changes {len(misfits)} of {len(style.layers)} layers that the open base "
            f"“{base.name}” doesn't have in that shape: {', '.join(misfits[:3])}{more}.",
            f"It is a {style.card.made_for}; half a style is worse than none, so it was not used.",
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
