"""The Settings room: bases, the safety checker, the device."""

from __future__ import annotations

from typing import Any

import gradio as gr

from app.cards import base_line
from app.device import device_rows
from app.drawing import facts_table
from app.settings import DEVICES
from app.studio import Studio
from app.window.answers import answering
from styles.bases import RECOMMENDED


def settings_room(studio: Studio, page: gr.Blocks, tab: gr.Tab) -> None:
    """Lay out the room and connect it."""
    told = answering(studio, "changing the settings")
    with gr.Row(equal_height=False):
        with gr.Column():
            gr.Markdown("### Bases\nWhat styles are trained on and pictures painted with.")
            shelf = gr.HTML()
            with gr.Row():
                name = gr.Dropdown([], label="Base in use", scale=3)
                use = gr.Button("Use", scale=1)
            source = gr.Dropdown(
                [(f"{base.title} — {base.size_gb:g} GB, {base.licence}", base.hub_id) for base in RECOMMENDED],
                label="Add a base", value=None, allow_custom_value=True,
                info="Choose one to fetch, or give a folder, a .safetensors checkpoint or a Hub id. "
                "By fetching one you accept its licence.",
            )  # fmt: skip
            add = gr.Button("Add")
            said = gr.Markdown("", elem_classes="quiet")
        with gr.Column():
            gr.Markdown("### Painting")
            safety = gr.Checkbox(
                studio.settings.safety_checker, label="Use the base's safety checker if it has one"
            )
            device = gr.Radio(
                list(DEVICES), value=studio.settings.device, label="Device", info="auto: the fastest one"
            )
            gr.Markdown("### This machine")
            report = gr.HTML()
            look = gr.Button("Look at the device", size="sm")
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}

    def shelf_now() -> list[Any]:
        entries = studio.shelf.list()
        here = [entry.name for entry in entries if entry.installed and not entry.problem]
        rows = [("in use" if entry.in_use else "", base_line(entry).lstrip("* ")) for entry in entries]
        in_use = studio.shelf.in_use
        return [facts_table(rows), gr.update(choices=here, value=in_use if in_use in here else None)]

    @told
    def use_base(chosen: str) -> list[Any]:
        studio.shelf.use(chosen)
        return [f"{chosen} is in use now.", *shelf_now()]

    @told
    def add_base(wanted: str | None, progress: gr.Progress = gr.Progress()) -> list[Any]:  # noqa: B008
        entry = studio.shelf.add(wanted or "", progress=lambda text, share: progress(share, desc=text))
        return [f"{entry.name} is added.", *shelf_now()]

    @told
    def change(checker: bool, wanted: str) -> None:
        studio.change_settings(safety_checker=checker, device=wanted)

    page.load(shelf_now, None, [shelf, name], **quiet)
    tab.select(shelf_now, None, [shelf, name], **quiet)
    use.click(use_base, name, [said, shelf, name], **quiet)
    add.click(add_base, source, [said, shelf, name], api_visibility="private")
    gr.on([safety.input, device.input], change, [safety, device], None, **quiet)
    look.click(told(lambda: facts_table(device_rows(studio))), None, report, **quiet)
    page.load(lambda: facts_table([("Home", str(studio.home.root))]), None, report, **quiet)
