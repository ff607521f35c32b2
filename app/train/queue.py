"""Trainings that wait for their turn: each starts when the one before has ended, also after the window was closed.

queue.json in the home holds the ids of their jobs in order, and whether the queue is held. A training that is paused
holds it: who pauses wants the machine, and not the next training on it.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from app.log import write_surprise
from app.train.trainings import Trainings
from styles.errors import AtelierError, JobError
from styles.storage.atomic import set_aside, write_text
from styles.storage.file_reading import read_json, why
from styles.storage.home import Home
from training.events import Failed
from training.job import Job

LOOK_EVERY_SECONDS = 1.0


class TrainingQueue:
    """The queue of one home; `watch` makes it move, in the window only."""

    def __init__(self, home: Home, trainings: Trainings, start: Callable[[Job], None]) -> None:
        self.home = home
        self.trainings = trainings
        self._begin = start
        self._file = home.root / "queue.json"
        self._changing = threading.RLock()
        self._kept_back = 0  # how many ask for a moment without a training
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def waiting(self) -> list[Job]:
        """The jobs that wait, the next one first; one whose folder is gone is left out."""
        jobs = (Job(self.home.jobs / name) for name in self._read()[0])
        return [job for job in jobs if os.path.isfile(job.folder / "plan.json")]

    @property
    def now(self) -> tuple[list[str], bool]:
        """The ids of the jobs that wait, and whether it is held."""
        return self._read()

    @property
    def held(self) -> bool:
        """It does not move until a training is started or resumed, or `release` is called."""
        return self._read()[1]

    def add(self, job: Job) -> None:
        """Let a job wait as the last one."""
        with self._changing:
            ids, held = self._read()
            self._write([*(one for one in ids if one != job.folder.name), job.folder.name], held)

    def remove(self, job_id: str) -> None:
        """Let a job wait no longer; it stays among the trainings, not begun."""
        with self._changing:
            ids, held = self._read()
            self._write([one for one in ids if one != job_id], held)

    def move(self, job_id: str, places: int) -> None:
        """Let a job wait so many places later, or sooner where that is negative."""
        with self._changing:
            ids, held = [job.folder.name for job in self.waiting()], self.held
            if job_id in ids:
                place = ids.index(job_id)
                ids.remove(job_id)
                ids.insert(max(0, place + places), job_id)
                self._write(ids, held)

    def hold(self) -> None:
        """Stop moving on."""
        with self._changing:
            self._write(self._read()[0], True)

    def release(self) -> None:
        """Move on again."""
        with self._changing:
            self._write(self._read()[0], False)

    @contextmanager
    def kept_back(self) -> Iterator[None]:
        """Start nothing meanwhile, as when a training pauses for a picture."""
        with self._changing:
            self._kept_back += 1
        try:
            yield
        finally:
            with self._changing:
                self._kept_back -= 1

    # Moving on

    def watch(self) -> None:
        """Begin to look, in a thread of its own, whether the next one can start."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._look, name="queue of trainings", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(LOOK_EVERY_SECONDS):
            try:
                self.move_on()
            except Exception as error:  # a full disk, say: the next look may do better
                write_surprise(self.home, error, "starting the next training")

    def move_on(self) -> Job | None:
        """Start the next job if nothing trains and the queue is not held; which one it was."""
        with self._changing:
            ids, held = self._read()
            if not ids or held or self._kept_back or self.trainings.running() is not None:
                return None
            self._write(ids[1:], held)
            job = Job(self.home.jobs / ids[0])
            try:
                if not os.path.isfile(job.folder / "plan.json") or self.trainings.state(job) != "waiting":
                    return None  # deleted, or begun by somebody else
                self._begin(job)
            except AtelierError as error:
                job.append(Failed(error.message, error.hint))
            return job

    def _read(self) -> tuple[list[str], bool]:
        return self._read_and_judge()[0]

    @property
    def problem(self) -> JobError | None:
        """What is wrong with the file that keeps the queue."""
        return self._read_and_judge()[1]

    def _read_and_judge(self) -> tuple[tuple[list[str], bool], JobError | None]:
        try:
            stored = read_json(self._file)
            ids, held = (stored.get(key) if isinstance(stored, dict) else None for key in ("waiting", "held"))
            if not isinstance(held, bool) or not isinstance(ids, list):
                raise ValueError("it holds no queue")
            # A name and no path: only what lies among the jobs can wait.
            named = [one for one in ids if isinstance(one, str) and one and Path(one).name == one]
            return (named, held), None
        except FileNotFoundError:
            return ([], False), None
        except (OSError, ValueError) as error:
            return ([], False), JobError(
                "{path} is damaged ({reason}), so that no training waits.",
                "Resume those that waited; with the next change it is set aside.",
                path=self._file,
                reason=why(error),
            )

    def _write(self, ids: list[str], held: bool) -> None:
        if self.problem:
            set_aside(self._file)
        write_text(self._file, json.dumps({"waiting": ids, "held": held}, indent=1))
