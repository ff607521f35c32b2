"""The door of the Library: what is dropped there is shown with its card before it is imported."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from app.drawing import as_markdown
from app.i18n import say, say_count, translated
from app.library.arrivals import Arrivals
from app.library.drawing import import_card
from app.library.missing_base import families_here, with_missing_base
from app.studio import Studio
from app.window.scripts import mount
from app.window.server.answers import answering, in_turn, warn
from app.window.server.uploads import uploaded
from styles.library.library import ImportReport


def arrivals_door(
    studio: Studio,
    page: gr.Blocks,
    tab: gr.Tab,
    version: gr.State,
    changed: Callable[[], int],
    said: gr.Markdown,
) -> None:
    """Lay out the place to drop styles, and the cards of what waits.

    `changed` makes another `version` after each change of the library, `said` is where the room answers.
    """
    answered = answering(studio, "looking at styles to be imported")
    arrivals = Arrivals(studio.library)
    zone = gr.HTML(_zone(), js_on_load=mount("library/door", "arrived"), elem_id="door", elem_classes="bare")
    with gr.Column(visible=False, elem_classes="section") as waiting:
        heading = gr.Markdown()
        offered = gr.HTML(
            js_on_load=mount("library/offers", "bring", "leave"), elem_id="offered", elem_classes="bare"
        )
        with gr.Row(elem_classes="row-tight"):
            bring_all = gr.Button(say("Import all"), variant="primary", scale=0, min_width=160)
            leave_all = gr.Button(say("Leave all"), scale=0, min_width=160)
    shown = [waiting, heading, offered, bring_all, leave_all]

    def now() -> list[Any]:
        cards = arrivals.all()
        good = sum(not one.reason for one in cards)
        families = families_here(studio.shelf.list()) if cards else set()
        shown_cards = [
            replace(one.card, card=one.card.card and with_missing_base(one.card.card, families))
            for one in cards
        ]
        drawn = "".join(
            import_card(one.number, card, translated(one.reason))
            for one, card in zip(cards, shown_cards, strict=True)
        )
        title = say_count(good, "1 style can be imported", "{count} styles can be imported")
        return [
            gr.update(visible=bool(cards)), f"### {title}", f'<ul class="offers">{drawn}</ul>',
            gr.update(visible=good > 1), gr.update(visible=len(cards) > 1),
        ]  # fmt: skip

    @answered
    def arrive(event: gr.EventData) -> Iterator[list[Any]]:
        files = [(uploaded(one["path"]), str(one["name"])) for one in event.files]
        for name in event.lost:
            warn(
                say("{file} could not be taken: it may be too large, or have gone meanwhile.", file=str(name))
            )
        yield [*now(), say_count(len(files), "Looking at 1 file.", "Looking at {count} files.")]
        for _ in arrivals.take(files, Path.cwd().parent):
            yield [*now(), gr.skip()]
        for path, _ in files:
            path.unlink(missing_ok=True)
        yield [*now(), ""]

    def words_of(report: ImportReport) -> str:
        for refused in report.refused:
            warn(f"{refused.file.name}: {translated(refused.reason)}")
        if len(report.styles) == 1:
            return as_markdown(say("{name} is in the library.", name=report.styles[0].name))
        return say("{count} styles are in the library.", count=len(report.styles)) if report.styles else ""

    @answered
    def bring(event: gr.EventData) -> list[Any]:
        report = arrivals.bring(int(event.number))
        return [*now(), words_of(report), changed()]

    @answered
    def bring_them() -> list[Any]:
        report = arrivals.bring_all()
        return [*now(), words_of(report), changed()]

    @answered
    def leave(event: gr.EventData) -> list[Any]:
        arrivals.leave(int(event.number))
        return [*now(), ""]

    @answered
    def leave_them() -> list[Any]:
        arrivals.leave()
        return [*now(), ""]

    asked, clicked, looking = (in_turn("arrivals", mode) for mode in ("once", "multiple", "always_last"))
    zone.arrived(arrive, None, [*shown, said], **clicked)
    offered.bring(bring, None, [*shown, said, version], **clicked)
    offered.leave(leave, None, [*shown, said], **clicked)
    bring_all.click(bring_them, None, [*shown, said, version], **asked)
    leave_all.click(leave_them, None, [*shown, said], **asked)
    tab.select(answered(now), None, shown, **looking)


def _zone() -> str:
    sending = escape(say("Taking in {} of {}"))
    nothing = escape(say("There is no style in it."))
    return (
        f'<div class="zone" data-sending="{sending}" data-nothing="{nothing}">'
        f"<p><strong>{escape(say('Drop styles here'))}</strong> "
        f"{escape(say('Files, folders and PEFT folders: their cards are shown before anything is imported.'))}</p>"
        f'<div class="zone-ask"><button type="button" class="asking" data-for="files">{escape(say("Choose files"))}</button>'
        f'<button type="button" class="asking" data-for="folder">{escape(say("Choose a folder"))}</button></div>'
        f'<input type="file" multiple hidden data-name="files" aria-label="{escape(say("Styles to import"))}">'
        f'<input type="file" webkitdirectory hidden data-name="folder" aria-label="{escape(say("Folder of styles to import"))}">'
        '<p class="zone-said" role="status"></p></div>'
    )
