"""Files are written whole or not at all, and never over another by accident."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from styles.errors import AtelierError, BadInput, DiskFullError, Failure, PlanError
from styles.storage import atomic
from styles.storage.home import Home
from styles.storage.names import LONGEST_NAME, clean_text, safe_name, suggested_name
from tests.conftest import REPOSITORY


def test_writes_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "a.json"
    atomic.write_text(path, "grün\n")
    assert path.read_bytes() == "grün\n".encode()
    atomic.write_bytes(path, b"2")
    assert path.read_bytes() == b"2" and len(list(path.parent.iterdir())) == 1


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    atomic.write_bytes(path, b"old")
    with pytest.raises(KeyError), atomic.replacing(path) as temporary:
        assert temporary.parent == tmp_path and temporary.suffix == ".png"
        temporary.write_bytes(b"half")
        raise KeyError
    assert path.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.ENOSPC, DiskFullError),
        (errno.EFBIG, DiskFullError),
        (errno.EACCES, BadInput),
        (errno.EROFS, BadInput),
    ],
)
def test_what_the_system_says_is_told(tmp_path: Path, number: int, error: type[AtelierError]) -> None:
    with pytest.raises(error) as caught, atomic.replacing(tmp_path / "a"):
        raise OSError(number, os.strerror(number))
    assert str(tmp_path) in str(caught.value) and caught.value.hint
    assert not list(tmp_path.iterdir())


def test_an_error_of_another_kind_is_not_hidden(tmp_path: Path) -> None:
    with pytest.raises(OSError), atomic.replacing(tmp_path / "a"):
        raise OSError(errno.EIO, "broken disk")


def test_a_new_file_is_never_over_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def late(folder: Path, stem: str, suffix: str) -> Path:
        """What `unused_name` says just before another process takes that name."""
        path = found(folder, stem, suffix)
        if path.name == "a.png":
            path.write_bytes(b"theirs")
        return path

    found = atomic.unused_name
    monkeypatch.setattr(atomic, "unused_name", late)
    for folder, linking in ((tmp_path / "links", True), (tmp_path / "none", False)):
        if not linking:

            def refuse(*_: object) -> None:
                raise OSError(errno.EPERM, "no links here")

            monkeypatch.setattr(os, "link", refuse)
        assert atomic.write_new(folder, "a", ".png", b"ours").name == "a 2.png"
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
            "a.png": b"theirs",
            "a 2.png": b"ours",
        }


# Begins a file, a new one, an export's folder and a move to another disk, and stays.
WRITER = """
import errno, os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from styles.storage import atomic
from styles.library import folder
here = Path(sys.argv[2])
writing = atomic.replacing(here / "style.safetensors")
writing.__enter__().write_bytes(bytes(100))
atomic.unfinished(here).mkdir()
def stay(*names):
    print("half", flush=True)
    sys.stdin.read()
def other_disk(*names):
    raise OSError(errno.EXDEV, "another disk")
os.replace = other_disk
folder.shutil.copy2 = lambda old, new: (new.write_bytes(b"half"), stay())
folder.move(here / "old.png", here / "new.png")
"""


@contextmanager
def half_written(folder: Path) -> Iterator[set[Path]]:
    """What a process is writing in `folder`; it is killed at the end."""
    folder.mkdir()
    (folder / "old.png").touch()
    command = [sys.executable, "-c", WRITER, str(REPOSITORY), str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        try:
            assert writer.stdout is not None and writer.stdout.readline() == "half\n"
            yield set(folder.glob(".*"))
        finally:
            writer.kill()


def test_what_a_killed_process_was_writing_goes_with_the_next_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "exports"
    with half_written(folder) as half:
        assert len(half) == 3
        monkeypatch.setattr(atomic, "ABANDONED_SECONDS", 0)
        atomic.write_text(folder / "a.txt", "a")
        assert set(folder.glob(".*")) == half, "it lives and goes on writing"
    monkeypatch.undo()
    atomic.write_text(folder / "b.txt", "b")
    assert set(folder.glob(".*")) == half, "it may be on another machine"
    monkeypatch.setattr(atomic, "ABANDONED_SECONDS", 0)
    atomic.write_new(folder, "c", ".txt", b"c")
    assert {path.name for path in folder.iterdir()} == {"a.txt", "b.txt", "c.txt", "old.png"}


def test_only_what_a_process_that_is_gone_left_under_our_names_is_deleted(tmp_path: Path) -> None:
    ours, theirs = os.getpid(), 9_999_999_999
    gone = {
        f".{ours}-0123456789ab.part.png",  # of an earlier process of this number
        f".{theirs}-0123456789ab.part",
    }
    kept = {f"{ours}-0123456789ab.part", f".{ours}-0123.part.png", ".part", ".notes.part.txt", ".lock"}
    for name in gone | kept:
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (1e9, 1e9))
    new = f".{theirs}-ba9876543210.part"
    (tmp_path / new).touch()
    atomic.write_text(tmp_path / "a.txt", "a")
    assert {path.name for path in tmp_path.iterdir()} == {*kept, new, "a.txt"}


def test_unused_names_are_numbered(tmp_path: Path) -> None:
    assert atomic.unused_name(tmp_path / "none", "Ink", ".png").name == "Ink.png"
    (tmp_path / "INK.png").touch()
    (tmp_path / "ink 2.png").touch()
    (tmp_path / "Cafe\u0301.png").touch()
    assert atomic.unused_name(tmp_path, "Ink", ".png").name == "Ink 3.png"
    assert atomic.unused_name(tmp_path, "Caf\u00e9", ".png").name == "Caf\u00e9 2.png"


def test_the_home_is_where_one_says(tmp_path: Path) -> None:
    assert Home.default({}) == Home(Path.home() / "Atelier")
    assert Home.default({"ATELIER_HOME": "~/x"}) == Home(Path.home() / "x")
    assert Home.default({"ATELIER_HOME": "x"}) == Home(Path.cwd() / "x")
    home = Home.default({"ATELIER_HOME": str(tmp_path / "a b")}).create()
    folders = {home.styles, home.pictures, home.jobs, home.bases, home.trash, home.log}
    assert set(home.root.iterdir()) == folders and len(folders) == 6


def test_errors_carry_their_exit_code_and_both_sentences() -> None:
    assert str(PlanError("Rank 0.", "Give 1 or more.")) == "Rank 0. Give 1 or more."
    assert (BadInput("x").exit_code, Failure("x").exit_code, str(BadInput("x"))) == (2, 1, "x")


@pytest.mark.parametrize("name", ["Ink", "墨絵 2", "Łódź (grey)", "a_b-c.d", "O'Hara & co", "Ünï", "हिन्दी"])
def test_names_of_any_language_are_safe(name: str) -> None:
    assert safe_name(f" {name} ") == name == suggested_name(name)


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [
        ("a/b", "a b"),
        ("../../x", "x"),
        ("🔥", "style"),
        ("\ud83d", "style"),
        ("ink🔥wash", "ink wash"),
        ("nul.txt", "my nul.txt"),
        ("a\u202eb", "ab"),
        ("..", "style"),
        ("x" * 300, "x" * LONGEST_NAME),
        ("墨" * 80, "墨" * 66),
    ],
)
def test_other_names_get_a_suggestion(text: str, suggestion: str) -> None:
    assert suggested_name(text) == suggestion == safe_name(suggestion)
    with pytest.raises(BadInput, match="can't be the name"):
        safe_name(text)


def test_clean_text_keeps_only_what_can_be_seen() -> None:
    assert clean_text(" a\x00\x1b[0m\u202e\u200bb\tc\nd ", 50) == "a[0mb c d"
    assert clean_text("a\r\nb\n", 50, lines=True) == "a\nb"
    assert clean_text("x" * 99, 10) == "x" * 10


@pytest.mark.skipif(os.name != "posix", reason="links need rights on Windows")
def test_a_folder_that_is_a_link_to_itself_is_told(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for write in (atomic.write_text, lambda path, text: atomic.write_new(path.parent, "a", ".txt", b"x")):
        with pytest.raises(AtelierError, match="in the way"):
            write(tmp_path / "loop" / "a.txt", "x")
