"""A window whose bound on sessions is small, to which many come: run by `test_sessions` in a process of its own.

python -m tests.app.window.server.coming_often HOME
"""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import gradio as gr
import uvicorn

from app.key import HEADER, home_key
from app.studio import Studio
from app.window.page import build
from app.window.server import sessions
from app.window.server.middleware import HERE, around
from app.window.server.news import News
from styles.storage.home import Home

API = "/gradio_api"
BOUND, MANY = 4, 12
KEPT = "what this page keeps"


@contextmanager
def served_page(home: Home) -> Iterator[Any]:
    """The real page, guarded as a window guards it, in a web server of its own."""
    studio = Studio(home)
    page, key = build(studio, News()), home_key(home)
    page.app = app = gr.routes.App.create_app(page, app_kwargs=around(key, "", lambda text: None, home.root))
    server = uvicorn.Server(uvicorn.Config(app, host=HERE, port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait(lambda: server.started)
    page.port = server.servers[0].sockets[0].getsockname()[1]
    page.sent = {HEADER: key, "Content-Type": "application/json"}
    asked(page, "GET", "startup-events")
    try:
        yield page
    finally:
        server.should_exit = True
        thread.join(300)
        studio.close()


def wait(done: Callable[[], object]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + 300
    while not done():
        assert time.monotonic() < deadline, "it takes for ever"
        time.sleep(0.02)


def asked(page: Any, method: str, path: str, about: Any = None) -> None:
    """Ask the window for something that it grants."""
    with closing(http.client.HTTPConnection(HERE, page.port, timeout=300)) as connection:
        connection.request(method, f"{API}/{path}", json.dumps(about), page.sent)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200


def come(page: Any, session: str) -> None:
    """Ask for the list of trainings, as a page or a script that comes once, and take no answer."""
    function = next(number for number, fn in page.fns.items() if fn.api_name == "jobs")
    asked(page, "POST", "queue/join", {"data": [], "fn_index": function, "session_hash": session})
    wait(lambda: not any(page._queue.active_jobs) and not len(page._queue))


def looks_at_rest(page: Any, seconds: float = 0.5) -> int:
    """How often it is looked, within so long, whether anybody has asked for something."""
    queue, looks = type(page._queue), 0
    count = queue.__len__

    def counting(one: Any) -> int:
        nonlocal looks
        looks += 1
        return int(count(one))

    queue.__len__ = counting
    time.sleep(seconds)
    queue.__len__ = count
    return looks


def main(home: Home) -> dict[str, Any]:
    """One page stays open, another is used again and again, many come once: whose sessions are left, with what."""
    sessions.SESSIONS = BOUND
    with served_page(home) as page, closing(http.client.HTTPConnection(HERE, page.port)) as living:
        kept = page.app.state_holder
        state = next(number for number, block in page.blocks.items() if isinstance(block, gr.State))
        living.request("GET", f"{API}/heartbeat/open", headers=page.sent)
        alive = living.getresponse()
        alive.readline()
        for session in ("open", "used"):
            come(page, session)
            kept[session][state] = KEPT
        used = set()
        for number in range(MANY):
            come(page, f"once {number}")
            used.add(kept["used"][state])
        found = {
            "left": list(kept.session_data),
            "unread": sorted(page._queue.pending_messages_per_session),
            "described": sum(len(session.config_values) for session in kept.session_data.values()),
            "kept": [kept["open"][state], *used],
        }
        alive.close()
        living.close()
        wait(lambda: not kept.open)
        for number in range(BOUND):
            come(page, f"later {number}")
        return found | {"after it was closed": list(kept.session_data), "looks": looks_at_rest(page)}


if __name__ == "__main__":
    print(json.dumps(main(Home(Path(sys.argv[1])))))
