"""The window starts on a machine that is so busy that its web server takes long."""

from __future__ import annotations

import asyncio
import itertools
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import gradio.http_server
import pytest
import uvicorn
from gradio.exceptions import ServerFailedToStartError
from starlette.applications import Starlette

from app.window.server.serving import wait_for_web_server


@asynccontextmanager
async def slow_start(app: Any) -> AsyncIterator[None]:
    await asyncio.sleep(0.05)
    yield


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A web server as gradio makes it, on a free port; each look at gradio's clock takes ten seconds."""
    given = gradio.http_server.Server.run_in_thread
    monkeypatch.setattr("gradio.http_server.Server.run_in_thread", given)  # put back at the end
    clock = SimpleNamespace(time=itertools.count(0, 10).__next__, sleep=time.sleep)
    monkeypatch.setattr("gradio.http_server.time", clock)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = uvicorn.Config(Starlette(lifespan=slow_start), port=port, log_level="critical")
    return gradio.http_server.Server(config)


def test_a_web_server_that_starts_slowly_is_waited_for(server: Any) -> None:
    wait_for_web_server()
    server.run_in_thread()
    try:
        assert server.started
    finally:
        server.close()


# As the web server ends its thread.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_web_server_that_can_not_start_is_not_waited_for(server: Any) -> None:
    wait_for_web_server()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", server.config.port))
        taken.listen()
        with pytest.raises(ServerFailedToStartError):
            server.run_in_thread()
