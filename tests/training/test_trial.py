"""A trial of one step: what it tells, and that nothing of it stays."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from styles.errors import BaseError
from styles.storage.home import Home
from styles.text import text_from_json
from training import fitting
from training.trainer import Trainer
from training.trial import Trial, main, shape_of

from .conftest import small_plan


@pytest.fixture(autouse=True)
def other_kernels() -> Iterator[None]:
    """What a trial chooses for its process holds for a test only."""
    yield
    torch.use_deterministic_algorithms(False)
    torch.utils.deterministic.fill_uninitialized_memory = True  # type: ignore[attr-defined]


def trial(
    home: Path, base: Path, capsys: pytest.CaptureFixture[str], **numbers: Any
) -> tuple[int, dict[str, Any]]:
    file = home.parent / "plan.json"
    file.write_text(small_plan(base, **numbers).to_json(), encoding="utf-8")
    code = main([str(home), str(file), "--device", "cpu"])
    return code, json.loads(capsys.readouterr().out)


def test_a_trial_measures_and_leaves_nothing(
    tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = Home(tmp_path / "home").create()
    (home.root / ".trial-stopped" / "job").mkdir(parents=True)  # by a power cut
    before = {path for path in home.root.rglob("*") if ".trial-" not in path.name and path.name != "job"}
    code, told = trial(home.root, tiny_base, capsys)
    assert code == 0
    found = Trial(**told)
    assert min(found.opening, found.artwork, found.step, found.denoising + found.decoding) > 0
    assert found.memory_bytes > 50e6 and not found.on_card
    assert set(home.root.rglob("*")) == before


def test_a_trial_takes_the_step_that_the_training_will(
    tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, limits = [], []
    take = Trainer.take_step
    monkeypatch.setattr("styles.devices.memory.limit_memory", limits.append)

    def watched(trainer: Trainer) -> None:
        plan = trainer.plan
        seen.append((torch.are_deterministic_algorithms_enabled(), plan.batch, plan.gradient_accumulation))
        take(trainer)

    monkeypatch.setattr(Trainer, "take_step", watched)
    monkeypatch.setattr(fitting, "needed_bytes", lambda base, plan: plan.batch * 10**10)
    monkeypatch.setattr("styles.devices.memory.free_bytes", lambda device: 12 * 10**9)
    home = Home(tmp_path / "home").create()
    _, told = trial(home.root, tiny_base, capsys, batch=4)
    assert (told["batch"], told["gradient_checkpointing"]) == (1, False)
    assert limits == [torch.device("cpu")]
    assert set(seen) == {(True, 1, 2)}, "as the training, but of its four batches two, which tell of all"


def test_what_can_not_be_measured_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = Home(tmp_path / "home").create()
    code, told = trial(home.root, tmp_path / "nowhere", capsys)
    assert code == 1 and "nowhere" in text_from_json(told["error"])


def test_the_time_of_a_training_grows_with_its_length_and_its_shape_does_not(tiny_base: Path) -> None:
    plan = small_plan(
        tiny_base, steps=100, preview_every=50, preview_steps=4, preview_prompts=("a", "b"), opposite_every=0
    )
    found = Trial(5, artwork=2, step=0.5, denoising=2, decoding=1, memory_bytes=1, on_card=True)
    assert found.seconds(plan, 4) == 5 + 4 * 2 + 100 * 0.5 + 3 * 2 * (4 * 2 + 1)
    assert found.seconds(replace(plan, flip=True, preview_every=0), 4) == 5 + 8 * 2 + 100 * 0.5
    assert found.seconds(replace(plan, opposite_every=8), 4) == found.seconds(plan, 4) + 0.4 * 100 / 8 * 0.5
    longer, wider = replace(plan, steps=900, name="other", seed=7), replace(plan, rank=4)
    assert shape_of(longer) == shape_of(plan) != shape_of(wider)


def test_a_trial_computes_in_the_precision_of_the_training(
    tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    home, file, opened = Home(tmp_path / "home").create(), tmp_path / "plan.json", []

    def opening(*_: Any, **named: Any) -> None:
        opened.append(named["dtype"])
        raise BaseError("Enough was seen.")

    monkeypatch.setattr("styles.bases.base.open_base", opening)
    file.write_text(small_plan(tiny_base).to_json(), encoding="utf-8")
    for precision in ("bf16", "fp32", "fp16"):
        assert main([str(home.root), str(file), "--device", "cpu", "--precision", precision]) == 1
    assert opened == [torch.bfloat16, torch.float32]
    assert "can't train in fp16" in capsys.readouterr().out.splitlines()[-1]
