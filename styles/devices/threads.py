"""Threads of the processor: how those of one operation wait for each other, and how many of them are fastest."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field

# The threads of one operation wait for each other a thousand times a second. By default they spin meanwhile, which is
# quick on a machine that does nothing else; beside other work they spin while their partner waits for its turn.
# libgomp (Linux) reads the first two, the OpenMP of LLVM and of Intel (macOS, Windows) the first and the last. The turns
# that libgomp spins before it sleeps are by tests/benchmarks/beside_work.py.
PASSIVE_WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "10000", "KMP_BLOCKTIME": "0"}
# Whoever sets one of these has chosen: nothing is measured then.
CHOSEN_BY = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")

ENOUGH_SECONDS = 1.0  # a run that takes longer is its own measure: warming up would hardly make it faster
BETTER = 0.9  # of the time of all cores that fewer must take to be chosen
CHANGED = 1.6  # steps that take so many times as long as before, or as short, are a reason to measure again
LOOKED_AT = 5  # steps that a pace is the median of
REST = 20  # steps before it is measured again


def wait_passively(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let the threads of an operation sleep while they wait; called before torch is imported, which reads it once.

    A variable that the user has set stays as it is, and with a policy of the user's own nothing is changed.
    """
    if "OMP_WAIT_POLICY" in environment:
        return
    for name, value in PASSIVE_WAITING.items():
        environment.setdefault(name, value)


def is_chosen() -> bool:
    """Say whether the user has fixed the number of threads by a variable of OpenMP's or MKL's."""
    return any(os.environ.get(name) for name in CHOSEN_BY)


def candidates() -> list[int]:
    """The numbers of threads worth trying, the largest first: all physical cores, half of them, one."""
    import psutil

    cores = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    return sorted({cores, max(1, cores // 2), 1}, reverse=True)


def fastest(run: Callable[[], object]) -> int:
    """Time `run` under each candidate and return the best, which is torch's number of threads from then on.

    More threads are taken where fewer are hardly faster. The number in force stays where the user has chosen it, and
    where `run` raises.
    """
    import torch

    before = torch.get_num_threads()
    if is_chosen():
        return before
    seconds: dict[int, float] = {}
    try:
        for threads in candidates():
            torch.set_num_threads(threads)
            seconds[threads] = _seconds(run)
    except BaseException:
        torch.set_num_threads(before)
        raise
    most = max(seconds)
    best = min(seconds, key=lambda threads: seconds[threads])
    best = best if seconds[best] < BETTER * seconds[most] else most
    torch.set_num_threads(best)
    return best


def use(threads: int) -> None:
    """Compute with so many threads, as an earlier run on this machine did; not where the user has chosen a number."""
    import torch

    if 0 < threads <= (os.cpu_count() or 1) and not is_chosen():
        torch.set_num_threads(threads)


def _seconds(run: Callable[[], object]) -> float:
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
        if seconds[-1] > ENOUGH_SECONDS:
            break
    return min(seconds)


@dataclass
class Pace:
    """The time that steps take, watched for a lasting change: other work has begun on this machine, or ended."""

    usual: float = 0.0  # seconds, the median of the first steps; 0 until there were enough
    steps: int = 0  # since it began
    _last: list[float] = field(default_factory=list)

    def has_changed(self, seconds: float) -> bool:
        """Take in what one step took, and say whether the steps have become much slower or faster than they were."""
        self._last = [*self._last, seconds][-LOOKED_AT:]
        self.steps += 1
        if len(self._last) < LOOKED_AT:
            return False
        now = sorted(self._last)[LOOKED_AT // 2]
        if not self.usual:
            self.usual = now
        changed = not self.usual / CHANGED < now < self.usual * CHANGED
        return changed and self.steps >= REST

    def begin_anew(self) -> None:
        """Forget the steps so far: from here on they are taken under other conditions."""
        self.usual, self.steps, self._last = 0.0, 0, []
