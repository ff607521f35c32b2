"""One layer of a mix: the ranks of all styles there, beside the layer's own forward, whatever its weight is made of."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from styles.formats.style import StyleLayer
from styles.mixing.gains import Gains

SMALLEST_BUDGET = 8  # ranks; the budget grows by doubling from here
PLAIN = (nn.Linear.forward, nn.Conv2d.forward)  # what they return is new memory, ours to write into


@dataclass
class PromptStates:
    """The text states that the next calls of the UNet are given, as `ModelPatcher.prompt` was told."""

    states: Tensor | None = None  # (batch, tokens, width)
    version: int = 0  # of their memory, so that a change in place is noticed

    def are(self, x: Tensor) -> bool:
        """Whether `x` is these very states, unchanged."""
        if x is not self.states:
            return False
        return torch.compiler.is_compiling() or x._version == self.version


class LayerPatch:
    """All styles' ranks at one layer: `down` (R, in[, kh, kw]) and `up` (R, out) with the scales in it.

    R is a budget: free ranks are zeros, so that styles come and go without a change of shape. In fp32 (fp64 over an
    fp64 base) whatever the layer's own weight is: the low-rank part is cheap, and rounded once, at the sum.
    """

    def __init__(
        self,
        module: nn.Module,
        group: str,
        gains: Gains,
        prompt_states: PromptStates | None,
        device: torch.device,
    ) -> None:
        weight: Tensor = module.weight  # type: ignore[assignment]
        self.module = module
        # Where the layer computes; its weight may lie elsewhere until it is called.
        self.device = device
        self.conv = module if isinstance(module, nn.Conv2d) else None
        shape = (module.in_channels, *module.kernel_size) if self.conv else (module.in_features,)  # type: ignore
        out: int = module.out_channels if self.conv else module.out_features  # type: ignore
        kind = torch.float64 if weight.dtype == torch.float64 else torch.float32
        self.down = torch.zeros(0, *shape, dtype=kind, device=self.device)
        self.up = torch.zeros(0, out, dtype=kind, device=self.device)
        self.owners: list[str] = []  # the style of each rank, "" for a free one
        self.group = group
        self.gains = gains
        self.rank_gains = torch.zeros(1, 0, device=self.device)  # (pictures, R), see Gains.lay_out
        self.active = True
        self.silent = True  # all gains here are zero
        self.before: Callable[..., Tensor] | None = vars(module).get("forward")
        self.forward_of_base: Callable[..., Tensor] = module.forward
        self.fresh = self.before is None and type(module).forward in PLAIN
        # Over somebody else's forward nothing can be kept: it may change without a word.
        self.prompt_states = prompt_states if self.before is None else None
        self.weight = weight
        self.base_states: Tensor | None = None  # W c (batch, tokens, out)
        self.rank_states: Tensor | None = None  # A c (batch, tokens, R)
        self.mixed_states: Tensor | None = None  # W c + B (g * (A c)), as of `mixed_at`
        self.mixed_at = -1
        self.full = False
        self.mixed_weight: Tensor | None = None
        self.mixed_weight_at = (-1, -1)  # (moves, version of the weight)

    def reserve(self, ranks: int) -> None:
        """Make the budget at least that large, by doubling; what is there stays."""
        more = budget_for(ranks, len(self.owners)) - len(self.owners)
        if more > 0:
            self.down = torch.cat([self.down, self.down.new_zeros(more, *self.down.shape[1:])])
            self.up = torch.cat([self.up, self.up.new_zeros(more, self.up.shape[1])])
            self.owners = self.owners + [""] * more
        self._choose()

    def _choose(self) -> None:
        """Decide whether the ranks may ever be multiplied out."""
        # Four times the stack's own memory is the most that such a weight may take. Exact only beside a plain one of
        # the same dtype: in half precision W + B g A would lose what is small in it.
        plain = self.fresh and self.conv is None and not self.weight.is_inference()
        plain = plain and self.weight.dtype == self.down.dtype
        self.full = plain and 4 * (self.down.numel() + self.up.numel()) >= self.weight.numel()

    def tidy(self) -> None:
        """Lay the ranks out by the styles' keys in the smallest budget, as if all had come at once to a bare layer."""
        places = sorted((p for p, owner in enumerate(self.owners) if owner), key=lambda p: self.owners[p])
        free = budget_for(len(places)) - len(places)
        if places == list(range(len(places))) and free == len(self.owners) - len(places):
            return
        self.down = torch.cat([self.down[places], self.down.new_zeros(free, *self.down.shape[1:])])
        self.up = torch.cat([self.up[places], self.up.new_zeros(free, self.up.shape[1])])
        self.owners = [self.owners[place] for place in places] + [""] * free
        self._choose()

    @property
    def taken(self) -> int:
        """How many ranks are in use."""
        return sum(1 for owner in self.owners if owner)

    @property
    def untouched(self) -> bool:
        """Whether nobody has put another forward or weight into the layer since this stack was made for it."""
        return self.module.weight is self.weight and vars(self.module).get("forward") is self.before

    def install(self) -> None:
        """Stand before the layer's own forward."""
        # On the instance: names in the state dict, hooks and the module's class stay as they are.
        self.module.forward = self

    def uninstall(self) -> None:
        """Give the layer its own forward back."""
        if self.before is None:
            vars(self.module).pop("forward", None)
        else:
            self.module.forward = self.before

    @property
    def held(self) -> tuple[Tensor, Tensor, list[str], bool, Tensor]:
        """The ranks' memory and whose they are, for `hold` to go back to."""
        return self.down, self.up, list(self.owners), self.full, self.rank_gains

    def hold(self, held: tuple[Tensor, Tensor, list[str], bool, Tensor], without: Collection[str]) -> None:
        """Go back to what was held, where only ranks of the styles `without` may have been written since."""
        if self.down is held[0]:
            for style in without:
                self.remove(style)
        self.down, self.up, self.owners, self.full, self.rank_gains = held

    def put(self, style: str, layer: StyleLayer) -> None:
        """Write a style's ranks into free places."""
        self.reserve(self.taken + layer.rank)
        places = [place for place, owner in enumerate(self.owners) if not owner][: layer.rank]
        for place in places:  # first, so that `remove` cleans up after what breaks off below
            self.owners[place] = style
        down = layer.down.to(self.device, self.down.dtype)
        up = layer.up.to(self.device, self.up.dtype).flatten(1) * layer.scale  # (out, r)
        self.down[places] = down.reshape(-1, *self.down.shape[1:])
        self.up[places] = up.T

    def remove(self, style: str) -> None:
        """Free a style's ranks."""
        places = [place for place, owner in enumerate(self.owners) if owner == style]
        self.down[places] = 0
        self.up[places] = 0
        for place in places:
            self.owners[place] = ""

    def __call__(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if self.prompt_states is not None and self._kept(x):
            return self._of_words(x)
        if self.full and self._settled(x):
            return F.linear(x, self._mixed_weight(), self.module.bias)  # type: ignore[arg-type]
        y = self.forward_of_base(x, *args, **kwargs)
        if not self.active or (not _in_graph(x.device) and self.silent):
            return y
        if torch.is_autocast_enabled(x.device.type):
            with torch.autocast(x.device.type, enabled=False):
                return self._sum(y, x)
        return self._sum(y, x)

    def _sum(self, y: Tensor, x: Tensor) -> Tensor:
        """Return `y + B (g * (A x))`; x is (batch, ..., in), or (batch, in, H, W) for a convolution."""
        x = x.to(self.down.dtype)
        own = self.fresh and y.is_contiguous()
        if self.conv is None:
            h = self.gains.weighted(F.linear(x, self.down), self.rank_gains)  # (batch, ..., R)
            if own and y.dtype == h.dtype:
                y.view(-1, y.shape[-1]).addmm_(h.reshape(-1, h.shape[-1]), self.up)
                return y
            delta = h @ self.up  # (batch, ..., out)
        else:
            conv = self.conv
            h = F.conv2d(x, self.down, None, conv.stride, conv.padding, conv.dilation)  # (batch, R, H', W')
            h = self.gains.weighted(h, self.rank_gains).flatten(2)
            delta = (self.up.T @ h).view(y.shape)
        return y.add_(delta) if own else (y + delta).to(y.dtype)

    # Where the ranks of many styles together are no longer low, their product with the gains in it is cheaper.

    def _settled(self, x: Tensor) -> bool:
        """Whether a weight of these gains pays: also if they move at every step, it costs less than the ranks then."""
        return (
            not _in_graph(x.device)  # first: a graph that asked for the rest would have to be made anew
            and self.active
            and not self.silent
            and len(self.rank_gains) == 1  # all pictures have the same gains
            and 2 * x.numel() >= self.weight.numel()
            and not torch.is_autocast_enabled(x.device.type)
            and not (torch.is_grad_enabled() and self.weight.requires_grad)
        )

    def _mixed_weight(self) -> Tensor:
        """Return `W + B g A`, in memory of our own."""
        now = self.gains.moves, self.weight._version
        if self.mixed_weight is None or self.mixed_weight_at != now:
            with torch.inference_mode(False), torch.no_grad():
                self.mixed_weight = torch.addmm(self.weight, self.up.T * self.rank_gains, self.down)
            self.mixed_weight_at = now
        return self.mixed_weight

    # Cross-attention's keys and values see only the prompt, so they are computed once for it.

    def _kept(self, x: Tensor) -> bool:
        if self.base_states is None or not self.prompt_states.are(x):  # type: ignore[union-attr]
            return False
        # A base that learns needs its own forward; under autocast another dtype would come out.
        learns = torch.is_grad_enabled() and self.weight.requires_grad
        return not learns and not torch.is_autocast_enabled(x.device.type)

    def reads(self, states: Tensor) -> bool:
        """Whether these states may be what this layer is given."""
        return self.prompt_states is not None and states.shape[-1] == self.down.shape[1]

    def keep(self, states: Tensor) -> None:
        """Compute the base's part and the ranks' part of these states."""
        # Into the same memory where it fits, so that captured graphs see it.
        self.base_states = _into(self.base_states, self.forward_of_base(states))
        self.rank_states = _into(self.rank_states, F.linear(states.to(self.down.dtype), self.down))
        self.mixed_at = -1

    def forget(self) -> None:
        """Let go of all that was kept of the prompt."""
        self.base_states = self.rank_states = self.mixed_states = None

    def _of_words(self, x: Tensor) -> Tensor:
        assert self.base_states is not None and self.rank_states is not None
        if not self.active:
            return self.base_states
        if _in_graph(x.device):
            return self._mix_states()
        if self.silent:
            return self.base_states
        if self.mixed_at != self.gains.moves:
            with torch.inference_mode(False), torch.no_grad():
                self.mixed_states = self._mix_states()
            self.mixed_at = self.gains.moves
        return self.mixed_states  # type: ignore[return-value]

    def _mix_states(self) -> Tensor:
        y: Tensor = self.base_states  # type: ignore[assignment]
        h = self.gains.weighted(self.rank_states, self.rank_gains, in_place=False)  # type: ignore[arg-type]
        return (y + h @ self.up).to(y.dtype)


def budget_for(ranks: int, least: int = 0) -> int:
    """Return how many ranks to make room for."""
    budget = max(SMALLEST_BUDGET, least)
    while budget < ranks:
        budget *= 2
    return budget


def _into(memory: Tensor | None, values: Tensor) -> Tensor:
    if memory is None or memory.shape != values.shape or memory.dtype != values.dtype:
        return values
    return memory.copy_(values)


def _in_graph(device: torch.device) -> bool:
    """Whether this call is being recorded: a graph can't ask later where the sliders are, so it computes everything."""
    return torch.compiler.is_compiling() or (
        device.type == "cuda" and torch.cuda.is_current_stream_capturing()
    )
