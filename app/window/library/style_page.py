"""The page of one style: its card to be edited, how it was made, what others will see, and what can be done with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import gradio as gr

from app.drawing import as_markdown
from app.i18n import say
from app.library.cards import verified_words
from app.library.drawing import style_facts, style_head
from app.library.missing_base import families_here, with_missing_base
from app.studio import Studio
from app.window.library.export_tab import export_tab
from app.window.library.open_style import OpenStyle, closed, opened
from app.window.scripts import call
from app.window.server.answers import answering, in_turn
from styles.errors import StyleFileError, UnknownStyleError
from styles.formats.provenance import STATEMENTS
from styles.formats.style import StyleCard
from styles.library.catalogue import BUNDLED
from styles.library.notes import Note
from styles.library.verify import verify

CARD = ("trigger", "suggested_weight", "tags", "author", "licence", "rights", "description")
# What is done with the styles of the library is done in turn.
STYLES = "styles"
LICENCES = ("CC0-1.0", "CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0", "CC-BY-ND-4.0")


def style_page(studio: Studio, open_style: OpenStyle) -> None:
    """Lay out the page inside the column that is being built, and connect it."""
    answered = answering(studio, "looking after a style")
    library = studio.library
    back = gr.Button(say("All styles"), size="sm", elem_classes="back")
    with gr.Row(equal_height=False):
        with gr.Column(scale=0, min_width=280):
            head = gr.HTML(elem_classes="bare")
            favourite = gr.Checkbox(False, label=say("A favourite"), container=False)
            export = gr.Button(say("Export"), variant="primary")
            exported = gr.DownloadButton(say("Exported file"), visible="hidden", elem_id="exported-file")
            paint = gr.Button(say("Paint a picture for it"), visible=False)
            drop = gr.Button(say("Delete"), variant="stop")
        with gr.Column(scale=5, min_width=420), gr.Tabs():
            with gr.Tab(say("Card")), gr.Column(elem_classes="card form-card"):
                fixed = gr.Markdown(
                    say("It comes with Atelier and keeps its card. Export it to have a copy of your own."),
                    elem_classes="quiet",
                    visible=False,
                )
                with gr.Row():
                    name = gr.Textbox(label=say("Name in the library"), value="", max_lines=1, scale=3)
                    trigger = gr.Textbox(
                        label=say("Trigger word of the style"), value="", max_lines=1, scale=3
                    )
                    weight = gr.Number(label=say("Weight to begin with"), value=1.0, step=0.05, scale=2)
                with gr.Row():
                    author = gr.Textbox(label=say("Author of the style"), value="", max_lines=1)
                    licence = gr.Dropdown(
                        list(LICENCES), label=say("Licence of the style"), value="", allow_custom_value=True
                    )
                rights = gr.Dropdown(
                    [say(words) for words in STATEMENTS],
                    label=say("Right to the artworks"),
                    value="",
                    allow_custom_value=True,
                )
                with gr.Row():
                    description = gr.Textbox(label=say("Description"), value="", lines=2)
                    tags = gr.Textbox(label=say("Tags"), value="", lines=2, placeholder=say("ink, wash"))
                with gr.Row():
                    note = gr.Textbox(label=say("Note for yourself"), value="", lines=2)
                    own_tags = gr.Textbox(label=say("Tags for yourself"), value="", lines=2)
                gr.Markdown(
                    say("What is for yourself nobody else sees. All else stands in the file."),
                    elem_classes="quiet",
                )
                save = gr.Button(say("Save"), variant="primary", scale=0, min_width=160)
            with gr.Tab(say("How it was made")):
                facts = gr.HTML(elem_classes="bare")
            export_tab(studio, open_style, export, exported)
            with gr.Tab(say("Check")):
                gr.Markdown(
                    say(
                        "Looks at all of the file: header, layers, numbers, hash, and which programs open it."
                    ),
                    elem_classes="quiet",
                )
                check = gr.Button(say("Check the file"), scale=0, min_width=180)
                report = gr.Textbox(label=say("Report"), value="", lines=8, max_lines=24, visible=False,
                                    interactive=False)  # fmt: skip
    card_fields = [trigger, weight, tags, author, licence, rights, description]
    fields = [name, *card_fields, own_tags, note]
    here = gr.State("")  # the style that they are of
    saved = gr.JSON(visible=False)  # what they held, and what of that was stored
    around = [head, favourite, paint, facts]
    shown = [here, *open_style.places, *around, fixed, report, *fields]

    def texts_of(card: StyleCard) -> list[Any]:
        mark = library.marks().get(card.id, Note())
        values = {field: getattr(card, field) for field in CARD} | {"tags": ", ".join(card.tags)}
        return [card.name, *values.values(), ", ".join(mark.tags), mark.note]

    def around_texts(card: StyleCard) -> list[Any]:
        own = not library.handle(card).startswith(BUNDLED)
        favourite = library.marks().get(card.id, Note()).favourite
        head_card = with_missing_base(card, families_here(studio.shelf.list()))
        return [
            style_head(head_card),
            favourite,
            gr.update(visible=own and not card.thumbnail),
            style_facts(card),
        ]

    @answered
    def turn_to(handle: str, before: str) -> list[Any]:
        """Show the page that is open once its fields are those of its style; what is typed there already stays."""
        if handle in ("", before):
            return [handle, *[gr.skip()] * (len(shown) - 1)]
        card, own = library.find(handle), not handle.startswith(BUNDLED)
        interactive = [own] * len([name, *card_fields]) + [True, True]
        texts = [
            gr.update(value=value, interactive=one)
            for value, one in zip(texts_of(card), interactive, strict=True)
        ]
        hidden = gr.update(visible=False)
        return [handle, *opened(), *around_texts(card), gr.update(visible=not own), hidden, *texts]

    @answered
    def glance(handle: str) -> list[Any]:
        """What a change of the library may have changed; what is typed and not saved yet stays."""
        if handle:
            with suppress(UnknownStyleError, StyleFileError):  # deleted meanwhile, in another tab perhaps
                return around_texts(library.find(handle))
        return [gr.skip()] * len(around)

    @answered
    def keep(handle: str, *values: Any) -> list[Any]:
        card = library.find(handle)
        card_changes = dict(zip(("name", *CARD), values, strict=False))
        card_changes["tags"] = _listed(card_changes["tags"])
        card_changes["suggested_weight"] = (
            1.0 if card_changes["suggested_weight"] is None else card_changes["suggested_weight"]
        )
        library.mark(handle, tags=_listed(values[-2]), note=values[-1] or "")
        if not handle.startswith(BUNDLED):
            texts = {field: "" if card_changes[field] is None else card_changes[field] for field in CARD}
            changes = {field: value for field, value in texts.items() if value != getattr(card, field)}
            if changes:
                library.edit(handle, **changes)
            if card_changes["name"] != card.name:
                card = library.rename(handle, card_changes["name"])
        words, handle = as_markdown(say("{name} is saved.", name=card.name)), library.handle(card)
        stored = texts_of(library.find(handle))
        return [words, open_style.changed(), handle, handle, [list(values), stored]]

    @answered
    def star(handle: str, on: bool) -> int:
        library.mark(handle, favourite=on)
        return open_style.changed()

    @answered
    def throw_away(handle: str) -> list[Any]:
        name = library.find(handle).name
        library.delete(handle)
        words = as_markdown(say("{name} is in the trash.", name=name))
        return [
            *closed(),
            "",
            words,
            gr.update(visible=True, value=say("Undo deleting {name}", name=name)),
            name,
            open_style.changed(),
        ]

    @answered
    def paint_it(handle: str) -> Iterator[list[Any]]:
        yield [say("Painting a picture for its card."), gr.skip()]
        card = studio.picture_card(handle)
        yield [as_markdown(say("{name} has a picture now.", name=card.name)), open_style.changed()]

    @answered
    def look_at_file(handle: str) -> Any:
        path = library.find(handle).path
        return gr.update(value=verified_words(verify(Path(path or ""))), visible=True)

    asked, looking = in_turn(STYLES), in_turn(STYLES, "always_last")
    open_style.chosen.change(turn_to, [open_style.chosen, here], shown, **looking)
    open_style.version.change(glance, open_style.chosen, around, **looking)
    back.click(
        lambda: [*closed(), "", ""], None, [*open_style.places, open_style.chosen, open_style.said], **asked
    )
    kept = [open_style.said, open_style.version, open_style.chosen, here, saved]
    save.click(keep, [open_style.chosen, *fields], kept, **asked).success(
        None, [saved, *fields], fields, js=call("library/fields", "tidied")
    )
    favourite.input(star, [open_style.chosen, favourite], open_style.version, **looking)
    drop.click(
        throw_away,
        open_style.chosen,
        [
            *open_style.places, open_style.chosen, open_style.said, open_style.undo, open_style.deleted,
            open_style.version,
        ],
        **asked,
    )  # fmt: skip
    paint.click(paint_it, open_style.chosen, [open_style.said, open_style.version], **in_turn("gpu"))
    # In turn, or the report would come upon the page of the next style.
    check.click(look_at_file, open_style.chosen, report, **asked | {"show_progress": "full"})


def _listed(text: str | None) -> tuple[str, ...]:
    """The tags of a text with commas between them."""
    return tuple(tag.strip() for tag in (text or "").split(",") if tag.strip())
