"""The pieces of the Create room that are drawn in the browser: the mix, the paper and the stage.

Their scripts stand beside this module. What they ask the server for goes past gradio's queue: it is answered at once,
also while something is painted.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import gradio as gr

from app.create.advice import Advice
from app.create.history import History
from app.create.mix_form import MOST_ROWS, MixForm
from app.create.painter import Painter
from app.create.style_choices import choice, choices
from app.i18n import say_error, translated
from app.log import surprise_message
from app.studio import Studio
from app.window.create.blends import blend_questions
from app.window.create.words import mix_words, paper_words, stage_words
from app.window.scripts import mount
from app.window.server.named_paths import base_named
from app.window.server.stops import Stops
from styles.errors import AtelierError

MOST_AT_ONCE = 16  # pictures
LONGEST_LOOK_SECONDS = 5.0  # longer, and the window's end would wait for it


def piece(value: Any, script: str, **about: Any) -> gr.HTML:
    """A part of the page that its script draws."""
    return gr.HTML(
        value,
        html_template="<div></div>",
        js_on_load=script,
        apply_default_css=False,
        padding=False,
        **about,
    )


def mix_piece(studio: Studio) -> gr.HTML:
    """Chips, style cards, blend pad and advice; its value is what MixForm reads."""
    advice, stops, told = Advice(studio), Stops(), answers(studio, "looking at styles")

    @told
    def styles(about: dict[str, Any]) -> dict[str, Any]:
        return choices(
            studio, str(about["words"]), base_named(studio, str(about["base"])), without=about["without"]
        )

    @told
    def style(about: dict[str, Any]) -> dict[str, Any]:
        return choice(studio, str(about["style"]), str(about.get("name") or ""))

    @told
    def restore(about: dict[str, Any]) -> dict[str, Any]:
        return {"name": studio.library.restore(str(about["style"])).name}

    @told
    def advise(about: dict[str, Any]) -> dict[str, Any]:
        return advice.tell(MixForm.from_json(about["mix"]), base_named(studio, str(about["base"])))

    @told
    def measure(about: dict[str, Any]) -> dict[str, Any]:
        mix, base = MixForm.from_json(about["mix"]), base_named(studio, str(about["base"]))
        with stops.begun(str(about["page"])) as cancelled:
            return advice.measure(mix, base, cancelled)

    @told
    def stop_measuring(about: dict[str, Any]) -> dict[str, Any]:
        stops.stop(str(about["page"]))
        return {}

    return piece(
        MixForm().to_json(), mount("create/mix", "moved", "released", "sheet", "suit", "tagged"), words=mix_words(), most_rows=MOST_ROWS,
        server_functions=[styles, style, restore, advise, measure, stop_measuring, *map(told, blend_questions(studio))], elem_id="create-mix",
    )  # fmt: skip


def paper_piece() -> gr.HTML:
    """Shape, number and seed; its value is what Paper reads."""
    return piece(
        None,
        mount("create/paper"),
        words=paper_words(),
        most=MOST_AT_ONCE,
        elem_id="create-paper",
    )


def stage_piece(studio: Studio, painter: Painter) -> gr.HTML:
    """What is being painted, and the pictures that are there."""
    kept, told = History(studio.home), answers(studio, "looking at pictures")

    @told
    def look(about: dict[str, Any]) -> dict[str, Any]:
        patience = min(max(0.0, float(about["patience"])), LONGEST_LOOK_SECONDS)
        serial, canvas = painter.look(int(about["seen"]), patience)
        return {"serial": serial, "canvas": canvas.to_json(str(about["page"]))}

    @told
    def stop(about: dict[str, Any]) -> dict[str, Any]:
        painter.stop()
        return {}

    @told
    def history(about: dict[str, Any]) -> dict[str, Any]:
        pictures, total = kept.page(max(0, int(about["start"])))
        return {"pictures": [picture.to_json() for picture in pictures], "total": total}

    @told
    def discard(about: dict[str, Any]) -> dict[str, Any]:
        kept.discard(str(about["name"]))
        return {}

    return piece(
        None, mount("create/stage", "paint", "anyway", "pause", "sensible", "brought", "recall", "begin"), words=stage_words(), server_functions=[look, stop, history, discard],
        elem_id="create-stage",
    )  # fmt: skip


def answers(studio: Studio, doing: str) -> Callable[[Callable[..., dict[str, Any]]], Callable[..., Any]]:
    """Make a question of a script be answered with its problem in words where it can't be otherwise."""

    def decorate(question: Callable[..., dict[str, Any]]) -> Callable[..., Any]:
        @functools.wraps(question)
        def answer(about: dict[str, Any]) -> dict[str, Any]:
            try:
                return question(about)
            except AtelierError as error:
                return {"problem": say_error(error)}
            except Exception as error:
                return {"problem": translated(surprise_message(studio.home, error, doing))}

        return answer

    return decorate
