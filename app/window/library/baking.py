"""Baking in the Library: a few styles, each with a weight, made into one new style."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import gradio as gr

from app.create.mix_orders import MixOrder, StyleOrder
from app.create.mix_tools import bake_plan
from app.drawing import as_markdown
from app.i18n import say, say_error, translated, unsaid
from app.studio import Studio
from app.window.server.answers import QUIET, answering, in_turn
from app.window.server.stops import Stops
from styles.errors import BadInput, Cancelled, StyleFileError, UnknownStyleError
from styles.formats.style import StyleCard

MOST_BAKED = 4
RANKS = ((unsaid("exact"), 0), ("8", 8), ("16", 16), ("32", 32))


def baking(
    studio: Studio, page: gr.Blocks, tab: gr.Tab, version: gr.State, changed: Callable[[], int]
) -> None:
    """Lay out the bakery and connect it; `changed` makes another `version` after each change of the library."""
    answered = answering(studio, "baking styles")
    library = studio.library
    with gr.Accordion(say("Bake styles into one"), open=False):
        gr.Markdown(
            say(
                "Makes a new style file of several, for other programs or a friend. It needs no Atelier to be used."
            ),
            elem_classes="quiet",
        )
        chosen = gr.Dropdown(
            [], label=say("Styles to bake"), multiselect=True, max_choices=MOST_BAKED, info=say("Up to four, for one base.")
        )  # fmt: skip
        weights = [
            gr.Slider(-1.0, 2.0, value=1.0, step=0.05, visible=False, interactive=True)
            for _ in range(MOST_BAKED)
        ]
        with gr.Row():
            name = gr.Textbox(label=say("Name of the new style"), value="", max_lines=1)
            rank = gr.Radio(
                [(say(words), value) for words, value in RANKS], value=0, label=say("Rank"),
                info=say("Exact keeps all; a number makes a smaller file that comes near."),
            )  # fmt: skip
        with gr.Row():
            bake = gr.Button(say("Bake"), scale=0, min_width=160)
            stop = gr.Button(say("Stop"), scale=0, min_width=120, visible=False)
        with gr.Group(visible=False, elem_classes="notice warn") as forbidden:
            forbidden_words = gr.Markdown()
            agree = gr.Button(say("Bake it all the same"), scale=0, min_width=200)
        said = gr.Markdown("", elem_classes="said")
    shown = gr.State([])  # the handles that the sliders are for
    says = [chosen, name, rank, *weights]
    answer = [forbidden, forbidden_words, said, version, stop]
    stops = Stops()

    def cards_of(handles: Sequence[str]) -> list[StyleCard]:
        cards = []
        for handle in handles:
            with suppress(UnknownStyleError, StyleFileError):  # deleted since the page offered it
                cards.append(library.find(handle))
        return cards

    @answered
    def offer(handles: list[str] | None) -> Any:
        choices = [(card.name, library.handle(card)) for card in library.cards()]
        here = {handle for _, handle in choices}
        gone = [handle for handle in handles or [] if handle not in here]
        if not gone:  # the field may hold another choice by now
            return gr.update(choices=choices)
        return gr.update(choices=choices, value=[handle for handle in handles or [] if handle in here])

    @answered
    def arrange(handles: list[str] | None, before: list[str], *now: float) -> list[Any]:
        cards = cards_of(handles or [])[:MOST_BAKED]
        here, weights = [library.handle(card) for card in cards], dict(zip(before, now, strict=False))
        sliders = [
            gr.update(visible=True, label=card.name, value=weights.get(handle, card.suggested_weight))
            if before[place : place + 1] != [handle]
            else gr.skip()
            for place, (card, handle) in enumerate(zip(cards, here, strict=True))
        ]
        hidden = [gr.update(visible=False)] * (MOST_BAKED - len(cards))
        return [*sliders, *hidden, gr.update(visible=False), here]

    @answered
    def bake_it(request: gr.Request, *values: Any) -> Iterator[list[Any]]:
        yield from baked(studio, stops, str(request.session_hash), changed, *values, agreed=False)

    @answered
    def bake_anyway(request: gr.Request, *values: Any) -> Iterator[list[Any]]:
        yield from baked(studio, stops, str(request.session_hash), changed, *values, agreed=True)

    def halt(request: gr.Request) -> str:
        stops.stop(str(request.session_hash))
        return say("Stopping. Nothing is kept.")

    gr.on([tab.select, version.change], offer, chosen, chosen, **in_turn("bakery", "always_last"))
    # The sliders keep what they were set to, so each arrangement begins with the one before.
    chosen.change(
        arrange, [chosen, shown, *weights], [*weights, forbidden, shown], **in_turn("sliders", "always_last")
    )
    gpu: dict[str, Any] = {"concurrency_id": "gpu", "concurrency_limit": 1, **QUIET}
    for button, handler in ((bake, bake_it), (agree, bake_anyway)):
        # Also where it failed.
        button.click(handler, says, answer, **gpu).then(lambda: gr.update(visible=False), None, stop, **QUIET)
    stop.click(halt, None, said, queue=False, **QUIET)


def baked(
    studio: Studio,
    stops: Stops,
    page: str,
    changed: Callable[[], int],
    handles: list[str] | None,
    name: str,
    rank: int,
    *weights: float,
    agreed: bool,
) -> Iterator[list[Any]]:
    """Bake for a page, which may stop it; yields what it shows (the answers of `baking`), first while it bakes."""
    if not handles:
        raise BadInput("There is nothing to bake.", "Choose the styles.")
    plan = bake_plan(name, rank=rank or None)
    parts = zip(handles, weights, strict=False)
    order = MixOrder(styles=tuple(StyleOrder(handle, weight) for handle, weight in parts))
    if not agreed and (obstacle := studio.mix_tools.forbidden(order)):
        words = "\n\n".join(as_markdown(translated(sentence)) for sentence in obstacle)
        yield [gr.update(visible=True), words, "", gr.skip(), gr.skip()]
        return
    with stops.begun(page) as cancelled:
        yield [gr.update(visible=False), "", say("Baking …"), gr.skip(), gr.update(visible=True)]
        try:
            card = studio.bake(order, plan, cancelled=cancelled)
        except Cancelled as error:
            yield [gr.skip(), "", as_markdown(say_error(error)), gr.skip(), gr.skip()]
            return
    words = say("{name} is in the library.", name=card.name)
    made = translated(card.bake.words) if card.bake else card.description
    yield [gr.skip(), "", as_markdown(f"{words} {made}"), changed(), gr.skip()]
