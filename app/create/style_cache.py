"""The styles of the last picture, read already, for as long as their files stay as they were."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from styles.library.folder import parts_of, side_files
from styles.library.library import Library

if TYPE_CHECKING:
    from styles.formats.style import Style

SETTLED_SECONDS = 2.0  # the coarsest clock of a file system; what changed within it may change again unseen

Traces = tuple[tuple[str, int, int, int, int], ...]


class StyleCache:
    """Opens styles by id, and those of the last time only if something was written to their files or beside them."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self._open: dict[str, tuple[Traces, Style]] = {}

    def open(self, ids: Sequence[str]) -> list[Style]:
        """Return the styles as `Library.open` would, in this order, and keep no others."""
        now = {style: self._current(style) or self._read(style) for style in ids}
        self._open = now
        return [now[style][1] for style in ids]

    def put_away(self) -> None:
        """Keep none."""
        self._open = {}

    def _current(self, style_id: str) -> tuple[Traces, Style] | None:
        cached = self._open.get(style_id)
        return cached if cached and cached[0] and cached[0] == _traces(cached[1].card.path) else None

    def _read(self, style_id: str) -> tuple[Traces, Style]:
        before = time.time()
        style = self.library.open(style_id)
        traces = _traces(style.card.path)
        newest = max((max(mtime, ctime) for *_, mtime, ctime in traces), default=0)
        # A file that is written just now leaves no trace that could be trusted.
        return (traces if newest < (before - SETTLED_SECONDS) * 1e9 else ()), style


def _traces(path: Path | None) -> Traces:
    """What the system knows of a style's files, and of those beside it that its card is made from; none if one is gone."""
    if path is None:
        return ()
    traces = []
    try:
        for file in (*parts_of(path), *side_files(path)):
            now = os.stat(file)
            traces.append((str(file), now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns))
    except OSError:
        return ()
    return tuple(traces)
