"""The page: four rooms under one roof."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import escape
from typing import Any

import gradio as gr
import pillow_heif

from app.studio import Studio
from app.window.api import add_endpoints
from app.window.create import create_room
from app.window.library import library_room
from app.window.look import SIGN
from app.window.problems import problems_notice
from app.window.settings import settings_room
from app.window.tour import connect_tour, tour_strip
from app.window.train import train_room
from app.words import say

BEAT_SECONDS = 5.0
# Seconds: how often what a page has sent is looked at, and the age at which it goes. What was used goes at once; the
# picture to start from stays, in a form that may be open for long.
CLEANING = (3600, 30 * 86400)


def build(studio: Studio) -> gr.Blocks:
    """The whole page over one studio; served by `serve`, or by a test."""
    pillow_heif.register_heif_opener()  # Gradio opens the picture to start from by Pillow alone
    with gr.Blocks(title="Atelier", analytics_enabled=False, delete_cache=CLEANING) as page:
        gr.HTML(masthead(), elem_id="masthead")
        problems_notice(studio, page)
        tour = tour_strip()
        with gr.Tabs() as rooms:
            with gr.Tab(say("Train"), id="train") as train_tab:
                train_room(studio, page, train_tab)
            with gr.Tab(say("Create"), id="create") as create_tab:
                create_room(studio, page, create_tab)
            with gr.Tab(say("Library"), id="library") as library_tab:
                library_room(studio, page, library_tab)
            with gr.Tab(say("Settings"), id="settings") as settings_tab:
                settings_room(studio, page, settings_tab)
        connect_tour(tour, studio, page, rooms)
        _rest_elsewhere([train_tab, create_tab, library_tab, settings_tab])
        add_endpoints(studio)
        # Gradio closes the stream of answers when none is due; what is asked in that moment would wait for ever. The
        # next question opens the stream again, with all answers that wait, so the page asks for nothing now and then.
        gr.Timer(BEAT_SECONDS).tick(
            lambda: None, show_progress="hidden", api_visibility="private", trigger_mode="multiple"
        )
    page.queue(default_concurrency_limit=4)
    return page


def _rest_elsewhere(tabs: list[gr.Tab]) -> None:
    """Let the clocks of a room tick only while it is looked at; who comes back finds it drawn anew.

    The page does it by itself: an answer of the server could come after the next change of rooms.
    """
    clocks = [(clock, tab) for tab in tabs for clock in _clocks_in(tab)]
    for clock, tab in clocks:
        clock.active = tab is tabs[0]
    for chosen in tabs:
        now = [{"__type__": "update", "active": tab is chosen} for _, tab in clocks]
        chosen.select(None, None, [clock for clock, _ in clocks], js=f"() => {json.dumps(now)}",
                      show_progress="hidden", api_visibility="private")  # fmt: skip


def _clocks_in(place: Any) -> Iterator[gr.Timer]:
    for part in place.children:
        if isinstance(part, gr.Timer):
            yield part
        elif hasattr(part, "children"):
            yield from _clocks_in(part)


def masthead() -> str:
    """The sign, the name and one line."""
    line = escape(say("Train a style from a handful of pictures, mix styles, share them."))
    sign = SIGN.read_text(encoding="utf-8")
    return f'<div class="sign">{sign}<div><h1>Atelier</h1><p>{line}</p></div></div>'
