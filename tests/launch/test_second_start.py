"""A second start opens the page that runs; a port must be free."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from filelock import FileLock

import launch
from app.key import proof

ROOT = Path(__file__).resolve().parents[2]


KEY = "k" * 43


class Page(BaseHTTPRequestHandler):
    key = KEY

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("x-atelier", proof(self.key, self.headers["x-atelier-challenge"]))
        self.end_headers()
        self.wfile.write(b"Atelier")

    def log_message(self, format: str, *arguments: object) -> None:
        """Quiet: the tests read standard error."""


class OtherPage(Page):
    key = "o" * 43


@pytest.fixture(params=[Page])
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), request.param) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def _announce(home: Path, port: int) -> None:
    (home / "running.json").write_text(json.dumps({"port": port, "pid": 1}))
    (home / "key.txt").write_text(KEY)


def test_a_second_start_names_the_running_page_and_sets_nothing_up(tmp_path: Path, port: int) -> None:
    _announce(tmp_path, port)
    command = [sys.executable, str(ROOT / "launch.py"), "--no-browser", "--home", str(tmp_path)]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert answer.returncode == 0
    assert answer.stderr.strip() == f"Atelier is running already: http://127.0.0.1:{port}/?key={KEY}"


def test_the_running_page_is_found(tmp_path: Path, port: int) -> None:
    _announce(tmp_path, port)
    assert launch.running_page(tmp_path) == f"http://127.0.0.1:{port}/?key={KEY}"


@pytest.mark.parametrize("port", [OtherPage], indirect=True)
def test_the_window_of_another_home_is_not_taken_for_this_ones(tmp_path: Path, port: int) -> None:
    _announce(tmp_path, port)
    assert launch.running_page(tmp_path) is None


def test_a_window_that_was_killed_is_not_found(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        _announce(tmp_path, unused.getsockname()[1])
        assert launch.running_page(tmp_path) is None


class LatePage(Page):
    """A page that answers only the third request."""

    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        if self.asked % 3 == 0:
            super().do_GET()


@pytest.mark.parametrize("port", [LatePage], indirect=True)
def test_an_open_window_that_answers_late_is_waited_for(tmp_path: Path, port: int) -> None:
    _announce(tmp_path, port)
    with FileLock(tmp_path / "running.lock"):
        assert launch.running_page(tmp_path) == f"http://127.0.0.1:{port}/?key={KEY}"


def test_a_window_that_is_just_being_opened_is_waited_for(
    tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: _announce(tmp_path, port))
    with FileLock(tmp_path / "running.lock"):
        assert launch.running_page(tmp_path) == f"http://127.0.0.1:{port}/?key={KEY}"


def test_a_window_that_closes_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = FileLock(tmp_path / "running.lock")
    lock.acquire()
    monkeypatch.setattr("time.sleep", lambda seconds: lock.release())
    assert launch.running_page(tmp_path) is None
    assert not lock.is_locked


def test_a_window_that_never_answers_is_not_waited_for_forever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "PATIENCE_SECONDS", -1)
    with FileLock(tmp_path / "running.lock"):
        assert launch.running_page(tmp_path) is None


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"port": "x"}', '{"port": 1}', '{"port": 99999}', '{"port": 1e999}', "\x00"]
)
def test_a_spoilt_announcement_is_no_page(tmp_path: Path, text: str) -> None:
    (tmp_path / "key.txt").write_text(KEY)
    (tmp_path / "running.json").write_text(text)
    assert launch.running_page(tmp_path) is None


@pytest.mark.parametrize("text", ["", "x", "0", "65536", "-1", "7860.5", "²"])
def test_a_port_must_be_one(text: str) -> None:
    assert "no port" in str(launch.port_refusal(text))


def test_a_port_that_another_program_uses_is_refused_before_setup(tmp_path: Path, port: int) -> None:
    command = [sys.executable, str(ROOT / "launch.py"), "--home", str(tmp_path), f"--port={port}"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert answer.returncode == 2
    assert f"Port {port} is in use by another program" in answer.stderr


def test_a_free_port_is_accepted() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = free.getsockname()[1]
    assert launch.port_refusal(str(number)) is None


@pytest.mark.parametrize(
    ("argv", "command"),
    [
        ([], None),
        (["--port", "8000", "--no-browser"], None),
        (["--home", "train", "create", "a cat"], "create"),
        (["--home=here", "demo", "--out", "x"], "demo"),
        (["styles", "list", "--json"], "styles"),
    ],
)
def test_the_command_is_found_among_the_options(argv: list[str], command: str | None) -> None:
    assert launch.command_in(argv) == command


def test_an_option_is_read_in_both_ways() -> None:
    assert launch.option_in(["--home", "a b"], "--home") == "a b"
    assert launch.option_in(["x", "--home=a=b"], "--home") == "a=b"
    assert launch.option_in(["--home"], "--home") == ""
    assert launch.option_in(["--homely", "x"], "--home") is None
