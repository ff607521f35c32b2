"""Any number of styles on an open base by stacked ranks; the base's weights are never touched.

For a layer `W` and styles i with `A_i` (r_i, in), `B_i` (out, r_i) and scale `s_i = alpha_i / r_i`:
`A = [A_1; ...; A_N]`, `B = [s_1 B_1 ... s_N B_N]` and `y = W x + B (g * (A x))`, where `g` (batch, R) holds the
weight of style i r_i times, a row for each picture. Two small products, however many styles there are.
Convolutions are the same with a convolution `A` and a 1x1 convolution `B`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from styles.errors import BlendError, WrongFamilyError
from styles.style import FAMILY_NAMES, Style, StyleLayer


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


class Gains:
    """The one small (batch, styles) buffer that serves all layers, and its rows as the layers need them."""

    def __init__(self, styles: int) -> None:
        self.values = torch.zeros(1, styles)  # (batch, styles), on the CPU
        self._rows: dict[tuple[tuple[int, ...], int, torch.device], Tensor] = {}

    @torch.inference_mode(False)  # buffers made inside inference mode could not be written outside it
    def set(self, weights: Tensor | Sequence[float] | Sequence[Sequence[float]]) -> None:
        """Write the weights in place; see `BlendedModel.set_gains`."""
        values = torch.as_tensor(weights, dtype=torch.float32).detach().cpu()
        values = values[None] if values.dim() == 1 else values
        if values.dim() != 2 or values.shape[0] < 1 or values.shape[1] != self.values.shape[1]:
            raise BlendError(
                f"Weights of shape {tuple(values.shape)} don't fit {self.values.shape[1]} styles.",
                "Give one weight for each style, or a row of them for each picture.",
            )
        if not bool(torch.isfinite(values).all()):
            raise BlendError("A weight is not a finite number.", "Give a number such as 0.7 for each style.")
        if values.shape == self.values.shape:
            self.values.copy_(values)
            for (columns, batch, _), rows in self._rows.items():
                rows.copy_(self._expanded(columns, batch))  # same memory, so that compiled graphs see it
        else:
            self.values = values.clone()
            self._rows.clear()

    def rows(self, columns: tuple[int, ...], batch: int, device: torch.device) -> Tensor:
        """Return (batch, R): the weight of style `columns[j]` at rank j, for each picture of the batch."""
        key = (columns, batch, device)
        if key not in self._rows:
            with torch.inference_mode(False):
                self._rows[key] = self._expanded(columns, batch).to(device)
        return self._rows[key]

    def _expanded(self, columns: tuple[int, ...], batch: int) -> Tensor:
        values = self.values
        if batch % len(values):
            # One prompt for several pictures: right as long as they all have the same weights.
            if not bool((values == values[0]).all()):
                raise BlendError(
                    f"Weights for {len(values)} pictures can't serve a batch of {batch}.",
                    "Give a row of weights for each picture, or one row for all.",
                )
            values = values[:1]
        # With guidance the batch is [negative, positive]: both halves get the gains.
        return values.repeat(batch // len(values), 1)[:, list(columns)]  # (batch, R)


class Stack:
    """The styles' ranks at one layer of the base, with the layer's own forward beside them."""

    def __init__(self, module: nn.Module, parts: Sequence[tuple[int, StyleLayer]], gains: Gains) -> None:
        weight: Tensor = module.weight  # type: ignore[assignment]
        self.forward_of_base: Callable[..., Tensor] = module.forward
        self.conv = module if isinstance(module, nn.Conv2d) else None
        downs = [_shaped(layer.down, self.conv) for _, layer in parts]
        ups = [_shaped(layer.up.to(torch.float32) * layer.scale, self.conv) for _, layer in parts]
        # fp32 whatever the base is: the low-rank part is cheap, and rounded once, at the sum.
        self.down = torch.cat([d.to(torch.float32) for d in downs]).to(weight.device)  # (R, in[, kh, kw])
        self.up = torch.cat(ups, dim=1).to(weight.device)  # (out, R[, 1, 1])
        self.columns = tuple(column for column, layer in parts for _ in range(layer.rank))
        self.gains = gains
        self.active = True

    def delta(self, x: Tensor) -> Tensor:
        """Return `B (g * (A x))` in fp32; x is (batch, ..., in), or (batch, in, H, W) for a convolution."""
        g = self.gains.rows(self.columns, x.shape[0], x.device)  # (batch, R)
        x = x.to(torch.float32)
        if self.conv is None:
            h = F.linear(x, self.down)  # (batch, ..., R)
            return F.linear(h * g.view(g.shape[0], *[1] * (h.dim() - 2), g.shape[1]), self.up)
        conv = self.conv
        h = F.conv2d(x, self.down, None, conv.stride, conv.padding, conv.dilation)  # (batch, R, H', W')
        return F.conv2d(h * g[:, :, None, None], self.up)

    def __call__(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        y = self.forward_of_base(x, *args, **kwargs)
        return (y + self.delta(x)).to(y.dtype) if self.active else y


def _shaped(weight: Tensor, conv: nn.Conv2d | None) -> Tensor:
    """Bring a factor to the layer's own form: 1x1 convolutions and Linear layers stand for each other."""
    if conv is None:
        return weight.flatten(1)
    return weight if weight.dim() == 4 else weight[:, :, None, None]


@dataclass
class BlendedModel:
    """A base with styles on it, as `blended` yields it."""

    styles: tuple[Style, ...]
    gains: Gains
    stacks: dict[str, Stack]  # by "network.path"

    def set_gains(self, weights: Tensor | Sequence[float] | Sequence[Sequence[float]]) -> None:
        """Set the weights: (styles,) for all pictures, or (pictures, styles) with a row for each.

        In the order of `styles`. Where the model sees k times as many rows (guidance: negative, positive),
        the rows are repeated k times. Raises BlendError for a wrong shape or a weight that is not finite.
        """
        self.gains.set(weights)

    @property
    def active(self) -> bool:
        """Whether the styles act at all; off is the bare base, without losing the weights."""
        return all(stack.active for stack in self.stacks.values())

    @active.setter
    def active(self, value: bool) -> None:
        for stack in self.stacks.values():
            stack.active = value


@contextmanager
def blended(base: OpenBase, styles: Sequence[Style]) -> Iterator[BlendedModel]:
    """Put the styles on the base for the time of the block, each with weight 0 until `set_gains`.

    Afterwards, also after an exception, the base is bit for bit what it was. Raises WrongFamilyError for a
    style of another family or with a layer that the base lacks (half a style is worse than none), and
    BlendError for a style given twice.
    """
    check_family(base, styles)
    gains = Gains(len(styles))
    modules: dict[str, nn.Module] = {}
    parts: dict[str, list[tuple[int, StyleLayer]]] = {}
    # Stacked by id, so that the order of the sliders can't change a single bit of the picture.
    for column in sorted(range(len(styles)), key=lambda i: styles[i].id):
        for layer, module in fitting(base, styles[column]):
            modules[layer.name] = module
            parts.setdefault(layer.name, []).append((column, layer))
    stacks = {name: Stack(module, parts[name], gains) for name, module in modules.items()}
    before = {name: vars(module).get("forward") for name, module in modules.items()}
    try:
        for name, stack in stacks.items():
            # On the instance: names in the state dict, hooks and the module's class stay as they are.
            modules[name].forward = stack
        yield BlendedModel(tuple(styles), gains, stacks)
    finally:
        for name, module in modules.items():
            forward = before[name]
            if forward is None:
                vars(module).pop("forward", None)
            else:
                module.forward = forward


def check_family(base: OpenBase, styles: Sequence[Style]) -> None:
    """Raise WrongFamilyError unless all styles are for the base's family, BlendError for one given twice."""
    ids = [style.id or id(style) for style in styles]
    for style in styles:
        if ids.count(style.id or id(style)) > 1:
            raise BlendError(f"The style “{style.name}” is in the blend twice.", "Give it once.")
        if style.card.family not in ("unknown", base.family):
            raise WrongFamilyError(
                f"“{style.name}” is a {style.card.made_for}; the open base “{base.name}” is "
                f"{FAMILY_NAMES.get(base.family, base.family)}.",
                "Open a base of its family, or choose another style.",
            )


def fitting(base: OpenBase, style: Style) -> list[tuple[StyleLayer, nn.Module]]:
    """Pair the style's layers with the base's; raises WrongFamilyError naming those that don't fit."""
    pairs, misfits = [], []
    for layer in style.layers:
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
        # transformers >= 5.6 has CLIPTextModel without the `text_model` level, its other models with it.
        paths = [layer.path, layer.path.removeprefix("text_model.")]
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
