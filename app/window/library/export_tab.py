"""Handing a style to others: in which form, what they will see, and the file for the browser to keep."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import gradio as gr

from app.drawing import as_markdown
from app.i18n import say, say_count, translated
from app.library.drawing import seen_list
from app.studio import Studio
from app.temporary import new_export
from app.train.captions import captions_of
from app.window.library.open_style import OpenStyle
from app.window.server.answers import QUIET, answering, in_turn
from styles.library.compatibility.opening import sources_words
from styles.library.export import Exported, ExportOrder, Sharing, export_style, what_others_will_see

DOWNLOAD = "() => document.querySelector('#exported-file')?.click()"


def export_tab(studio: Studio, open_style: OpenStyle, export: gr.Button, exported: gr.DownloadButton) -> None:
    """Lay out the tab and connect it, and the button that exports as it says.

    `exported` stands outside, as a tab that has not been opened has nothing that could be clicked.
    """
    answered = answering(studio, "exporting a style")
    library = studio.library
    with gr.Tab(say("Share")) as tab:
        with gr.Row():
            form = gr.Radio(
                [(say("One file that opens everywhere"), "file"), (say("A folder for the Hub, as a .zip"), "hub")],
                value="file", label=say("Form"),
            )  # fmt: skip
            share = gr.CheckboxGroup(
                [(say("captions"), "captions"), (say("names of files"), "names"), (say("dates"), "dates")],
                value=[], label=say("Others may also see"),
            )  # fmt: skip
        sides = gr.Checkbox(False, label=say("With a picture and a text beside it, for A1111 and InvokeAI"))
        apart = gr.Checkbox(
            False, label=say("With its words in files of their own, for diffusers and ComfyUI"), visible=False
        )
        seen_words = gr.Markdown("", elem_classes="quiet")
        seen = gr.HTML()
    says = [open_style.chosen, form, share, sides, apart]

    def order_of(style_id: str, form: str, share: list[str], sides: bool, apart: bool) -> ExportOrder:
        captions = captions_of(studio.home, style_id) if "captions" in share else {}
        sharing = Sharing(**dict.fromkeys(share, True))
        return ExportOrder(form, sides, sharing, captions=captions, words_apart=apart)

    @answered
    def look(handle: str, *values: Any) -> list[Any]:
        if not handle:
            return [gr.skip()] * 3
        style = library.open(handle)
        order = order_of(style.id, *values)
        rows = what_others_will_see(style, order)
        private = sum(one.private for one in rows)
        words = say_count(len(rows), "Others will see 1 entry", "Others will see {count} entries")
        words += say_count(private, ", 1 of them private.", ", {count} of them private.") if private else "."
        if order.sharing.captions and not any(one.kind == "captions" for one in rows):
            words += " " + say("No captions are known of it.")
        return [words, seen_list(rows), gr.update(visible=bool(style.embeddings) and order.form == "file")]

    @answered
    def hand_out(handle: str, *values: Any) -> list[str]:
        style = library.open(handle)
        done = export_style(style, new_export(), order_of(style.id, *values))
        lines = [
            f"- {as_markdown(translated(line))}"
            for line in (*(one.words for one in done.opens), sources_words(), *done.notes)
        ]
        return [str(_one_file(done)), "\n".join(lines)]

    changes = [tab.select, form.change, share.change, sides.change, apart.change]
    gr.on(changes, look, says, [seen_words, seen, apart], **in_turn("sharing", "always_last"))
    open_style.chosen.change(
        lambda: ["", "", gr.update(value=False, visible=False), []],
        None,
        [seen_words, seen, apart, share],
        **in_turn("sharing", "always_last"),
    )
    export.click(hand_out, says, [exported, open_style.said], **QUIET).success(None, None, None, js=DOWNLOAD)


def _one_file(done: Exported) -> Path:
    """What was exported as a file that a browser can keep: itself, or all of it in a .zip."""
    first = done.paths[0]
    if len(done.paths) == 1 and first.is_file():
        return first
    packed = first.with_name(f"{first.stem if first.is_file() else first.name}.zip")
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as target:
        for path in done.paths:
            for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
                if file.is_file():
                    target.write(file, file.relative_to(first.parent).as_posix())
    return packed
