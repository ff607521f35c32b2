"""Named endpoints around mixing, for scripts: sheets, strengths, conflicts, baking, and the blends that are kept."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import gradio as gr

from app.create.mix_orders import STRIP_WEIGHTS, MixOrder, SheetOrder, StyleOrder
from app.create.mix_tools import bake_plan
from app.create.painting import Painted
from app.library.cards import card_facts
from app.orders import PictureOrder
from app.signatures import spread, typed
from app.studio import Studio
from app.window.server.answers import answering
from app.window.server.named_paths import base_named, file_named, folder_named
from styles.errors import BadInput, BlendError, TooLarge
from styles.generation.settings import PassSettings, PictureSettings
from styles.storage.setting import settings
from styles.text import Text

Weights = dict[str, float | None] | None


@settings(BlendError)
class MixArguments:
    """What a script can say of a mix besides its weights; styles are called by name.

    A schedule's points are [share of the steps, weight]; `blend` is the name of a saved blend to begin with.
    """

    schedules: dict[str, list[list[float]]] | None = None
    composition: dict[str, float] | None = None
    texture: dict[str, float] | None = None
    mute: list[str] | None = None
    solo: list[str] | None = None
    mode: str | None = None
    in_strength: bool = False
    balance: bool = False
    blend: str = ""

    def order(self, studio: Studio, weights: Weights) -> MixOrder:
        """The same as an order, with weights as {style: number}; raises BlendError, BadInput."""
        scheduled = self.schedules or {}
        twice = [name for name in scheduled if name in (weights or {})]
        if twice:
            raise BlendError(
                "“{name}” has a weight and a schedule.",
                "A schedule's points are weights: give only one of the two.",
                name=twice[0],
            )
        styles = [StyleOrder(name, _number(name, weight)) for name, weight in (weights or {}).items()]
        styles += [
            StyleOrder(name, schedule=tuple(map(tuple, points)))  # type: ignore[arg-type]
            for name, points in scheduled.items()
        ]
        return replace(
            studio.blends.started(self.blend) if self.blend else MixOrder(),
            styles=tuple(styles),
            composition=tuple((self.composition or {}).items()),
            texture=tuple((self.texture or {}).items()),
            mute=tuple(self.mute or ()),
            solo=tuple(self.solo or ()),
            mode=self.mode,
            in_strength=self.in_strength,
            balance=self.balance,
        )


def add_mix_endpoints(studio: Studio) -> None:
    """Add the endpoints to the Blocks that are being built. Paths are whole paths on this machine; see `named_paths`."""
    answered = answering(studio, "answering a script")

    @answered
    @typed
    def strip(style: str, picture: dict[str, Any], weights: list[float] | None = None) -> dict[str, Any]:
        """One style at several weights, same seed; `picture` holds the arguments of create by name."""
        given = tuple(_number(style, weight) or 0.0 for weight in weights or STRIP_WEIGHTS)
        sheet = SheetOrder("strength strip", (style,), given)
        return painted(studio, sheet_of(studio, picture, sheet))

    @answered
    @typed
    def blend_map(
        styles: list[str],
        picture: dict[str, Any],
        columns: int = 3,
        rows: int = 3,
        strongest: float = 1.0,
    ) -> dict[str, Any]:
        """Two to four styles over a grid, same seed; `picture` holds the arguments of create by name."""
        sheet = SheetOrder("blend map", tuple(styles), columns=columns, rows=rows, strongest=strongest)
        return painted(studio, sheet_of(studio, picture, sheet))

    @answered
    @typed
    def leave_one_out(picture: dict[str, Any]) -> dict[str, Any]:
        """The mix, and again without each of its styles; `picture` holds the arguments of create by name."""
        return painted(studio, sheet_of(studio, picture, SheetOrder("leave one out")))

    @answered
    @typed
    def strength(
        weights: Weights = None,
        base: str = "",
        in_strength: bool = False,
        blend: str = "",
        mode: str | None = None,
    ) -> dict[str, Any]:
        """How strong styles are on a base, the budget of the mix, and its weights when balanced."""
        mix = MixArguments(in_strength=in_strength, blend=blend, mode=mode).order(studio, weights)
        return studio.strengths(mix, base_named(studio, base))

    @answered
    @typed
    def conflicts(weights: Weights = None, blend: str = "", mode: str | None = None) -> dict[str, Any]:
        """Which styles of a mix fight, and where; nothing is painted."""
        return studio.mix_tools.conflicts(MixArguments(blend=blend, mode=mode).order(studio, weights))

    @answered
    @typed
    def bake(
        name: str,
        weights: Weights = None,
        composition: dict[str, float] | None = None,
        texture: dict[str, float] | None = None,
        in_strength: bool = False,
        balance: bool = False,
        blend: str = "",
        method: str = "",
        rank: int | None = None,
        density: float | None = None,
        seed: int | None = None,
        author: str = "",
        licence: str = "",
        base: str = "",
        mode: str | None = None,
        agreed: bool = False,
    ) -> dict[str, Any]:
        """Bake a mix into one new style: "exact", "squeezed" to a rank, "ties" or "dare"; its card.

        `agreed` bakes it though a licence forbids to share the result.
        """
        plan = bake_plan(name, method, rank, density=density, seed=seed, author=author, licence=licence)
        mix = MixArguments(
            composition=composition, texture=texture, in_strength=in_strength, balance=balance, blend=blend, mode=mode
        ).order(studio, weights)  # fmt: skip
        forbidden = studio.mix_tools.forbidden(mix)
        if forbidden and not agreed:
            raise BadInput(
                Text.joined(" ", forbidden), "Call it with agreed=True to bake it all the same, for yourself."
            )
        return card_facts(studio.bake(mix, plan, base_named(studio, base)))

    @answered
    @typed
    def blends_list() -> list[dict[str, Any]]:
        """All saved blends, each with the ids of the styles that are missing."""
        return [studio.blends.facts(saved) for saved in studio.blends.all()[0]]

    @answered
    @typed
    def blends_show(name: str) -> dict[str, Any]:
        """One saved blend."""
        return studio.blends.facts(studio.blends.find(name))

    @answered
    @spread
    @typed
    def blends_save(name: str, weights: Weights = None, *, mix: MixArguments, base: str = "") -> str:
        """Keep a mix under a name; its file."""
        blend = studio.mix(mix.order(studio, weights), base_named(studio, base))
        return str(studio.blends.save(name, blend))

    @answered
    @typed
    def blends_export(name: str, folder: str) -> str:
        """Write a blend's file into a folder on this machine; its path."""
        return str(studio.blends.export(name, folder_named(folder)))

    @answered
    @typed
    def blends_import(file: str) -> dict[str, Any]:
        """Bring a blend's file in."""
        return studio.blends.facts(studio.blends.bring(file_named(file)))

    @answered
    @typed
    def blends_delete(name: str) -> str:
        """Move a blend to the trash; its path there."""
        return str(studio.blends.delete(name))

    for on_base in (strip, blend_map, leave_one_out, strength, bake, blends_save):
        gr.api(on_base, api_name=on_base.__name__, concurrency_id="gpu", concurrency_limit=1)
    for quick in (conflicts, blends_list, blends_show, blends_export, blends_import, blends_delete):
        gr.api(quick, api_name=quick.__name__)


def picture_order(
    studio: Studio,
    prompt: str,
    weights: Weights = None,
    *,
    settings: PictureSettings,
    mix: MixArguments,
    image: str = "",
    passes: PassSettings,
    agreed: bool = False,
) -> PictureOrder:
    """The order of a script; raises BadInput."""
    return PictureOrder(
        prompt,
        replace(settings, base=base_named(studio, settings.base)),
        passes,
        file_named(image) if image else None,
        mix=mix.order(studio, weights),
        agreed=agreed,
    )


def sheet_of(studio: Studio, picture: Mapping[str, Any], sheet: SheetOrder) -> PictureOrder:
    """The order of a sheet, from create's arguments by name; raises BadInput for one that create does not have."""
    order = spread(typed(picture_order))
    _, *known = inspect.signature(order).parameters
    odd = [name for name in picture if name not in known]
    if odd:
        raise BadInput(
            "A picture has no {name!r}.", "It can have: {allowed}.", name=odd[0], allowed=", ".join(known)
        )
    if "prompt" not in picture:
        raise BadInput("There is no prompt.", "Say in the picture's “prompt” what to paint.")
    return replace(order(studio, **picture), sheet=sheet)


def painted(studio: Studio, order: PictureOrder) -> dict[str, Any]:
    """Paint, and say the pictures' paths and seeds, what is to be known about them, and the sheet if it is one."""
    done = Painted()
    try:
        for event in studio.render(order).events():
            done.take(event)
    except TooLarge as error:
        raise BadInput(
            error.message, "{advice} Call it with agreed=True to paint it all the same.", advice=error.hint
        ) from error
    return done.facts()


def _number(name: str, value: Any) -> float | None:
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError) as error:
        raise BlendError(
            "{value!r} is no number for “{name}”.", "Give a number such as 0.7.", value=value, name=name
        ) from error
