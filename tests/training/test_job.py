import errno
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from styles.errors import BadInput, DiskFullError, Failure, JobError, PictureError, PlanError
from styles.storage import atomic
from training import checkpoint
from training.events import Failed, Finished, Paused, PhaseStarted, StepDone, Warned
from training.job import Job, jobs_in

from .conftest import picture, small_plan


def test_a_job_holds_copies_of_artworks_and_captions(make_job: Callable[..., Job], artworks: Path) -> None:
    job = make_job(Path("nowhere"))
    copies = job.artworks()
    assert [copy.path.read_bytes() for copy in copies] == [
        p.read_bytes() for p in sorted(artworks.glob("*.png"))
    ]
    assert [copy.caption for copy in copies] == ["blocks", "blocks, a blue boat", "blocks", "blocks"]
    assert [copy.size_px for copy in copies] == [(72, 64)] * 3 + [(128, 64)]
    assert job.plan == small_plan(Path("nowhere"))
    assert job.state() == "waiting"
    assert jobs_in(job.folder.parent) == [job]
    assert Job.open(job.folder) == job


def test_a_bad_name_or_picture_leaves_no_folder(tmp_path: Path, artworks: Path) -> None:
    for name in ("a/b", "..", "wave 🌊"):
        with pytest.raises(BadInput):
            Job.create(tmp_path / "jobs", small_plan(tmp_path, name=name), [artworks])
    with pytest.raises(PictureError):
        Job.create(tmp_path / "jobs", small_plan(tmp_path), [])
    assert not list(tmp_path.glob("jobs/*"))


def test_a_full_disk_leaves_no_folder(
    tmp_path: Path, artworks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", full)
    with pytest.raises(DiskFullError):
        Job.create(tmp_path / "jobs", small_plan(tmp_path), [artworks])
    monkeypatch.undo()
    monkeypatch.setattr(atomic.os, "fsync", full)
    with pytest.raises(DiskFullError):
        Job.create(tmp_path / "jobs", small_plan(tmp_path), [artworks])
    assert not list((tmp_path / "jobs").iterdir())


def test_two_jobs_of_one_name_get_their_own_folders(make_job: Callable[..., Job]) -> None:
    assert make_job(Path("x")).folder != make_job(Path("x")).folder


def test_one_picture_is_a_waiting_job_with_a_warning(tmp_path: Path) -> None:
    picture().save(tmp_path / "only.png")
    job = Job.create(tmp_path / "jobs", small_plan(tmp_path), [tmp_path / "only.png"])
    assert [type(event) for event in job.events()] == [Warned]
    assert job.state() == "waiting"


def test_a_half_written_line_is_passed_over_and_closed(make_job: Callable[..., Job]) -> None:
    job = make_job(Path("x"))
    first, last = StepDone(1, 2, 0.5, 1e-3, 1.0, 1.0), PhaseStarted("base \u2028 line")
    job.append(first)
    with job.journal.open("ab") as file:
        file.write(b'{"event": "StepDone", "st')  # the power went here
    assert job.events() == [first]
    _, offset = job.events_since(0)
    job.append(last)
    assert job.events_since(offset)[0] == [last]
    assert job.events() == [first, last]


def test_the_last_event_tells_the_state(make_job: Callable[..., Job]) -> None:
    job = make_job(Path("x"))
    for event, state in (
        (PhaseStarted("base"), "interrupted"),
        (Paused(3), "paused"),
        (Failed("m", "h"), "failed"),
        (Finished(1, "p", "i", "n", 1.0), "finished"),
    ):
        job.append(event)
        assert job.state() == state


def test_requests_are_files_that_resume_takes_back(make_job: Callable[..., Job]) -> None:
    job = make_job(Path("x"))
    assert job.requested() is None
    job.request("pause")
    assert Job(job.folder).requested() == "pause"
    job.request("stop")
    assert job.requested() == "stop"
    job.request("resume")
    assert job.requested() is None


HOLD = """
import sys, time
from training.job import Job
with Job.open(sys.argv[1]).held():
    print("held", flush=True)
    time.sleep(600)
"""


def test_the_lock_tells_whether_a_trainer_lives_and_a_killed_one_frees_it(
    make_job: Callable[..., Job],
) -> None:
    job = make_job(Path("x"))
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, job.folder], stdout=subprocess.PIPE, text=True
    ) as holder:
        try:
            assert holder.stdout is not None and holder.stdout.readline() == "held\n"
            assert job.alive() and job.state() == "running"
            with pytest.raises(JobError, match="already"), job.held(wait_seconds=0.1):
                pass
        finally:
            holder.kill()
    assert not job.alive() and job.state() == "waiting"
    with job.held():
        assert job.alive()


def test_two_who_look_at_once_see_no_trainer_in_each_other(make_job: Callable[..., Job]) -> None:
    job = make_job(Path("x"))

    def seen(_: int) -> bool:
        return any(job.alive() for _ in range(100))

    with ThreadPoolExecutor(3) as pool:
        assert not any(pool.map(seen, range(3)))


def test_what_is_no_job_is_said(tmp_path: Path, make_job: Callable[..., Job]) -> None:
    with pytest.raises(JobError, match="not a job folder"):
        Job.open(tmp_path)
    job = make_job(Path("x"))
    (job.folder / "plan.json").write_bytes(b"\xff\xfe")
    with pytest.raises(PlanError, match="not readable"):
        job.plan  # noqa: B018
    job = make_job(Path("x"))
    (job.folder / "artworks.json").write_text("[{}]")
    with pytest.raises(JobError, match="artworks"):
        job.artworks()


@pytest.mark.parametrize(
    "line",
    [
        '{"event": "StepDone", "step": "3", "steps": 2, "loss": 0.5, "learning_rate": 1, "seconds": 1, "seconds_left": 1}',
        '{"event": "StepDone", "step": 3, "steps": 2, "loss": NaN, "learning_rate": 1, "seconds": 1, "seconds_left": 1}',
        '{"event": "StepDone", "step": %s, "steps": 2, "loss": 1, "learning_rate": 1, "seconds": 1, "seconds_left": 1}'
        % (10**400),
        '{"event": "PreviewReady", "step": 1, "paths": [1], "prompts": ["a"]}',
        '{"event": "Warned", "message": "\\ud800"}',
        '{"event": ["Warned"]}',
        "[" * 100_000,
        "3",
    ],
)
def test_lines_that_are_no_events_are_passed_over(make_job: Callable[..., Job], line: str) -> None:
    job = make_job(Path("x"))
    job.append(Paused(2))
    with job.journal.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    assert job.events() == [Paused(2)] and job.state() == "paused"


def test_only_checkpoints_count_among_what_lies_there(tmp_path: Path) -> None:
    for name in ("step-000100", "step-000020", "step-abc", "step-7", "step-000100 (conflicted copy 2026)"):
        (tmp_path / f"{name}.safetensors").write_bytes(b"")
    (tmp_path / "step-000300.safetensors").mkdir()
    for name in (".DS_Store", "desktop.ini", "step-000400.txt"):
        (tmp_path / name).write_bytes(b"")
    assert checkpoint.steps_in(tmp_path) == [20, 100]
    assert checkpoint.latest(tmp_path) is None  # both are empty
    assert [path.stem for path in checkpoint.strays(tmp_path)] == [
        "step-000100 (conflicted copy 2026)", "step-000300", "step-7", "step-abc",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["events.jsonl", "lock", "plan.json"])
def test_a_job_with_a_folder_for_a_file_is_damaged(make_job: Callable[..., Job], name: str) -> None:
    job = make_job(Path("x"))
    (job.folder / name).unlink(missing_ok=True)
    (job.folder / name).mkdir()
    assert jobs_in(job.folder.parent) == [job] and job.state() == "damaged" and not job.alive()
    damage = job.damage()
    assert damage is not None and damage.hint
    if name == "lock":
        with pytest.raises(Failure, match="in the way"), job.held():
            pass
    if name == "events.jsonl":
        with pytest.raises(Failure, match="in the way"):
            job.append(Paused(2))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names of files are text")
def test_an_artwork_whose_name_is_no_text_is_taken(tmp_path: Path) -> None:
    odd = tmp_path / "art" / os.fsdecode(b"caf\xe9.png")
    odd.parent.mkdir()
    picture().save(odd)
    odd.with_name(os.fsdecode(b"broken\xe9.png")).write_bytes(b"none")
    job = Job.create(tmp_path / "jobs", small_plan(tmp_path), [odd.parent])
    (copy,) = job.artworks()
    assert copy.path.read_bytes() == odd.read_bytes()
    (note,) = [
        event.message for event in job.events() if isinstance(event, Warned) and "broken" in event.message
    ]
    note.encode("utf-8")
