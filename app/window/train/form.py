"""Name, trigger word, preset and every number of a training; what was chosen comes back after a reload."""

from __future__ import annotations

import json
from html import escape
from typing import Any

import gradio as gr

from app.i18n import say, say_error, translated
from app.studio import Studio
from app.train.form import FRESH, GROUPS, NUMBERS, form_of, kind_of, order_of, shown_of, trigger_of
from app.train.preset_cards import costs_said, preset_choices
from app.window.scripts import call
from app.window.server.answers import QUIET, answering, in_turn
from app.window.server.named_paths import base_named
from app.window.server.news import News, listener
from app.window.train.artworks import DRAFT, Artworks
from styles.errors import AtelierError, BadInput
from styles.families import family_of
from styles.quantization.quantization import OFFERED, quantization_title
from styles.storage.setting import Declared
from styles.text import Text
from training.plan import TrainingPlan

TYPING_SECONDS = 1.0  # after the last change of the form, what it would take is asked for
KEEPING_SECONDS = 0.2  # after the last change of the form, it is kept
FORM = "form"  # what is kept of it is written in turn
# One list instead of a field each: gradio tells every field that a handler reads of each later step of every handler.
TOGETHER = "(...values) => [values]"
# The choices of the numbers, by their values; those without a title are not offered.
TITLES = {
    "cross": Text("Cross-attention"),
    "cross+self": Text("Cross- and self-attention"),
    "transformer": Text("Whole transformer blocks"),
    "adamw8bit": Text("AdamW in 8 bits"),
    "paged_adamw": Text("Paged AdamW"),
    **{name: quantization_title(name) for name in OFFERED},
}
# A change of these is a change of what the artworks' cards show.
SHOWN_ON_CARDS = ("name", "trigger", "base", "resolution_px")


def form_section(
    studio: Studio, page: gr.Blocks, tab: gr.Tab, artworks: Artworks, news: News
) -> tuple[gr.State, gr.Button, gr.HTML]:
    """Lay out the form and connect it.

    Returns the id of the training that this page started last, the button that starts one, and what it answered.
    """
    answered, draft = answering(studio, "preparing a training"), studio.preparation.draft
    started = gr.State("")
    # What the fields held when they were kept last, None before what was kept has been shown. The page remembers it, so
    # that it goes on with a window that was started anew.
    last = gr.JSON(visible=False)
    sent = gr.JSON(visible=False)  # what the fields hold
    measured = gr.State("")  # what the cards tell, so that they are drawn only when that changes
    fields: dict[str, Any] = {}
    with gr.Row(elem_classes="row-tight", equal_height=False):
        fields["name"] = gr.Textbox(
            label=say("Name of the style"), placeholder=say("for example: Ink wash"), max_lines=1, min_width=180,
            info=say("Its file has the same name."),
        )  # fmt: skip
        fields["trigger"] = gr.Textbox(
            label=say("Its trigger word"), placeholder=say("made from the name"), max_lines=1, min_width=180,
            info=say("The word that calls the style in a prompt."),
        )  # fmt: skip
    fields["preset"] = gr.Radio(
        preset_choices(), value="balanced", label=say("How thoroughly"), info=costs_said(None),
        elem_classes="preset-cards",
    )  # fmt: skip
    with gr.Accordion(say("Advanced"), open=False):
        gr.Markdown(
            say("What stands in grey is the preset's. Leave a field empty to keep it."), elem_classes="quiet"
        )
        with gr.Tabs(elem_classes="parts"):
            for title, names in GROUPS.items():
                with gr.Tab(say(title)):
                    _numbers(fields, names)
            with gr.Tab(say("Base and card")):
                _rest(fields)
        again = gr.Button(say("Measure again"), size="sm", elem_classes="fit", visible=False)
    with gr.Row(elem_classes="row-tight"):
        start = gr.Button(say("Start training"), variant="primary", size="lg", scale=3)
        fresh = gr.Button(say("Start over"), size="lg", elem_classes="fit")
    answer = gr.HTML(elem_classes="answer")
    form = list(fields.values())
    preset = [name for name, one in NUMBERS.items() if kind_of(one) != "choice"]

    def read(values: Any) -> dict[str, Any]:
        return form_of(dict(zip(fields, values if isinstance(values, list) else [], strict=False)))

    def suggested(form: dict[str, Any]) -> str:
        return trigger_of(form | {"trigger": ""}) or say("made from the name")

    def shown(kept: dict[str, Any]) -> list[Any]:
        begun = {"value": kept["continue_from"]} | _styles_to_go_on_from(studio, kept["continue_from"])
        return [begun if name == "continue_from" else kept[name] for name in fields]

    @answered
    def restore() -> list[Any]:
        kept = form_of(draft.form())
        values = dict(zip(fields, shown(kept), strict=True))
        return [
            kept,
            *(values | {"trigger": gr.update(value=values["trigger"], placeholder=suggested(kept))}).values(),
        ]

    @answered
    def keep(before: Any, values: Any) -> list[Any]:
        now = read(values)
        if not isinstance(before, dict) or now == before:
            return [gr.skip(), gr.skip()]
        # Another page may have changed other fields meanwhile.
        changed = {name: value for name, value in now.items() if value != before.get(name)}
        kept = form_of(draft.form()) | changed
        refuse_odd_base(studio, kept)
        draft.remember(kept)
        if any(name in changed for name in SHOWN_ON_CARDS):
            draft.touch()
        return [now, gr.update(placeholder=suggested(now))]

    @answered
    def estimate(before: str, values: Any) -> list[Any]:
        form = read(values)
        plan, choices, words, final = _costs(studio, form)
        now = f"{plan} {choices} {words}"
        if before == now:
            return [gr.skip()] * (3 + len(preset))
        shown = [_preset_shown(plan, NUMBERS[name]) if plan else gr.skip() for name in preset]
        return [now, gr.update(choices=choices, info=words), gr.update(visible=final), *shown]

    @answered
    def forget() -> None:
        studio.preparation.measuring.forget()

    @answered
    def begin(values: Any) -> list[Any]:
        try:
            form = read(values)
            refuse_odd_base(studio, form)
            job = studio.queue_training(order_of(form, draft.paths()))
        except AtelierError as error:
            return [gr.skip(), f'<p class="bad" role="alert">{escape(say_error(error))}</p>']
        waits = any(one.folder == job.folder for one in studio.queue.waiting())
        words = (
            say("“{name}” waits for its turn.", name=job.name)
            if waits
            else say("“{name}” has begun.", name=job.name)
        )
        return [job.folder.name, f'<p role="status">{escape(words)}</p>']

    @answered
    def forget_form() -> None:
        draft.remember(dict(FRESH))

    page.load(restore, None, [last, *form], **QUIET).then(
        None, None, None, js=call("train/room", "showRestored")
    )
    artworks.settings_read.change(restore, None, [last, *form], **QUIET)
    tab.select(
        answered(lambda kept: _styles_to_go_on_from(studio, kept)),
        fields["continue_from"],
        fields["continue_from"],
        **QUIET,
    )
    listener("form", wait_seconds=KEEPING_SECONDS, everywhere=True).told(None, form, sent, js=TOGETHER)
    sent.change(keep, [last, sent], [last, fields["trigger"]], **in_turn(FORM, "always_last"))
    estimated = [measured, fields["preset"], again, *(fields[name] for name in preset)]
    news.add("costs", lambda: _costs_depend_on(studio))
    for moment in (tab.select, *(field.change for field in form)):
        moment(None, None, None, js=call("train/room", "tellForm"))
    listener("costs", "form", wait_seconds=TYPING_SECONDS).told(
        estimate, [measured, sent], estimated, **in_turn("costs", "always_last")
    )
    again.click(forget, None, None, **QUIET)
    # The first word comes from the page itself: preparing a training takes a moment.
    wait = json.dumps(f'<p role="status">{escape(say("Preparing the training…"))}</p>')
    start.click(None, None, answer, js=f"() => {wait}", **QUIET)
    pressed = gr.on([start.click, fields["name"].submit], None, form, sent, js=TOGETHER)
    pressed.then(begin, sent, [started, answer], **in_turn(DRAFT))
    # Emptied by the page itself: what is typed or answered after that stays.
    emptied = json.dumps(["", *(FRESH[name] for name in fields)])
    over = fresh.click(None, None, [answer, *form], js=f"() => {emptied}", **QUIET)
    over.then(forget_form, None, None, **in_turn(FORM))
    over.then(artworks.clear, None, artworks.shown, **in_turn(DRAFT))
    return started, start, answer


def _numbers(fields: dict[str, Any], names: tuple[str, ...]) -> None:
    """A field for each number, two in a row."""
    for place in range(0, len(names), 2):
        with gr.Row(equal_height=False):
            for name in names[place : place + 2]:
                fields[name] = _field(NUMBERS[name])


def _field(number: Declared) -> Any:
    setting, kind = number.setting, kind_of(number)
    about: dict[str, Any] = {"label": say(setting.label), "info": say(setting.help), "min_width": 200}
    if kind == "yes or no":
        return gr.Radio(_answers(say("the preset's")), value="", **about)
    if kind == "choice":
        choices = [(translated(TITLES[one]), one) for one in setting.choices if one in TITLES]
        if setting.unset and FRESH[number.field] == "":
            choices.insert(0, (say(setting.unset), ""))
        return gr.Radio(choices, value=FRESH[number.field], **about)
    lines = {"lines": 2, "max_lines": 8} if kind == "lines" else {"max_lines": 1}
    # A text field also for numbers: gradio's own shows a 0 for nothing, and JavaScript rounds seeds above 2**53.
    return gr.Textbox(placeholder=say("the preset's"), **about, **lines)


def _answers(preset: str) -> list[tuple[str, str]]:
    return [(preset, ""), (say("yes"), "yes"), (say("no"), "no")]


def _preset_shown(plan: TrainingPlan, number: Declared) -> Any:
    """Change a field so that it shows what the preset says."""
    if kind_of(number) != "yes or no":
        return gr.update(placeholder=shown_of(plan, number))
    yes = getattr(plan, number.field)
    return gr.update(choices=_answers(say("the preset's: yes") if yes else say("the preset's: no")))


def _rest(fields: dict[str, Any]) -> None:
    """What to train on and what the style's card says."""
    with gr.Row(equal_height=False):
        fields["base"] = gr.Textbox(
            label=say("Base to train on"), placeholder=say("the base in use"), max_lines=1, min_width=200,
            info=say("A name, a file or a folder."),
        )  # fmt: skip
        fields["continue_from"] = gr.Dropdown(
            [(say("nothing: a new style"), "")], value="", label=say("Go on from"), min_width=200,
            info=say("A finished style that learns more, in its own layers and on the base that it is for."),
        )  # fmt: skip
    with gr.Row(equal_height=False):
        fields["author"] = gr.Textbox(
            label=say("Author"), max_lines=1, min_width=200, info=say("Stands in the style's file.")
        )
        fields["licence"] = gr.Textbox(
            label=say("Licence"), max_lines=1, min_width=200, placeholder=say("for example: CC-BY-4.0"),
            info=say("What others may do with the style."),
        )  # fmt: skip
    fields["rights"] = gr.Textbox(
        label=say("Your right to the artworks"), max_lines=2, placeholder=say("for example: I painted them myself."),
        info=say("Stands in the style's file, for those who ask."),
    )  # fmt: skip


def refuse_odd_base(studio: Studio, form: dict[str, Any]) -> None:
    """Raise BadInput for a base that whoever asks may not name; the one in the draft was named already."""
    if form["base"] != form_of(studio.preparation.draft.form())["base"]:
        base_named(studio, form["base"])


def _costs(
    studio: Studio, form: dict[str, Any]
) -> tuple[TrainingPlan | None, list[tuple[str, str]], str, bool]:
    """The plan that the form comes to, if there are artworks; what the cards say and the line above them; whether
    there is anything to measure again."""
    pictures = studio.preparation.draft.paths()
    if not pictures:
        return None, preset_choices(), costs_said(None), False
    try:
        refuse_odd_base(studio, form)
        measured, costs = studio.preparation.costs(order_of(form, pictures))
    except BadInput as error:
        return None, preset_choices(), say_error(error), False
    plan = next((cost.plan for cost in costs if cost.preset == form["preset"]), None)
    return (
        plan,
        preset_choices(measured, costs),
        costs_said(measured),
        measured.state in ("measured", "failed"),
    )


def _costs_depend_on(studio: Studio) -> object:
    """What changes with the costs besides the form: the artworks, the base, the settings, a trial, a training, painting."""
    measuring, draft = studio.preparation.measuring.version(), studio.preparation.draft.version
    busy = studio.trainings.running_id, studio.base_session.in_use
    return draft, measuring, busy, studio.shelf.version, studio.settings


def _styles_to_go_on_from(studio: Studio, chosen: str | None) -> Any:
    cards = [card for card in studio.library.cards() if family_of(card.family).can_open]
    choices = [(card.name, studio.library.handle(card)) for card in cards]
    kept = chosen if chosen in {handle for _, handle in choices} else ""
    offered = [(say("nothing: a new style"), ""), *choices]
    # Only what is gone is taken out: the field may hold another choice by now.
    return gr.update(choices=offered) if kept == chosen else gr.update(choices=offered, value=kept)
