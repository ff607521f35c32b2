"""Turning what goes wrong in a handler into words on the page."""

from __future__ import annotations

import functools
import html
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from app.i18n import say, say_error, translated
from app.log import surprise_message
from app.studio import Studio
from styles.errors import AtelierError

# What most handlers of the page are connected with: nothing is dimmed while they work, and they are no endpoints.
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}


def in_turn(subject: str, trigger_mode: str | None = None) -> dict[str, Any]:
    """The same for handlers of one subject, which are called one at a time, in the order in which they were asked for.

    While one is on its way, gradio drops what is asked of it once more. `trigger_mode` is "multiple" for those that are
    given what was clicked, and "always_last" for those that show how things stand or take what a field holds.
    """
    return QUIET | {"concurrency_id": subject, "concurrency_limit": 1, "trigger_mode": trigger_mode}


def as_html(text: str) -> str:
    """Text as HTML, which is what gradio takes its messages for; names of files and styles come from anywhere."""
    return html.escape(text, quote=False)


def warn(text: str) -> None:
    """Show a warning on the page until it is closed; a text from below is put into the artist's language."""
    gr.Warning(as_html(translated(text)), duration=None, title=say("Please note"))


def answering(studio: Studio, doing: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a handler show our errors with their own text, and all others as a sentence that names the log file."""

    def told(error: Exception) -> gr.Error:
        if isinstance(error, gr.Error):
            return error
        if isinstance(error, AtelierError):
            return gr.Error(
                as_html(say_error(error)),
                title=say("That did not work"),
                duration=None,
                print_exception=False,
            )
        text = surprise_message(studio.home, error, doing)
        return gr.Error(
            as_html(translated(text)), title=say("Something went wrong"), duration=None, print_exception=False
        )

    def decorate(handler: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.isgeneratorfunction(handler):

            @functools.wraps(handler)
            def stream(*arguments: Any, **named: Any) -> Iterator[Any]:
                try:
                    yield from handler(*arguments, **named)
                except Exception as error:
                    raise told(error) from None

            return stream

        @functools.wraps(handler)
        def answer(*arguments: Any, **named: Any) -> Any:
            try:
                return handler(*arguments, **named)
            except Exception as error:
                raise told(error) from None

        return answer

    return decorate
