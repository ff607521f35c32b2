"""What is kept of pages and scripts: the latest sessions, without a copy of the whole page's description in each.

Gradio keeps ten thousand of them with about a megabyte each, among them those of pages long closed and of scripts that
asked once.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import gradio as gr
from fastapi import HTTPException
from gradio.state_holder import SessionState, StateHolder

from app.window.server.routes import API

SESSIONS = 200
EVENTS = 10  # that gradio reckons with at each event, for a page of its own that is not shown here
HEARTBEAT = f"{API}/heartbeat/"
ANSWERS = f"{API}/queue/data"


class Sessions(StateHolder):
    """The latest used sessions, and those whose page is open or for which something is being done."""

    def __init__(self, page: gr.Blocks) -> None:
        super().__init__()
        self.open: Counter[str] = Counter()
        self.set_blocks(page)
        self.capacity = SESSIONS

    def __getitem__(self, session_id: str) -> SessionState:
        """The session of that name, begun where there is none."""
        session = super().__getitem__(session_id)
        if not isinstance(session.config_values, NothingKept):
            session.config_values = NothingKept()
        return session

    def update(self, session_id: str) -> None:
        """Note that a session is used, and drop the oldest of the others that are too many."""
        with self.lock:
            if session_id in self.session_data:
                self.session_data.move_to_end(session_id)
            excess = len(self.session_data) - self.capacity
            if excess <= 0:
                return
            needed = self.open.keys() | busy(self.blocks._queue) | {session_id}
            for one in [one for one in list(self.session_data) if one not in needed][:excess]:
                self._drop(one)

    def _drop(self, session_id: str) -> None:
        """Forget a session, with the answers that nobody has fetched."""
        self.session_data.pop(session_id, None)
        self.time_last_used.pop(session_id, None)
        queue = self.blocks._queue
        queue.pending_messages_per_session.pop(session_id, None)
        queue.pending_event_ids_session.pop(session_id, None)


class NothingKept(dict[int, dict[str, Any]]):
    """Takes what is put into it for nothing: only gradio's links to a page's state need its description."""

    def __setitem__(self, number: int, description: dict[str, Any]) -> None:
        pass

    def __missing__(self, number: int) -> dict[str, Any]:
        return {}


def busy(queue: Any) -> set[str]:
    """The sessions for which gradio's queue has something to do."""
    waiting = [event for line in list(queue.event_queue_per_concurrency_id.values()) for event in line.queue]
    running = [event for job in list(queue.active_jobs) if job for event in job]
    return {event.session_hash for event in [*waiting, *running]}


def keep_few_sessions(app: Any) -> Sessions:
    """Put these in place of the sessions of gradio's web application, which has answered nobody yet."""
    app.state_holder = Sessions(app.get_blocks())
    app.get_blocks()._queue.ANALYTICS_MAX_EVENTS = EVENTS
    return app.state_holder


class EndedStreams:
    """ASGI middleware that ends a stream of answers quietly whose page has gone.

    A page that opens a second stream and is closed then takes the session from under the first one, for which gradio
    raises once its answer has begun: nobody is there to be told, and an error would stand in the terminal.
    """

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass the request on."""
        try:
            await self.app(scope, receive, send)
        except RuntimeError as error:
            if scope.get("path") != ANSWERS or not isinstance(error.__cause__, HTTPException):
                raise


class OpenPages:
    """ASGI middleware that tells which sessions' pages are open: those that listen for a sign of life."""

    def __init__(self, app: Any, sessions: Sessions) -> None:
        self.app = app
        self.sessions = sessions

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass the request on, and count its page as open for as long."""
        if scope["type"] != "http" or not scope["path"].startswith(HEARTBEAT):
            await self.app(scope, receive, send)
            return
        session = scope["path"].removeprefix(HEARTBEAT)
        self.sessions.open[session] += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.sessions.open[session] -= 1
            if not self.sessions.open[session]:
                del self.sessions.open[session]
