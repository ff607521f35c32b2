"""Where surprises are written down, so that an artist reads a sentence and never a traceback."""

from __future__ import annotations

import sys
import traceback
from datetime import datetime
from pathlib import Path

from styles.errors import is_out_of_memory
from styles.storage.home import Home
from styles.text import Text


def write_surprise(home: Home, error: BaseException, doing: str) -> Path | None:
    """Append `error` with its traceback to today's log file; its path, or None where nothing can be written."""
    trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    return write_note(home, f"while {doing}, Python {sys.version.split()[0]}\n{trace}")


def write_note(home: Home, text: str) -> Path | None:
    """Append a text to today's log file; its path, or None where nothing can be written."""
    now = datetime.now()
    path = home.log / f"{now:%Y-%m-%d}.log"
    try:
        home.log.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{now:%H:%M:%S} {text}\n")
    except OSError:
        return None
    return path


def surprise_message(home: Home, error: BaseException, doing: str) -> Text:
    """Log `error` and return the sentence that a person is shown instead of it."""
    path = write_surprise(home, error, doing)
    if is_out_of_memory(error):
        return Text("There was too little memory for it. Close other programs, and try again.")
    kind = type(error).__name__
    if path is None:
        return Text(
            "Something unexpected went wrong while {doing} ({kind}: {reason}). No log could be written to {log}.",
            doing=doing,
            kind=kind,
            reason=str(error),
            log=home.log,
        )
    return Text(
        "Something unexpected went wrong while {doing} ({kind}). The details are in {path}.",
        doing=doing,
        kind=kind,
        path=path,
    )
