"""Work for when nobody waits: the hashes of styles that have none yet, and pictures for cards that have none.

A piece at a time, in a thread of its own, while nothing is painted or trained. It ends between two steps of the
denoising as soon as somebody wants the base, a training runs, or the window closes. What goes wrong is left alone:
nobody asked for it, so nobody is told.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from app.library.card_pictures import card_picture, keep_card_picture
from app.log import write_surprise
from styles.errors import AtelierError, Cancelled

if TYPE_CHECKING:
    from app.create.base_session import BaseSession
    from app.settings import Settings
    from app.train.trainings import Trainings
    from styles.library.library import Library

QUIET_SECONDS = 30.0  # since the last painting
LOOK_EVERY_SECONDS = 20.0
HASH_SECONDS = 0.5  # at a time
SLOWEST_STEP_SECONDS = 2.0  # where a step takes longer, giving way would not be at once
SLOW_FOR_SECONDS = 600.0  # until such a base is tried again: other programs may have been at work
TRAININGS_SECONDS = 1.0  # between two looks whether one has begun

Did = Literal["off", "busy", "hashed", "painted", "gave way", "nothing"]


class Idle:
    """Does what there is to do in one library, with the base that is open."""

    def __init__(
        self,
        base_session: BaseSession,
        library: Library,
        trainings: Trainings,
        settings: Callable[[], Settings],
        slowest_step_seconds: float = SLOWEST_STEP_SECONDS,
    ) -> None:
        self.base_session = base_session
        self.library = library
        self.trainings = trainings
        self.slowest_step_seconds = slowest_step_seconds
        self._settings = settings
        self._left = 0  # without a hash, when it was last tried
        self._given_up: set[tuple[str, str]] = set()  # (base's fingerprint, style's handle)
        self._slow: dict[str, float] = {}  # when a base was too slow, by its fingerprint
        self._too_slow = False
        self._looked_at = 0.0
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, in the background."""
        self._thread = threading.Thread(target=self._run, name="idle work", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End soon, and wait for that."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(self.slowest_step_seconds * 2)

    def _run(self) -> None:
        pause = LOOK_EVERY_SECONDS
        while not self._ended.wait(pause):
            try:
                did = self.once()
            except Exception as error:  # it is in the log, for whoever wonders
                write_surprise(self.library.home, error, "working while nobody waits")
                return
            pause = 0.0 if did in ("hashed", "painted") else LOOK_EVERY_SECONDS

    def once(self, quiet_seconds: float = QUIET_SECONDS) -> Did:
        """Do one piece of work if nobody is at work, and say what was done."""
        if not self._settings().idle_work:
            return "off"
        if (
            self.base_session.in_use
            or time.monotonic() - self.base_session.used_at < quiet_seconds
            or self._training()
        ):
            return "busy"
        if self._hashed():
            return "hashed"
        return self._painted()

    def _training(self) -> bool:
        self._looked_at = time.monotonic()
        return self.trainings.running() is not None

    def _hashed(self) -> bool:
        """Whether there are hashes still to be made after some have been."""
        before = self._left
        self._left = self.library.hash_some(HASH_SECONDS)
        return 0 < self._left != before  # a file that can't be read has none, however often it is tried

    def _painted(self) -> Did:
        with self.base_session.spare() as base:
            if base is None:
                return "nothing"
            slow_at = self._slow.get(base.fingerprint)
            if slow_at is not None and time.monotonic() - slow_at < SLOW_FOR_SECONDS:
                return "nothing"
            for card in self.library.unpictured():
                key = base.fingerprint, self.library.handle(card)
                if card.family != base.family or key in self._given_up:
                    continue
                try:
                    style = self.library.open(key[1])
                    picture = card_picture(base, style, self._settings().safety_checker, self._must_end)
                except Cancelled:
                    if self._too_slow:
                        self._slow[base.fingerprint] = time.monotonic()
                    return "gave way"
                except AtelierError:
                    self._given_up.add(key)
                    continue
                keep_card_picture(self.library, style.card, picture)
                return "painted"
        return "nothing"

    def _must_end(self, step_seconds: float) -> bool:
        self._too_slow = step_seconds > self.slowest_step_seconds
        if (
            self._too_slow
            or self._ended.is_set()
            or self.base_session.wanted
            or not self._settings().idle_work
        ):
            return True
        return time.monotonic() - self._looked_at > TRAININGS_SECONDS and self._training()
