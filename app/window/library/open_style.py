"""What the parts of the Library share: which style lies open, and how the page comes back from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr


@dataclass(frozen=True)
class OpenStyle:
    """The states and columns of the room."""

    version: gr.State  # counts the library's changes, so that the page draws it anew
    chosen: gr.State  # the handle of the style that lies open, empty for none
    shelf: gr.Column  # all styles
    page: gr.Column  # the one that lies open
    said: gr.Markdown
    undo: gr.Button
    deleted: gr.State  # the name of what Undo brings back

    @property
    def places(self) -> list[Any]:
        """What `opened` and `closed` set."""
        return [self.shelf, self.page, self.chosen]


def opened(handle: str) -> list[Any]:
    """Open a style."""
    return [gr.update(visible=False), gr.update(visible=True), handle]


def closed() -> list[Any]:
    """Put it back."""
    return [gr.update(visible=True), gr.update(visible=False), ""]
