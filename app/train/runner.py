"""Starting processes of training: a trainer over a job folder outlives the window, others answer it line by line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from styles.errors import JobError

PROJECT = Path(__file__).resolve().parents[2]
OUTPUT_NAME = "trainer.log"

# On Windows: no console window, and no Ctrl+C from ours. Elsewhere these names don't exist and a new session does it.
_DETACHED = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0) | getattr(subprocess, "CREATE_NO_WINDOW", 0)


def answering_process(module: str, *arguments: str) -> subprocess.Popen[str]:
    """Start `python -m MODULE ARGUMENTS`, which answers on its standard output, line by line; raises OSError."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=PROJECT,
        env=os.environ | {"PYTHONIOENCODING": "utf-8"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
    )


class Runner:
    """The trainers that this process has started, by job folder."""

    def __init__(self) -> None:
        self._started: dict[Path, subprocess.Popen[bytes]] = {}

    def start(self, folder: Path, device: str = "auto", precision: str = "auto") -> None:
        """Start `python -m training FOLDER`, detached, its output in the job's folder; raises JobError."""
        command = [
            sys.executable,
            "-m",
            "training",
            str(folder),
            "--device",
            device,
            "--precision",
            precision,
        ]
        try:
            with (folder / OUTPUT_NAME).open("ab") as output:
                self._started[folder] = subprocess.Popen(
                    command,
                    cwd=PROJECT,
                    env=os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    creationflags=_DETACHED,
                )
        except OSError as error:
            raise JobError(
                "The trainer could not be started ({reason}).",
                hint="Try to resume the training.",
                reason=str(error),
            ) from error

    def exit_code(self, folder: Path) -> int | None:
        """The exit code of a trainer started here that has ended; None while it runs, or if it was not started here."""
        process = self._started.get(folder)
        return None if process is None else process.poll()

    def starting(self, folder: Path) -> bool:
        """A trainer started here has not ended, whether it already holds its job or not."""
        process = self._started.get(folder)
        return process is not None and process.poll() is None

    def process_id(self, folder: Path) -> int:
        """The process id of a trainer started here."""
        return self._started[folder].pid

    def let_go(self) -> None:
        """Forget the trainers; they run on. Called when this process ends."""
        for process in self._started.values():
            process.poll()
            # A trainer that goes on without us is meant to: no warning about a process left running.
            process.returncode = process.returncode if process.returncode is not None else 0
        self._started.clear()
