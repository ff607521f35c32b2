"""What is wrong in the home, above all rooms, for as long as it is."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

import gradio as gr

from app.i18n import say, say_error
from app.studio import Studio
from app.window.server.answers import QUIET, answering


def problems_notice(studio: Studio) -> Callable[[list[Any]], None]:
    """Lay out the notice; what is returned looks at the moments that it is given."""
    answered = answering(studio, "looking at your data folder")
    notice = gr.HTML(visible=False, elem_id="problems")

    @answered
    def look() -> Any:
        drawn = problems_drawn(studio)
        return gr.update(value=drawn, visible=bool(drawn))

    def look_at(moments: list[Any]) -> None:
        gr.on(moments, look, None, notice, **QUIET)

    return look_at


def problems_drawn(studio: Studio) -> str:
    """The problems as HTML; empty where there are none."""
    said = [f"<li>{escape(say_error(problem))}</li>" for problem in studio.problems()]
    if not said:
        return ""
    head = escape(say("Something in your data folder needs you"))
    return f'<div class="problems" role="status"><h3>{head}</h3><ul>{"".join(said)}</ul></div>'
