"""What gradio does while nothing happens: as little as can be."""

from __future__ import annotations

from typing import Any

import gradio as gr
from gradio.queueing import Queue
from gradio.utils import run_coro_in_background

# Seconds. Gradio looks a thousand times a second whether a handler is to be called, and a hundred times whether one
# tells how far it is, which alone takes a sixteenth of a core. Here a look follows each question at once.
REST_SECONDS, PROGRESS_SECONDS, FULL_SECONDS = 1.0, 0.5, 0.05


def let_rest(page: gr.Blocks) -> None:
    """Keep a page, whose queue is made, from working where nobody would see what comes of it."""
    for handler in page.fns.values():
        if handler.show_progress == "hidden":
            # Gradio tells all that was ever marked as waited for, with all that it holds, of each step of each handler.
            handler.show_progress_on = []
    queue = page._queue
    queue.sleep_when_free, queue.progress_update_sleep_when_free = REST_SECONDS, PROGRESS_SECONDS
    queue.push = _Looks(queue).push


class _Looks:
    """A queue that is looked at as soon as something is asked, by gradio's own loop, until nothing waits."""

    # While as much is called as may be at once.
    sleep_when_free = FULL_SECONDS

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._push = queue.push
        self._looking = False

    async def push(self, *event: Any, **named: Any) -> Any:
        """Take what is asked, and look."""
        answer = await self._push(*event, **named)
        if not self._looking:
            self._looking = True
            run_coro_in_background(Queue.start_processing, self)
        return answer

    # The rest is what the loop sees.

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def stopped(self) -> bool:
        return self._queue.stopped or len(self._queue) == 0

    @stopped.setter
    def stopped(self, ended: bool) -> None:
        self._looking = False

    def _cancel_asyncio_tasks(self) -> None:
        """What the loop has begun goes on after it."""
