"""What the parts of the Library share: which style lies open, and how the page comes back from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr


@dataclass(frozen=True)
class OpenStyle:
    """The states and columns of the room."""

    version: gr.State  # another one after each change of the library, so that the page draws it anew
    changed: Callable[[], int]  # that one
    chosen: gr.State  # the handle of the style that lies open, empty for none
    shelf: gr.Column  # all styles
    page: gr.Column  # the one that lies open
    said: gr.Markdown
    undo: gr.Button
    deleted: gr.State  # the name of what Undo brings back

    @property
    def places(self) -> list[Any]:
        """What `opened` and `closed` set."""
        return [self.shelf, self.page]


def opened() -> list[Any]:
    """Show the page of a style in place of the shelf."""
    return [gr.update(visible=False), gr.update(visible=True)]


def closed() -> list[Any]:
    """And the shelf again."""
    return [gr.update(visible=True), gr.update(visible=False)]
