"""The folder for all temporary files of one window, and the removal of those that killed windows left."""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

PREFIX = "atelier-"
NAME = re.compile(re.escape(PREFIX) + "[a-z0-9_]{8}")
# Held for as long as the folder's process lives; a folder without it is not ours to remove.
LOCK = "in-use.lock"
EXPORT = "export-"
EXPORT_SECONDS = 3600  # an export is kept, for a browser that fetches it


@contextmanager
def private_folder() -> Iterator[Path]:
    """Work in a new, empty folder of our own: gradio would publish what lies in the working directory.

    Yields the one around it, where all temporary files of this process go: what pages upload, drafts, exports. Those
    of windows that were killed are removed first.
    """
    remove_left()
    before, temporary = Path.cwd(), tempfile.tempdir
    with locked_folder() as folder:
        files, empty = folder / "files", folder / "empty"
        files.mkdir()
        empty.mkdir()
        os.environ["GRADIO_TEMP_DIR"] = str(files)
        tempfile.tempdir = str(folder)
        os.chdir(empty)
        try:
            yield folder
        finally:
            os.chdir(before)
            tempfile.tempdir = temporary


@contextmanager
def locked_folder() -> Iterator[Path]:
    """Yield a new folder for this user alone, which `remove_left` leaves alone; it is gone at the end."""
    folder, lock = _new_folder()
    try:
        with _kept_from_cleaners(folder):
            yield folder
    finally:
        with suppress(OSError):  # somebody else has removed it
            _remove(folder)
        lock.release()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _kept_from_cleaners(folder: Path) -> Iterator[None]:
    """Keep systemd from removing what lies unused in the system's folder for ten days, as of a window left open.

    It leaves a folder alone that is locked itself (tmpfiles.d(5), "Age").
    """
    if fcntl is None:
        yield
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield
    finally:
        os.close(opened)


def remove_left() -> None:
    """Remove the folders of `locked_folder` whose processes have ended without doing so."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        if NAME.fullmatch(folder.name) and _is_ours(folder):
            with suppress(Timeout, OSError):
                with FileLock(folder / LOCK, timeout=0):
                    _remove(folder)
                shutil.rmtree(folder, ignore_errors=True)


def new_export() -> Path:
    """Make a folder for an export in the window's own, whence a browser fetches it; old ones go."""
    window = Path.cwd().parent
    remove_old_exports(window)
    return Path(tempfile.mkdtemp(prefix=EXPORT, dir=window))


def remove_old_exports(window: Path) -> None:
    """Remove the exports in a window's folder that have been there for long."""
    for folder in window.glob(f"{EXPORT}*"):
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime > EXPORT_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)


def _new_folder() -> tuple[Path, FileLock]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        lock = FileLock(folder / LOCK, timeout=0)
        try:
            lock.acquire()
        except (Timeout, FileNotFoundError):
            continue  # another start came between the making of the lock and its taking, and removes the folder
        except OSError:
            pass  # a file system without locks: nobody can take it, to remove the folder, either
        return folder, lock


def _is_ours(folder: Path) -> bool:
    """Whether it is a folder of this user, itself and no link to one, and has a lock."""
    try:
        about, lock = folder.lstat(), (folder / LOCK).lstat()
    except OSError:
        return False
    mine = os.name == "nt" or about.st_uid == os.getuid()
    return mine and stat.S_ISDIR(about.st_mode) and stat.S_ISREG(lock.st_mode)


def _remove(folder: Path) -> None:
    """Delete a folder whose lock this process holds, which on Windows stays until it is released.

    The lock goes last, so that what a kill leaves of the rest is found again.
    """
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        elif entry.name != LOCK:
            with suppress(OSError):
                entry.unlink()
    shutil.rmtree(folder, ignore_errors=True)
