"""The card of one style, to be edited: what its file says for everyone, and what the artist notes for themselves."""

from __future__ import annotations

from typing import Any

import gradio as gr

from app.cards import seen_words, verified_words
from app.drawing import as_markdown
from app.studio import Studio
from app.window.answers import answering
from app.window.mix import choices_of
from styles.errors import BadInput
from styles.export import ExportOrder, what_others_will_see
from styles.marks import Mark
from styles.verify import verify


def card_editor(studio: Studio, page: gr.Blocks, tab: gr.Tab, version: gr.State) -> None:
    """Lay out the editor and connect it; `version` counts the library's changes."""
    told = answering(studio, "editing a style's card")
    with gr.Accordion("Edit a style", open=False):
        style = gr.Dropdown([], label="Style to edit", info="Its card, and what you note about it.")
        with gr.Row():
            trigger = gr.Textbox(label="Trigger word of the style", value="", max_lines=1)
            weight = gr.Number(label="Weight to begin with", value=1.0, step=0.05)
            tags = gr.Textbox(label="Tags", value="", max_lines=1, info="With commas between them.")
        with gr.Row():
            author = gr.Textbox(label="Author of the style", value="", max_lines=1)
            licence = gr.Textbox(label="Licence of the style", value="", max_lines=1)
            rights = gr.Textbox(label="Right to the artworks", value="", max_lines=1)
        description = gr.Textbox(label="Description", value="", lines=2)
        with gr.Row():
            favourite = gr.Checkbox(False, label="A favourite")
            note = gr.Textbox(label="Note for yourself", value="", max_lines=2, info="Nobody else sees it.")
        with gr.Row():
            save = gr.Button("Save the card")
            check = gr.Button("Check the file")
            look = gr.Button("What will others see?")
        report = gr.Textbox(label="Report", value="", lines=8, max_lines=24, visible=False, interactive=False)
        said = gr.Markdown("", elem_classes="quiet")
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    card_fields = [trigger, weight, tags, author, licence, rights, description]
    fields = [*card_fields, favourite, note]

    @told
    def offer(chosen: str | None) -> Any:
        choices = choices_of(studio, studio.library.cards())
        return gr.update(
            choices=choices, value=chosen if chosen in {handle for _, handle in choices} else None
        )

    @told
    def fill(handle: str | None) -> list[Any]:
        if not handle:
            return [gr.skip()] * len(fields)
        card = studio.library.find(handle)
        mark = studio.library.marks().get(card.id, Mark())
        return [
            card.trigger, card.suggested_weight, ", ".join(card.tags), card.author, card.licence, card.rights,
            card.description, mark.favourite, mark.note,
        ]  # fmt: skip

    @told
    def keep(handle: str | None, now: int, *values: Any) -> list[Any]:
        names = ("trigger", "suggested_weight", "tags", "author", "licence", "rights", "description")
        card = studio.library.find(_chosen(handle))
        wanted = dict(zip(names, values, strict=False))
        wanted["tags"] = tuple(tag.strip() for tag in str(wanted["tags"]).split(",") if tag.strip())
        changes = {name: value for name, value in wanted.items() if value != getattr(card, name)}
        if changes:
            studio.library.edit(_chosen(handle), **changes)
        studio.library.mark(_chosen(handle), favourite=bool(values[-2]), note=values[-1])
        return [as_markdown(f"The card of {card.name} is saved."), now + 1]

    @told
    def look_at_file(handle: str | None) -> Any:
        path = studio.library.find(_chosen(handle)).path
        assert path is not None
        return gr.update(value=verified_words(verify(path)), visible=True)

    @told
    def look_at_export(handle: str | None) -> Any:
        seen = what_others_will_see(studio.library.open(_chosen(handle)), ExportOrder())
        return gr.update(value=seen_words(seen), visible=True)

    gr.on([page.load, tab.select, version.change], offer, style, style, **quiet)
    style.change(fill, style, fields, **quiet)
    save.click(keep, [style, version, *fields], [said, version], **quiet)
    check.click(look_at_file, style, report, **quiet)
    look.click(look_at_export, style, report, **quiet)


def _chosen(handle: str | None) -> str:
    if not handle:
        raise BadInput("No style is chosen.", "Choose the style to edit.")
    return handle
