"""Painting while a training pauses: it goes on afterwards, whatever became of the painting."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from PIL import Image

from app.create.painter import Painter
from app.create.painting import Notice, PaintingEvent
from app.orders import PictureOrder, TrainingOrder
from app.studio import Studio
from styles.errors import Cancelled, OutOfMemory
from styles.generation.settings import PictureSettings
from styles.storage.home import Home
from tests.app.create.test_painter import ended
from training.events import Finished, Paused, TrainingEvent
from training.job import Job
from training.settings import TrainingSettings

DONE = Notice("painted")


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    """A studio over an empty home."""
    return Studio(Home(tmp_path / "home"))


@pytest.fixture
def job(studio: Studio, tmp_path: Path) -> Job:
    """A short training that nobody works on yet."""
    Image.new("RGB", (80, 80), "teal").save(tmp_path / "one.png")
    order = TrainingOrder(name="Rings", pictures=(tmp_path / "one.png",), settings=TrainingSettings(steps=1))
    return studio.trainings.prepare(order, lambda: ("nowhere", "starter", "none"))


@contextmanager
def trainer(job: Job, last: TrainingEvent | None) -> Iterator[None]:
    """Hold the job as a trainer does; asked to pause, say `last` and go, or without one stay."""
    ready, leave = threading.Event(), threading.Event()

    def work() -> None:
        with job.held():
            ready.set()
            while not leave.is_set() and (last is None or job.requested() is None):
                time.sleep(0.02)
            if last is not None:
                job.request("resume")
                job.append(last)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert ready.wait(300)
        yield
    finally:
        leave.set()
        thread.join(300)


def painted(
    studio: Studio, cancelled: Callable[[], bool] = lambda: False, error: Exception | None = None
) -> list[PaintingEvent]:
    """Paint nothing much, in a pause."""

    def paint() -> Iterator[PaintingEvent]:
        yield DONE
        if error is not None:
            raise error

    return list(studio._beside_training("starter", paint, cancelled, pause=True))


@pytest.mark.slow
def test_the_training_goes_on_after_a_painting_that_was_stopped(studio: Studio, job: Job) -> None:
    with trainer(job, Paused(1)), pytest.raises(Cancelled):
        painted(studio, error=Cancelled("Stopped."))
    runner = studio.trainings.runner
    assert runner.starting(job.folder) or runner.exit_code(job.folder) is not None
    while runner.starting(job.folder):  # its base is nowhere, so it ends by itself
        time.sleep(0.1)


def test_a_training_that_ends_instead_of_pausing_spoils_no_picture(studio: Studio, job: Job) -> None:
    with trainer(job, Finished(1, "Rings.safetensors", "id", "Rings", 1.0)):
        assert painted(studio) == [DONE]
    assert studio.trainings.state(job) == "finished"
    assert studio.trainings.runner.exit_code(job.folder) is None


def test_a_card_that_a_training_fills_is_told_with_a_way_out(
    studio: Studio, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    def beside(free: int | None) -> list[PaintingEvent]:
        monkeypatch.setattr("styles.devices.memory.free_bytes", lambda device: free)
        return list(studio._beside_training("starter", lambda: iter([DONE]), lambda: False, pause=False))

    with trainer(job, Paused(1)):
        assert beside(0) == [DONE], "a processor has always some memory"
        monkeypatch.setattr("styles.devices.device.device_for", lambda wanted: torch.device("cuda"))
        monkeypatch.setattr("styles.devices.precision.dtype_for", lambda wanted, device: torch.float16)
        assert beside(10**12) == beside(None) == [DONE], "None: it keeps that to itself"
        with pytest.raises(OutOfMemory, match=r"While “Rings” is training, .* has 0\.0 GB free") as told:
            beside(10**6)
        assert "Pause the training" in told.value.hint
        # The window offers the pause.
        painter = Painter(studio)
        canvas = ended(painter, painter.ask(PictureOrder("a house", PictureSettings(steps=1))).number)
        assert canvas.state == "failed" and canvas.crowded and canvas.to_json()["crowded"] is True


def test_waiting_for_the_pause_can_be_stopped(studio: Studio, job: Job) -> None:
    began = time.monotonic()
    with trainer(job, None):
        with pytest.raises(Cancelled):
            painted(studio, cancelled=lambda: time.monotonic() > began + 0.5)
        assert job.requested() is None and studio.trainings.state(job) == "running"
