"""The weights of a mix: one small table, and its rows as every layer's ranks need them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from styles.devices.device import sent_to
from styles.errors import BlendError

# Of the UNet's blocks; "words" are the text encoders, which have no such knob.
GROUPS = ("inner", "outer", "words")
Weights = Tensor | Sequence[float] | Sequence[Sequence[float]]


class Ranks(Protocol):
    """What the gains need of a layer's patch."""

    group: str
    owners: list[str]  # the style of each rank, "" for a free one
    rank_gains: Tensor  # (pictures, R), a view into the gains' own memory
    silent: bool  # all of them are zero

    @property
    def device(self) -> torch.device: ...


class Gains:
    """The (pictures, styles) weights of a mix, written out for the ranks of all layers in one piece of memory.

    Every patch holds a view into that memory, so moving a slider is one write (on an accelerator: one small copy),
    and the addresses and shapes stay while styles, ranks and the number of pictures do.
    """

    def __init__(self, styles: Sequence[str]) -> None:
        self.styles: list[str]  # their keys, in the order of the sliders
        self.values: Tensor  # (pictures, styles), as given
        self.factors: Tensor  # (groups, pictures, styles)
        self.uniform: bool  # all pictures have the same gains
        self.begin(styles)
        self.moves = 0  # counts what changed, so that whatever was computed from it knows that it is old
        self.active_styles: dict[str, set[str]] = {}  # by group, the styles with a gain in any picture
        self.of_first: dict[str, dict[str, float]] = {}  # by group, each style's gain in the first picture
        # Per device the gains (pictures, ranks of all layers), and which column of the table each is.
        self._rooms: dict[torch.device, tuple[Tensor, Tensor]] = {}
        self._patches: list[Ranks] = []

    @property
    def table(self) -> Tensor:
        """(pictures, groups x styles + 1): the gain of every style in every group, and 0 for the free ranks."""
        rows = (self.values * self.factors).permute(1, 0, 2).flatten(1)  # (pictures, groups * styles)
        return torch.cat([rows, rows.new_zeros(len(rows), 1)], dim=1).to(torch.float32)

    @torch.inference_mode(False)  # memory made inside inference mode could not be written outside it
    @torch.no_grad()
    def set(
        self, weights: Weights, composition: Weights | None = None, texture: Weights | None = None
    ) -> None:
        """Write the weights in place; see `ModelPatcher.set_gains`."""
        values = self._checked(weights, "weights")
        ones = torch.ones(1, len(self.styles), dtype=torch.float64)
        inner = ones if composition is None else self._checked(composition, "composition")
        outer = ones if texture is None else self._checked(texture, "texture")
        pictures = max(len(values), len(inner), len(outer))
        if {len(values), len(inner), len(outer)} - {1, pictures}:
            raise BlendError(
                "There are rows for {count} pictures of weights, {inner} of composition and {outer} of texture.",
                "Give one row for all pictures, or one for each.",
                count=len(values),
                inner=len(inner),
                outer=len(outer),
            )
        values = values.expand(pictures, -1).clone()
        factors = torch.stack([f.expand(pictures, -1) for f in (inner, outer, ones)])
        self._refuse_infinite(values * factors, "products of weights and knobs")
        if torch.equal(values, self.values) and torch.equal(factors, self.factors.expand_as(factors)):
            return  # nothing moved: what was computed from the gains still holds
        wider = len(values) != len(self.values)
        self.values, self.factors = values, factors
        self.uniform = bool((self.table == self.table[:1]).all())
        if wider:
            self.lay_out(self._patches)
        else:
            self._write()

    def _checked(self, weights: Weights, what: str) -> Tensor:
        try:
            values = torch.as_tensor(weights, dtype=torch.float64).detach().cpu()
        except (TypeError, ValueError) as error:
            raise BlendError(
                "The {what} are no table of numbers.",
                "Give one number for each style, in every row.",
                what=what,
            ) from error
        values = values[None] if values.dim() == 1 else values
        if values.dim() != 2 or values.shape[0] < 1 or values.shape[1] != len(self.styles):
            raise BlendError(
                "{what} of shape {shape} don't fit {count} styles.",
                "Give one number for each style, or a row of them for each picture.",
                what=what.capitalize(),
                shape=tuple(values.shape),
                count=len(self.styles),
            )
        self._refuse_infinite(values, what)
        return values

    def _refuse_infinite(self, values: Tensor, what: str) -> None:
        if not bool(torch.isfinite(values.to(torch.float32)).all()):
            raise BlendError(
                "One of the {what} is not a finite number.",
                "Give a number such as 0.7 for each style.",
                what=what,
            )

    def _write(self) -> None:
        table = self.table
        for rows, columns in self._rooms.values():
            # Same memory, so that compiled and captured graphs see it.
            if rows.device.type == "cpu":
                torch.index_select(table, 1, columns, out=rows)
            else:
                rows.copy_(sent_to(rows.device, table.index_select(1, columns)))
        first = table[0, :-1].view(len(GROUPS), -1).tolist()
        self.of_first = {
            group: dict(zip(self.styles, row, strict=True)) for group, row in zip(GROUPS, first, strict=True)
        }
        active = (table != 0).any(dim=0)[:-1].view(len(GROUPS), -1).tolist()
        self.active_styles = {
            group: {style for style, on in zip(self.styles, row, strict=True) if on}
            for group, row in zip(GROUPS, active, strict=True)
        }
        for patch in self._patches:
            patch.silent = self.active_styles[patch.group].isdisjoint(patch.owners)
        self.moves += 1

    @torch.inference_mode(False)
    @torch.no_grad()
    def lay_out(self, patches: Sequence[Ranks]) -> None:
        """Give every patch its view; the memory stays where it is if its shape does."""
        self._patches = list(patches)
        free = len(GROUPS) * len(self.styles)
        place = {style: column for column, style in enumerate(self.styles)}
        devices = {patch.device for patch in patches}
        self._rooms = {device: room for device, room in self._rooms.items() if device in devices}
        for device in devices:
            here = [patch for patch in patches if patch.device == device]
            columns = [
                GROUPS.index(patch.group) * len(self.styles) + place[owner] if owner else free
                for patch in here
                for owner in patch.owners
            ]
            shape = (len(self.values), len(columns))
            rows = self._rooms[device][0] if device in self._rooms else torch.empty(0)
            if rows.shape != shape:
                rows = torch.zeros(shape, device=device)
            self._rooms[device] = rows, torch.tensor(columns, dtype=torch.long)
            start = 0
            for patch in here:
                patch.rank_gains = rows[:, start : start + len(patch.owners)]
                start += len(patch.owners)
        self._write()

    @property
    def held(self) -> tuple[Any, ...]:
        """All that `add`, `remove` and `lay_out` replace, for `hold` to go back to."""
        return (
            list(self.styles),
            self.values,
            self.factors,
            self.uniform,
            dict(self._rooms),
            list(self._patches),
        )

    def hold(self, held: tuple[Any, ...]) -> None:
        """Go back to what was held; the patches have to be as they were then."""
        self.styles, self.values, self.factors, self.uniform, self._rooms, self._patches = held
        self._write()

    @torch.inference_mode(False)
    def begin(self, styles: Sequence[str]) -> None:
        """Forget all weights, for these styles at weight 0, in this order; `lay_out` has to follow."""
        self.styles, self.uniform = list(styles), True
        self.values = torch.zeros(1, len(self.styles), dtype=torch.float64)
        self.factors = torch.ones(len(GROUPS), 1, len(self.styles), dtype=torch.float64)

    @torch.inference_mode(False)
    def add(self, style: str) -> None:
        """Make place for one more style, last and with weight 0; `lay_out` has to follow."""
        self.styles.append(style)
        self.values = torch.cat([self.values, self.values.new_zeros(len(self.values), 1)], dim=1)
        ones = self.factors.new_ones(*self.factors.shape[:2], 1)
        self.factors = torch.cat([self.factors, ones], dim=2)

    @torch.inference_mode(False)
    def remove(self, style: str) -> None:
        """Forget a style's weight; `lay_out` has to follow."""
        columns = [column for column, name in enumerate(self.styles) if name != style]
        self.styles = [self.styles[column] for column in columns]
        self.values, self.factors = self.values[:, columns], self.factors[:, :, columns]
        self.uniform = bool((self.table == self.table[:1]).all())

    def weighted(self, ranks: Tensor, weights: Tensor, in_place: bool = True) -> Tensor:
        """Return `ranks` (batch, ..., R, ...) times `weights` (pictures, R), picture by picture.

        The ranks are the last axis of (batch, R) and (batch, tokens, R), the second of (batch, R, H, W). With guidance
        the batch is [negative, positive] and both halves get the gains. Raises BlendError for a batch that they don't fit.
        """
        pictures, batch = len(weights), len(ranks)
        if batch % pictures:
            # One prompt for several pictures: right as long as they all have the same weights.
            if not self.uniform:
                raise BlendError(
                    "Weights for {pictures} pictures can't serve a batch of {batch}.",
                    "Give a row of weights for each picture, or one row for all.",
                    pictures=pictures,
                    batch=batch,
                )
            weights, pictures = weights[:1], 1
        if pictures == 1 and ranks.dim() != 4:
            return ranks.mul_(weights) if in_place else (ranks * weights).to(ranks.dtype)
        axes: list[int] = [1] * (ranks.dim() - 2)
        shape = (
            (pictures, weights.shape[1], *axes) if ranks.dim() == 4 else (pictures, *axes, weights.shape[1])
        )
        by_picture = ranks.unflatten(0, (batch // pictures, pictures)) if 1 < pictures < batch else ranks
        spread: Any = by_picture.mul_ if in_place else by_picture.mul
        return spread(weights.view(shape)).reshape(ranks.shape).to(ranks.dtype)
