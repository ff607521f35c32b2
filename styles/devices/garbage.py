"""Python's garbage collector, which walks through all that torch, diffusers and gradio are made of."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collection_paused() -> Iterator[None]:
    """Import large libraries without collecting garbage meanwhile, and leave them out of every later collection.

    A fifth of the time of such imports is collections that find nothing, and each full one afterwards would take a third
    of a second (https://docs.python.org/3/library/gc.html#gc.freeze). Whatever else is there by then is left out as well,
    so this belongs to the beginning of a process.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()
