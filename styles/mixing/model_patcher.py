"""Any number of styles on an open base by stacked ranks; the base's weights are never touched.

For a layer `W` and styles i with `A_i` (r_i, in), `B_i` (out, r_i) and scale `s_i = alpha_i / r_i`:
`A = [A_1; ...; A_N]`, `B = [s_1 B_1 ... s_N B_N]` and `y = W x + B (g * (A x))`, where `g` (batch, R) holds the
weight of style i r_i times, a row for each picture. Two small products, however many styles there are.
Convolutions are the same with a convolution `A` and a 1x1 convolution `B`.

`gains.py` holds the weights, `layer_patch.py` one layer; this module puts them on a base and takes them off again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain

import torch
from torch import Tensor, nn

from styles.errors import BlendError, memory_errors
from styles.formats.style import Style, StyleLayer
from styles.mixing.gains import GROUPS, Gains, Weights
from styles.mixing.layer_matching import OpenBase, check_family, fitting, inner_blocks, key_of, spot_of
from styles.mixing.layer_patch import LayerPatch, PromptStates
from styles.mixing.merged_weights import MergedWeights
from styles.text import few, quoted


class ModelPatcher:
    """A base with styles on it, as `blended` yields it."""

    def __init__(self, base: OpenBase) -> None:
        self.base = base
        self.styles: tuple[Style, ...] = ()
        self.gains = Gains(())
        self.patches: dict[str, LayerPatch] = {}  # by `spot_of`: one for each module of the base
        self._merged = MergedWeights(self.gains)
        self._prompt_states = PromptStates()
        self._inner = inner_blocks(base)
        # The base's own weights of the layers that have another one now; None where no patch is out of the way.
        self._fused: dict[str, Tensor] | None = None

    def set_gains(
        self,
        weights: Weights,
        composition: Weights | None = None,
        texture: Weights | None = None,
        *,
        lasting: bool = True,
    ) -> None:
        """Set the weights: (styles,) for all pictures, or (pictures, styles) with a row for each.

        In the order of `styles`. `composition` and `texture` are factors of the same shapes on the UNet's inner and
        outer blocks (see `inner_blocks`), 1 where they are not given. Where the model sees k times as many rows
        (guidance: negative, positive), the rows are repeated k times. Only writes numbers in place; what else has to
        be made of them is made by the next call of the model; `lasting`: for more than one. Raises BlendError for a
        wrong shape or a number that is not finite, and then nothing has changed.
        """
        self.unfuse()
        self.gains.set(weights, composition, texture)
        self._merged.last(lasting)

    def allow_merging(self, budget_bytes: int) -> None:
        """Let weights with the mix in them take so much memory in all (none until this is said), and 0 let go of them.

        They are used where they are as good as the ranks (see `merged_weights`), and make a step cost what it costs
        without styles.
        """
        self.unfuse()
        self._merged.allow(budget_bytes)

    def fuse(self) -> bool:
        """Put weights with the mix in them in the place of the UNet's own, if all layers can have one; say whether.

        For calls that are compiled: no graph needs to know of any style then. Until `unfuse`, and what changes the mix.
        The base's own weights lie aside, untouched.
        """
        self.unfuse()
        weights = self._merged.whole()
        if weights is None:
            return False
        self._fused = {}
        for name, patch in self.patches.items():
            if patch.group == GROUPS[-1]:
                continue
            patch.uninstall()
            if patch.name in weights:
                self._fused[name] = patch.weight.data
                patch.weight.data = weights[patch.name]
        return True

    def unfuse(self) -> None:
        """Give the UNet its own weights back, under the ranks."""
        if self._fused is None:
            return
        for name, weight in self._fused.items():
            self.patches[name].weight.data = weight
            self.patches[name].merged_weight = None
        self._fused = None
        for patch in self.patches.values():
            patch.install()

    def spare_memory(self) -> None:
        """Hold nothing beside the ranks until `change_to`, at the cost of more kernels."""
        self.unfuse()
        self._merged.spare_memory(True)

    @property
    def merged_bytes(self) -> int:
        """How much memory such weights take now."""
        return self._merged.held_bytes

    @property
    def active(self) -> bool:
        """Whether the styles act at all; off is the bare base, without losing the weights."""
        return all(patch.active for patch in self.patches.values())

    @active.setter
    def active(self, value: bool) -> None:
        for patch in self.patches.values():
            patch.active = value

    @torch.inference_mode(False)
    @torch.no_grad()
    def prompt(self, states: Tensor | None) -> None:
        """Tell which text states (batch, tokens, width) the UNet is going to be called with; None for none.

        Cross-attention's keys and values of them are then computed once, here, and not at every step; when a gain
        changes, only the styles' part again. A call with any other tensor computes everything afresh, and so does one
        after these states were written into (but for compiled and captured graphs: tell them anew). States made in
        inference mode or with gradients and prompts told under autocast aren't kept.
        """
        self._prompt_states.states = None  # so that an error below leaves nothing half-kept
        if states is not None and (
            states.is_inference() or states.requires_grad or torch.is_autocast_enabled(states.device.type)
        ):
            states = None
        for patch in self.patches.values():
            if states is not None and patch.reads(states):
                patch.keep(states)
            else:
                patch.forget()
        if states is not None:
            self._prompt_states.states, self._prompt_states.version = states, states._version

    def _forget(self) -> None:
        """Keep nothing of any prompt."""
        self._prompt_states.states = None
        for patch in self.patches.values():
            patch.forget()

    def add(self, style: Style) -> None:
        """Put one more style on, as the last of `styles` and with weight 0; the others' ranks stay as they are.

        Raises what `blended` raises, and then nothing has changed, but that the prompt has to be told again.
        """
        check_family(self.base, [*self.styles, style])
        self.unfuse()
        with _room_for([style]):
            self._put([style])

    def remove(self, style_id: str) -> None:
        """Take a style off by its id; the others keep their weights and ranks. Raises BlendError if it isn't on."""
        matches = [style for style in self.styles if key_of(style) == style_id]
        if not matches:
            raise BlendError("The style {style_id} is not in this blend.", style_id=style_id)
        self._remove(matches)

    @torch.inference_mode(False)
    @torch.no_grad()
    def change_to(self, styles: Sequence[Style]) -> None:
        """Become a mix of exactly these styles, in this order and each with weight 0, and act, also after `rest`.

        Only the ranks of styles that come or go are touched. Yet every number stands where it would on a bare base,
        so that not a bit of a picture depends on those before it; this is why ranks may move, which `add` and
        `remove` never let them. Raises what `blended` raises; then the mix has to be closed.
        """
        check_family(self.base, styles)
        self.unfuse()
        self._forget()
        self._merged.spare_memory(False)
        by_key = {key_of(style): style for style in styles}
        # The id is the tensors' alone: with another header they may be other layers, or have another alpha.
        gone = [s for s in self.styles if key_of(s) not in by_key or by_key[key_of(s)].layers is not s.layers]
        with _room_for(styles):
            self._remove(gone)
            here = {key_of(style) for style in self.styles}
            new = [style for key, style in by_key.items() if key not in here]
            for patch in self.patches.values():
                patch.install()
            self._put(new)
            for spot in {spot_of(layer) for style in (*gone, *new) for layer in style.layers}:
                if self.patches[spot].taken:
                    self.patches[spot].tidy()
                else:
                    self.patches.pop(spot).uninstall()
            self.styles = tuple(styles)
            self.active = True
            self.gains.begin(list(by_key))
            self._lay_out()

    def rest(self) -> None:
        """Leave the base as it was, but keep the styles' ranks for `change_to`."""
        self.unfuse()
        self._forget()
        for patch in self.patches.values():
            patch.mixed_weight = None
            patch.uninstall()
        self.allow_merging(0)

    @property
    def untouched(self) -> bool:
        """Whether the base is, under the resting ranks, as it was when they were put on."""
        return all(patch.untouched for patch in self.patches.values())

    @torch.inference_mode(False)  # memory made inside inference mode could not be written outside it
    @torch.no_grad()
    def _put(self, styles: Sequence[Style]) -> None:
        """Stack the styles' ranks, or leave everything as it was, but for what was kept of the prompt."""
        pairs = {key_of(style): fitting(self.base, style) for style in styles}
        active, on, gains = self.active, self.styles, self.gains.held
        before = {name: (patch, patch.held) for name, patch in self.patches.items()}
        ranks: dict[str, int] = {}
        try:
            for layer, module in (pair for fitted in pairs.values() for pair in fitted):
                spot = spot_of(layer)
                if spot not in self.patches:
                    self.patches[spot] = self._patch(layer, module, active)
                ranks[spot] = ranks.get(spot, 0) + layer.rank
            for name, more in ranks.items():
                self.patches[name].reserve(self.patches[name].taken + more)
            # Stacked by id, so that the order of the sliders can't change a single bit of the picture.
            for style in sorted(styles, key=lambda style: style.id):
                for layer in style.layers:
                    self.patches[spot_of(layer)].put(key_of(style), layer)
            for key in pairs:
                self.gains.add(key)
            self.styles = (*on, *styles)
            self._settle(ranks)
        except BaseException:
            for patch, held in before.values():
                patch.hold(held, pairs)
            self.patches = {name: patch for name, (patch, _) in before.items()}
            self.styles = on
            self.gains.hold(gains)
            self._merged.serve(list(self.patches.values()))
            self._forget()
            raise
        for name in ranks:
            self.patches[name].install()

    def _patch(self, layer: StyleLayer, module: nn.Module, active: bool) -> LayerPatch:
        group = "words" if layer.network != "unet" else "outer"
        if group == "outer" and self._inner.hold(layer.path):
            group = "inner"
        reads = layer.network == "unet" and layer.path.endswith(("attn2.to_k", "attn2.to_v"))
        patch = LayerPatch(
            spot_of(layer),
            module,
            group,
            self.gains,
            self._merged,
            self._prompt_states if reads else None,
            self.base.device,
            self._dtype_of(layer, module),
        )
        patch.active = active
        return patch

    def _dtype_of(self, layer: StyleLayer, module: nn.Module) -> torch.dtype:
        """The precision that a layer computes in; where its weight is packed, that of the others of its network."""
        network = (
            self.base.unet if layer.network == "unet" else self.base.text_encoders[layer.network == "te2"]
        )
        weights = chain([module.weight], network.parameters())  # which walks through all of it
        return next(
            (w.dtype for w in weights if w.is_floating_point() and w.dtype.itemsize > 1), torch.float32
        )

    @torch.inference_mode(False)
    @torch.no_grad()
    def _remove(self, styles: Sequence[Style]) -> None:
        self.unfuse()
        for style in styles:
            for layer in style.layers:
                self.patches[spot_of(layer)].remove(key_of(style))
            self.gains.remove(key_of(style))
        gone = {key_of(style) for style in styles}
        self.styles = tuple(style for style in self.styles if key_of(style) not in gone)
        self._settle({spot_of(layer) for style in styles for layer in style.layers})

    def _settle(self, changed: Iterable[str]) -> None:
        """Bring the gains, and what is kept of the prompt, up to the ranks."""
        self._lay_out()
        states = self._prompt_states.states
        if states is not None and not self._prompt_states.are(states):
            self._forget()
        elif states is not None:
            for name in changed:
                if name in self.patches and self.patches[name].reads(states):
                    self.patches[name].keep(states)

    def _lay_out(self) -> None:
        self.gains.lay_out(list(self.patches.values()))
        self._merged.serve(list(self.patches.values()))

    def close(self) -> None:
        """Give every layer its own forward back."""
        self.unfuse()
        for patch in self.patches.values():
            patch.uninstall()
        self.allow_merging(0)


@contextmanager
def blended(base: OpenBase, styles: Sequence[Style]) -> Iterator[ModelPatcher]:
    """Put the styles on the base for the time of the block, each with weight 0 until `set_gains`.

    Afterwards, also after an exception, the base is bit for bit what it was. Raises WrongFamilyError for a
    style of another family or with a layer that the base lacks (half a style is worse than none), and
    BlendError for a style given twice, OutOfMemory.
    """
    check_family(base, styles)
    mix = ModelPatcher(base)
    try:
        with _room_for(styles):
            mix._put(styles)
        yield mix
    finally:
        mix.close()


@contextmanager
def _room_for(styles: Sequence[Style]) -> Iterator[None]:
    """Say in words that memory has come to its end."""
    with memory_errors(
        "There is too little memory to put {names} on the base.",
        "Mix fewer styles, or close other programs.",
        names=few([quoted(style.name) for style in styles], 3),
    ):
        yield
