"""The Settings room: bases, the safety checker, the device."""

from __future__ import annotations

from typing import Any

import gradio as gr

from app.cards import base_line
from app.device import device_rows
from app.drawing import as_markdown, facts_table
from app.settings import DEVICES, PRECISIONS
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
            told_type = gr.Dropdown(
                [("as the base says", ""), ("noise (epsilon)", "epsilon"), ("v-prediction", "v_prediction")],
                value="", label="What the base predicts",
                info="Only for a checkpoint that does not say so itself.",
            )  # fmt: skip
            licences = dict.fromkeys((base.licence, base.licence_url) for base in RECOMMENDED)
            gr.Markdown(
                "Licences: " + ", ".join(f"[{licence}]({url})" for licence, url in licences),
                elem_classes="quiet",
            )
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
            precision = gr.Radio(
                list(PRECISIONS), value=studio.settings.precision, label="Precision of painting",
                info="auto: the fastest one that the device has; fp32 where pictures come out black",
            )  # fmt: skip
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
        return [as_markdown(f"{chosen} is in use now."), *shelf_now()]

    @told
    def add_base(
        wanted: str | None,
        predicts: str | None,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> list[Any]:
        entry = studio.shelf.add(
            wanted or "",
            progress=lambda text, share: progress(share, desc=text),
            prediction_type=predicts or None,
        )
        return [as_markdown(f"{entry.name} is added."), *shelf_now()]

    @told
    def change(checker: bool, wanted: str, exactness: str) -> None:
        studio.change_settings(safety_checker=checker, device=wanted, precision=exactness)

    gr.on([page.load, tab.select], told(shelf_now), None, [shelf, name], **quiet)
    use.click(use_base, name, [said, shelf, name], **quiet)
    add.click(add_base, [source, told_type], [said, shelf, name], api_visibility="private")
    gr.on([safety.input, device.input, precision.input], change, [safety, device, precision], None, **quiet)
    look.click(told(lambda: facts_table(device_rows(studio))), None, report, **quiet)
    page.load(told(lambda: facts_table([("Home", str(studio.home.root))])), None, report, **quiet)
