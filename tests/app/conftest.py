"""What the tests of the app share: the command line, artworks, a home with one trained style, and a window over it."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from styles.bases.shelf import BaseShelf
from styles.library.library import Library
from styles.storage.home import Home
from tests.app.browsing import PATIENCE_MS, found_browser, open_browser
from tests.conftest import REPOSITORY
from training.job import jobs_in

# Said once the window is open, in whatever language.
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+/\?key=[\w-]+")
COMMAND = "import sys; sys.path.insert(0, sys.argv.pop(1)); from app.cli.main import main; sys.exit(main(sys.argv[1:]))"


@dataclass(frozen=True)
class Answer:
    """What one command said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one JSON object on standard output."""
        value = json.loads(self.out)
        assert isinstance(value, dict)
        return value


Atelier = Callable[..., Answer]


@pytest.fixture
def atelier(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[[Path], Atelier]:
    """The command line over a home, run in this process: starting torch for each command would take too long."""
    from app.cli.main import main

    monkeypatch.chdir(tmp_path)

    def over(home: Path) -> Atelier:
        def run(*arguments: str | Path) -> Answer:
            monkeypatch.setenv("ATELIER_HOME", str(home))
            capfd.readouterr()
            code = main([str(argument) for argument in arguments])
            answer = Answer(code, *capfd.readouterr())
            assert "Traceback" not in answer.out + answer.err, answer.err
            return answer

        return run

    return over


def process_over(home: Path) -> Atelier:
    """The command line over `home` as people start it: a process of its own, in an unrelated folder."""

    def run(*arguments: str | Path) -> Answer:
        home.parent.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            [sys.executable, "-c", COMMAND, str(REPOSITORY), *map(str, arguments)],
            cwd=home.parent,
            env=os.environ | {"ATELIER_HOME": str(home)},
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=600,
        )
        assert "Traceback" not in done.stdout + done.stderr, done.stderr
        return Answer(done.returncode, done.stdout, done.stderr)

    return run


def draw_artworks(folder: Path, count: int = 3) -> Path:
    """A folder of small pictures of rings on coloured grounds, of different shapes."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        picture = Image.new("RGB", (140 + 20 * number, 150), (40 * number, 90, 200 - 40 * number))
        draw = ImageDraw.Draw(picture)
        for ring in range(30):
            x, y = (37 * ring + 11 * number) % 140, (53 * ring) % 140
            draw.ellipse((x, y, x + 24, y + 24), outline="white", width=3)
        picture.save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="session")
def artworks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three artworks in a folder."""
    return draw_artworks(tmp_path_factory.mktemp("art") / "rings")


@dataclass(frozen=True)
class Trained:
    """A home in which one style, Rings, was trained from the command line."""

    home: Path
    answer: Answer


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path, artworks: Path) -> Trained:
    """Train a tiny style once for all tests that need some style."""
    from app.cli.main import main

    home = tmp_path_factory.mktemp("trained") / "home"
    words = ["train", "Rings", artworks, "--base", tiny_base, "--steps", "4", "--resolution", "64", "--json"]
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(home.parent)
        patch.setenv("ATELIER_HOME", str(home))
        answer = Answer(main([*map(str, words)]), out.getvalue(), err.getvalue())
    assert answer.code == 0, answer.err
    # The styles that come along are for the starter, whose layers the tiny base does not have.
    library = Library(Home(home))
    for card in library.cards():
        if card.name != "Rings":
            library.delete(card.id)
    return Trained(home, answer)


@pytest.fixture
def home_with_style(trained: Trained, tmp_path: Path) -> Path:
    """A copy of that home, for tests that change it."""
    home = tmp_path / "home"
    shutil.copytree(trained.home, home)
    return home


@contextmanager
def window_over(home: Path) -> Iterator[str]:
    """A window in a process of its own over `home`; its address, which holds the key."""
    server = subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(REPOSITORY), "--no-browser", "--home", str(home)],
        cwd=home.parent,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    said: list[str] = []
    opened = threading.Event()

    def listen() -> None:  # to the end: a server whose words nobody takes would come to a halt
        assert server.stderr is not None
        with server.stderr:
            for line in server.stderr:
                said.append(line)
                if ADDRESS.search(line):
                    opened.set()
        opened.set()

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        opened.wait(300)
        address = next(filter(None, map(ADDRESS.search, said)), None)
        assert address is not None, "the window did not open: " + "".join(said)
        yield address[0]
    finally:
        server.terminate()
        server.wait(120)
        listener.join(120)
        for job in jobs_in(Home(home).jobs):  # what a failed test leaves would train for hours
            if job.alive():
                job.request("stop")
    assert not any("Traceback" in line for line in said), "".join(said)


@dataclass(frozen=True)
class Served:
    """A window that is open, and the home behind it."""

    # With the key: what a browser is opened with.
    url: str
    home: Path

    @property
    def site(self) -> str:
        """The address without the key, as everybody knows it."""
        return self.url.partition("?")[0]

    @property
    def headers(self) -> dict[str, str]:
        """What a script of this user sends."""
        return {"x-atelier-key": (self.home / "key.txt").read_text(encoding="ascii")}


@pytest.fixture(scope="session")
def served(trained: Trained, tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One window for all tests that need one, over a home of its own whose base is the tiny one."""
    home = tmp_path_factory.mktemp("served") / "home"
    shutil.copytree(trained.home, home)
    shelf = BaseShelf(Home(home))
    shelf.use(shelf.add(tiny_base).name)
    with window_over(home) as url:
        yield Served(url, home)


def empty_draft(home: Path) -> None:
    """Take away what earlier tests have prepared for a training; a page that is opened after it knows nothing of it."""
    shutil.rmtree(home / "draft", ignore_errors=True)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """The system's Chromium; without one this is a skip, and in CI a failure."""
    if found_browser() is None:
        if os.environ.get("CI"):
            pytest.fail("CI needs a browser: .ci/run installs Chromium")
        pytest.skip("no Chromium or Chrome on this machine: the window was not tested")
    from playwright.sync_api import expect

    expect.set_options(timeout=PATIENCE_MS)
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[Any]:
    """A script's connection to the window."""
    from gradio_client import Client

    client = Client(served.site, headers=served.headers, verbose=False)
    yield client
    client.close()
