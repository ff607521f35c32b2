"""How a training is drawn: as far as it came, and no further."""

from __future__ import annotations

import re

import pytest

from app.train.drawing import job_words, progress_card
from app.train.progress import Progress
from app.train.trainings import JobCard
from training.events import Finished, StepDone


@pytest.mark.parametrize(("step", "stopped", "share"), [(8, True, 8 / 230), (230, False, 1.0)])
def test_the_bar_of_a_run_is_as_long_as_what_was_done(step: int, stopped: bool, share: float) -> None:
    progress = Progress().after(StepDone(step, 230, 0.1, 1e-4, 9.0, 1.0))
    progress = progress.after(Finished(step, "ab" * 32, "rings.safetensors", "Rings", 9.0, stopped=stopped))
    drawn = progress_card(progress, "Rings")
    width = re.search(r"width:([\d.]+)%", drawn)
    assert width is not None and float(width[1]) == pytest.approx(100 * share, abs=0.06)
    assert f'aria-valuenow="{100 * share:.0f}"' in drawn and f"Step {step} of 230" in drawn
    words = job_words(JobCard("20260101-000000 Rings", "Rings", "finished", progress))
    assert ("3%" in words) is stopped and "100%" not in words
