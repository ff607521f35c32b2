"""The trainer as its own process: killed, interrupted, resumed, failing."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.conftest import REPOSITORY
from training import checkpoint
from training.events import CheckpointSaved, Failed, Finished, Paused, StepDone
from training.job import HELD_BY_ANOTHER, Job

MakeJob = Callable[..., Job]


def start(job: Job) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "training", str(job.folder), "--device", "cpu"],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(job: Job, kind: type, step: int, process: subprocess.Popen[str]) -> None:
    """Wait until the journal tells an event of that kind and at least that step."""
    while not any(isinstance(event, kind) and event.step >= step for event in job.events()):  # type: ignore[attr-defined]
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def test_a_killed_run_goes_on_and_ends_bit_equal_to_an_unbroken_one(
    make_job: MakeJob, tiny_base: Path
) -> None:
    numbers = {"steps": 25, "checkpoint_every": 4, "preview_every": 0, "report_every": 1}
    whole, broken = make_job(tiny_base, **numbers), make_job(tiny_base, **numbers)
    unbroken, killed = start(whole), start(broken)
    wait_for(broken, StepDone, 6, killed)
    assert broken.alive()
    killed.kill()
    killed.communicate()
    assert broken.state() == "interrupted"
    again = start(broken)
    for process in (unbroken, again):
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    assert whole.state() == broken.state() == "finished"
    results = [checkpoint.latest(job.folder / "checkpoints") for job in (whole, broken)]
    assert results[0] and results[1]
    for kind in ("weights", "optimizer"):
        first, second = getattr(results[0], kind), getattr(results[1], kind)
        assert first.keys() == second.keys()
        assert all(torch.equal(first[name], second[name]) for name in first)
    ends = [job.events()[-1] for job in (whole, broken)]
    assert isinstance(ends[0], Finished) and isinstance(ends[1], Finished)
    assert ends[0].style_id == ends[1].style_id

    finished = start(whole)  # nothing left to do
    assert finished.wait(timeout=100) == 0
    finished.communicate()
    assert whole.events()[-1] == ends[0]


@pytest.mark.skipif(
    sys.platform == "win32", reason="Windows has no polite kill for a process without a window"
)
def test_a_polite_kill_pauses_with_a_checkpoint(make_job: MakeJob, tiny_base: Path) -> None:
    job = make_job(tiny_base, steps=10_000, checkpoint_every=10_000, preview_every=0, report_every=1)
    process = start(job)
    wait_for(job, StepDone, 3, process)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 0, errors
    paused = job.events()[-1]
    assert isinstance(paused, Paused) and paused.step >= 3
    saved = [event.step for event in job.events() if isinstance(event, CheckpointSaved)]
    assert saved[-1] == paused.step


def test_failures_end_in_the_journal_with_a_code_and_without_a_traceback(
    make_job: MakeJob, tiny_base: Path
) -> None:
    damaged = make_job(tiny_base)
    (damaged.folder / "artworks" / "000.png").write_text("no picture any more")
    broken = make_job(tiny_base)
    (broken.folder / "previews").rmdir()
    (broken.folder / "previews").write_text("in the way")
    processes = [(job, code, start(job)) for job, code in ((damaged, 2), (broken, 1))]
    for job, code, process in processes:
        output, errors = process.communicate(timeout=200)
        assert process.returncode == code, errors
        failed = job.events()[-1]
        assert isinstance(failed, Failed) and failed.exit_code == code and failed.hint
        assert "Traceback" not in output + errors
        assert failed.message in errors
        assert "Traceback" in Path(failed.log).read_text(encoding="utf-8")
        assert job.state() == "failed"


def test_what_is_no_job_folder_is_said(tmp_path: Path) -> None:
    process = start(Job(tmp_path))
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 1 and "not a job folder" in errors and "Traceback" not in errors


def test_of_three_trainers_that_are_started_at_one_moment_one_trains(
    make_job: MakeJob, tiny_base: Path
) -> None:
    job = make_job(tiny_base, steps=5000, checkpoint_every=1000, preview_every=0, report_every=1)
    three = [start(job) for _ in range(3)]
    while sum(process.poll() is not None for process in three) < 2:
        time.sleep(0.02)
    others = [process for process in three if process.poll() is not None]
    for process in others:
        _, errors = process.communicate()
        assert (process.returncode, "is being trained already" in errors) == (HELD_BY_ANOTHER, True)
    job.request("stop")
    (trainer,) = (process for process in three if process not in others)
    _, errors = trainer.communicate(timeout=300)
    assert trainer.returncode == 0, errors
    assert [type(event) for event in job.events() if isinstance(event, Failed | Finished)] == [Finished]
