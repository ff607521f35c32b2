"""Writing files so that a crash, a full disk or a second process never leaves half of one."""

import errno
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from styles.errors import AtelierError, BadInput, DiskFullError, Failure
from styles.storage.names import folded

IN_THE_WAY = {errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ELOOP}
# What `unfinished` names, with the number of the process that writes it.
UNFINISHED = re.compile(r"\.([0-9]{1,10})-[0-9a-f]{12}\.part(\.\w+)?")
# Without a change, of a file whose process is not to be found: it may be on another machine.
ABANDONED_SECONDS = 3600
FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


def unfinished(folder: Path, suffix: str = "") -> Path:
    """Return a new hidden path in `folder` for what is going to be written there.

    What was left there by processes that were killed is deleted first.
    """
    with suppress(OSError):  # a folder that is not there yet, or can't be looked into
        for entry in os.scandir(folder):
            if match := UNFINISHED.fullmatch(entry.name):
                with suppress(OSError):  # it is gone already, or another user's
                    if _is_abandoned(int(match[1]), entry.stat(follow_symlinks=False).st_mtime):
                        discard(Path(entry.path))
    return folder / f".{os.getpid()}-{secrets.token_hex(6)}.part{suffix}"


def _is_abandoned(pid: int, changed: float) -> bool:
    """Say whether what process `pid` last changed then will not be finished any more."""
    if time.time() - changed < ABANDONED_SECONDS:
        return False
    try:
        import psutil
    except ImportError:  # in a launcher whose Python has no packages
        return False
    try:
        return psutil.Process(pid).create_time() > changed + 2  # another one; FAT counts in steps of 2 s
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False


def discard(path: Path) -> None:
    """Delete a file or a folder that did not come to its name; what can't be deleted stays for later."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):  # what stands in the way of it, such as a file for a folder, is told already
            path.unlink(missing_ok=True)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder, and move what was written there to `path` at the end.

    After an exception the temporary file is gone and `path` is as it was. Raises DiskFullError, and
    BadInput where the folder can't be written.
    """
    # The extension stays, since several libraries choose the format by it.
    temporary = unfinished(path.parent, path.suffix)
    try:
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            replace_from(temporary, path)
    finally:
        discard(temporary)


def replace_from(temporary: Path, path: Path) -> None:
    """Flush a finished file of the same folder to the disk and rename it to `path`."""
    with disk_errors(path):
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _flush_folder(path.parent)


@contextmanager
def new_folder(path: Path, give_name: Callable[[Path], None]) -> Iterator[Path]:
    """Yield a hidden folder beside `path` for what belongs there; `give_name` renames it once it is on the disk.

    After an exception nothing of it is left. Raises as `replacing`, and what `give_name` raises.
    """
    temporary = unfinished(path.parent)
    try:
        with disk_errors(path):
            temporary.mkdir(parents=True)
            yield temporary
            for folder, _, names in os.walk(temporary):
                for name in names:
                    with open(os.path.join(folder, name), "rb+") as file:
                        os.fsync(file.fileno())
                _flush_folder(Path(folder))
            give_name(temporary)
            _flush_folder(path.parent)
    finally:
        discard(temporary)


def _flush_folder(folder: Path) -> None:
    if not hasattr(os, "O_DIRECTORY"):  # Windows can't open a folder, and needs no flush of it
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all; raises as `replacing`."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8 with plain newlines, whole or not at all; raises as `replacing`."""
    write_bytes(path, text.encode("utf-8"))


def write_private(path: Path, text: str) -> None:
    """Write `text` to `path` as `write_text` does, readable by this user alone from the first byte on.

    Windows and file systems without rights keep what they allow: there the folder decides. Raises as `replacing`.
    """
    with replacing(path) as temporary:
        opened = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(opened, "wb") as file:
            file.write(text.encode("utf-8"))


def write_cache(path: Path, text: str) -> None:
    """Write what only saves time, as `write_text` does; where that can't be done, nothing is kept."""
    with suppress(AtelierError, OSError):
        if path.is_dir():
            set_aside(path)
        write_text(path, text)


def write_new(folder: Path, stem: str, suffix: str, data: bytes) -> Path:
    """Write `data` under a name as `unused_name` gives it and return its path; whole or not at all.

    Never over another file, not even over one that another process writes at this moment. Raises as `replacing`.
    """
    temporary = unfinished(folder, suffix)
    try:
        with disk_errors(folder / f"{stem}{suffix}"):
            folder.mkdir(parents=True, exist_ok=True)
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            while True:
                path = unused_name(folder, stem, suffix)
                try:
                    _give_name(temporary, path)
                except FileExistsError:
                    continue
                return path
    finally:
        discard(temporary)


def check_folder(folder: Path) -> None:
    """Make a folder that is to be written into later, or raise BadInput before work is done for it in vain."""
    with disk_errors(folder / "it"):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, FileNotFoundError, NotADirectoryError) as error:
            raise BadInput(
                "{folder} is no folder, or lies in none.", "Choose another folder.", folder=folder
            ) from error
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _give_name(temporary: Path, path: Path) -> None:
    """Rename a finished file; raises FileExistsError where the name has been taken meanwhile."""
    try:
        os.link(temporary, path)  # unlike a rename, a link never replaces
    except FileExistsError:
        raise
    except OSError:  # such as on a memory stick, whose file system has no links
        path.open("xb").close()
        os.replace(temporary, path)
    _flush_folder(path.parent)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn what the operating system says about writing to `path` into our own errors."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise DiskFullError(
                "The disk is full: {file} could not be written to {folder}.",
                "Free some space and try again; nothing half-written was left behind.",
                file=path.name,
                folder=path.parent,
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise BadInput(
                "{folder} can't be written to.",
                "Choose another folder, or allow writing to this one.",
                folder=path.parent,
            ) from error
        if error.errno == errno.ENOTDIR and not path.parent.is_dir():
            raise BadInput(
                "{folder} is no folder, or lies in none.", "Choose another folder.", folder=path.parent
            ) from error
        if error.errno in IN_THE_WAY:
            raise Failure(
                "{path} can't be written: something else of that name, or of its folder's, is in the way.",
                "Move that away, or give it another name.",
                path=path,
            ) from error
        raise


def set_aside(path: Path) -> Path:
    """Rename what can't be read to `NAME damaged TIME`, so that it can be written anew; return where it is.

    Raises BadInput where that is not allowed.
    """
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")
    aside = path.with_name(f"{path.stem} damaged {stamp}{path.suffix}")
    with disk_errors(path):
        os.replace(path, aside)
    return aside


def unused_name(folder: Path, stem: str, suffix: str) -> Path:
    """Return a path in `folder` that is free: `stem`, else `stem 2`, `stem 3` and so on.

    Names that differ only in case or in Unicode form count as the same, as they do on Windows and macOS.
    """
    used_names = {folded(entry.name) for entry in folder.iterdir()} if folder.is_dir() else set()
    number, name = 1, f"{stem}{suffix}"
    while folded(name) in used_names:
        number += 1
        name = f"{stem} {number}{suffix}"
    return folder / name
