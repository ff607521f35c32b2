"""A process that draws all rooms of the window over a home, once more where nothing of it may be written.

    python -m tests.app.drawing_rooms HOME

Prints what was drawn, as a JSON list of the two times. A process of its own, since it gives rights away.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from app.studio import Studio
from app.window.page import build
from app.window.problems import problems_drawn
from app.window.server import serving
from app.window.server.news import News
from app.window.train.watch import Watch, _look
from styles.errors import AtelierError
from styles.storage.home import Home
from tests.rights import obey_rights
from training.job import jobs_in


def main(home: Home) -> list[dict[str, Any]]:
    """Draw the rooms, take the rights away, and draw them again."""
    serving._wait = lambda ended: None  # a window that was opened is closed again
    first = drawn(home)
    for path in [home.root, *home.root.rglob("*")]:
        if not path.is_symlink() and (path.is_dir() or path.is_file()):
            path.chmod(0o555 if path.is_dir() else 0o444)
    obey_rights()
    return [first, drawn(home)]


def drawn(home: Home) -> dict[str, Any]:
    """Build the page, and ask all that it asks for by itself."""
    studio, news = Studio(home), News()
    refused, count = [], 0
    for handler in build(studio, news).fns.values():
        occasions = {event for _, event in handler.targets}
        if handler.fn and not handler.inputs and occasions & {"load", "select"}:
            count += 1
            try:
                answer = handler.fn()
                _ = list(answer) if isinstance(answer, Iterator) else None
            except gr.Error as error:
                refused.append(f"{handler.fn.__qualname__}: {error.message}")
    problems = problems_drawn(studio)
    try:
        studio.change_settings(replace(studio.settings, tour_seen=True))
        not_kept = ""
    except AtelierError as error:
        not_kept = str(error)
    jobs = jobs_in(home.jobs)
    told = {
        "drawn": count,
        "refused": refused,
        "news": sorted(news.versions()),
        "problems": problems,
        "styles": [card.name for card in studio.library.cards()],
        "states": {job.name: job.state() for job in jobs},
        "cards": {job.name: _look(studio, Watch(job.folder.name, chosen=True))[1] for job in jobs},
        "not_kept": not_kept,
    }
    studio.close()
    opened = io.StringIO()
    with redirect_stderr(opened):
        serving.serve(Studio(home), open_browser=False)
    return told | {"opened": opened.getvalue()}


if __name__ == "__main__":
    print(json.dumps(main(Home(Path(sys.argv[1])))))
