"""Settings as fields of the page."""

from __future__ import annotations

from typing import Any, get_args

import gradio as gr

from app.i18n import say
from styles.storage.setting import Declared


def field_of(one: Declared) -> Any:
    """The field of a setting."""
    setting = one.setting
    about: dict[str, Any] = {"label": say(setting.label), "info": say(setting.help) if setting.help else None}
    if setting.offered:
        return gr.Dropdown(offered(one), **about)
    if setting.choices:
        unset = [(say(setting.unset), "")] if setting.unset else []
        return gr.Dropdown([*unset, *((choice, choice) for choice in setting.choices)], **about)
    if setting.slider:
        low, high, step = setting.slider
        return gr.Slider(low, high, step=step, **about)
    if {int, float} & {*get_args(one.kind)}:
        # gradio's own field for numbers shows a 0 for nothing.
        return gr.Textbox(placeholder=say(setting.unset), max_lines=1, **about)
    return gr.Textbox(**about)


def shown(one: Declared, value: Any) -> Any:
    """What the field shows, which may be more than it offers."""
    setting = one.setting
    if setting.offered:
        return gr.update(value=value, choices=offered(one, value))
    if setting.slider and setting.high is not None and setting.high > setting.slider[1]:
        return gr.update(value=value, maximum=max(setting.slider[1], value))
    return value


def offered(one: Declared, value: float = 0.0) -> list[tuple[str, float]]:
    """None, what is usual, and the value that is chosen."""
    values = sorted({*one.setting.offered, value} - {0.0})
    return [(say("none"), 0.0), *((f"{number:g} ×", number) for number in values)]
