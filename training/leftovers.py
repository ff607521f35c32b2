"""What a finished training leaves in its folder and nothing needs any more: copies, latents, checkpoints."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from styles.errors import JobError
from styles.storage.atomic import disk_errors
from training.events import Finished
from training.job import Job

# The plan, the journal, the previews and the style stay: the history can be looked at, and the style be found.
COPIES = ("artworks", "checkpoints", "prepared.safetensors")


def leftovers(job: Job) -> int:
    """The bytes that `clear` would free in a job: 0 for one that is not finished."""
    return sum(size_of(path) for path in _copies(job)) if _done(job) else 0


def clear(job: Job) -> int:
    """Delete the copies that a finished training made for itself; return the bytes freed.

    The artist's own pictures lie elsewhere and are not touched. Raises JobError for a job that is not finished:
    it may be gone on with, and needs them.
    """
    if not _done(job):
        raise JobError(
            "“{training}” is not finished.",
            "Its copies are needed to go on; stop it first, or keep them.",
            training=job.name,
        )
    freed = 0
    with job.held():
        for path in _copies(job):
            size = size_of(path)
            with disk_errors(path):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            freed += size
    return freed


def _done(job: Job) -> bool:
    """Finished with a style: one that was stopped before it had learnt anything can be gone on with."""
    if job.state() != "finished":
        return False
    last = next((event for event in reversed(job.events()) if isinstance(event, Finished)), None)
    return last is not None and bool(last.style_path)


def _copies(job: Job) -> Iterator[Path]:
    # A link, put there by hand, is left alone: what it leads to is not ours.
    return (path for name in COPIES if (path := job.folder / name).exists() and not path.is_symlink())


def size_of(path: Path) -> int:
    """The bytes in a file, or in all files of a folder; links are not followed."""
    try:
        facts = path.lstat()
        if stat.S_ISDIR(facts.st_mode):
            return sum(size_of(inner) for inner in path.iterdir())
    except OSError:  # deleted since, or not ours to look into: it can't be freed either
        return 0
    return facts.st_size if stat.S_ISREG(facts.st_mode) else 0
