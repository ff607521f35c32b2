"""Steps that become much slower are noticed once."""

from __future__ import annotations

import pytest
import torch

from training.events import Warned
from training.run_notes import SPILT, slowed_down
from training.step_times import ENOUGH, IN_A_ROW, StepTimes


def test_a_jump_is_told_once_and_a_hiccup_is_not() -> None:
    times = StepTimes()
    assert not any(times.noted(seconds) for seconds in (9.0, 1.0, 1.1, 0.9, 1.0, 1.0))
    assert not times.noted(30.0) and not times.noted(1.0), "one reading is a hiccup"
    jumped = [times.noted(4.0) for _ in range(10)]
    assert jumped.count(True) == 1 and jumped.index(True) == IN_A_ROW - 1
    assert not times.noted(1.0) and [times.noted(4.0) for _ in range(2)][-1], "a second jump is told, too"
    times.begin_anew()
    assert not any(times.noted(4.0) for _ in range(20))


def test_seconds_are_those_of_a_step() -> None:
    times = StepTimes()
    with times.taken(1), times.taken(1):
        pass
    with times.taken():
        pass
    assert times.steps == 2
    assert not times.has_jumped() and times.steps == 0


@pytest.mark.parametrize(("device", "said"), [("cuda", [SPILT]), ("cpu", [])])
def test_a_jump_is_told_of_an_accelerator(device: str, said: list[Warned]) -> None:
    times, warned = StepTimes(), []
    for seconds in (1.0,) * ENOUGH + (4.0,) * IN_A_ROW:
        # So long as a clock would have said.
        times.steps, times._spent = 2, 2 * seconds
        warned += slowed_down(times, torch.device(device))
    assert warned == said
