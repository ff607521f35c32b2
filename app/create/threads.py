"""How many of the processor's threads paint: measured on the base that is open, kept for whole paintings."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from app.create.painting import Painting, PaintingEvent
from styles.devices.threads import Pace, fastest, is_chosen, use
from styles.generation.samplers import sampler_of

if TYPE_CHECKING:
    from styles.bases.base import Base
    from styles.generation.request import CreateRequest

LARGEST_SIDE = 32  # latents of the pass that is measured: a fraction of a second on a real base, too


class PaintingThreads:
    """Measured before the first painting on a base, and anew once steps have become much slower or faster.

    That is how a training that begins or ends, or another program, shows itself. A painting keeps the number that it
    began with, since its last bits depend on it.
    """

    def __init__(self) -> None:
        self._measured_for = ""  # fingerprint of a base
        self._threads = 0
        self._pace: dict[tuple[int, ...], Pace] = {}  # by what a step's time depends on

    def choose(self, base: Base) -> None:
        """Set torch's number of threads to the one that a pass of the base's UNet is fastest with."""
        if base.device.type != "cpu" or is_chosen():
            return
        if self._measured_for != base.fingerprint:
            self._threads = fastest(lambda: _pass(base))
            self._measured_for = base.fingerprint
            self._pace.clear()
        use(self._threads)

    def watched(
        self, request: CreateRequest, styles: int, events: Iterator[PaintingEvent]
    ) -> Iterator[PaintingEvent]:
        """Hand the events of a painting with so many styles over, noting how long its steps take."""
        evaluations = sampler_of(request.sampler).evaluations
        kind = (request.width_px, request.height_px, len(request.seeds), styles, evaluations)
        while True:
            began = time.perf_counter()
            event = next(events, None)
            if event is None:
                return
            if isinstance(event, Painting):
                pace = self._pace.setdefault(kind, Pace())
                if pace.has_changed(time.perf_counter() - began):
                    self._measured_for = ""
            yield event


def _pass(base: Base) -> None:
    """One guided pass of the UNet over nothing."""
    import torch

    from styles.bases.conditioning import empty_conditioning
    from styles.bases.prediction import predict

    side = min(LARGEST_SIDE, base.native_size_px // base.vae_factor)
    words = base.tokenizers[0].model_max_length
    latents = torch.zeros(2, base.latent_channels, side, side, dtype=base.dtype)
    conditioning = empty_conditioning(base.unet, 2, words, base.device, base.dtype)
    with torch.no_grad():
        predict(base.unet, latents, torch.zeros((), dtype=torch.long), conditioning)
