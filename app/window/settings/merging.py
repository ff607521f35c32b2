"""Merging styles into a base, in the list of bases: which ones can be, and what is given up with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from app.create.form import real
from app.create.mix_orders import MixOrder, StyleOrder
from app.drawing import as_markdown
from app.i18n import say, translated
from app.window.server.named_paths import base_named
from styles.bases.files.merged_base import GIVEN_UP
from styles.errors import BadInput
from styles.quantization.quantization import QUANTIZATIONS
from styles.text import Text

if TYPE_CHECKING:
    import gradio as gr

    from app.studio import Studio
    from styles.bases.shelf import BaseEntry


@dataclass(frozen=True)
class Offered:
    """A style that can be merged into a base; `forbidden` is what its licence has against it."""

    handle: str
    name: str
    quantize: str
    weight: float
    forbidden: tuple[Text, ...] = ()


def offered_styles(studio: Studio, entries: Iterable[BaseEntry]) -> dict[str, list[Offered]]:
    """By the name of each base that is here, the styles that were trained over groups of such bases."""
    offered: dict[str, list[Offered]] = {}
    styles = [
        (card, _offer(studio, studio.library.handle(card), card.name, quantize, card.suggested_weight))
        for card in studio.library.cards()
        if _group(quantize := str(card.training.get("quantize", "")))
    ]
    for entry in entries:
        if entry.state != "here":
            continue
        # A merged base has its groups, into which those of the style have to be cut evenly.
        merged_group = _group(entry.quantize) if entry.merged else 0
        offered[entry.name] = [
            offer
            for card, offer in styles
            if card.may_fit(entry.family) and not (merged_group and _group(offer.quantize) % merged_group)
        ]
    return offered


def _group(quantize: str) -> int:
    """The size of a quantization's groups, 0 for one that merges nothing exactly."""
    quantization = QUANTIZATIONS.get(quantize)
    return quantization.group if quantization and quantization.is_grouped else 0


def _offer(studio: Studio, handle: str, name: str, quantize: str, weight: float) -> Offered:
    order = MixOrder(styles=(StyleOrder(handle, weight),))
    return Offered(handle, name, quantize, weight, studio.mix_tools.forbidden(order))


def merging_form(title: str, styles: Sequence[Offered], number: int) -> str:
    """The styles that can be merged into a base, each with a weight; empty where there are none."""
    if not styles:
        return ""
    only = len(styles) == 1
    rows = "".join(
        _row(style, f"base-{number}-forbidden-{place}", only) for place, style in enumerate(styles)
    )
    name = say("{base} with {style}", base=title, style=styles[0].name)
    agree = ""
    if any(style.forbidden for style in styles):
        agree = (
            f'<label class="tick"><input type="checkbox" name="agreed" value="yes">'
            f"<span>{escape(say('Merge it all the same, for yourself'))}</span></label>"
        )
    return (
        f'<details class="merging"><summary>{escape(say("Merge a style into it"))}</summary>'
        f'<form data-submit="merge"><p>{escape(translated(GIVEN_UP))}</p>'
        f'<fieldset aria-label="{escape(say("Styles to merge"))}">{rows}</fieldset>'
        f"<label>{escape(say('Name of the merged base'))}"
        f'<input type="text" name="name" value="{escape(name)}" autocomplete="off" spellcheck="false"></label>{agree}'
        f'<button class="asking">{escape(say("Merge"))}</button></form></details>'
    )


def _row(style: Offered, forbidden_id: str, ticked: bool) -> str:
    handle = escape(style.handle)
    label = escape(say("Weight of {style}", style=style.name))
    about = " checked" if ticked else ""
    about += f' aria-describedby="{forbidden_id}"' if style.forbidden else ""
    forbidden = escape(" ".join(map(translated, style.forbidden)))
    return (
        f'<div class="merged-style"><label class="tick"><input type="checkbox" name="styles" value="{handle}"{about}>'
        f"<span>{escape(style.name)}</span></label>"
        f'<input type="text" inputmode="decimal" name="weight {handle}" value="{style.weight:g}" aria-label="{label}" '
        f'autocomplete="off"></div>' + (f'<p id="{forbidden_id}">{forbidden}</p>' if forbidden else "")
    )


def merge_order(chosen: Any) -> MixOrder:
    """The styles that a form names, each with its weight as it was typed; raises BadInput."""
    if not chosen:
        raise BadInput("There is no style to merge.", "Tick one or more.")
    return MixOrder(
        styles=tuple(StyleOrder(str(handle), real(say("Weight"), str(weight))) for handle, weight in chosen)
    )


def merge(
    studio: Studio,
    order: MixOrder,
    base: str,
    name: str,
    *,
    agreed: bool,
    progress: gr.Progress,
    cancelled: Callable[[], bool],
) -> str:
    """Merge styles into a base, and say what came of it; raises BadInput and what `merge_base` raises."""
    base_named(studio, base)
    forbidden = studio.mix_tools.forbidden(order)
    if forbidden and not agreed:
        raise BadInput(
            Text.joined(" ", forbidden), "Tick “Merge it all the same” if it is for yourself alone."
        )
    step = say("Merging…")
    progress(0.0, desc=step)
    done = studio.mix_tools.merge(
        order, base, name, cancelled=cancelled, progress=lambda share: progress(share, desc=step)
    )
    added = say("{name} is added: use it as any other base.", name=done.entry.name)
    return as_markdown(" ".join([added, *map(translated, done.notes)]))
