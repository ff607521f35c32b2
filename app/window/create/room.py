"""The Create room: what to paint on the left, what comes of it on the right."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from app.create.form import (
    PASSES,
    PICTURE,
    SUITING,
    CreateForm,
    Paper,
    first_form,
    kept_form,
    recalled,
    recalled_words,
)
from app.create.history import History
from app.create.mix_form import MixForm
from app.create.painter import ASKED, DRAFT, LIVE, Painter
from app.i18n import say, say_error, translated
from app.studio import Studio
from app.window.create.pieces import mix_piece, paper_piece, stage_piece
from app.window.fields import field_of, shown
from app.window.scripts import call
from app.window.server.answers import QUIET, answering
from app.window.server.named_paths import base_named
from app.window.server.news import News
from app.window.server.uploads import uploaded
from styles.errors import AtelierError
from styles.generation.png_recipe import read_recipe

AT_ONCE: dict[str, Any] = QUIET | {"queue": False}
# What is clicked while the click before is being answered is not dropped; the page asks for one after the other.
CLICKED = AT_ONCE | {"trigger_mode": "multiple"}


def create_room(studio: Studio, page: gr.Blocks, tab: gr.Tab, news: News) -> None:
    """Lay out the room and connect it."""
    painter = Painter(studio)
    news.add("canvas", painter.serial)
    with gr.Row(equal_height=False, elem_id="create"):
        with gr.Column(scale=5, min_width=330):
            fields, from_picture = form_fields(studio)
        with gr.Column(scale=7, min_width=400):
            stage = stage_piece(studio, painter)
    form = list(fields.values())
    _connect_painting(studio, painter, fields, stage)
    _connect_recall(studio, fields, stage, from_picture)
    _connect_tags(studio, fields, stage)

    @answering(studio, "opening the room")
    def greet(saved: str) -> list[Any]:
        try:
            values = json.loads(saved) if saved else None
        except ValueError:
            values = None
        form = kept_form(studio, values, Path(get_upload_folder())) if values else first_form(studio)
        return filled(form, fields)

    saved_form = gr.Textbox(visible=False)
    greeted = page.load(greet, saved_form, form, js=call("create/room", "keptForm"), **AT_ONCE)
    greeted.then(None, None, None, js=call("create/room", "showRestored"))
    keep = call("create/room", "keepForm", list(fields))
    for field in form:  # one handler for all would read them all twice
        field.change(None, form, None, js=keep)
    fields["base"].change(None, fields["base"], None, js=call("create/room", "chooseBase"))
    tab.select(None, None, None, js=call("create/room", "visit"))
    tab.select(lambda: gr.update(choices=bases(studio)), None, fields["base"], **AT_ONCE)


def form_fields(studio: Studio) -> tuple[dict[str, Any], gr.Accordion]:
    """Lay out all that can be asked for, by the names that CreateForm has; and the fold of the picture to start from."""
    fields: dict[str, Any] = {
        "prompt": gr.Textbox(label=say("Prompt"), lines=2, max_lines=8, elem_id="create-prompt")
    }
    gr.Markdown(
        say(
            "`(word:1.2)` weighs a word, `[word]` weakens it, `\\(` is a bracket; after `BREAK` a new chunk begins."
        ),
        elem_classes="quiet",
    )
    fields |= {
        "mix": mix_piece(studio),
        "paper": paper_piece(),
    }
    with gr.Accordion(say("From a picture"), open=False) as from_picture:
        fields["image"] = gr.Image(
            label=say("Picture to start from"), type="filepath", format="png", image_mode=None,
            sources=["upload", "clipboard"], height=200, elem_classes="source",
        )  # fmt: skip
        fields |= {name: field_of(one) for name, one in PASSES.items() if not one.setting.group}
    with gr.Accordion(say("More settings"), open=False):
        more = (PICTURE | PASSES).items()
        fields |= {name: field_of(one) for name, one in more if one.setting.group}
        fields["base"] = gr.Dropdown(
            bases(studio), label=say("Base to paint with"), allow_custom_value=True, filterable=True
        )
    return fields, from_picture


def _connect_painting(studio: Studio, painter: Painter, fields: dict[str, Any], stage: gr.HTML) -> None:
    inputs = set(fields.values())

    def form_of(values: dict[Any, Any]) -> CreateForm:
        given = {name: values[field] for name, field in fields.items()}
        form = CreateForm.from_json(given, as_far_as_possible=False)
        base_named(studio, form.settings.base)
        return form

    def asking(kind: str) -> Any:
        def ask(values: dict[Any, Any], event: gr.EventData) -> None:
            with painter.telling(event.page):
                painter.ask(form_of(values).order(studio), kind, page=event.page)

        return ask

    def asking_again(**how: bool) -> Any:
        def ask(event: gr.EventData) -> None:
            with painter.telling(event.page):
                painter.ask_again(**how, page=event.page)

        return ask

    def ask_sensible(values: Any, event: gr.EventData) -> list[Any]:
        with painter.telling(event.page):
            order = painter.ask_again(sensible=True, page=event.page)
            width, height = str(order.settings.width_px), str(order.settings.height_px)
            paper = replace(Paper.from_json(values), shape="own", width=width, height=height)
            return [paper.to_json(), 0.0]
        return [gr.skip(), gr.skip()]

    def ask_sheet(values: dict[Any, Any], event: gr.EventData) -> None:
        with painter.telling(event.page):
            painter.ask(form_of(values).sheet(studio, event.kind, event.style), page=event.page)

    mix = fields["mix"]
    stage.paint(asking(ASKED), inputs, None, **CLICKED)
    stage.anyway(asking_again(agreed=True), None, None, **CLICKED)
    stage.pause(asking_again(pause_training=True), None, None, **CLICKED)
    stage.sensible(ask_sensible, fields["paper"], [fields["paper"], fields["second_pass"]], **CLICKED)
    mix.moved(asking(DRAFT), inputs, None, trigger_mode="always_last", **AT_ONCE)
    mix.released(asking(LIVE), inputs, None, trigger_mode="always_last", **AT_ONCE)
    mix.sheet(ask_sheet, inputs, None, **CLICKED)
    mix.suit(None, None, [fields[name] for name in SUITING], js=call("create/room", "suited", SUITING))


def _connect_recall(
    studio: Studio, fields: dict[str, Any], stage: gr.HTML, from_picture: gr.Accordion
) -> None:
    answered, history = answering(studio, "taking the settings of a picture"), History(studio.home)

    def recall(path: Path, values: dict[Any, Any]) -> list[Any]:
        before = CreateForm.from_json({name: values[field] for name, field in fields.items()})
        try:
            done = recalled(studio, read_recipe(path, pixels=True), before)
        except AtelierError as error:
            return [*[gr.skip()] * len(fields), beside(problem=say_error(error))]
        return [*filled(done.form, fields), beside(words=recalled_words(done))]

    @answered
    def recall_brought(values: dict[Any, Any], event: gr.EventData) -> list[Any]:
        path = uploaded(event.path)
        done = recall(path, values)
        path.unlink(missing_ok=True)
        return done

    @answered
    def recall_kept(values: dict[Any, Any], event: gr.EventData) -> list[Any]:
        return recall(history.picture(event.name), values)

    @answered
    def begin_from(event: gr.EventData) -> list[Any]:
        words = say("It is the picture to start from.")
        return [str(history.picture(event.name)), gr.update(open=True), beside(words=words)]

    everything, inputs = [*fields.values(), stage], set(fields.values())
    stage.brought(recall_brought, inputs, everything, **CLICKED)
    stage.recall(recall_kept, inputs, everything, **CLICKED)
    stage.begin(begin_from, None, [fields["image"], from_picture, stage], **CLICKED)


def _connect_tags(studio: Studio, fields: dict[str, Any], stage: gr.HTML) -> None:
    """A style that is pasted into the prompt as a tag moves its slider, and leaves the prompt."""

    @answering(studio, "looking up the styles of a prompt")
    def take(values: Any, event: gr.EventData) -> list[Any]:
        form, notes = CreateForm(str(event.prompt), MixForm.from_json(values)).without_tags(studio)
        return [form.prompt, form.mix.to_json(), beside(words=" ".join(map(translated, notes)))]

    mix = fields["mix"]
    mix.tagged(take, mix, [fields["prompt"], mix, stage], **CLICKED)


def filled(form: CreateForm, fields: dict[str, Any]) -> list[Any]:
    """What the fields show of a form."""
    values = form.to_json() | {"image": form.image or None}
    values |= {name: shown(one, values[name]) for name, one in (PICTURE | PASSES).items()}
    return [values[name] for name in fields]


def beside(**told: str) -> dict[str, Any]:
    """What the stage says beside the picture; the time makes the same words news again."""
    return {**told, "at": time.time()}


def bases(studio: Studio) -> list[tuple[str, str]]:
    """The bases to choose from: the one in use, then all that are here."""
    here = [entry for entry in studio.shelf.list() if entry.installed and not entry.problem]
    used = (
        say("the one in use")
        if studio.shelf.problem_in_use is None
        else say("the one in use, which is not usable now")
    )
    return [(used, ""), *((entry.name, entry.name) for entry in here)]
