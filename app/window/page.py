"""The page: four rooms under one roof."""

from __future__ import annotations

from html import escape

import gradio as gr
import pi_heif

from app.i18n import say
from app.studio import Studio
from app.window.create.room import create_room
from app.window.library.room import library_room
from app.window.look import SIGN
from app.window.problems import problems_notice
from app.window.server.answers import QUIET
from app.window.server.api import add_endpoints
from app.window.server.news import News, reporter
from app.window.server.resting import let_rest
from app.window.settings.room import settings_room
from app.window.tour import connect_tour, tour_strip
from app.window.train.room import train_room

# Seconds: how often what a page has sent is looked at, and the age at which it goes. What was used goes at once; the
# picture to start from stays, in a form that may be open for long.
CLEANING = (3600, 30 * 86400)


def build(studio: Studio, news: News) -> gr.Blocks:
    """The whole page over one studio, which tells by `news` of what happens beside it; served by `serve`, or by a test."""
    pi_heif.register_heif_opener()  # Gradio opens the picture to start from by Pillow alone
    with gr.Blocks(title="Atelier", analytics_enabled=False, delete_cache=CLEANING) as page:
        gr.HTML(masthead(), elem_id="masthead")
        look_for_problems_at = problems_notice(studio)
        tour = tour_strip()
        with gr.Tabs() as rooms:
            with gr.Tab(say("Train"), id="train") as train_tab:
                train_room(studio, page, train_tab, news)
            with gr.Tab(say("Create"), id="create") as create_tab:
                create_room(studio, page, create_tab, news)
            with gr.Tab(say("Library"), id="library") as library_tab:
                library_room(studio, page, library_tab)
            with gr.Tab(say("Settings"), id="settings") as settings_tab:
                bases = settings_room(studio, page, settings_tab)
        connect_tour(tour, studio, page, rooms, news)
        tabs = [train_tab, create_tab, library_tab, settings_tab]
        # The Train room is selected as the page loads.
        look_for_problems_at([bases.change, *(tab.select for tab in tabs)])
        add_endpoints(studio)
        reporter().beat(lambda: None, trigger_mode="multiple", **QUIET)
    page.queue(default_concurrency_limit=4)
    let_rest(page)
    return page


def masthead() -> str:
    """The sign, the name and one line."""
    line = escape(say("Train a style from a handful of pictures, mix styles, share them."))
    sign = SIGN.read_text(encoding="utf-8")
    return f'<div class="sign">{sign}<div><h1>Atelier</h1><p>{line}</p></div></div>'
