"""A window of its own: what a link would download is saved where the artist chooses, by whatever web view there is."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.window.server.native import SAVING_JS, save_as
from styles.formats.reader import read_card
from tests.app.browsing import PATIENCE_MS
from tests.app.conftest import Served
from tests.conftest import REPOSITORY


def test_a_file_goes_where_it_was_chosen_to_go(tmp_path: Path) -> None:
    target = tmp_path / "ink.safetensors"
    content = base64.b64encode(b"a style").decode()
    offered: list[str] = []

    def choose(name: str) -> str:
        offered.append(name)
        return str(target)

    assert save_as(choose, "../..\\up\u202eink.safetensors", content) == ""
    assert (offered, target.read_bytes()) == (["upink.safetensors"], b"a style")
    assert save_as(lambda name: None, "other", content) == ""
    assert [path.name for path in tmp_path.iterdir()] == ["ink.safetensors"]


def test_what_goes_wrong_is_told_and_the_file_before_stays(tmp_path: Path) -> None:
    target = tmp_path / "ink.safetensors"
    target.write_bytes(b"before")
    assert "There is nothing in ink." in save_as(lambda name: str(target), "ink", "")
    content = base64.b64encode(b"a style").decode()
    assert save_as(lambda name: str(target / "under a file"), "ink", content) != ""
    assert target.read_bytes() == b"before"


@pytest.fixture
def saving(browser: Any, served: Served, tmp_path: Path) -> Iterator[tuple[Any, Path]]:
    """The page as a web view that can't download shows it, and the folder that everything is saved in."""
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.set_default_timeout(PATIENCE_MS)

    def save(name: str, content: str) -> str:
        return save_as(lambda offered: str(tmp_path / offered), name, content)

    page.expose_function("saved", save)
    page.goto(served.url)
    page.evaluate(
        """() => { window.pywebview = { api: { save: async (...all) => {
            window.kept = [await window.saved(...all)];
            return window.kept[0];
        } } }; }"""
    )
    page.evaluate(SAVING_JS)
    yield page, tmp_path
    page.close()


@pytest.mark.browser
def test_an_export_comes_to_be_saved(saving: tuple[Any, Path]) -> None:
    page, folder = saving
    page.get_by_role("tab", name="Library").click()
    page.get_by_role("button", name="Rings", exact=True).click()
    page.get_by_role("heading", name="Rings", level=2).wait_for()
    page.get_by_role("button", name="Export", exact=True).click()
    page.get_by_text("diffusers: yes.").wait_for()
    page.wait_for_function("() => window.kept")
    assert read_card(folder / "Rings.safetensors").name == "Rings"


@pytest.mark.browser
def test_what_the_page_itself_has_made_comes_to_be_saved(saving: tuple[Any, Path]) -> None:
    """As a shared blend does: by a link that is on no page, to what is gone after the click."""
    page, folder = saving
    page.evaluate(
        """() => {
            const link = document.createElement("a");
            link.href = URL.createObjectURL(new Blob(["a blend"]));
            link.download = "Dusk.json";
            link.click();
            URL.revokeObjectURL(link.href);
        }"""
    )
    page.wait_for_function("() => window.kept")
    assert (folder / "Dusk.json").read_bytes() == b"a blend"


ENDING = """
import signal, sys, threading
from app.window.server.native import end_at_signal
signal.signal(signal.SIGHUP, getattr(signal, sys.argv[1]))  # as whoever starts it wants
ended = threading.Event()
end_at_signal(ended)
print("ready", flush=True)
print("ended" if ended.wait(float(sys.argv[2])) else "lost", flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no hangup")
@pytest.mark.parametrize(("before", "patience", "said"), [("SIG_DFL", 60, "ended"), ("SIG_IGN", 0.5, "lost")])
def test_a_terminal_that_is_closed_closes_the_window(before: str, patience: float, said: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", ENDING, before, str(patience)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGHUP)
        assert process.stdout.read() == f"{said}\n"
