"""Reading small files that anybody may have put there: never a folder, a pipe or a device, never more than expected."""

from __future__ import annotations

import errno
import json
import os
import stat
from io import BufferedRandom, BufferedReader
from pathlib import Path
from typing import Any

LARGEST_JSON = 16 << 20  # bytes

# What a text begins with that says its encoding.
ENCODING_MARKS = (
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)


def open_file(path: Path) -> BufferedReader:
    """Open a file to read its bytes; raises OSError, also for a folder and for a pipe, which might never end."""
    return open(path, "rb", opener=_opener)


def open_to_append(path: Path) -> BufferedRandom:
    """Open a file to add bytes to its end, made where there is none; raises OSError as `open_file`."""
    return open(path, "ab+", opener=_opener)


def read_bytes(path: Path, most: int) -> bytes:
    """Return what a file holds; raises OSError, also for one of more than `most` bytes."""
    with open_file(path) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise OSError(errno.EFBIG, f"it has more than {most} bytes", str(path))
    return data


def read_text(path: Path, most: int = LARGEST_JSON) -> str:
    """Return a file's text (UTF-8, with or without its mark); raises OSError, and ValueError for what is no text."""
    return read_bytes(path, most).decode("utf-8-sig")


def read_json(path: Path, most: int = LARGEST_JSON) -> Any:
    """Return the JSON in a file; raises OSError, and ValueError for anything else than JSON made of whole characters."""
    return json_of(read_text(path, most))


def changed_ns(path: Path) -> int:
    """Return when a file or folder was changed last, in nanoseconds; 0 where there is none that can be looked at."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def why(error: OSError | ValueError) -> str:
    """Return what was wrong with a file in a few words, without its path, which whoever tells it has named."""
    return (error.strerror if isinstance(error, OSError) else "") or str(error)


def json_of(text: str) -> Any:
    """Return what a JSON text says; raises ValueError, also where it nests too deeply or holds half a character."""
    try:
        values = json.loads(text)
        if "\\ud" in text or "\\uD" in text:  # half of a surrogate pair can be written nowhere later on
            json.dumps(values, ensure_ascii=False).encode("utf-8")
    except RecursionError as error:
        raise ValueError("it nests too deeply") from error
    return values


def _opener(path: str, flags: int) -> int:
    # Else opening a pipe would wait for somebody to write into it. Windows has neither.
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0), 0o666)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EISDIR, "it is no file", path)
    return descriptor
