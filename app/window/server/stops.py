"""What a page has begun, to be stopped from the same page."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Stops:
    """Events by the page that may set them; a page does one such thing at a time."""

    def __init__(self) -> None:
        self._events: dict[str, threading.Event] = {}

    @contextmanager
    def begun(self, page: str) -> Iterator[Callable[[], bool]]:
        """Lend the question whether the page has stopped what it begins here."""
        event = self._events[page] = threading.Event()
        try:
            yield event.is_set
        finally:
            if self._events.get(page) is event:
                del self._events[page]

    def stop(self, page: str) -> None:
        """Stop what the page has begun, if it has."""
        if (event := self._events.get(page)) is not None:
            event.set()
