"""The Train room: artworks in, a style out, and every training that there has been."""

from __future__ import annotations

import gradio as gr

from app.studio import Studio
from app.window.server.news import News
from app.window.train.artworks import artworks_section
from app.window.train.form import form_section
from app.window.train.watch import watch_section


def train_room(studio: Studio, page: gr.Blocks, tab: gr.Tab, news: News) -> None:
    """Lay out the room: what is prepared on the left, what trains on the right."""
    studio.queue.watch()
    with gr.Row(equal_height=False, elem_id="train"):
        with gr.Column(scale=11, min_width=360):
            artworks = artworks_section(studio, page, tab, news)
            started, start, answer = form_section(studio, page, tab, artworks, news)
        with gr.Column(scale=9, min_width=340):
            watch_section(studio, page, tab, started, start, answer, news)
