"""What pages send is bounded: refused beyond, with nothing lost, and nothing left of what was broken off."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from app import temporary
from app.window.server import uploads
from app.window.server.uploads import UPLOAD, BoundUploads, Room

FORM = (
    b'--edge\r\nContent-Disposition: form-data; name="files"; filename="style.safetensors"\r\n'
    b"Content-Type: application/octet-stream\r\n\r\n" + bytes(400) + b"\r\n--edge--\r\n"
)
GONE = {"type": "http.disconnect"}
NO_PAGE = SimpleNamespace(blocks={}, temp_file_sets=[])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A window's folder for temporary files, which keeps 1000 bytes."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "files"))
    monkeypatch.setattr(uploads, "MOST_BYTES", 1000)
    (tmp_path / "files").mkdir()
    return tmp_path


@pytest.fixture
def app(folder: Path) -> Iterator[Any]:
    """Gradio's web application behind the bound."""

    async def made() -> Any:
        page: Any = gr.Blocks()
        page.max_file_size = None
        app = gr.routes.App.create_app(page)
        app.middleware_stack = BoundUploads(app.build_middleware_stack(), folder)
        return app

    # Within a loop, since gradio would make one and leave it open; in a thread, since a browser's loop runs in this one.
    with ThreadPoolExecutor(1) as thread:
        runner = asyncio.Runner()

        def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
            return thread.submit(runner.run, coroutine).result()

        app = run(made())
        app.run = run
        yield app
        thread.submit(runner.close).result()


def send(app: Any, *messages: dict[str, Any], length: int | None = len(FORM)) -> tuple[int, str]:
    """Post an upload in parts; the status and the text of the answer."""
    headers = [(b"content-type", b"multipart/form-data; boundary=edge")]
    headers += [] if length is None else [(b"content-length", str(length).encode())]
    scope = {
        "type": "http", "method": "POST", "path": UPLOAD, "raw_path": UPLOAD.encode(), "root_path": "", "scheme": "http",
        "query_string": b"", "headers": headers, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2),
    }  # fmt: skip
    waiting, answers = list(messages), []

    async def receive() -> dict[str, Any]:
        return waiting.pop(0) if waiting else GONE

    async def answer(message: dict[str, Any]) -> None:
        answers.append(message)

    app.run(app(scope, receive, answer))
    assert not waiting, "a browser that still sends sees no answer"
    return answers[0]["status"], b"".join(one.get("body", b"") for one in answers).decode()


def in_parts(data: bytes) -> Iterable[dict[str, Any]]:
    """Two messages for a body."""
    yield {"type": "http.request", "body": data[:300], "more_body": True}
    yield {"type": "http.request", "body": data[300:], "more_body": False}


def files(folder: Path) -> list[str]:
    """The names of all files in a folder."""
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_an_upload_beyond_the_bound_is_refused_and_the_others_stay(app: Any, folder: Path) -> None:
    assert send(app, *in_parts(FORM))[0] == 200
    (folder / "arrived-1").mkdir()
    (folder / "arrived-1" / "waiting.safetensors").write_bytes(bytes(400))
    before = files(folder)
    status, words = send(app, *in_parts(FORM))
    assert status == 507 and "no room for another upload" in words and "800 B" in words
    assert files(folder) == before == ["style.safetensors", "waiting.safetensors"]
    (folder / "arrived-1" / "waiting.safetensors").unlink()  # it was imported
    assert send(app, *in_parts(FORM))[0] == 200


def test_nothing_is_left_of_an_upload_that_is_broken_off(app: Any, folder: Path) -> None:
    send(app, next(iter(in_parts(FORM))), GONE)
    assert not files(folder)
    assert send(app, *in_parts(FORM))[0] == 200, "nor does it take room"


def test_an_upload_says_how_large_it_is(app: Any, folder: Path) -> None:
    assert send(app, *in_parts(FORM), length=None)[0] == 411
    assert not files(folder)


def test_uploads_at_one_moment_have_one_room(folder: Path) -> None:
    room, page = Room(folder), NO_PAGE
    assert room.take(600, page) and not room.take(600, page) and room.take(400, page)
    room.arrived(600)  # it was broken off
    assert room.take(600, page) and not room.take(1, page)


def test_half_of_the_disk_stays_free(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads.shutil, "disk_usage", lambda path: SimpleNamespace(free=500))
    room, page = Room(folder), NO_PAGE
    assert not room.take(251, page) and room.take(250, page)


def test_what_nobody_uses_any_more_goes_where_there_is_no_room_else(
    app: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(app, *in_parts(FORM))
    for name, age in (("export-old", 2 * temporary.EXPORT_SECONDS), ("export-new", 0)):
        (folder / name).mkdir()
        (folder / name / f"{name}.safetensors").write_bytes(bytes(150))
        os.utime(folder / name, (folder.stat().st_mtime - age,) * 2)
    room, page = Room(folder), app.get_blocks()
    assert room.take(200, page)
    assert files(folder) == ["export-new.safetensors", "export-old.safetensors", "style.safetensors"]
    assert room.take(200, page)
    assert files(folder) == ["export-new.safetensors", "style.safetensors"]
    monkeypatch.setattr(uploads, "UNUSED_SECONDS", -1)
    assert room.take(400, page)
    assert files(folder) == ["export-new.safetensors"]


def test_an_export_takes_old_ones_away(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "empty").mkdir()
    monkeypatch.chdir(folder / "empty")
    first = temporary.new_export()
    os.utime(first, (0, 0))
    second = temporary.new_export()
    assert second.parent == folder and second.is_dir() and not first.exists()
