"""The tour of the first start: a strip above the Train and the Create room, until it is put away."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from app.first_steps import Step, lay_out_bundled, steps, steps_depend_on, steps_drawn
from app.i18n import say
from app.studio import Studio
from app.window.scripts import call
from app.window.server.answers import answering, in_turn
from app.window.server.news import News, listener

RELOAD = "() => window.location.reload()"


@dataclass(frozen=True)
class Tour:
    """Its pieces, laid out above the rooms and connected once these are there."""

    strip: gr.Column
    title: gr.Markdown
    shown: gr.HTML
    lay_out: gr.Button
    to_create: gr.Button
    put_away: gr.Button


def tour_strip() -> Tour:
    """Lay it out, hidden until it is known whether it was seen."""
    with gr.Column(visible=False, elem_classes="card", elem_id="tour") as strip:
        title = gr.Markdown()
        shown = gr.HTML()
        with gr.Row(elem_classes="row-tight"):
            lay_out = gr.Button(say("Lay out the bundled artworks"), size="sm", elem_classes="fit")
            to_create = gr.Button(say("Go to the Create room"), size="sm", elem_classes="fit")
            put_away = gr.Button(say("Put the tour away"), size="sm", elem_classes="fit")
    return Tour(strip, title, shown, lay_out, to_create, put_away)


def connect_tour(tour: Tour, studio: Studio, page: gr.Blocks, rooms: gr.Tabs, news: News) -> None:
    """Let its buttons do what they say; look.css shows it in the Train and the Create room only."""
    answered = answering(studio, "showing the tour")

    seen = gr.State([])  # the steps that are drawn

    def drawn(now: list[Step]) -> list[Any]:
        left = gr.update(visible=not all(step.done for step in now))
        quick = studio.shelf.in_use == "starter"  # a real base takes its time
        words = say("Your first own style, in about three minutes") if quick else say("Your first own style")
        title = gr.update(value=f"### {words}", visible=left["visible"])
        return [now, title, steps_drawn(now), gr.update(visible=not now[0].done), left]

    @answered
    def look() -> list[Any]:
        if studio.settings.tour_seen:
            return [gr.update(visible=False), *[gr.skip()] * len(pieces)]
        return [gr.update(visible=True), *drawn(steps(studio))]

    @answered
    def follow(before: list[Step]) -> list[Any]:
        now = steps(studio)
        return [gr.skip()] * len(pieces) if now == before else drawn(now)

    @answered
    def put_away() -> Any:
        studio.change_settings(replace(studio.settings, tour_seen=True))
        return gr.update(visible=False)

    pieces = [seen, tour.title, tour.shown, tour.lay_out, tour.to_create]
    looking = in_turn("settings", "always_last")
    gr.on([page.load, rooms.select], look, None, [tour.strip, *pieces], **looking)
    news.add("tour", lambda: None if studio.settings.tour_seen else steps_depend_on(studio))
    listener("tour").told(follow, seen, pieces, **looking)
    tour.put_away.click(put_away, None, tour.strip, **in_turn("settings"))
    tour.to_create.click(None, None, None, js=call("create/room", "goThere"))
    # The page finds the artworks, the name and the preset in the draft when it loads, in the Train room.
    tour.lay_out.click(answered(lambda: lay_out_bundled(studio)), None, None, show_progress="minimal",
                       api_visibility="private").success(None, None, None, js=RELOAD)  # fmt: skip
