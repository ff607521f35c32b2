"""The page: four rooms under one roof."""

from __future__ import annotations

import gradio as gr

from app.studio import Studio
from app.window.api import add_endpoints
from app.window.create import create_room
from app.window.library import library_room
from app.window.settings import settings_room
from app.window.train import train_room

BEAT_SECONDS = 5.0


def build(studio: Studio) -> gr.Blocks:
    """The whole page over one studio; served by `serve`, or by a test."""
    with gr.Blocks(title="Atelier", analytics_enabled=False, delete_cache=(3600, 86400)) as page:
        gr.HTML(
            "<h1>Atelier</h1><p>Train a style from a handful of pictures, mix styles, share them.</p>",
            elem_id="masthead",
        )
        with gr.Tabs():
            with gr.Tab("Train", id="train") as train_tab:
                train_room(studio, page, train_tab)
            with gr.Tab("Create", id="create") as create_tab:
                create_room(studio, page, create_tab)
            with gr.Tab("Library", id="library") as library_tab:
                library_room(studio, page, library_tab)
            with gr.Tab("Settings", id="settings") as settings_tab:
                settings_room(studio, page, settings_tab)
        add_endpoints(studio)
        # Gradio closes the stream of answers when none is due; what is asked in that moment would wait for ever. The
        # next question opens the stream again, with all answers that wait, so the page asks for nothing now and then.
        gr.Timer(BEAT_SECONDS).tick(
            lambda: None, show_progress="hidden", api_visibility="private", trigger_mode="multiple"
        )
    page.queue(default_concurrency_limit=4)
    return page
