"""What has changed since a page looked last, told in one small answer: a page at rest asks for nothing else.

Gradio's clocks would ask each handler anew, and mark each of its outputs as being waited for, some hundred changes of
the document at every tick.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from typing import Any

import gradio as gr
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from app.window.scripts import mount

PATH = "/news"
FRESH_SECONDS = 0.4  # for so long one look serves all pages


class News:
    """The subjects of one window, each with a look at how it stands, which must be cheap."""

    def __init__(self) -> None:
        self._looks: dict[str, Callable[[], object]] = {}
        self._looking = threading.Lock()
        self._looked_at = 0.0
        self._versions: dict[str, str] = {}

    def add(self, subject: str, look: Callable[[], object]) -> None:
        """Tell of a subject whenever what `look` returns has another `repr` than before."""
        self._looks[subject] = look

    def versions(self) -> dict[str, str]:
        """Of each subject a word that changes with it."""
        with self._looking:
            if time.monotonic() - self._looked_at > FRESH_SECONDS:
                self._versions = {subject: _version(look()) for subject, look in self._looks.items()}
                self._looked_at = time.monotonic()
            return self._versions

    def route(self) -> Route:
        """Where the page asks."""

        def answer(request: Request) -> JSONResponse:  # no coroutine: it looks at the disk
            return JSONResponse(self.versions(), headers={"cache-control": "no-store"})

        return Route(PATH, answer, methods=["GET"])


def _version(state: object) -> str:
    return hashlib.blake2s(repr(state).encode("utf-8", "replace"), digest_size=8).hexdigest()


def reporter() -> gr.HTML:
    """The part of the page that asks, and tells all others by an event of the document."""
    return gr.HTML("", js_on_load=mount("server/news", "beat"), elem_id="news", visible="hidden")


def listener(*subjects: str, wait_seconds: float = 0.0, everywhere: bool = False) -> Any:
    """A part of a room that is `told` once there is news of one of the subjects, while the room is looked at.

    A script of the page may tell of subjects of its own; of several changes within `wait_seconds` it is told once.
    `everywhere` tells it also while another room is looked at.
    """
    about = {"subjects": list(subjects), "wait_ms": round(1000 * wait_seconds), "everywhere": everywhere}
    return gr.HTML("", js_on_load=mount("server/news_listener", "told"), visible="hidden", **about)
