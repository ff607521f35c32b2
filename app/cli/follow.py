"""Following a training from the command line: progress in words, Ctrl+C pauses."""

from __future__ import annotations

import contextlib
from typing import Any

from app.cli.console import Console
from app.i18n import say
from app.studio import Studio
from app.train.progress import Progress, words_for_seconds
from styles.errors import BadInput, Cancelled, TrainingFailed
from styles.text import NO_TEXT, Text
from training.job import Job


def follow_on_console(studio: Studio, job: Job, console: Console) -> dict[str, Any]:
    """Say how `job` comes along until it ends; the facts of the style that it made.

    Raises TrainingFailed, or Cancelled when it was paused: by Ctrl+C here, or from elsewhere.
    """
    said_phase, said_warnings, progress = NO_TEXT, 0, Progress()
    try:
        for progress in studio.follow(job):
            for warning in progress.warnings[said_warnings:]:
                console.say(warning)
            said_warnings = len(progress.warnings)
            if progress.phase != said_phase:
                console.step_end()
                console.say(progress.phase)
                said_phase = progress.phase
            if progress.steps and progress.seconds_left is not None:
                left = words_for_seconds(progress.seconds_left)
                loss = progress.losses[-1][1] if progress.losses else 0.0
                console.step(
                    say(
                        "Step {step} of {steps}, loss {loss:.3f}, {left} left",
                        step=progress.step,
                        steps=progress.steps,
                        loss=loss,
                        left=left,
                    )
                )
    except KeyboardInterrupt:
        console.step_end()
        console.say(say("Pausing; this takes a moment."))
        studio.pause_training(job.folder.name)
        with contextlib.suppress(KeyboardInterrupt):  # who presses it again does not wait for the end
            *_, progress = studio.follow(job)
    finally:
        console.step_end()
    if progress.failed is not None:
        kind = BadInput if progress.failed.exit_code == BadInput.exit_code else TrainingFailed
        message = progress.failed.message
        if progress.failed.log:
            message = Text("{problem} The details are in {log}.", problem=message, log=progress.failed.log)
        raise kind(message, hint=progress.failed.hint)
    again = f"launch.py jobs resume {job.folder.name}"
    if progress.finished is None:
        raise Cancelled(
            "The training is paused; nothing is lost.", hint="Go on with `{command}`.", command=again
        )
    done = progress.finished
    if not done.style_path:
        raise Cancelled(
            "The training was stopped before its first step, so there is no style.",
            hint="Begin it again with `{command}`.",
            command=again,
        )
    return {
        "style": done.style_path,
        "id": done.style_id,
        "name": done.style_name,
        "steps": done.step,
        "seconds": round(done.seconds, 3),
        "stopped": done.stopped,
        "job": job.folder.name,
        "warnings": list(progress.warnings),
    }
