"""The Library room: cards of all styles, import, export, the trash."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from app.drawing import as_markdown, style_card
from app.studio import Studio
from app.window.answers import answering, warn
from app.window.editor import card_editor
from styles.errors import BadInput
from styles.export import Exported

SHOWN_CARDS = 60
DOWNLOAD = "() => document.querySelector('#exported-file')?.click()"


def library_room(studio: Studio, page: gr.Blocks, tab: gr.Tab) -> None:
    """Lay out the room and connect it."""
    told = answering(studio, "looking after the library")
    version = gr.State(0)  # counts changes, so that the cards are drawn anew
    with gr.Row():
        search = gr.Textbox(
            label="Search", value="", placeholder="name, trigger word, author, tag:ink", max_lines=1, scale=3
        )
        files = gr.File(
            label="Import styles", file_count="multiple", file_types=[".safetensors"], height=140, scale=2
        )
    said = gr.Markdown("", elem_classes="quiet")
    cards_place = gr.Column()
    card_editor(studio, page, tab, version)
    with gr.Accordion("Trash", open=False):
        trash = gr.Dropdown([], label="Deleted styles", info="Nothing is lost: they lie in the trash folder.")
        restore = gr.Button("Restore")
    exported = gr.DownloadButton("Exported file", visible="hidden", elem_id="exported-file")
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}

    def trashed(latest: str = "") -> Any:
        names = studio.library.trashed()
        first = latest if latest in names else next(iter(names), None)
        return gr.update(choices=names, value=first)

    def export(name: str) -> Exported:
        # Into the private folder of this window, whence the browser fetches it.
        return studio.library.export(name, Path(tempfile.mkdtemp(prefix="export-", dir=Path.cwd().parent)))

    @told
    def take_in(paths: list[str] | None, now: int) -> list[Any]:
        if not paths:
            return [gr.skip(), gr.skip(), gr.skip()]
        report = studio.library.import_files([Path(path) for path in paths])
        words = [f"Imported {len(report.styles)} of {len(paths)}."] if paths else []
        for refused in report.refused:
            warn(f"{refused.file.name}: {refused.reason}")
        return [None, " ".join(words), now + 1]

    @told
    def bring_back(name: str | None, now: int) -> list[Any]:
        if not name:
            raise BadInput("The trash is empty.")
        return [as_markdown(f"{studio.library.restore(name).name} is back."), now + 1, trashed()]

    with cards_place:

        @gr.render(inputs=[search, version], triggers=[page.load, tab.select, search.change, version.change],
                   show_progress="hidden")  # fmt: skip
        @told
        def draw_cards(words: str, now: int) -> None:
            found = studio.library.search(words or "")
            if not found:
                gr.Markdown(
                    "No style here yet. Train one, or import one." if not words else "No style matches."
                )
            for start in range(0, min(len(found), SHOWN_CARDS), 2):
                with gr.Row(equal_height=True):
                    for card in found[start : min(start + 2, SHOWN_CARDS)]:
                        with gr.Column(elem_classes="card"):
                            gr.HTML(style_card(replace(card, thumbnail=studio.library.thumbnail(card))))
                            with gr.Row():
                                save = gr.Button("Export", size="sm", elem_classes="export")
                                drop = gr.Button("Delete", size="sm", variant="stop", elem_classes="delete")
                        connect(studio.library.handle(card), card.name, save, drop)
            if len(found) > SHOWN_CARDS:
                gr.Markdown(f"{len(found) - SHOWN_CARDS} more: search to find them.", elem_classes="quiet")
            if unreadable := studio.library.unreadable():
                gr.Markdown(
                    "Files in the styles folder that can't be used:\n\n"
                    + "\n".join(f"- {as_markdown(f'{one.file.name}: {one.reason}')}" for one in unreadable),
                    elem_classes="quiet",
                )

    def connect(style: str, name: str, save: gr.Button, drop: gr.Button) -> None:
        @told
        def hand_out() -> tuple[str, str]:
            done = export(style)
            lines = [one.words for one in done.opens] + list(done.notes)
            return str(done.paths[0]), "\n".join(f"- {as_markdown(line)}" for line in lines)

        @told
        def throw_away(now: int) -> list[Any]:
            studio.library.delete(style)
            return [as_markdown(f"{name} is in the trash."), now + 1, trashed(name)]

        save.click(hand_out, None, [exported, said], **quiet).success(None, None, None, js=DOWNLOAD)
        drop.click(throw_away, version, [said, version, trash], **quiet)

    files.upload(take_in, [files, version], [files, said, version], api_visibility="private")
    restore.click(bring_back, [trash, version], [said, version, trash], **quiet)
    gr.on([tab.select, page.load], told(lambda: trashed()), None, trash, **quiet)
