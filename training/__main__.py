"""`python -m training JOB`: the trainer's own process. Exit code 0: finished or paused, 1: failed, 2: bad input.

3: another process trains that job, and this one has done nothing.
"""

from __future__ import annotations

import argparse
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from styles.devices.garbage import collection_paused
from styles.devices.threads import wait_passively
from styles.errors import AtelierError, JobHeldError
from styles.text import Text
from training.events import Failed, Finished
from training.job import HELD_BY_ANOTHER, Job
from training.repeatable import make_repeatable

# Long enough for somebody who only looks whether the job is held; who was asked for twice is not to go on after a pause.
LOOKS_END_SECONDS = 1.0


def main(argv: list[str] | None = None) -> int:
    """Train the job in a folder to its end; returns the exit code."""
    wait_passively()
    parser = argparse.ArgumentParser(
        prog="python -m training", description="Train the style of one job folder."
    )
    parser.add_argument("job", type=Path, help="a job folder")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps or as torch names it")
    parser.add_argument("--precision", default="auto", help="auto, fp32, fp16 or bf16")
    arguments = parser.parse_args(argv)
    try:
        job = Job.open(arguments.job)
        with job.held(LOOKS_END_SECONDS):
            last = next(reversed(job.events()), None)
            if isinstance(last, Finished) and last.style_path:  # without one it was stopped before it began
                return 0
            return run(job, _until_interrupted(), arguments.device, arguments.precision)
    except JobHeldError as error:
        print(error, file=sys.stderr)
        return HELD_BY_ANOTHER
    except AtelierError as error:
        print(error, file=sys.stderr)
        return error.exit_code


def run(job: Job, cancelled: Callable[[], bool], device: str = "auto", precision: str = "auto") -> int:
    """Train and keep the journal; the caller holds the job's lock. Failures end in the journal and in error.log."""
    try:
        with collection_paused():
            make_repeatable()
            from training.loop import train

        for event in train(job, device=device, precision=precision, cancelled=cancelled):
            job.append(event)
        return 0
    except AtelierError as error:
        failed = Failed(error.message, error.hint, _log(job), error.exit_code)
    except Exception as error:
        log = _log(job)
        failed = Failed(
            Text("The training broke off ({kind}).", kind=type(error).__name__),
            Text("The details are in {log}. Starting it again goes on.", log=log),
            log,
        )
    print(f"{failed.message} {failed.hint}", file=sys.stderr)
    job.append(failed)
    return failed.exit_code


def _until_interrupted() -> Callable[[], bool]:
    """Turn the first Ctrl+C or polite kill into a pause with a checkpoint; a second one ends the process."""
    seen: list[int] = []

    def note(number: int, _frame: object) -> None:
        seen.append(number)
        signal.signal(number, signal.SIG_DFL)

    for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), note)
    return lambda: bool(seen)


def _log(job: Job) -> str:
    path = job.folder / "error.log"
    try:
        with path.open("a", encoding="utf-8") as file:
            traceback.print_exc(file=file)
    except OSError:
        traceback.print_exc()  # a full disk: standard error is what is left
        return ""
    return str(path)


if __name__ == "__main__":
    sys.exit(main())
