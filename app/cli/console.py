"""How the command line speaks: results on standard output, everything else on standard error.

Words come in English and are said in the artist's language; JSON stays as it is, for programs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TextIO

from app.i18n import translated
from styles.errors import AtelierError

# A file's name may hold codes that would steer the terminal; what is typed there needs none but these.
STEERING = {code: "?" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


@dataclass(frozen=True)
class Console:
    """The two outputs of one command; with `json` standard output gets exactly one JSON object."""

    json: bool
    out: TextIO
    err: TextIO

    def say(self, text: str) -> None:
        """One line about what is happening, on standard error."""
        print(_plain(translated(text)), file=self.err, flush=True)

    def step(self, text: str) -> None:
        """A line that the next one may overwrite: on a terminal only, so that logs stay short."""
        if self.err.isatty():
            print(f"\r{translated(text):<78.78}", end="", file=self.err, flush=True)

    def step_end(self) -> None:
        """Clear the line that `step` left."""
        if self.err.isatty():
            print("\r" + " " * 78 + "\r", end="", file=self.err, flush=True)

    def answer(self, result: Mapping[str, Any], words: str) -> None:
        """The result of the command: `result` as JSON, or the same in `words`."""
        print(json.dumps(result) if self.json else _plain(translated(words)), file=self.out, flush=True)

    def refuse(self, error: AtelierError) -> None:
        """Say what went wrong; with `json` as the one object, too, in English whatever language is spoken."""
        hint = f"\n  {translated(error.hint)}" if error.hint else ""
        print(_plain(f"Atelier: {translated(error.message)}{hint}"), file=self.err, flush=True)
        if self.json:
            problem = {"message": error.message, "hint": error.hint, "kind": type(error).__name__}
            print(json.dumps({"error": problem, "exit_code": error.exit_code}), file=self.out)


def _plain(text: str) -> str:
    return text.translate(STEERING)


def open_console(as_json: bool) -> Console:
    """The console of this process; text that the terminal can't show is replaced, never an exception."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    return Console(as_json, sys.stdout, sys.stderr)
