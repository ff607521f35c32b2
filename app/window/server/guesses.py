"""Wrong passwords: each costs its address more time than the one before, and is counted."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from app.password import matches

FIRST_SECONDS, LONGEST_SECONDS = 1.0, 300.0
MOST_ADDRESSES = 1000  # that are remembered; the one that was heard of longest ago goes first
# Requests of an address while one of its passwords is looked at: a page asks for many files at once.
MOST_WAITING = 64


@dataclass
class Tries:
    """What an address has tried since its last right password."""

    wrong: int = 0
    # Seconds on the clock; nothing is looked at before.
    closed_until: float = 0.0
    waiting: int = 0
    # One password at a time, or many at once would cost no more than one.
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Guesses:
    """Compares passwords with the kept one, `kept` as `app.password` has it; `log` is told of each wrong one."""

    def __init__(
        self, stored: str, log: Callable[[str], object], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.kept = stored
        self.log = log
        self.clock = clock
        self.tries: OrderedDict[str, Tries] = OrderedDict()
        # Addresses with the digests of headers that were right: hashing takes a while by design. Not of headers alone,
        # or a guess of what another device has typed would cost nothing.
        self._right: set[tuple[str, bytes]] = set()

    async def are_right(self, address: str, digest: bytes, password: str | None) -> tuple[bool, float]:
        """Whether this is the password, and if it was not even looked at, the seconds until one will be."""
        if (address, digest) in self._right:
            return True, 0.0
        tries = self._of(address)
        if tries.waiting >= MOST_WAITING:
            return False, max(FIRST_SECONDS, tries.closed_until - self.clock())
        tries.waiting += 1
        try:
            async with tries.lock:
                return await self._look(address, tries, digest, password)
        finally:
            tries.waiting -= 1

    async def _look(
        self, address: str, tries: Tries, digest: bytes, password: str | None
    ) -> tuple[bool, float]:
        if (address, digest) in self._right:
            return True, 0.0
        left = tries.closed_until - self.clock()
        if left > 0:
            return False, left
        if password is not None and await asyncio.to_thread(matches, password, self.kept):
            if len(self._right) >= MOST_ADDRESSES:  # of one password with a thousand names beside it
                self._right.clear()
            self._right.add((address, digest))
            self.tries.pop(address, None)
            return True, 0.0
        tries.wrong += 1
        seconds = min(FIRST_SECONDS * 2.0 ** min(tries.wrong - 1, 20), LONGEST_SECONDS)
        tries.closed_until = self.clock() + seconds
        await asyncio.to_thread(
            self.log, f"wrong password from {address}: {tries.wrong} in a row, the next in {seconds:g} s"
        )
        return False, 0.0

    def _of(self, address: str) -> Tries:
        """What is known of an address; the least recent is forgotten where there are too many."""
        tries = self.tries.setdefault(address, Tries())
        self.tries.move_to_end(address)
        if len(self.tries) > MOST_ADDRESSES:
            idle = (one for one, about in self.tries.items() if not about.waiting and about is not tries)
            self.tries.pop(next(idle, ""), None)
        return tries
