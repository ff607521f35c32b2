"""Artworks and their captions, as they lie in the draft."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path, PurePosixPath
from typing import Any

import gradio as gr

from app.i18n import say, say_count, say_error, translated
from app.studio import Studio
from app.train.artwork_cards import added_said, artwork_cards, artworks_door, artworks_said
from app.train.captioning import Described
from app.train.draft import Added
from app.train.form import form_of, resolution_of, trigger_of
from app.window.scripts import mount
from app.window.server.answers import QUIET, answering, in_turn
from app.window.server.named_paths import base_named
from app.window.server.news import News, listener
from app.window.server.uploads import uploaded
from styles.errors import AtelierError
from styles.storage.file_reading import read_bytes, why
from training.artworks.encodings import text_of
from training.artworks.folders import GivenFile
from training.other_trainers.kohya import LARGEST_FILE
from training.other_trainers.reader import settings_in

# What changes the draft and what starts from it come in turn: a training is given all that was done before.
DRAFT = "draft"
SETTINGS_ENDINGS = (".json", ".toml")


@dataclass(frozen=True)
class Artworks:
    """What other parts of the room need to take all artworks out: a handler, and what it shows."""

    clear: Callable[[], list[Any]]
    shown: list[Any]
    # Changes when settings were written into the draft's form.
    settings_read: gr.State


def artworks_section(studio: Studio, page: gr.Blocks, tab: gr.Tab, news: News) -> Artworks:
    """Lay out the door, the cards and what is done with all captions, and connect them."""
    answered, draft, captioning = (
        answering(studio, "looking at artworks"),
        studio.preparation.draft,
        studio.preparation.captioning,
    )
    # What this page has drawn: the draft's version, and how far describing is.
    seen = gr.State((0, Described()))
    door = gr.HTML(artworks_door(), js_on_load=mount("train/door", "arrived"), elem_id="train-door")
    with gr.Row(elem_classes="row-tight middle"):
        said = gr.Markdown(artworks_said([]), elem_classes="quiet grow")
        undo = gr.Button(say("Undo"), size="sm", elem_classes="fit", visible=False)
        clear = gr.Button(say("Take all out"), size="sm", elem_classes="fit", visible=False)
    refused = gr.HTML(elem_classes="refused")
    # Counts the settings files of other trainers, whose settings the form shows then.
    settings_read = gr.State(0)
    cards = gr.HTML(js_on_load=mount("train/cards", "caption", "taken_out"), elem_id="train-artworks")
    with gr.Accordion(say("All captions at once"), open=False, visible=False) as together:
        gr.Markdown(
            say("Captions are read as prompts are: `(word:1.2)` weighs a word, `\\(` is a bracket."),
            elem_classes="quiet",
        )
        with gr.Row(elem_classes="row-tight", equal_height=False):
            find = gr.Textbox(label=say("Find"), max_lines=1, min_width=120)
            put = gr.Textbox(label=say("Replace with"), max_lines=1, min_width=120)
            swap = gr.Button(say("Replace"), size="sm", elem_classes="fit low")
        with gr.Row(elem_classes="row-tight", equal_height=False):
            same = gr.Textbox(label=say("The same caption for all"), max_lines=1, min_width=160)
            set_all = gr.Button(say("Set for all"), size="sm", elem_classes="fit low")
            none = gr.Button(say("Remove all captions"), size="sm", elem_classes="fit low")
        describing = gr.HTML(elem_classes="quiet")
        with gr.Row(elem_classes="row-tight"):
            describe = gr.Button(say("Describe what has no caption"), size="sm", elem_classes="fit")
            stop = gr.Button(say("Stop describing"), size="sm", elem_classes="fit", visible=False)
    drawn = [seen, said, cards, clear, undo, together, describing, describe, stop]

    def draw() -> list[Any]:
        return _drawn(studio)

    def changing(change: Callable[..., Any]) -> Callable[..., list[Any]]:
        def handler(*values: Any) -> list[Any]:
            change(*values)
            return draw()

        return answered(handler)

    @answered
    def arrive(event: gr.EventData) -> Iterator[list[Any]]:
        files = [_given(file) for file in event.files]
        settings = [file for file in files if file.is_named and file.shown.suffix.lower() in SETTINGS_ENDINGS]
        given = [file for file in files if file not in settings]
        done, form = Added(), form_of(draft.form())
        for done in studio.preparation.add(given, form["base"], resolution_of(form)):
            words = say("Looking at picture {count} of {total}…", count=done.pictures, total=len(given))
            yield ["", gr.skip(), gr.skip(), words, *[gr.skip()] * (len(drawn) - 2)]
        said = [] if not given else [added_said(done)]
        for file in settings:
            said.append(_take_over(studio, file))
        for file in files:
            file.path.unlink(missing_ok=True)
        read = time.monotonic() if settings else gr.skip()
        yield ["".join(said), read, *draw()]

    @answered
    def rewrite(event: gr.EventData) -> tuple[int, Described]:
        draft.caption(event.name, event.text)
        return draft.version, captioning.progress  # the page shows it already

    @answered
    def take_out(event: gr.EventData) -> list[Any]:
        draft.remove(event.name)
        return draw()

    @answered
    def look(before: tuple[int, Described]) -> list[Any]:
        return [gr.skip()] * len(drawn) if before == (draft.version, captioning.progress) else draw()

    asked, clicked, looking = (in_turn(DRAFT, mode) for mode in (None, "multiple", "always_last"))
    tab.select(answered(draw), None, drawn, **looking)
    news.add("artworks", lambda: (draft.version, captioning.progress))
    listener("artworks").told(look, seen, drawn, **looking)
    door.arrived(arrive, None, [refused, settings_read, *drawn], **clicked)
    cards.caption(rewrite, None, seen, **clicked)
    cards.taken_out(take_out, None, drawn, **clicked)
    clear.click(changing(draft.clear), None, drawn, **asked)
    undo.click(changing(draft.undo), None, drawn, **asked)
    gr.on([swap.click, put.submit], changing(draft.replace_in_captions), [find, put], drawn, **asked)
    gr.on([set_all.click, same.submit], changing(draft.caption_all), same, drawn, **asked)
    none.click(changing(lambda: draft.caption_all("")), None, drawn, **asked)
    describe.click(changing(captioning.start), None, drawn, **asked)
    stop.click(changing(captioning.stop), None, drawn, concurrency_limit=None, **QUIET)
    return Artworks(changing(draft.clear), drawn, settings_read)


def _given(file: Any) -> GivenFile:
    """A file as the page tells of it; one that was in no folder was dropped by itself."""
    shown = PurePosixPath(str(file["shown"]))
    return GivenFile(uploaded(file["stored"]), shown, is_named=len(shown.parts) == 1)


def _take_over(studio: Studio, file: GivenFile) -> str:
    """Write the settings of another trainer into the draft's form; what is to be said of it, as HTML."""
    draft = studio.preparation.draft
    form = form_of(draft.form())
    try:
        other = settings_in(text_of(read_bytes(file.path, LARGEST_FILE)), Path(file.shown.name))
        shown = sum(artwork.repeats for artwork in studio.preparation.artworks(form["base"]))
        if other.base:
            try:
                base_named(studio, other.base)
            except AtelierError:
                other.leave_out("base", other.base)
                other.base = ""
        taken = studio.take_over(other, shown)
    except OSError as error:
        return f'<p class="bad" role="alert">{escape(file.shown.name)}: {escape(why(error))}</p>'
    except AtelierError as error:
        return f'<p class="bad" role="alert">{escape(say_error(error))}</p>'
    draft.remember(taken.form(form))
    draft.touch()
    return "".join(f"<p>{escape(translated(line))}</p>" for line in taken.lines)


def _drawn(studio: Studio) -> list[Any]:
    """What the section shows of the draft as it is now."""
    draft, captioning = studio.preparation.draft, studio.preparation.captioning
    version, described, form = draft.version, captioning.progress, form_of(draft.form())
    artworks = studio.preparation.artworks(form["base"], resolution_of(form))
    ready = bool(captioning.available())
    return [
        (version, described),
        artworks_said(artworks),
        artwork_cards(artworks, trigger_of(form), version),
        gr.update(visible=bool(artworks)),
        gr.update(visible=draft.can_undo),
        gr.update(visible=bool(artworks)),
        f"<p>{escape(_describing_said(described, ready, studio.home.root / 'captioners'))}</p>",
        gr.update(visible=ready and not described.running),
        gr.update(visible=described.running),
    ]


def _describing_said(described: Described, ready: bool, folder: Path) -> str:
    if described.problem:
        return translated(described.problem)
    if described.running:
        return say("Describing {count} of {total}…", count=described.done + 1, total=described.total)
    if ready:
        return (
            say_count(described.done, "1 caption was written.", "{count} captions were written.")
            if described.done
            else ""
        )
    return say(
        "A captioning model could describe the pictures, but there is none on this machine. Put one, BLIP or GIT with "
        "safetensors weights, into {folder}. Nothing is downloaded by itself.", folder=folder,
    )  # fmt: skip
