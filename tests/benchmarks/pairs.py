"""Timing two or more ways of doing a thing in turns, so that a change of clock or load hits all alike."""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from styles.devices.device import wait_for


@dataclass(frozen=True)
class Spread:
    """A median with its 95 % interval from order statistics, which assumes nothing about the noise's shape."""

    median: float
    low: float
    high: float
    count: int

    def to_json(self) -> dict[str, float | int]:
        return {
            "median": round(self.median, 6),
            "low": round(self.low, 6),
            "high": round(self.high, 6),
            "pairs": self.count,
        }


def spread_of(values: Sequence[float]) -> Spread:
    """The k-th smallest and largest value hold the median with the chance of a binomial; k is the largest for 95 %."""
    ordered, count = sorted(values), len(values)
    outside, k = 0.0, 0  # the chance that fewer than k of the values lie below the true median
    while k < count // 2:
        outside += math.comb(count, k) / 2**count
        if 2 * outside > 0.05:
            break
        k += 1
    low, high = (ordered[k - 1], ordered[-k]) if k else (ordered[0], ordered[-1])
    return Spread(statistics.median(ordered), low, high, count)


def seconds_of(action: Callable[[], object], device: torch.device) -> float:
    """Return how long one call takes, to the end of the device's work."""
    wait_for(device)
    start = time.perf_counter()
    action()
    wait_for(device)
    return time.perf_counter() - start


def in_turns(
    plain: Callable[[], object], kinds: dict[str, Callable[[], object]], pairs: int, device: torch.device
) -> tuple[dict[str, Spread], Spread]:
    """Return each kind's seconds over those of the plain call beside it, and the plain call's own seconds.

    A round is `plain a b plain c d plain ...` with the kinds in another order each time: every kind stands beside a
    plain call, half of the time before it and half of the time after it.
    """
    order, shuffle = list(kinds), random.Random(0).shuffle
    ratios: dict[str, list[float]] = {name: [] for name in kinds}
    plains = []
    for call in (plain, *kinds.values()):  # what only happens once happens here
        for _ in range(2):
            call()
    for _ in range(pairs):
        shuffle(order)
        before = seconds_of(plain, device)
        plains.append(before)
        for first in range(0, len(order), 2):
            two = order[first : first + 2]
            took = [seconds_of(kinds[name], device) for name in two]
            after = seconds_of(plain, device)
            plains.append(after)
            for name, seconds, beside in zip(two, took, (before, after), strict=False):
                ratios[name].append(seconds / beside)
            before = after
    return {name: spread_of(values) for name, values in ratios.items()}, spread_of(plains)


def alone(
    action: Callable[[], object], times: int, device: torch.device, after: Callable[[], object] | None = None
) -> Spread:
    """Return the seconds of a call; `after` undoes it, outside the clock."""
    taken = []
    for turn in range(times + 2):
        seconds = seconds_of(action, device)
        if turn >= 2:
            taken.append(seconds)
        if after is not None:
            after()
    return spread_of(taken)
