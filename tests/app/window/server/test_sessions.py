"""What a window keeps of the pages and scripts that have asked it for something: not more, however many come."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fastapi import HTTPException

from app.window.server.sessions import EndedStreams
from tests.app.window.server.coming_often import BOUND, KEPT, MANY
from tests.app.window.server.strangers import run
from tests.conftest import REPOSITORY


def test_sessions_are_bounded_and_an_open_page_keeps_its_own(tmp_path: Path) -> None:
    """Of many, the latest stay, with what they hold; a page that is open stays however long ago it asked."""
    told = subprocess.run(
        [sys.executable, "-m", "tests.app.window.server.coming_often", str(tmp_path / "home")],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert told.returncode == 0, told.stderr
    found = json.loads(told.stdout.splitlines()[-1])
    assert found["left"] == ["open", f"once {MANY - 2}", f"once {MANY - 1}", "used"]
    assert found["unread"] == sorted(found["left"])  # nor do answers stay that nobody has fetched
    assert found["described"] == 0  # gradio keeps a copy of all that is on the page for each
    assert found["kept"] == [KEPT, KEPT]
    assert found["after it was closed"] == [f"later {number}" for number in range(BOUND)]
    assert found["looks"] <= 2  # who comes is seen at once, so that a window at rest need hardly look


def test_a_stream_whose_session_has_gone_ends_without_an_error() -> None:
    """As starlette raises what is refused of an answer that has begun."""

    def raising(error: Exception, cause: Exception | None) -> Any:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            raise error from cause

        return EndedStreams(app)

    gone = RuntimeError("response already started")
    run(raising(gone, HTTPException(404))({"path": "/gradio_api/queue/data"}, None, None))
    for path, cause in (
        ("/gradio_api/queue/data", ValueError()),
        ("/gradio_api/queue/join", HTTPException(404)),
    ):
        with pytest.raises(RuntimeError):
            run(raising(gone, cause)({"path": path}, None, None))
