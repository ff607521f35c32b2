"""Each optimizer learns, and goes on from a checkpoint as if it had not been stopped."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from app.orders import TrainingOrder
from app.studio import Studio
from styles.errors import SettingsError
from styles.storage.home import Home
from styles.storage.setting import settings_of
from training.checkpoint import Checkpoint, RunState, optimizer_tensors, restore
from training.optimizers import OPTIMIZERS, check_optimizer
from training.plan import TrainingPlan
from training.settings import TrainingSettings


def weights() -> dict[str, Tensor]:
    chance = torch.Generator().manual_seed(0)
    # bitsandbytes keeps small ones in 32 bits.
    sizes = {"down": (8, 4), "up": (64, 128)}
    return {name: torch.randn(size, generator=chance).requires_grad_() for name, size in sizes.items()}


def steps(optimizer: torch.optim.Optimizer, of: dict[str, Tensor], count: int) -> float:
    """Pull all weights to 1; the loss at the end."""
    for _ in range(count):
        loss = sum(((weight - 1) ** 2).mean() for weight in of.values())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[union-attr]
        optimizer.step()
    return sum(float(((weight.detach() - 1) ** 2).mean()) for weight in of.values())


# On a CPU, where bitsandbytes has the same optimizers for its tests; none of them is ever asked for there.
@pytest.mark.filterwarnings("ignore:Paged optimizers are not supported on CPU")
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_it_learns_and_goes_on_from_a_checkpoint(name: str) -> None:
    plan = TrainingPlan("x", optimizer=name, learning_rate=0.05)
    whole, parted, later = weights(), weights(), weights()
    unbroken = steps(OPTIMIZERS[name](list(whole.values()), plan), whole, 40)
    assert unbroken < steps(OPTIMIZERS[name](list(weights().values()), plan), weights(), 0) / 4

    first = OPTIMIZERS[name](list(parted.values()), plan)
    steps(first, parted, 20)
    state = optimizer_tensors(first, parted)
    assert state and all(isinstance(value, Tensor) for value in state.values())
    second = OPTIMIZERS[name](list(later.values()), plan)
    done = Checkpoint(RunState(20), {key: weight.detach().clone() for key, weight in parted.items()}, state)
    restore(done, later, second)
    assert steps(second, later, 20) == unbroken
    assert all(torch.equal(later[key], whole[key]) for key in whole)


def test_the_means_are_in_8_bits() -> None:
    bytes_of = {}
    for name in ("adamw", "adamw8bit"):
        of = {"down": torch.ones(64, 1024, requires_grad=True)}
        optimizer = OPTIMIZERS[name](list(of.values()), TrainingPlan("x", optimizer=name))
        steps(optimizer, of, 1)
        bytes_of[name] = sum(value.nbytes for value in optimizer_tensors(optimizer, of).values())
    # 8 bytes for each weight, 2 with a scale for each 256, and the two tables of what the bits stand for.
    assert bytes_of["adamw"] == 8 * 64 * 1024 + 4
    assert bytes_of["adamw8bit"] == 2 * 64 * 1024 + 2 * 4 * 256 + 2 * 4 * 256 + 8


def test_what_needs_cuda_is_refused_elsewhere_and_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in OPTIMIZERS.keys() - {"adamw"}:
        with pytest.raises(SettingsError, match="runs on CUDA alone, and training is on cpu"):
            check_optimizer(name, "cpu")
    check_optimizer("adamw", "cpu")
    studio = Studio(Home(tmp_path / "home"))
    Image.new("RGB", (80, 80), "teal").save(tmp_path / "one.png")
    order = TrainingOrder("Rings", (tmp_path / "one.png",), settings=TrainingSettings(optimizer="adamw8bit"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match="needs the package bitsandbytes"):
        studio.start_training(order)
    assert not list(studio.home.jobs.iterdir())


def test_the_plan_takes_those_that_are_there() -> None:
    assert settings_of(TrainingPlan)["optimizer"].setting.choices == tuple(OPTIMIZERS)
