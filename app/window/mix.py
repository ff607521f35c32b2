"""The styles in the mix, and a slider for each.

The sliders are all there from the start, shown as they are needed: ones drawn anew with each choice would lose what is
moved while the page draws them.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.studio import Studio
from styles.errors import StyleFileError, UnknownStyleError
from styles.style import StyleCard

MOST_STYLES = 8  # in one mix
FIRST_STYLES = 2  # that a fresh page begins with
LEAST, MOST = -1.0, 2.0  # of a slider


@dataclass(frozen=True)
class Mix:
    """The controls: which styles, the ids behind the sliders in their order, the sliders, and words for an empty mix."""

    chosen: gr.Dropdown
    ids: gr.State
    sliders: tuple[gr.Slider, ...]
    nothing: gr.Markdown

    @property
    def says(self) -> list[Any]:
        """What a handler reads: the chosen ids, the ids behind the sliders, and each slider's weight."""
        return [self.chosen, self.ids, *self.sliders]

    @property
    def all(self) -> list[Any]:
        """What `arranged` sets."""
        return [*self.says, self.nothing]

    def weights(self, values: dict[Any, Any]) -> tuple[tuple[str, float], ...]:
        """(style id, weight) as the page says."""
        return tuple(
            (style, float(values[slider]))
            for style, slider in zip(values[self.ids], self.sliders, strict=False)
        )


def mix_controls() -> Mix:
    """Lay out an empty mix."""
    chosen = gr.Dropdown(
        [], label="Styles in the mix", multiselect=True, filterable=True, max_choices=MOST_STYLES
    )
    ids = gr.State([])
    nothing = gr.Markdown("No styles in the mix: the base paints alone.", elem_classes="quiet")
    sliders = tuple(
        gr.Slider(LEAST, MOST, value=1.0, step=0.05, visible=False, interactive=True)
        for _ in range(MOST_STYLES)
    )
    return Mix(chosen, ids, sliders, nothing)


def arranged(
    studio: Studio,
    wanted: Sequence[str],
    known: dict[str, float],
    choices: list[tuple[str, str]] | None = None,
) -> list[Any]:
    """What `Mix.all` shows for these styles; a weight is what is known, else what the card suggests, halved beside others.

    `wanted` has handles as in `choices`, or ids; a style that has no id yet gets it here.
    """
    shown = present(studio, wanted)[:MOST_STYLES]
    ids = [card.id for card in shown]
    values = [studio.library.handle(card) for card in shown]
    parts = [_slider(card, known, place) for place, card in enumerate(shown)]
    hidden = [gr.update(visible=False)] * (MOST_STYLES - len(shown))
    offered = {} if choices is None else {"choices": choices}
    return [gr.update(value=values, **offered), ids, *parts, *hidden, gr.update(visible=not shown)]


def present(studio: Studio, wanted: Sequence[str]) -> list[StyleCard]:
    """The whole cards of those of these styles that are in the library, each once."""
    found: dict[str, StyleCard] = {}
    for word in wanted:
        with suppress(UnknownStyleError, StyleFileError):  # deleted since the page offered it
            card = studio.library.find(word)
            found[card.id] = card
    return list(found.values())


def choices_of(studio: Studio, cards: Sequence[StyleCard]) -> list[tuple[str, str]]:
    """What a list to choose styles from offers: names, and handles that stay the same when a style is hashed."""
    return [(card.name, studio.library.handle(card)) for card in cards]


def _slider(card: StyleCard, known: dict[str, float], place: int) -> Any:
    weight = known.get(card.id, card.suggested_weight * (1.0 if place == 0 else 0.5))
    info = f"trigger word: {card.trigger}" if card.trigger else ""  # gradio escapes it
    return gr.update(
        visible=True,
        label=card.name,
        info=info,
        value=weight,
        minimum=min(LEAST, weight),
        maximum=max(MOST, weight),
    )


def paintable(studio: Studio, base: str = "") -> list[StyleCard]:
    """The styles for the family of a base (empty: the one in use), as far as it is known, the newest first."""
    source = studio.base_source(base)
    family = next((entry.family for entry in studio.shelf.list() if source in (entry.name, entry.source)), "")
    cards = [card for card in studio.library.cards() if not family or card.family in (family, "unknown")]
    return sorted(cards, key=lambda card: card.created, reverse=True)
