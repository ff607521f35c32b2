"""One painting in a thread of its own: it survives a page reload, and torch never changes threads under it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator

from app.create.painting import PaintingEvent


class Rendering:
    """Runs `paint(cancelled)` in the background and hands its events over."""

    def __init__(self, paint: Callable[[Callable[[], bool]], Iterator[PaintingEvent]]) -> None:
        self._paint = paint
        self._stopped = threading.Event()
        self._ended = threading.Event()
        self._events: queue.SimpleQueue[PaintingEvent | BaseException | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="painting", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        last: BaseException | None
        try:
            for event in self._paint(self._stopped.is_set):
                self._events.put(event)
            last = None
        except BaseException as error:  # handed to whoever waits for the events
            last = error
        self._ended.set()
        self._events.put(last)

    def events(self) -> Iterator[PaintingEvent]:
        """Yield the events as they come; raises what the painting raised."""
        while (event := self._events.get()) is not None:
            if isinstance(event, BaseException):
                raise event
            yield event

    def stop(self) -> None:
        """Ask the painting to end; what is finished stays."""
        self._stopped.set()

    @property
    def stopped(self) -> bool:
        """It was asked to end."""
        return self._stopped.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait at most so long for the painting's end; whether it has ended."""
        return self._ended.wait(seconds)
