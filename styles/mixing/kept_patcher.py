"""The styles that an open base keeps at hand from one picture to the next, so that moving a slider opens nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from styles.errors import Failure
from styles.formats.style import Style
from styles.mixing.layer_matching import OpenBase
from styles.mixing.model_patcher import ModelPatcher


class KeptPatcher:
    """The ranks of the last picture's styles, in the base's memory; between two pictures the base itself is bare.

    The next picture brings only what is new and removes what is gone, and comes out bit for bit as with `blended`.
    """

    def __init__(self) -> None:
        self._mix: ModelPatcher | None = None
        self._busy = threading.Lock()

    @contextmanager
    def blended(self, base: OpenBase, styles: Sequence[Style]) -> Iterator[ModelPatcher]:
        """Put the styles on the base for the time of the block, as `styles.mixing.model_patcher.blended` does.

        After an exception nothing is kept. Raises Failure while another block goes on: its styles would be in both.
        """
        if not self._busy.acquire(blocking=False):
            raise Failure(
                "“{base}” is painting something else.", "Wait until that is done, or stop it.", base=base.name
            )
        try:
            mix, self._mix = self._mix, None
            if mix is None or mix.base is not base or not mix.untouched:
                mix = ModelPatcher(base)
            try:
                mix.change_to(styles)
                yield mix
            except BaseException:
                mix.close()
                raise
            mix.rest()
            self._mix = mix if styles else None  # so that without styles nothing holds the base
        finally:
            self._busy.release()
