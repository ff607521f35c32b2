"""The time that steps take on an accelerator, watched for a jump: its memory has spilt over into the computer's."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

JUMP = 3.0  # times the median
ENOUGH = 5  # readings that a median is taken of
IN_A_ROW = 2  # readings beyond it that are no hiccup


@dataclass
class StepTimes:
    """Seconds a step, read whenever the device is waited for anyway."""

    steps: int = 0  # since the last reading
    _spent: float = 0.0  # seconds, on them
    _usual: list[float] = field(default_factory=list)
    _beyond: int = 0

    @contextmanager
    def taken(self, steps: int = 0) -> Iterator[None]:
        """Count what the block takes to so many steps, or to those before, which it waits for."""
        began = time.monotonic()
        yield
        self._spent += time.monotonic() - began
        self.steps += steps

    def has_jumped(self) -> bool:
        """Read the steps since the last time, and say once whether they have become much slower than before."""
        seconds = self._spent / self.steps if self.steps else 0.0
        self.steps, self._spent = 0, 0.0
        return self.noted(seconds)

    def noted(self, seconds: float) -> bool:
        """Take in what a step took; true where this is the reading that makes a jump of it."""
        if len(self._usual) >= ENOUGH and seconds > JUMP * sorted(self._usual)[len(self._usual) // 2]:
            self._beyond += 1
            return self._beyond == IN_A_ROW
        self._beyond = 0
        # The first steps compile and fill caches: the newest tell what is usual.
        self._usual = [*self._usual, seconds][-4 * ENOUGH :]
        return False

    def begin_anew(self) -> None:
        """Forget the steps so far: from here on they are taken in another way."""
        self.steps, self._spent, self._usual, self._beyond = 0, 0.0, [], 0
