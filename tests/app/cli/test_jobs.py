"""A training outlives what happens to it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from app.orders import PictureOrder, TrainingOrder
from app.studio import Studio
from styles.errors import JobError
from styles.generation.settings import PictureSettings
from styles.storage.home import Home
from tests.app.conftest import Atelier
from training.job import Job
from training.plan import TrainingPlan, plan_for
from training.settings import TrainingSettings


def order(artworks: Path, base: Path, steps: int) -> TrainingOrder:
    return TrainingOrder(
        "Long", (artworks,), base=str(base), settings=TrainingSettings(steps=steps, resolution_px=64)
    )


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="kills a process by signal")
def test_a_killed_training_is_told_as_interrupted_and_goes_on(
    tmp_path: Path, artworks: Path, tiny_base: Path, atelier: Callable[[Path], Atelier]
) -> None:
    studio = Studio(Home(tmp_path / "home"))
    job = studio.start_training(order(artworks, tiny_base, 12))
    with pytest.raises(JobError, match="still training"):
        studio.start_training(order(artworks, tiny_base, 12))
    killed = False
    last = None
    for last in studio.follow(job):
        if last.step and not killed:
            os.kill(studio.trainings.runner.process_id(job.folder), signal.SIGKILL)
            killed = True
    assert last is not None and last.failed is not None and "Resume" in last.failed.hint
    (card,) = studio.jobs()
    assert card.state == "interrupted" and card.resumable

    # As a new window would, which did not start that trainer itself.
    later = Studio(Home(tmp_path / "home"))
    resumed = later.resume_training(card.id)
    progress = list(later.follow(resumed))[-1]
    assert progress.finished is not None and progress.step == 12
    assert later.library.find("Long").trigger == "long"
    with pytest.raises(JobError, match="finished"):
        later.resume_training(card.id)
    studio.close()

    run = atelier(tmp_path / "home")
    assert run("jobs", "--home", tmp_path / "home", "keep", card.id, "5").code == 1  # no checkpoint
    kept = run("jobs", "keep", card.id, "6", "--json").json
    assert (kept["name"], kept["steps"]) == ("Long", 6)
    assert later.library.find("Long").id == kept["id"] != progress.finished.style_id


def test_a_painting_in_the_background_can_be_stopped(tmp_path: Path, tiny_base: Path) -> None:
    from styles.errors import Cancelled

    studio = Studio(Home(tmp_path / "home"))
    rendering = studio.render(
        PictureOrder("a house", PictureSettings(base=str(tiny_base), steps=200, seed=1))
    )
    events = rendering.events()
    next(events)
    studio.stop_rendering()
    with pytest.raises(Cancelled):
        list(events)
    assert studio.recent_pictures(9) == []
    # The base is free again for the next one.
    made = list(studio.create(PictureOrder("a house", PictureSettings(base=str(tiny_base), steps=1, seed=1))))
    assert len(studio.recent_pictures(9)) == 1 and made


def test_job_folders_that_are_damaged_hide_no_others(tmp_path: Path, artworks: Path, tiny_base: Path) -> None:
    studio = Studio(Home(tmp_path / "home"))
    broken = studio.home.jobs / "20200101-000000 broken"
    broken.mkdir()
    (broken / "plan.json").write_text("{", encoding="utf-8")
    job = Job.create(studio.home.jobs, _plan(tiny_base), [artworks])
    damaged, whole = sorted(studio.jobs(), key=lambda card: card.id)
    assert (whole.id, whole.state) == (job.folder.name, "waiting")
    assert (damaged.id, damaged.state) == (broken.name, "damaged") and "plan" in damaged.words


def _plan(base: Path) -> TrainingPlan:
    return plan_for("quick", "starter", 3, name="Waiting", base=str(base), steps=1)
