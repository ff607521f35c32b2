"""The temporary files of a window that was killed go at the next start; those of an open one stay."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.temporary import LOCK, locked_folder, private_folder, remove_left
from tests.conftest import REPOSITORY

# Uploads as gradio does, begins a draft, and stays.
WINDOW = """
import os, sys, tempfile
sys.path.insert(0, sys.argv[1])
from app.temporary import private_folder
with private_folder():
    with open(os.path.join(os.environ["GRADIO_TEMP_DIR"], "upload.png"), "wb") as file:
        file.write(bytes(1000))
    tempfile.mkdtemp(prefix="atelier-draft-")
    print(os.path.dirname(os.getcwd()), flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files that no other program uses."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("GRADIO_TEMP_DIR", "")
    return tmp_path


@contextmanager
def open_window() -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A process that works in a private folder, and that folder."""
    command = [sys.executable, "-c", WINDOW, str(REPOSITORY)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, Path(process.stdout.readline().strip())
        finally:
            process.kill()


def test_the_next_start_removes_what_a_killed_window_left_and_nothing_of_an_open_one(temporary: Path) -> None:
    with open_window() as (killed, left), open_window() as (alive, kept):
        killed.kill()
        killed.wait()
        assert (left / "files/upload.png").is_file() and list(left.glob("atelier-draft-*"))
        with private_folder():
            assert not left.exists()
            assert (kept / "files/upload.png").stat().st_size == 1000 and list(kept.glob("atelier-draft-*"))
        alive.communicate("")
    assert not list(temporary.iterdir())


def test_what_a_kill_leaves_of_a_removal_is_removed_the_next_time(temporary: Path) -> None:
    folder = temporary / "atelier-abcdefgh"
    (folder / "files").mkdir(parents=True)
    (folder / LOCK).touch()
    remove_left()
    assert not folder.exists()


def test_links_and_what_others_made_are_left_alone(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = temporary / "theirs"
    for folder in (theirs, temporary / "atelier-sketches", temporary / "atelier-nolocked"):
        folder.mkdir()
        (folder / "picture.png").touch()
    (theirs / LOCK).touch()
    (temporary / "atelier-linklink").symlink_to(theirs)
    before = sorted(temporary.rglob("*"))
    remove_left()
    assert sorted(temporary.rglob("*")) == before

    other = temporary / "atelier-otheruse"
    theirs.rename(other)
    monkeypatch.setattr(os, "getuid", lambda: other.stat().st_uid + 1)
    remove_left()
    assert (other / "picture.png").exists()


def test_starts_at_one_moment_leave_each_other_their_folders() -> None:
    def start(_: int) -> None:
        remove_left()
        with locked_folder() as folder:
            (folder / "upload.png").touch()
            remove_left()
            assert (folder / "upload.png").exists()

    with ThreadPoolExecutor(8) as starts:
        list(starts.map(start, range(200)))


def test_temporary_files_of_the_window_lie_in_its_folder(temporary: Path) -> None:
    with private_folder():
        assert Path(tempfile.mkdtemp()).parent == Path.cwd().parent
    assert tempfile.gettempdir() == str(temporary)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such cleaner")
def test_the_system_s_cleaner_leaves_the_folder_of_an_open_window_alone() -> None:
    import fcntl

    with locked_folder() as folder:
        opened = os.open(folder, os.O_RDONLY)
        # What systemd takes before it removes a folder.
        with pytest.raises(BlockingIOError):
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(opened)


def test_a_window_whose_folder_was_removed_ends_all_the_same() -> None:
    with locked_folder() as folder:
        shutil.rmtree(folder)
