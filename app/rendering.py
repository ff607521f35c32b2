"""One painting in a thread of its own: it survives a page reload, and torch never changes threads under it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator

from app.easel import PaintingEvent


class Rendering:
    """Runs `paint(cancelled)` in the background and hands its events over."""

    def __init__(self, paint: Callable[[Callable[[], bool]], Iterator[PaintingEvent]]) -> None:
        self._paint = paint
        self._stopped = threading.Event()
        self._events: queue.SimpleQueue[PaintingEvent | BaseException | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="painting", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            for event in self._paint(self._stopped.is_set):
                self._events.put(event)
            self._events.put(None)
        except BaseException as error:  # handed to whoever waits for the events
            self._events.put(error)

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
    def going(self) -> bool:
        return self._thread.is_alive()
