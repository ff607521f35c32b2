"""Trainings as the app sees them: what is left out, what can go on, and a trainer that dies without a word."""

from __future__ import annotations

import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from app.orders import TrainingOrder
from app.studio import Studio
from app.train.progress import Progress
from app.train.trainings import Trainings
from styles.errors import JobError, PictureError, PlanError
from styles.formats.style import Style, StyleCard
from styles.storage.home import Home
from tests.styles.making import random_layer
from training.events import Finished, PhaseStarted, Warned
from training.job import Job
from training.settings import TrainingSettings


@pytest.fixture
def trainings(tmp_path: Path) -> Trainings:
    """The trainings of an empty home."""
    return Trainings(Home(tmp_path / "home").create())


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with one picture, and one text file that calls itself a picture."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    Image.new("RGB", (80, 80), "teal").save(folder / "one.png")
    (folder / "two.jpg").write_text("no picture at all", encoding="utf-8")
    return folder


def ordered(trainings: Trainings, *paths: Path, **wishes: object) -> Job:
    """A job for the starter; its files are not needed for that."""
    order = TrainingOrder(name="Rings", pictures=paths, **wishes)  # type: ignore[arg-type]
    return trainings.prepare(order, lambda: ("starter", "starter", "none"))


def test_a_broken_picture_is_left_out_of_a_folder_and_refused_by_name(
    trainings: Trainings, pictures: Path
) -> None:
    job = ordered(trainings, pictures)
    assert len(job.artworks()) == 1
    assert any("two.jpg" in event.message for event in job.events() if isinstance(event, Warned))
    with pytest.raises(PictureError, match=r"two\.jpg"):
        ordered(trainings, pictures / "one.png", pictures / "two.jpg")


def test_an_order_decides_what_it_names_and_the_preset_the_rest(trainings: Trainings, pictures: Path) -> None:
    preset = ordered(trainings, pictures).plan
    settings = TrainingSettings(
        batch=2, gradient_accumulation=3, gradient_checkpointing=True, flip=False, learning_rate=1e-4
    )
    plan = ordered(trainings, pictures, settings=settings).plan
    assert (plan.batch, plan.gradient_accumulation, plan.learning_rate) == (2, 3, 1e-4)
    assert plan.gradient_checkpointing and preset.flip and not plan.flip
    assert (plan.steps, plan.rank) == (preset.steps, preset.rank)


def test_a_training_stopped_before_its_first_step_can_go_on(trainings: Trainings, pictures: Path) -> None:
    job = ordered(trainings, pictures)
    job.append(Finished(0, "", "", job.name, 0.0, stopped=True))
    card = trainings.card(job)
    assert card.resumable and "before" in card.words and card.facts()["style"] is None
    assert trainings.resumable(job.folder.name) == job
    assert not card.progress.after(PhaseStarted("base")).ended
    job.append(Finished(4, "Rings.safetensors", "id", job.name, 1.0))
    with pytest.raises(JobError, match="finished"):
        trainings.resumable(job.folder.name)


def test_a_trainer_that_dies_before_its_first_word_is_told(trainings: Trainings, pictures: Path) -> None:
    job = ordered(trainings, pictures)
    plan = job.folder / "plan.json"
    hidden = plan.rename(job.folder / "hidden.json")
    trainings.runner.start(job.folder, "cpu")
    while trainings.runner.starting(job.folder):
        time.sleep(0.1)
    hidden.rename(plan)
    progress, _, state = trainings.look(job, Progress(), 0)
    assert state == "interrupted" and progress.failed is not None
    assert "exit code" in progress.failed.message
    assert trainings.card(job).resumable
    assert [seen.phase for seen in trainings.follow(job)] == ["Interrupted"]


def test_device_and_precision_of_the_settings_reach_trainer_and_trial(
    tmp_path: Path, pictures: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []

    class Process:
        def __init__(self, command: list[str], **_: Any) -> None:
            started.append(command[2:])

        def poll(self) -> None:
            return None

        def kill(self) -> None: ...

        def communicate(self) -> tuple[str, str]:
            return "", ""

    monkeypatch.setattr(subprocess, "Popen", Process)
    studio = Studio(Home(tmp_path / "home"))
    order = TrainingOrder("Rings", (pictures,), base=str(tiny_base))
    for device, precision in (("cpu", "bf16"), ("cpu", "fp32")):
        studio.change_settings(replace(studio.settings, device=device, precision=precision))
        assert studio.preparation.costs(order)[0].state == "measuring", "another precision, another measure"
    studio.start_training(order)
    assert [(command[0], *command[-4:]) for command in started] == [
        ("training.trial", "--device", "cpu", "--precision", "bf16"),
        ("training.trial", "--device", "cpu", "--precision", "fp32"),
        ("training", "--device", "cpu", "--precision", "fp32"),
    ]


def test_a_style_of_too_many_ranks_is_refused_once_and_with_what_helps(
    trainings: Trainings, pictures: Path
) -> None:
    wide = random_layer(
        "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k", torch.nn.Linear(256, 200), 200, 200.0
    )
    begun = Style(StyleCard("Wide", "starter", 200), (wide,))
    for settings in (TrainingSettings(), TrainingSettings(rank=128)):
        order = TrainingOrder(name="More", pictures=(pictures / "one.png",), settings=settings)
        with pytest.raises(PlanError, match="at most 128") as refused:
            trainings.prepare(order, lambda: ("starter", "starter", "none"), begun)
        assert "styles bake" in refused.value.hint
    assert not list(trainings.home.jobs.glob("*"))
