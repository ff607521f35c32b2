"""Each optimizer learns, and goes on from a checkpoint as if it had not been stopped."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from styles.storage.setting import settings_of
from training.checkpoint import Checkpoint, RunState, optimizer_tensors, restore
from training.optimizers import OPTIMIZERS
from training.plan import TrainingPlan


def weights() -> dict[str, Tensor]:
    chance = torch.Generator().manual_seed(0)
    return {name: torch.randn(8, 4, generator=chance).requires_grad_() for name in ("down", "up")}


def steps(optimizer: torch.optim.Optimizer, of: dict[str, Tensor], count: int) -> float:
    """Pull all weights to 1; the loss at the end."""
    for _ in range(count):
        loss = sum(((weight - 1) ** 2).mean() for weight in of.values())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[union-attr]
        optimizer.step()
    return sum(float(((weight.detach() - 1) ** 2).mean()) for weight in of.values())


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


def test_the_plan_takes_those_that_are_there() -> None:
    assert settings_of(TrainingPlan)["optimizer"].setting.choices == tuple(OPTIMIZERS)
