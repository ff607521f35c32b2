"""A process that draws all rooms of the window over a home, once more where nothing of it may be written.

    python -m tests.app.drawing_rooms HOME

Prints what was drawn, as a JSON list of the two times. A process of its own, since it gives rights away.
"""

from __future__ import annotations

import ctypes
import io
import json
import os
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import gradio as gr

from app.studio import Studio
from app.window import serving
from app.window.news import News
from app.window.page import build
from app.window.problems import problems_drawn
from app.window.train_watch import Watch, _look
from styles.errors import AtelierError
from styles.home import Home
from training.job import jobs_in

CAPABILITIES_VERSION = 0x20080522  # linux/capability.h
PASSING_OVER_RIGHTS = (1, 2)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH


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
        studio.change_settings(tour_seen=True)
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


def obey_rights() -> None:
    """Let what a file allows hold for this process, too, where it is root, who else may do everything."""
    if sys.platform != "linux" or os.getuid():
        return
    system = ctypes.CDLL(None, use_errno=True)
    asked = (ctypes.c_uint32 * 2)(CAPABILITIES_VERSION, 0)
    held = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; then the same of the higher ones
    assert system.capget(asked, held) == 0
    for place in (0, 1, 2):
        for capability in PASSING_OVER_RIGHTS:
            held[place] &= ~(1 << capability)
    assert system.capset(asked, held) == 0, os.strerror(ctypes.get_errno())


if __name__ == "__main__":
    print(json.dumps(main(Home(Path(sys.argv[1])))))
