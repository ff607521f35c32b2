"""What trainings take on this machine: tried once for each base and kind of plan, remembered in the home.

A trial that was made to fit the memory that was free is remembered until the window closes.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from app.train.runner import answering_process
from styles.storage.atomic import write_cache, write_text
from styles.storage.field_types import has_its_types
from styles.storage.file_reading import changed_ns, read_json
from styles.storage.home import Home
from styles.text import NO_TEXT, Text, text_from_json
from training.plan import TrainingPlan
from training.trial import Trial, shape_of

RETRY_SECONDS = 60.0  # after the first failure; twice as long after each further one
# Of what is remembered; what other versions measured otherwise is measured anew.
FORMAT = 2
State = Literal["measured", "measuring", "failed", "waiting"]


@dataclass(frozen=True)
class Measured:
    """What is known of a plan's cost."""

    # waiting: something trains, or paints on the same card, and a trial beside it would say too much
    state: State
    trial: Trial | None = None
    problem: Text = NO_TEXT  # why it failed, in a sentence


@dataclass(frozen=True)
class _Failure:
    """A trial that failed, the last of so many on end."""

    problem: Text
    at: float  # monotonic seconds
    times: int

    @property
    def is_over(self) -> bool:
        """It is time to try once more: other programs may have closed meanwhile."""
        return time.monotonic() - self.at >= RETRY_SECONDS * 2 ** (self.times - 1)


class Measuring:
    """The trials of one home: one process at a time, each kind of plan once; one that failed again after a while."""

    def __init__(self, home: Home, make_room: Callable[[], bool] = lambda: True) -> None:
        """`make_room` gives back what this process holds of a card, and says whether it could."""
        self.home = home
        self._make_room = make_room
        self._file = home.root / "measured.json"
        self._asking = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._key = ""  # that the process works on
        self._failed: dict[str, _Failure] = {}  # by key
        # Known to this process alone: they tell of the memory that was free, too.
        self._fitted: dict[str, Trial] = {}  # by key

    def ask(self, plan: TrainingPlan, device: str, precision: str, busy: bool) -> Measured:
        """Say what is known of a plan; where that is nothing, begin a trial unless the machine is busy."""
        key = _key(plan, device, precision)
        with self._asking:
            self._collect()
            trial = self._known().get(key) or self._fitted.get(key)
            if trial is not None:
                return Measured("measured", trial)
            failure = self._failed.get(key)
            if failure is not None and self._key != key and not failure.is_over:
                return Measured("failed", problem=failure.problem)
            if busy:
                self._stop()
                return Measured("waiting")
            if self._key != key:
                self._stop()
                if not self._make_room():
                    return Measured("waiting")
                self._start(plan, device, precision, key)
            return Measured("measuring")

    def version(self) -> object:
        """What changes when there is something new to be asked for."""
        process = self._process
        ended = process is not None and process.poll() is not None
        # A copy: another thread may note a failure meanwhile.
        failures = [failure.is_over for failure in list(self._failed.values())]
        return self._key, ended, failures, changed_ns(self._file)

    def forget(self) -> None:
        """Measure everything again when it is next asked for: something else kept the machine busy, perhaps."""
        with self._asking:
            self._failed.clear()
            self._fitted.clear()
            write_cache(self._file, "{}")

    def stop(self) -> None:
        """End the trial that is going on, if any: a training needs the machine, or the window closes."""
        with self._asking:
            self._stop()

    def _start(self, plan: TrainingPlan, device: str, precision: str, key: str) -> None:
        file = self.home.root / "cache" / "trial.json"
        write_text(file, plan.to_json())
        self._key = key
        self._process = answering_process(
            "training.trial", str(self.home.root), str(file), "--device", device, "--precision", precision
        )

    def _collect(self) -> None:
        """Take what a trial that has ended has to say."""
        process = self._process
        if process is None or process.poll() is None:
            return
        said, _ = process.communicate()  # a line: it never fills the pipe
        key, self._process, self._key = self._key, None, ""
        try:
            answer = json.loads(said)
            if "error" in answer:
                words = [text_from_json(answer[part]) for part in ("error", "hint")]
                self._fail(key, Text.joined(" ", filter(None, words)))
            else:
                self._failed.pop(key, None)
                trial = Trial(**answer)
                if trial.is_fitted:
                    self._fitted[key] = trial
                else:
                    trials = {name: asdict(one) for name, one in self._known().items()}
                    write_cache(self._file, json.dumps(trials | {key: asdict(trial)}, indent=1))
        except (ValueError, TypeError):
            self._fail(
                key, Text("The trial ended without a word (exit code {code}).", code=process.returncode)
            )

    def _fail(self, key: str, problem: Text) -> None:
        before = self._failed.get(key)
        self._failed[key] = _Failure(problem, time.monotonic(), before.times + 1 if before else 1)

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
        self._process, self._key = None, ""

    def _known(self) -> dict[str, Trial]:
        try:
            stored: dict[str, dict[str, Any]] = read_json(self._file)
            trials = {key: Trial(**trial) for key, trial in stored.items()}
            return {
                key: trial for key, trial in trials.items() if has_its_types(trial) and not trial.is_fitted
            }
        except (OSError, ValueError, TypeError, AttributeError):
            return {}


def _key(plan: TrainingPlan, device: str, precision: str) -> str:
    """Name the machine and what a step's cost depends on."""
    machine = [
        FORMAT,
        platform.node(),
        platform.machine(),
        os.cpu_count(),
        device,
        precision,
        version("torch"),
    ]
    facts = json.dumps([machine, shape_of(plan), changed_ns(Path(plan.base))], sort_keys=True)
    return hashlib.sha256(facts.encode()).hexdigest()[:16]
