"""Device and precision of a training: as asked, kept when it goes on, and refused where they can't be."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from styles.errors import SettingsError, TrainingFailed
from tests.styles.devices import pretend_cards
from training import checkpoint
from training.checkpoint import Checkpoint, RunState
from training.events import CheckpointSaved, Finished, Paused, RolledBack, TrainingEvent, Warned
from training.job import Job
from training.loop import train
from training.placement import placed
from training.trainer import accelerator_for

CPU, FP32, BF16 = torch.device("cpu"), torch.float32, torch.bfloat16


@pytest.fixture(autouse=True)
def right_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("styles.devices.precision.convolves", lambda device, dtype: True)


def _begun_in(dtype: str) -> Checkpoint:
    return Checkpoint(RunState(1, environment={"dtype": dtype}), {}, {})


@pytest.mark.parametrize(
    ("precision", "begun", "becomes", "notes"),
    [
        ("auto", None, FP32, 0),
        ("bf16", None, BF16, 0),
        ("auto", "float32", FP32, 0),
        ("auto", "bfloat16", BF16, 1),
        ("fp32", "bfloat16", FP32, 0),
        ("bf16", "float32", BF16, 0),
        # Begun on a card; a processor can't go on in it.
        ("auto", "float16", FP32, 0),
        ("auto", "odd", FP32, 0),
        ("auto", "", FP32, 0),
    ],
)
def test_a_training_goes_on_in_its_own_precision_unless_told_otherwise(
    precision: str, begun: str | None, becomes: torch.dtype, notes: int
) -> None:
    place = placed("cpu", precision, None if begun is None else _begun_in(begun))
    assert (place.device, place.dtype, len(place.notes)) == (CPU, becomes, notes)


def test_a_precision_that_comes_out_wrong_here_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("styles.devices.precision.convolves", lambda device, dtype: False)
    assert placed("cpu", "auto", _begun_in("bfloat16")).dtype == FP32


@pytest.mark.parametrize(("precision", "why"), [("fp16", "processor can't train in fp16"), ("fp8", "fp8")])
def test_one_that_can_not_be_trained_in_is_refused(precision: str, why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        placed("cpu", precision)


def _until(job: Job, precision: str, step: int | None = None) -> list[TrainingEvent]:
    events: list[Any] = []
    stop = lambda: any(isinstance(one, CheckpointSaved) and one.step == step for one in events)  # noqa: E731
    with job.held():
        for event in train(job, device="cpu", precision=precision, cancelled=stop):
            job.append(event)
            events.append(event)
    return events


def test_from_half_precision_to_full_and_back(make_job: Callable[..., Job], tiny_base: Path) -> None:
    job = make_job(tiny_base, steps=4, checkpoint_every=2, preview_every=0)
    assert isinstance(_until(job, "bf16", 2)[-1], Paused)
    # Nothing was chosen since: as it began, and said.
    events = _until(job, "auto", 3)
    assert [one.message for one in events if isinstance(one, Warned)] == [
        "Going on in bf16, in which this training began; a new one would take fp32 on this device."
    ]
    finished = _until(job, "fp32")
    assert isinstance(finished[-1], Finished)
    assert any("dtype bfloat16 -> float32" in str(one.message) for one in finished if isinstance(one, Warned))
    last = checkpoint.latest(job.folder / "checkpoints")
    assert last is not None and last.progress.environment["dtype"] == "float32"


def test_numbers_that_overflow_in_half_precision_name_it_first(
    make_job: Callable[..., Job], tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a GTX 16xx, whose convolutions give no numbers."""
    job = make_job(tiny_base, steps=8, checkpoint_every=2, preview_every=0)
    forward = torch.nn.Conv2d.forward
    monkeypatch.setattr(
        torch.nn.Conv2d,
        "forward",
        lambda self, x: forward(self, x) * (float("nan") if x.requires_grad else 1.0),
    )
    events = []
    with pytest.raises(TrainingFailed, match="overflowed") as told:
        for event in train(job, device="cpu", precision="bf16"):
            events.append(event)
    assert sum(isinstance(one, RolledBack) for one in events) == 4
    assert told.value.hint.startswith("Choose fp32 as the precision")


@pytest.mark.parametrize("name", ["cpu", "cuda:1", "xpu:1"])
def test_accelerate_takes_the_device_of_the_base(name: str) -> None:
    from accelerate.state import AcceleratorState

    try:
        assert accelerator_for(torch.device(name), FP32, 1).device == torch.device(name)
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)
    assert "ACCELERATE_TORCH_DEVICE" not in os.environ


def test_a_card_that_is_not_used_is_told_once_where_it_was_hoped_for(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_cards.refuse_driver(monkeypatch, pretend_cards.OLD_DRIVER)
    (note,) = placed("auto", "auto").notes
    assert "CUDA 11.4" in note.message and note.message.endswith("The processor does the work.")
    assert "Update the driver" in note.hint
    assert placed("cpu", "auto").notes == ()
    with pytest.raises(SettingsError, match=r"CUDA 11\.4"):
        placed("cuda", "auto")
