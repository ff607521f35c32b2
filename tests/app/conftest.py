"""What the tests of the app share: a command line in a real process, artworks, and a home with one trained style."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from tests.conftest import REPOSITORY

COMMAND = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); from app.cli import main; sys.exit(main(sys.argv[1:]))"
)


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


def atelier_in(home: Path) -> Atelier:
    """The command line over `home`, each call a process of its own in an unrelated folder."""

    def run(*arguments: str | Path, env: dict[str, str] | None = None) -> Answer:
        home.parent.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            [sys.executable, "-c", COMMAND, str(REPOSITORY), *map(str, arguments)],
            cwd=home.parent,
            env=os.environ | {"ATELIER_HOME": str(home), "HF_HUB_OFFLINE": "1"} | (env or {}),
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=240,
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
    home = tmp_path_factory.mktemp("trained") / "home"
    answer = atelier_in(home)(
        "train", "Rings", artworks, "--base", tiny_base, "--steps", "4", "--resolution", "64", "--json"
    )
    assert answer.code == 0, answer.err
    return Trained(home, answer)


@pytest.fixture
def home_with_style(trained: Trained, tmp_path: Path) -> Path:
    """A copy of that home, for tests that change it."""
    home = tmp_path / "home"
    shutil.copytree(trained.home, home)
    return home


@contextmanager
def window_over(home: Path, *arguments: str) -> Iterator[str]:
    """A window in a process of its own over `home`; its address."""
    server = subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(REPOSITORY), "--no-browser", "--home", str(home), *arguments],
        cwd=home.parent,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    assert server.stderr is not None
    said = []
    try:
        for line in server.stderr:
            said.append(line)
            if "Atelier is open at " in line:
                yield line.split("Atelier is open at ")[1].split()[0]
                return
        raise AssertionError("the window did not open: " + "".join(said))
    finally:
        server.terminate()
        server.communicate(timeout=60)
