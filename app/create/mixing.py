"""From a mix as a person says it to a blend: names looked up, strengths turned into weights, the whole scaled back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from app.create.mix_orders import MixOrder, SheetOrder
from styles.errors import BlendError
from styles.library.missing import card_of
from styles.mixing.blend import STRONGEST, Blend
from styles.mixing.strength import MOST, Effect, Effects, balanced, budget
from styles.text import Text

if TYPE_CHECKING:
    from styles.bases.base import Base
    from styles.formats.style import Style
    from styles.generation.comparison_grids import Sheet
    from styles.generation.request import CreateRequest
    from styles.library.library import Library
    from styles.storage.home import Home


@dataclass(frozen=True)
class Mix:
    """A mix by the ids of styles that are here; `strengths` are those whose weight is still a strength."""

    blend: Blend
    names: Mapping[str, str]  # of all its styles and of those that a sheet varies, by id
    varied: tuple[str, ...] = ()
    strengths: frozenset[str] = frozenset()
    balance: bool = False

    @property
    def ids(self) -> list[str]:
        """The styles' ids in the order in which a base carries them: a recipe has them in the same."""
        return sorted({part.style for part in self.blend.parts} | set(self.varied))

    @property
    def asks_effects(self) -> bool:
        """Whether it takes a measurement to know the weights."""
        return self.balance or bool(self.strengths)


def mix_of(order: MixOrder, library: Library, sheet: SheetOrder | None = None) -> Mix:
    """Look up the names of a mix, and of the styles that a sheet varies; raises UnknownStyleError, BlendError."""
    blend = order.start
    names_of = dict(order.names)
    names = {
        part.style: names_of.get(part.style) or card_of(library, part.style).name for part in blend.parts
    }
    given: set[str] = set()
    for style in order.styles:
        card = library.card(style.name)
        if card.id in given:
            raise BlendError(
                "The style “{style}” is in the mix twice.",
                "Give it once, with the weight that you want.",
                style=card.name,
            )
        given.add(card.id)
        names[card.id] = card.name
        usual = 1.0 if order.in_strength else card.suggested_weight
        weight = usual if style.weight is None else style.weight
        # A weight takes the place of a schedule that `start` has, as a schedule does of a weight.
        weight = weight if style.schedule is None else 1.0
        blend = blend.changed(card.id, weight=weight, schedule=style.schedule)
    varied: list[str] = []
    for name in sheet.styles if sheet else ():
        card = library.card(name)
        if card.id in varied:
            raise BlendError(
                "The style “{style}” is in the map twice.", "Choose different ones.", style=card.name
            )
        varied.append(card.id)
        names[card.id] = card.name
        blend = blend if blend.part_of(card.id) else blend.changed(card.id, weight=0.0)
    for knob, values in (("composition", order.composition), ("texture", order.texture)):
        turned: set[str] = set()
        for name, value in values:
            mixed = _mixed(name, blend, library)
            if mixed in turned:
                raise BlendError(
                    "The {knob} of “{names}” is given twice.", "Give it once.", knob=knob, names=names[mixed]
                )
            turned.add(mixed)
            blend = blend.changed(mixed, **{knob: value})
    for name in order.mute:
        blend = blend.changed(_mixed(name, blend, library), muted=True)
    for name in order.solo:
        blend = blend.changed(_mixed(name, blend, library), muted=False, solo=True)
    blend = replace(blend, mode=order.mode or blend.mode)
    strengths = frozenset(given | set(varied)) if order.in_strength else frozenset()
    return Mix(blend, names, tuple(varied), strengths, order.balance)


def _mixed(name: str, blend: Blend, library: Library) -> str:
    """The id of a style that is in the mix; raises BlendError for another one."""
    card = library.card(name)
    if blend.part_of(card.id) is None:
        raise BlendError("The style “{style}” is not in the mix.", "Give it a weight, too.", style=card.name)
    return card.id


def effects_of(
    base: Base, styles: Sequence[Style], home: Home, cancelled: Callable[[], bool] = lambda: False
) -> dict[str, Effect]:
    """What styles do to a base, by id: as known in this home, else measured now, once and for all.

    Raises WrongFamilyError, BlendError for a style that the base can't carry, Cancelled.
    """
    stored = Effects(home)
    from styles.generation.effect_probe import effects_key, walk

    key = effects_key(base)
    effects = stored.known(key)
    missing = [style for style in styles if style.id not in effects]
    if missing:
        from styles.mixing.layer_matching import check_family, fitting

        check_family(base, missing)
        for style in missing:
            fitting(base, style)  # measuring takes a while: refuse before it
        probe = walk(base, cancelled=cancelled)
        for style in missing:
            effects[style.id] = probe.effect(style, cancelled)
            stored.add(key, {style.id: effects[style.id]})  # kept, if the next one is stopped
    return {style.id: effects[style.id] for style in styles}


def weighed(
    blend: Blend, strengths: Iterable[str], effects: Mapping[str, Effect], names: Mapping[str, str]
) -> tuple[Blend, list[Text]]:
    """The blend with the strengths of these styles turned into weights, and what is to be said about it."""
    notes = []
    for style in strengths:
        strength, effect = blend.weight_of(style), effects[style]
        part = blend.part_of(style)
        peaks = [abs(factor) for _, factor in part.schedule or ()] if part else []
        most = STRONGEST / max([1.0, *peaks])
        weight = max(-most, min(most, effect.weight_for(strength)))
        if effect.strength > 0 and abs(effect.strength_of(weight) - strength) > 1e-6:
            notes.append(
                Text(
                    "“{style}” can't be made as strong as {strength:g}: at its highest weight, {weight:g}, it has a strength of {effect:.2g}.",
                    style=names[style],
                    strength=strength,
                    weight=weight,
                    effect=effect.strength_of(weight),
                )
            )
        blend = blend.changed(style, weight=weight)
    return blend, notes


def within_budget(mix: Mix, blend: Blend, effects: Mapping[str, Effect]) -> tuple[Blend, list[Text]]:
    """The blend, scaled back where that is wished, and what is to be said about its budget."""
    total = budget(blend, effects)
    if not total.burns:
        return blend, []
    if mix.balance:
        blend = balanced(blend, effects)
        weights = ", ".join(f"{mix.names[part.style]} {part.weight:.3g}" for part in blend.sounding)
        return blend, [
            Text(
                "Scaled back from {total:.2g} to a strength of {most:g} in all: {weights}.",
                total=total.total,
                most=MOST,
                weights=weights,
            )
        ]
    note = Text(
        "This mix has a strength of {total:.2g} in all (styles that were not measured are taken for usual ones); "
        "above {limit:g} a picture will probably burn. Balance scales it back."
        if total.unknown
        else "This mix has a strength of {total:.2g} in all; above {limit:g} a picture will probably burn. "
        "Balance scales it back.",
        total=total.total,
        limit=total.limit,
    )
    return blend, [note]


def sheet_of(
    order: SheetOrder, mix: Mix, request: CreateRequest, effects: Mapping[str, Effect]
) -> tuple[Sheet, list[Text]]:
    """Lay a sheet out, with labels in what the weights were given in; raises BlendError."""
    from styles.generation.comparison_grids import blend_map, leave_one_out, strength_strip

    if order.kind == "leave one out":
        return leave_one_out(request, mix.names), []
    if order.kind == "strength strip":
        sheet = strength_strip(request, mix.varied[0], order.weights, mix.names)
    else:
        sheet = blend_map(request, mix.varied, order.columns, order.rows, order.strongest, mix.names)
    in_strength = [style for style in mix.varied if style in mix.strengths]
    blends, notes = [], []
    for blend in sheet.request.blends:
        blend, said = weighed(blend, in_strength, effects, mix.names)
        blends.append(blend)
        notes += said
    return replace(sheet, request=replace(sheet.request, blends=tuple(blends))), notes


def sheet_title(order: SheetOrder, mix: Mix) -> str:
    """What stands above a sheet."""
    names = " and ".join(mix.names[style] for style in mix.varied)
    in_strength = order.varies and any(style in mix.strengths for style in mix.varied)
    return {
        "strength strip": f"{names} at {len(order.weights)} {'strengths' if in_strength else 'weights'}",
        "blend map": f"A map of {names}{', in strength' if in_strength else ''}",
        "leave one out": "Each style left out in turn",
    }[order.kind]
