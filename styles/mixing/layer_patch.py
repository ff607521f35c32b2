"""One layer of a mix: the ranks of all styles there, beside the layer's own forward, whatever its weight is made of."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from styles.formats.style import StyleLayer
from styles.mixing.gains import Gains
from styles.mixing.low_rank import ActiveRanks, add_product, down_product, normalised

if TYPE_CHECKING:
    from styles.mixing.merged_weights import MergedWeights

SMALLEST_BUDGET = 8  # ranks; the budget grows by doubling from here
PLAIN = (nn.Linear.forward, nn.Conv2d.forward)  # what they return is new memory, ours to write into
EXACT = (torch.float32, torch.float64)


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

    R is a budget: free ranks are zeros, so that styles come and go without a change of shape. The ranks have the
    layer's own precision, or `dtype` where its weight is packed. On a CPU in fp32 and fp64 they are multiplied as they
    are; elsewhere `merged` prepares them when a gain has moved, as `merged_weight` or as `active_ranks`.
    """

    def __init__(
        self,
        name: str,
        module: nn.Module,
        group: str,
        gains: Gains,
        merged: MergedWeights,
        prompt_states: PromptStates | None,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        weight: Tensor = module.weight  # type: ignore[assignment]
        self.name = name
        self.module = module
        # Where the layer computes; its weight may lie elsewhere until it is called.
        self.device = device
        self.conv = module if isinstance(module, nn.Conv2d) else None
        shape = (module.in_channels, *module.kernel_size) if self.conv else (module.in_features,)  # type: ignore
        out: int = module.out_channels if self.conv else module.out_features  # type: ignore
        self.down = torch.zeros(0, *shape, dtype=dtype, device=self.device)
        self.up = torch.zeros(0, out, dtype=dtype, device=self.device)
        self.owners: list[str] = []  # the style of each rank, "" for a free one
        self.changes = 0  # of the ranks, so that whatever was computed from them knows that it is old
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
        self.weight_dtype = weight.dtype
        self.base_states: Tensor | None = None  # W c (batch, tokens, out)
        self.rank_states: Tensor | None = None  # A c (batch, tokens, R)
        self.mixed_states: Tensor | None = None  # W c + B (g * (A c)), as of `mixed_at`
        self.mixed_at = -1
        self.exact = self.device.type == "cpu" and dtype in EXACT
        self.full = False
        self.mixed_weight: Tensor | None = None
        self.mixed_weight_at = (-1, -1)  # (moves, version of the weight)
        self.merged = merged
        self.merged_weight: Tensor | None = None
        self.merged_version = -1  # of the weight that it was made from
        self.active_ranks: ActiveRanks | None = None

    def reserve(self, ranks: int) -> None:
        """Make the budget at least that large, by doubling; what is there stays."""
        more = budget_for(ranks, len(self.owners)) - len(self.owners)
        if more > 0:
            self.down = torch.cat([self.down, self.down.new_zeros(more, *self.down.shape[1:])])
            self.up = torch.cat([self.up, self.up.new_zeros(more, self.up.shape[1])])
            self.owners = self.owners + [""] * more
        self._changed()

    def _changed(self) -> None:
        """Forget what was made of the ranks as they were, and decide whether they may be multiplied out on a CPU."""
        self.changes += 1
        self.active_ranks = None
        # Four times the stack's own memory is the most that such a weight may take.
        plain = self.exact and self.fresh and self.conv is None and not self.weight.is_inference()
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
        self._changed()

    @property
    def taken(self) -> int:
        """How many ranks are in use."""
        return sum(1 for owner in self.owners if owner)

    @property
    def untouched(self) -> bool:
        """Whether nobody has put another forward or weight into the layer since this stack was made for it."""
        same = self.module.weight is self.weight and self.weight.dtype == self.weight_dtype
        return same and vars(self.module).get("forward") is self.before

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
    def held(self) -> tuple[Tensor, Tensor, list[str], Tensor]:
        """The ranks' memory and whose they are, for `hold` to go back to."""
        return self.down, self.up, list(self.owners), self.rank_gains

    def hold(self, held: tuple[Tensor, Tensor, list[str], Tensor], without: Collection[str]) -> None:
        """Go back to what was held, where only ranks of the styles `without` may have been written since."""
        if self.down is held[0]:
            for style in without:
                self.remove(style)
        self.down, self.up, self.owners, self.rank_gains = held
        self._changed()

    def put(self, style: str, layer: StyleLayer) -> None:
        """Write a style's ranks into free places."""
        self.reserve(self.taken + layer.rank)
        places = [place for place, owner in enumerate(self.owners) if not owner][: layer.rank]
        for place in places:  # first, so that `remove` cleans up after what breaks off below
            self.owners[place] = style
        precise = self.down.dtype if self.down.dtype in EXACT else torch.float32
        down = layer.down.to(self.device, precise)
        up = layer.up.to(self.device, precise).flatten(1) * layer.scale  # (out, r)
        if precise != self.down.dtype:
            down, up = normalised(down, up)
        self.down[places] = down.reshape(-1, *self.down.shape[1:]).to(self.down.dtype)
        self.up[places] = up.T.to(self.up.dtype)
        self._changed()

    def remove(self, style: str) -> None:
        """Free a style's ranks."""
        places = [place for place, owner in enumerate(self.owners) if owner == style]
        self.down[places] = 0
        self.up[places] = 0
        for place in places:
            self.owners[place] = ""
        self._changed()

    def __call__(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if self.prompt_states is not None and self._kept(x):
            return self._of_words(x)
        if self.full and self._settled(x):
            return F.linear(x, self._mixed_weight(), self.module.bias)  # type: ignore[arg-type]
        in_graph = _in_graph(x.device)
        if not self.active or (not in_graph and self.silent):
            return self.forward_of_base(x, *args, **kwargs)
        ranks = None
        if not in_graph and not self.exact:
            self.merged.bring_up_to_date()
            ranks, plain = self.active_ranks, self._is_plain_call(x)
            if self.merged_weight is not None and plain and self.weight._version == self.merged_version:
                return self._with(self.merged_weight, x)
            if ranks is not None and plain and (change := ranks.change(x)) is not None:
                y = change.addmm_(x.reshape(-1, x.shape[-1]), self.weight.T)
                return y.view(*x.shape[:-1], -1)
        y = self.forward_of_base(x, *args, **kwargs)
        if torch.is_autocast_enabled(x.device.type):
            with torch.autocast(x.device.type, enabled=False):
                return self._sum(y, x, ranks)
        return self._sum(y, x, ranks)

    def _sum(self, y: Tensor, x: Tensor, ranks: ActiveRanks | None) -> Tensor:
        """Return `y + B (g * (A x))`; x is (batch, ..., in), or (batch, in, H, W) for a convolution."""
        x = x.to(self.down.dtype)
        if ranks is not None:
            h, up, gains = ranks.product(x, self.conv), ranks.up, ranks.gains
        else:
            h, up, gains = down_product(x, self.down, self.conv), self.up, self.rank_gains
        if gains is not None:
            h = self.gains.weighted(h, gains)  # (batch, ..., R) or (batch, R, H', W')
        return add_product(y, h, up, self.fresh, self.exact)

    def _with(self, weight: Tensor, x: Tensor) -> Tensor:
        """The layer's own forward with another weight."""
        bias: Any = self.module.bias
        return F.linear(x, weight, bias) if self.conv is None else self.conv._conv_forward(x, weight, bias)

    def _is_plain_call(self, x: Tensor) -> bool:
        """Whether this call is the layer's own product with its weight, and nothing else."""
        weight = self.weight
        return (
            x.dtype == weight.dtype == self.weight_dtype
            and self.module.weight is weight
            and not torch.is_autocast_enabled(x.device.type)
            and not (torch.is_grad_enabled() and weight.requires_grad)
        )

    # On a CPU, where the ranks of many styles together are no longer low, their product with the gains in it is cheaper.

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
        return add_product(y, h, self.up, False, self.exact)


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
