"""Job folders: the plan, the journal, the lists, the checkpoints, what asks and holds."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from random import Random

from app.disk import disk_use
from app.train.drawing import film, job_words, progress_card, queue_list
from app.train.progress import Progress
from app.train.trainings import Trainings, notes_on
from styles.storage.home import Home
from tests.fuzzing.kinds import Kind, asked, shown
from tests.fuzzing.spoiling import (
    add_stray,
    put,
    replace_oddly,
    spoiled_bytes,
    spoiled_text,
    values_in,
    write_text,
)
from training import checkpoint as checkpoints
from training.checkpoint import Checkpoint
from training.events import (
    CheckpointSaved,
    Failed,
    Finished,
    Paused,
    PhaseStarted,
    PreviewReady,
    RolledBack,
    StepDone,
    Warned,
    to_json_line,
)
from training.job import Job, jobs_in
from training.leftovers import leftovers
from training.plan import plan_for
from training.result import choices

EVENTS = (
    Warned("a note", "a hint"), PhaseStarted("latents", 1, 3), StepDone(5, 20, 0.5, 1e-3, 1.0, 3.0),
    PreviewReady(10, ("previews/step-000010-0.png",), ("a house",)), CheckpointSaved(10, "checkpoints/step-000010.safetensors"),
    RolledBack(10, 5, 0.5, "no number"), Paused(10), Failed("it broke", "try again", "error.log"),
    Finished(20, "styles/ink.safetensors", "ab" * 32, "ink", 4.0),
)  # fmt: skip
FILES = (
    "plan.json", "plan.json", "events.jsonl", "events.jsonl", "artworks.json", "lock", "requests", "requests/stop",
    "checkpoints", "checkpoints/step-000010.safetensors", "previews", "previews/step-000010-0.png", "artworks", "artworks/000.png",
    "artworks/000.txt", "added.txt", "error.log", "prepared.safetensors",
)  # fmt: skip
NAME = "20260101-000000 ink"


def prepare(folder: Path) -> Path:
    """Make a home with one job that has come to its end."""
    import torch
    from PIL import Image

    job = folder / "seed" / "jobs" / NAME
    for name in ("artworks", "checkpoints", "previews", "requests"):
        (job / name).mkdir(parents=True)
    plan = plan_for("quick", "starter", 3, name="ink", trigger="ink")
    (job / "plan.json").write_text(plan.to_json(), encoding="utf-8")
    for name in ("artworks/000.png", "previews/step-000010-0.png"):
        Image.new("RGB", (64, 64), "teal").save(job / name)
    (job / "artworks" / "000.txt").write_text("a house")
    rows = [{"file": "000.png", "name": "one.png", "size_px": [64, 64]}]
    (job / "artworks.json").write_text(json.dumps(rows))
    (job / "events.jsonl").write_text("".join(to_json_line(event) + "\n" for event in EVENTS))
    for step in (0, 10, 20):
        state = Checkpoint(checkpoints.RunState(step), {"a": torch.ones(2)}, {"a.step": torch.ones(1)})
        checkpoints.save(job / "checkpoints", state, 20)
    return job.parent


def attempt(rng: Random, seed: Path, folder: Path) -> None:
    """List, draw and ask a job that is spoiled in one to three ways."""
    home = Home(folder).create()
    job_folder = home.jobs / NAME
    shutil.copytree(seed / NAME, job_folder)
    for _ in range(rng.choice((1, 1, 2, 3))):
        _spoil(rng, job_folder)
    if rng.random() < 0.05:
        add_stray(rng, home.jobs)
    trainings = Trainings(home)
    for card in trainings.cards():
        shown(json.dumps(card.facts(), allow_nan=False, ensure_ascii=False).replace("\\n", " "))
        shown(card.words)
        job_words(card).encode("utf-8")
    trainings.running()
    trainings.newest()
    disk_use(home)
    for job in jobs_in(home.jobs):
        _ask(job, trainings)


def _ask(job: Job, trainings: Trainings) -> None:
    progress, _, state = trainings.look(job, Progress(), 0)
    assert state == job.state() or state == trainings.state(job)
    progress_card(progress, job.name, job.requested(), notes_on(job)).encode("utf-8")
    film(job, progress.previews, asked(lambda: choices(job)) or [], 10).encode("utf-8")
    queue_list([job], True).encode("utf-8")
    leftovers(job)
    plan = asked(lambda: job.plan)
    if plan is not None:
        asdict(plan)
        asked(job.artworks)
    for step in checkpoints.steps_in(job.folder / "checkpoints"):
        checkpoints.at(job.folder / "checkpoints", step)
    checkpoints.latest(job.folder / "checkpoints")
    asked(lambda: trainings.resumable(job.folder.name))
    asked(lambda: trainings.keep(job.folder.name, 10)) if state == "finished" else None
    asked(lambda: job.request("pause"))
    asked(lambda: job.append(Paused(1)))


def _spoil(rng: Random, job: Path) -> None:
    file = job / rng.choice(FILES)
    way = rng.random()
    if way < 0.1:
        add_stray(
            rng, job / rng.choice(("", "checkpoints", "previews", "artworks", "requests")), ".safetensors"
        )
    elif way < 0.3 or not file.is_file():
        replace_oddly(rng, file)
    elif file.suffix == ".json" and way < 0.85:
        write_text(file, spoiled_text(rng, values_in(file)))
    elif file.suffix == ".jsonl" and way < 0.85:
        lines = [to_json_line(rng.choice(EVENTS)) for _ in range(rng.randrange(6))]
        lines.insert(
            rng.randrange(len(lines) + 1), spoiled_text(rng, json.loads(to_json_line(rng.choice(EVENTS))))
        )
        write_text(file, "\n".join(lines) + rng.choice(("", "\n", "\0")))
    else:
        put(file, spoiled_bytes(rng, file.read_bytes()))


KIND = Kind("jobs", prepare, attempt, few=40)
