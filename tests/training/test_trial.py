"""A trial of one step: what it tells, and that nothing of it stays."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from styles.errors import BaseError
from styles.storage.home import Home
from styles.text import text_from_json
from training.trial import Trial, main, shape_of

from .conftest import small_plan


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
