"""The Library room: all styles on a shelf, a page for each, the door for new ones, and the trash."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from html import escape
from itertools import count as counting
from typing import Any

import gradio as gr

from app.drawing import as_markdown
from app.i18n import say, say_count, translated, unsaid
from app.library.drawing import style_tile, vanished_list
from app.studio import Studio
from app.window.library.arrivals import arrivals_door
from app.window.library.baking import baking
from app.window.library.open_style import OpenStyle
from app.window.library.style_page import STYLES, style_page
from app.window.scripts import mount
from app.window.server.answers import QUIET, answering, in_turn
from styles.errors import BadInput
from styles.families import FAMILIES, OWN_BASES, UNKNOWN
from styles.formats.style import StyleCard
from styles.library.listing import Refused, cards_of
from styles.library.notes import Note
from styles.storage.names import clean_text

SHOWN_TILES = 24  # at first, and more each time that more are asked for
SORTS = (
    (unsaid("Name"), "name"),
    (unsaid("Newest first"), "newest"),
    (unsaid("Favourites first"), "favourites"),
)


def library_room(studio: Studio, page: gr.Blocks, tab: gr.Tab) -> None:
    """Lay out the room and connect it."""
    answered = answering(studio, "looking after the library")
    library = studio.library
    version, chosen, deleted = gr.State(0), gr.State(""), gr.State("")
    # Of all pages: two answers at once must not give a page the same number.
    changed = counting(1).__next__
    with gr.Row(elem_classes="row-tight answer-row"):
        said = gr.Markdown("", elem_classes="said grow")
        undo = gr.Button(visible=False, size="sm", scale=0, min_width=140)
    with gr.Column() as shelf:
        with gr.Row(elem_classes="shelf-bar"):
            search = gr.Textbox(
                label=say("Search"), value="", placeholder=say("name, trigger word, author, tag:ink"),
                max_lines=1, scale=4,
            )  # fmt: skip
            sort = gr.Dropdown(
                [(say(words), value) for words, value in SORTS], value="newest", label=say("Order"),
                filterable=False, min_width=150,
            )  # fmt: skip
            family = gr.Dropdown(
                [(say("all bases"), ""), *((translated(one.badge), one.id) for one in FAMILIES.values()),
                 (say("Own bases"), OWN_BASES), (translated(UNKNOWN.badge), UNKNOWN.id)],
                value="", label=say("For"), filterable=False, min_width=150,
            )  # fmt: skip
        arrivals_door(studio, page, tab, version, changed, said)
        lost = gr.HTML(js_on_load=mount("library/vanished", "forget"), visible=False, elem_classes="bare")
        count = gr.Markdown("", elem_classes="quiet")
        tiles = gr.HTML(
            js_on_load=mount("library/shelf", "starred", "opened"), elem_id="shelf", elem_classes="bare"
        )
        shown = gr.State(SHOWN_TILES)
        more = gr.Button(say("Show more"), visible=False)
        unreadable = gr.HTML(elem_classes="bare")
        baking(studio, page, tab, version, changed)
        with gr.Accordion(say("Trash"), open=False):
            trash = gr.Dropdown(
                [], label=say("Deleted styles"), info=say("Nothing is lost: they lie in the trash folder.")
            )
            restore = gr.Button(say("Restore"), scale=0, min_width=160)
    with gr.Column(visible=False) as open_page:
        open_style = OpenStyle(version, changed, chosen, shelf, open_page, said, undo, deleted)
        style_page(studio, open_style)
    drawn = [count, tiles, more, lost, unreadable, trash]

    @answered
    def draw(words: str, order: str, base: str, most: int, to_restore: str | None = None) -> list[Any]:
        marks = library.marks()
        look = library.look(words or "", family=base, newest=order != "name")
        entries = look.entries
        if order == "favourites":
            entries = sorted(entries, key=lambda entry: not marks.get(entry.id, Note()).favourite)
        listed = [_tile(studio, card, marks) for card in cards_of(entries[:most])]
        names = library.trashed()
        return [
            _count(len(entries), bool(words or base)), f'<ul class="shelf">{"".join(listed)}</ul>' if listed else "",
            gr.update(visible=len(entries) > most),
            gr.update(value=vanished_list(look.vanished), visible=bool(look.vanished)),
            _unreadable(look.unreadable),
            gr.update(choices=names) if to_restore in names else gr.update(choices=names, value=next(iter(names), None)),
        ]  # fmt: skip

    @answered
    def open_it(event: gr.EventData) -> list[Any]:
        return [event.style, "", gr.update(visible=False)]

    @answered
    def star(event: gr.EventData) -> int:
        library.mark(event.style, favourite=bool(event.on))
        return changed()

    @answered
    def bring_back(name: str | None) -> list[Any]:
        if not name:
            raise BadInput("The trash is empty.")
        card = library.restore(name)
        return [as_markdown(say("{name} is back.", name=card.name)), gr.update(visible=False), changed()]

    @answered
    def forget_them() -> int:
        library.forget_vanished()
        return changed()

    query = [search, sort, family, shown, trash]
    moments = [tab.select, version.change, shown.change, search.change, sort.change, family.change]
    asked, clicked = in_turn(STYLES), in_turn(STYLES, "multiple")
    gr.on(moments, draw, query, drawn, **in_turn("shelf", "always_last"))
    more.click(lambda most: most + SHOWN_TILES, shown, shown, **QUIET)
    tiles.opened(open_it, None, [chosen, said, undo], **clicked)
    tiles.starred(star, None, version, **clicked)
    undo.click(bring_back, deleted, [said, undo, version], **asked)
    restore.click(bring_back, trash, [said, undo, version], **asked)
    lost.forget(forget_them, None, version, **asked)


def _tile(studio: Studio, card: StyleCard, marks: dict[str, Note]) -> str:
    pictured = replace(card, thumbnail=studio.library.thumbnail(card))
    mark = marks.get(card.id, Note())
    return style_tile(pictured, studio.library.handle(card), mark.favourite, mark.tags)


def _count(count: int, narrowed: bool) -> str:
    if count:
        return say_count(count, "1 style", "{count} styles")
    return say("No style matches.") if narrowed else say("No style here yet. Train one, or import one.")


def _unreadable(refused: Iterable[Refused]) -> str:
    """The files in the folder that are no styles that can be read, with the reasons."""
    lines = "".join(
        f"<li>{escape(f'{clean_text(one.file.name, 200)}: {translated(one.reason)}')}</li>" for one in refused
    )
    words = escape(say("Files in the styles folder that can't be used:"))
    return f'<div class="notice quiet"><p>{words}</p><ul>{lines}</ul></div>' if lines else ""
