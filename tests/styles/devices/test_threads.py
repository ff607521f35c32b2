"""Threads that sleep while they wait, and as many of them as are fastest."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from styles.devices import threads
from styles.devices.threads import PASSIVE_WAITING, Pace, fastest, use, wait_passively

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def free_choice(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As on a machine where no variable fixes the number; it is put back after."""
    for name in threads.CHOSEN_BY:
        monkeypatch.delenv(name, raising=False)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_what_the_user_has_set_stays() -> None:
    environment = {"OMP_WAIT_POLICY": "ACTIVE"}
    wait_passively(environment)
    assert environment == {"OMP_WAIT_POLICY": "ACTIVE"}
    environment = {"KMP_BLOCKTIME": "10"}
    wait_passively(environment)
    assert environment == PASSIVE_WAITING | {"KMP_BLOCKTIME": "10"}


@pytest.mark.parametrize(
    "program",
    [
        "import launch; launch.hand_over_here = lambda *rest: 0; launch.main(['jobs', '--no-venv'])",
        "import training.__main__ as trainer; trainer.main(['nowhere'])",
        "import tests.benchmarks",
        "import tests.conftest",
    ],
)
def test_every_process_of_ours_lets_threads_sleep_before_torch_is_there(program: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in PASSIVE_WAITING}
    program += "; import os, sys; print('torch' in sys.modules, os.environ.get('OMP_WAIT_POLICY'))"
    answer = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert answer.stdout.splitlines()[-1] == "False PASSIVE"


def test_the_number_that_a_run_is_fastest_with_is_taken(
    free_choice: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "candidates", lambda: [4, 2, 1])
    now = 0.0
    monkeypatch.setattr(threads, "time", SimpleNamespace(perf_counter=lambda: now))

    def run() -> None:
        nonlocal now
        now += seconds[torch.get_num_threads()]

    seconds = {4: 0.05, 2: 0.005, 1: 0.02}
    assert fastest(run) == torch.get_num_threads() == 2
    seconds = {4: 0.02, 2: 0.0185, 1: 0.02}
    assert fastest(run) == 4, "no fewer where it hardly gains anything"


def test_a_run_that_breaks_off_changes_nothing(free_choice: None) -> None:
    torch.set_num_threads(3)
    with pytest.raises(ZeroDivisionError):
        fastest(lambda: 1 // 0)
    assert torch.get_num_threads() == 3


def test_a_number_that_the_user_has_chosen_is_never_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    before = torch.get_num_threads()
    runs: list[None] = []
    assert fastest(lambda: runs.append(None)) == before
    use(before + 1)
    assert (torch.get_num_threads(), runs) == (before, [])


def test_a_lasting_change_of_pace_is_noticed_and_a_single_slow_step_is_not() -> None:
    pace = Pace()
    steps = [0.4] * 30 + [2.0] + [0.4] * 9
    assert not any(pace.has_changed(seconds) for seconds in steps)
    slower = [pace.has_changed(0.9) for _ in range(5)]
    assert slower == [False, False, True, True, True]
    pace.begin_anew()
    assert not any(pace.has_changed(0.9) for _ in range(30))
    assert [pace.has_changed(0.4) for _ in range(4)][-1]  # the other work has ended
