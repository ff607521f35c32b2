"""Starting a training from several places at one moment."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from app.orders import TrainingOrder
from app.studio import Studio
from styles.errors import JobError
from styles.storage.home import Home
from training.job import Job


def test_a_training_that_is_resumed_three_times_at_one_moment_is_started_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio = Studio(Home(tmp_path / "home"))
    Image.new("RGB", (80, 80), "teal").save(tmp_path / "one.png")
    order = TrainingOrder(name="Rings", pictures=(tmp_path / "one.png",))
    job = studio.trainings.prepare(order, lambda: ("starter", "starter"))
    started: list[Job] = []

    def start(job: Job, device: str, precision: str) -> None:
        time.sleep(0.1)
        started.append(job)

    monkeypatch.setattr(studio.trainings, "start", start)
    monkeypatch.setattr(studio.trainings, "running", lambda: started[0] if started else None)
    together = threading.Barrier(3)

    def resume(_: int) -> str:
        together.wait()
        try:
            studio.resume_training(job.folder.name)
        except JobError as error:
            return error.message
        return "started"

    with ThreadPoolExecutor(3) as people:
        answers = sorted(people.map(resume, range(3)))
    assert answers == ["started", *["“Rings” is still training."] * 2]
    assert len(started) == 1
    studio.close()
