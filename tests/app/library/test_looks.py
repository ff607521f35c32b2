"""What one asks of the library looks at the styles folder once: with ten thousand files a look takes a while."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from styles.library import catalogue
from styles.library.folder import StyleLocation, places
from styles.storage.home import Home
from tests.app.conftest import Atelier
from tests.conftest import REPOSITORY
from tests.styles.library_files import put


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that were looked at, without those that come with Atelier."""
    seen: list[Path] = []
    monkeypatch.setattr(catalogue, "places", noting(seen))
    return seen


def noting(seen: list[Path]) -> Callable[[Path], list[StyleLocation]]:
    """`places`, which notes what it is asked for."""

    def noted(folder: Path) -> list[StyleLocation]:
        if folder.parent.name == "home":
            seen.append(folder)
        return places(folder)

    return noted


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with styles, one that vanished, one that can't be read, and a deleted one of those that come with it."""
    folder = Home(tmp_path / "home").create()
    for seed in range(3):
        put(folder.styles / f"style {seed}.safetensors", seed)
    (folder.styles / "broken.safetensors").write_bytes(b"nothing")
    return folder.root


def test_each_command_looks_once(
    home: Path, tmp_path: Path, atelier: Callable[[Path], Atelier], looks: list[Path]
) -> None:
    run = atelier(home)
    gone = put(home / "styles" / "gone.safetensors", 9)
    assert run("styles", "list").code == 0
    gone.unlink()
    more = put(tmp_path / "in" / "more.safetensors", 10).parent
    put(more / "still more.safetensors", 11)
    for arguments, answer in {
        ("list",): ("style 0", "broken", "gone"),
        ("list", "--newest"): ("style 0", "broken", "gone"),
        ("search", "style"): ("style 2",),
        ("show", "style 0"): ("style 0",),
        ("verify",): ("style 1", "broken"),
        ("import", more, "--dry-run"): ("more", "still more"),
        ("import", more): ("more", "still more"),
        ("edit", "style 1", "--author", "Ada"): ("Ada",),
        ("mark", "style 1", "--favourite"): ("favourite",),
        ("export", "style 1", tmp_path / "out", "--with-captions"): ("style_1",),
        ("duplicates",): ("twice",),
        ("delete", "style 2"): ("trash",),
        ("restore", "style 2"): ("back",),
        ("delete", "cyanotype"): ("trash",),
    }.items():
        looks.clear()
        told = run("styles", *arguments)
        assert all(word in told.out for word in answer), (arguments, told)
        assert len(looks) == 1, f"styles {arguments[0]} looked {len(looks)} times"


def test_the_room_looks_once_for_the_shelf_and_not_at_all_for_one_style(home: Path) -> None:
    # In a process of its own, since gradio leaves an event loop open in the one that it is imported in.
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from tests.app.library.test_looks import in_the_room; in_the_room()",
            str(home),
        ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def in_the_room() -> None:
    """What the test above runs: the handlers of the room, as the page calls them."""
    import gradio as gr

    from app.studio import Studio
    from app.window.library.room import library_room

    looks: list[Path] = []
    catalogue.places = noting(looks)
    home = Path(sys.argv[1])
    studio = Studio(Home(home))
    with gr.Blocks() as page, gr.Tab("Library") as tab:
        library_room(studio, page, tab)
    handlers: dict[str, Any] = {str(one.name): one.fn for one in page.fns.values()}
    gone = put(home / "styles" / "gone.safetensors", 9)
    studio.library.delete("cyanotype")
    handlers["draw"]("", "name", "", 24)
    gone.unlink()
    for order in ("name", "newest", "favourites"):
        looks.clear()
        drawn = str(handlers["draw"]("", order, "", 24))
        assert all(word in drawn for word in ("style 2", "ochre dabs", "broken", "gone", "cyanotype"))
        assert len(looks) == 1, f"{order}: {len(looks)} times"
    looks.clear()
    assert "style 1" in str(handlers["turn_to"]("style 1.safetensors", ""))
    studio.library.mark("style 1.safetensors", favourite=True)
    assert "ochre dabs" in str(handlers["turn_to"]("//bundled/ochre dabs.safetensors", ""))
    *_, apart = handlers["look"]("style 1.safetensors", "file", [], False, False)
    assert apart["visible"] is False, "it brings no words"
    file, told = handlers["hand_out"]("style 1.safetensors", "hub", ["captions"], True, True)
    assert file.endswith(".zip") and "diffusers: yes" in told
    assert looks == []
    put(home / "styles" / "style 1.safetensors", 77, {"modelspec.author": "Another"})
    assert "Another" in str(handlers["turn_to"]("style 1.safetensors", "")) and len(looks) == 1
    studio.close()
