"""Starting a training from several places at one moment."""

from __future__ import annotations

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from app.orders import TrainingOrder
from app.studio import Studio
from styles.errors import JobError, PlanError, SettingsError
from styles.formats.style import Style, StyleCard, StyleLayer
from styles.storage.home import Home
from training.job import Job
from training.settings import TrainingSettings


def test_a_training_that_is_resumed_three_times_at_one_moment_is_started_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio = Studio(Home(tmp_path / "home"))
    Image.new("RGB", (80, 80), "teal").save(tmp_path / "one.png")
    order = TrainingOrder(name="Rings", pictures=(tmp_path / "one.png",))
    job = studio.trainings.prepare(order, lambda: ("starter", "starter", "none"))
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


def test_a_training_takes_its_base_as_that_is_kept_unless_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio = Studio(Home(tmp_path / "home"))
    Image.new("RGB", (80, 80), "teal").save(tmp_path / "one.png")
    monkeypatch.setattr(studio.trainings, "start", lambda *given: None)

    def planned(settings: TrainingSettings) -> str | None:
        order = TrainingOrder("Rings", (tmp_path / "one.png",), settings=settings)
        _, costs = studio.preparation.costs(order)
        job = studio.start_training(order)
        assert {cost.plan.quantize for cost in costs} == {job.plan.quantize}
        return job.plan.quantize

    monkeypatch.setattr(studio.preparation.measuring, "_start", lambda *given: None)
    assert planned(TrainingSettings()) is None
    studio.shelf.keep_as("starter", "qa4-32")
    assert planned(TrainingSettings()) == "qa4-32"
    assert planned(TrainingSettings(quantize="none")) == "none"
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(SettingsError, match="not installed"):
        planned(TrainingSettings(quantize="nf4"))


def test_a_precision_that_a_device_can_not_train_in_is_refused_before_a_job_is_made_or_resumed(
    tmp_path: Path,
) -> None:
    studio = Studio(Home(tmp_path / "home"))
    Image.new("RGB", (80, 80), "teal").save(tmp_path / "one.png")
    order = TrainingOrder("Rings", (tmp_path / "one.png",))
    waiting = studio.trainings.prepare(order, lambda: ("starter", "starter", "none"))
    studio.settings = replace(studio.settings, device="cpu", precision="fp16")
    for start in (studio.start_training, studio.queue_training):
        with pytest.raises(SettingsError, match="can't train in fp16"):
            start(order)
    with pytest.raises(SettingsError, match="can't train in fp16"):
        studio.resume_training(waiting.folder.name)
    assert [job.id for job in studio.jobs()] == [waiting.folder.name]
    assert studio.jobs()[0].state == "waiting"
    studio.close()


def test_a_style_with_groups_goes_on_over_them_unless_it_is_told(tmp_path: Path) -> None:
    studio = Studio(Home(tmp_path / "home"))
    Image.new("RGB", (80, 80), "teal").save(tmp_path / "one.png")
    down, path = (
        torch.randn(2, 2).repeat_interleave(32, 1),
        "mid_block.attentions.0.transformer_blocks.0.attn2.to_q",
    )
    layer = StyleLayer("unet", path, down, torch.randn(64, 2), 2.0)
    card = StyleCard("Rings", "starter", 2, training={"quantize": "qa4-32"})
    loose = replace(layer, down=torch.randn(2, 64))

    def planned(layer: StyleLayer, kept: str, **settings: str) -> str | None:
        order = TrainingOrder("More", (tmp_path / "one.png",), settings=TrainingSettings(**settings))
        base = ("starter", "starter", kept)
        return studio.trainings.prepare(order, lambda: base, Style(card, (layer,))).plan.quantize

    assert planned(layer, "none") == "qa4-32" and planned(layer, "qa4-16") == "qa4-16"
    assert planned(layer, "none", quantize="none") == "none"
    assert planned(loose, "none") is None, "its numbers say that it has none, whatever its card says"
    with pytest.raises(PlanError, match="not trained over groups of 16"):
        planned(loose, "qa4-16")
    studio.close()
