"""What a training step and a painting step take on the processor alone, and beside other work.

python -m tests.benchmarks.beside_work

Each setting has two processes, one that trains the starter and one that paints with it. Every round lets them run alone,
the training beside a program at nice 10 that takes a core, and both at once, setting after setting; medians of all
steps are compared. "as torch comes" spins as OpenMP does by itself and takes all cores.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

# GOMP_SPINCOUNT goes before the waiting policy: 300000 is what libgomp takes where no policy is set.
SETTINGS = {
    "as torch comes": {"GOMP_SPINCOUNT": "300000"},
    "as it is": {},
}
BUSY = "import os; os.nice(10)\nwhile True: pass"
SECONDS = {"alone": 8.0, "beside a program": 12.0, "both at once": 15.0}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument(
        "--also", nargs="*", default=[], help="further settings, each as NAME=VALUE,NAME=VALUE"
    )
    parser.add_argument("--work", choices=("training", "painting"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        answer(arguments.work)
        return
    settings = SETTINGS | {text: dict(pair.split("=") for pair in text.split(",")) for text in arguments.also}
    workers = {name: (Worker("training", more), Worker("painting", more)) for name, more in settings.items()}
    taken: dict[tuple[str, str, str], list[float]] = {}
    for _ in range(arguments.rounds):
        for name, (training, painting) in workers.items():
            for work, condition, seconds in round_of(training, painting):
                taken.setdefault((name, work, condition), []).extend(seconds)
    for training, painting in workers.values():
        training.end()
        painting.end()
    medians = {key: statistics.median(seconds) for key, seconds in taken.items()}
    print(
        "| seconds a step | training alone | beside a program | beside painting | painting alone | beside training |"
    )
    print("|---|---|---|---|---|---|")
    for name in settings:
        row = [
            medians[name, work, condition]
            for work, condition in (
                ("training", "alone"), ("training", "beside a program"), ("training", "both at once"),
                ("painting", "alone"), ("painting", "both at once"),
            )
        ]  # fmt: skip
        words = [f"{row[0]:.3f}", *(f"{value:.3f} ({value / row[0]:.2f}x)" for value in row[1:3])]
        words += [f"{row[3]:.3f}", f"{row[4]:.3f} ({row[4] / row[3]:.2f}x)"]
        print(f"| {name} | {' | '.join(words)} |")
    first = medians["as torch comes", "training", "alone"]
    print(
        f"training alone, as it is over as torch comes: {medians['as it is', 'training', 'alone'] / first:.2f}"
    )


def round_of(training: Worker, painting: Worker) -> Iterator[tuple[str, str, list[float]]]:
    """One round of a setting: (work, condition, seconds of its steps)."""
    for worker in (training, painting):
        worker.begin(SECONDS["alone"])
        yield worker.work, "alone", worker.seconds()
    busy = subprocess.Popen([sys.executable, "-c", BUSY])
    training.begin(SECONDS["beside a program"])
    yield "training", "beside a program", training.seconds()
    busy.kill()
    busy.wait()
    for worker in (training, painting):
        worker.begin(SECONDS["both at once"])
    for worker in (training, painting):
        yield worker.work, "both at once", worker.seconds()


class Worker:
    """A process that trains or paints for as long as it is asked to, and says what each step took."""

    def __init__(self, work: str, environment: dict[str, str]) -> None:
        self.work = work
        command = [sys.executable, "-m", "tests.benchmarks.beside_work", "--work", work]
        self._process = subprocess.Popen(
            command, env=os.environ | environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.begin(0.0)
        self.seconds()  # the first step fills caches

    def begin(self, seconds: float) -> None:
        """Let it work so long."""
        assert self._process.stdin
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()

    def seconds(self) -> list[float]:
        """Wait for its end, and return what the steps took."""
        assert self._process.stdout
        answer: list[float] = json.loads(self._process.stdout.readline())
        return answer

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


def answer(work: str) -> None:
    """In a worker: take steps for as many seconds as each line of standard input says."""
    with tempfile.TemporaryDirectory() as scratch:
        steps = training_steps(Path(scratch)) if work == "training" else painting_steps(Path(scratch))
        for line in sys.stdin:
            end, seconds = time.monotonic() + float(line), [next(steps)]
            while time.monotonic() < end:
                seconds.append(next(steps))
            print(json.dumps(seconds), flush=True)


def training_steps(scratch: Path) -> Iterator[float]:
    """Train the starter as the trainer does, with as many threads as it chooses; yields each step's seconds."""
    from styles.devices.threads import Pace, fastest
    from tests.benchmarks.train_loop import prepared_trainer

    arguments = argparse.Namespace(base="starter", device="cpu", batch=4, opposite_every=0)
    measures, pace = os.environ.get("GOMP_SPINCOUNT") != SETTINGS["as torch comes"]["GOMP_SPINCOUNT"], Pace()
    with prepared_trainer(scratch, arguments) as (trainer, _):
        if measures:
            fastest(trainer.rehearse)
        while True:
            start = time.monotonic()
            trainer.take_step()
            yield time.monotonic() - start
            if measures and pace.has_changed(time.monotonic() - start):
                fastest(trainer.rehearse)
                pace.begin_anew()


def painting_steps(scratch: Path) -> Iterator[float]:
    """Paint with the starter, two pictures at once; yields each step's seconds."""
    from app.create.painting import Painting
    from app.orders import PictureOrder
    from app.studio import Studio
    from styles.generation.settings import PictureSettings
    from styles.storage.home import Home

    studio, start = Studio(Home(scratch / "home")), time.monotonic()
    while True:
        for event in studio.create(PictureOrder("a red house in a meadow", PictureSettings(seed=1, count=2))):
            if isinstance(event, Painting):
                if event.step > 1:
                    yield time.monotonic() - start
                start = time.monotonic()


if __name__ == "__main__":
    main()
