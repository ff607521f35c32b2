"""From a request to pictures: batch by batch through the denoising loop, watched and stoppable at every step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import torch
from torch import Tensor

from styles.bases.base import Base
from styles.bases.offload import lies_on, send_away
from styles.bases.stopping import models_of, stopped, stopping
from styles.bases.working_memory import MARGIN, denoising_bytes, weight_bytes
from styles.devices.memory import free_bytes, give_back
from styles.devices.precision import dtype_name
from styles.errors import Cancelled, Failure, OutOfMemory, is_out_of_memory
from styles.formats.style import Style
from styles.generation.batch_sampling import DenoisingStep, denoise
from styles.generation.cost import check_cost
from styles.generation.finishing import PictureDone, finish
from styles.generation.img2img import encode_source
from styles.generation.request import CreateRequest, Order, fill_in
from styles.mixing.kept_patcher import KeptPatcher
from styles.mixing.layer_matching import check_family
from styles.mixing.model_patcher import ModelPatcher
from styles.text import Text

LATENTS_AT_ONCE = {"cpu": 4 * 16 * 16, "accelerator": 8 * 64 * 64}  # summed over the pictures of a batch


def generate(
    base: Base,
    request: CreateRequest,
    styles: Sequence[Style] = (),
    *,
    cancelled: Callable[[], bool] = lambda: False,
    kept: KeptPatcher | None = None,
) -> Iterator[DenoisingStep | PictureDone]:
    """Paint the request with the styles mixed as it says, yielding every step and every finished picture.

    The styles act on the base only while this runs; whoever gives `kept` again has them at hand for the next picture.
    One seed makes one picture, whatever its neighbours. Raises BadInput
    before anything is computed, Cancelled within a step or between two, OutOfMemory, and Failure after the last picture if
    some were not numbers any more.
    """
    check_family(base, styles)
    order = fill_in(base, request, styles)
    check_cost(base, order, cancelled)
    return _paint(base, order, styles, cancelled, kept or KeptPatcher())


def _paint(
    base: Base, order: Order, styles: Sequence[Style], cancelled: Callable[[], bool], kept: KeptPatcher
) -> Iterator[DenoisingStep | PictureDone]:
    request = order.request
    count, first, apart = len(request.seeds), 0, False
    fixed = request.batch > 0 or request.only is not None
    size = count if request.only is not None else request.batch or _automatic_batch(base, order)
    names = {key: style.name for key, style in zip(order.ids, styles, strict=True)}
    spoilt: list[int] = []
    merging = True
    with stopping(models_of(base), cancelled, stopped), _blended(base, styles, kept) as mix:
        source_notes: list[Text] = []
        start = _start(base, order, cancelled, source_notes)
        while first < count:
            pictures, full = _alike(order, range(first, min(first + size, count))), False
            mix.allow_merging(_spare_bytes(base, order, len(pictures)) if merging and styles else 0)
            try:
                for event in _paint_batch(base, order, styles, names, mix, pictures, start, cancelled, apart):
                    if isinstance(event, int):
                        spoilt.append(event)
                        first = event + 1
                    elif isinstance(event, PictureDone):
                        yield replace(event, notes=(*source_notes, *event.notes))
                        first = event.index + 1
                    else:
                        yield event
            except OutOfMemory:
                # Said already, of what no smaller batch would mend.
                raise
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                largest = order.runs[-1]
                if mix.merged_bytes:
                    # Without weights of its own the mix takes less, and all pictures stay together.
                    merging = False
                    mix.allow_merging(0)
                elif not fixed and len(pictures) > 1:
                    # What is not finished yet goes again, in smaller batches.
                    size = len(pictures) // 2
                elif order.guided and not apart:
                    apart = True
                else:
                    raise OutOfMemory(
                        "{device} has too little memory for {count} pictures of {width_px}x{height_px} px at once.",
                        "Choose a smaller size or fewer pictures, or close other programs.",
                        device=base.device,
                        count=len(pictures),
                        width_px=largest.width_px,
                        height_px=largest.height_px,
                    ) from error
                full = True
            else:
                first = pictures.stop
            if full:
                # Whoever else has taken memory meanwhile: all but the UNet makes room for it.
                _leave_unet_alone(base)
                give_back(base.device)
    if spoilt:
        raise Failure(
            "{count} of {pictures} pictures came out as no numbers (NaN) on {device} in {dtype}: number {numbers}.",
            "Lower the styles' weights and the guidance."
            if base.dtype == torch.float32
            else "Choose fp32 as the precision, in the settings; if it stays so, lower the styles' weights and the guidance.",
            count=len(spoilt),
            pictures=count,
            device=base.device,
            dtype=dtype_name(base.dtype),
            numbers=", ".join(str(index + 1) for index in spoilt[:10]),
        )


@contextmanager
def _blended(base: Base, styles: Sequence[Style], kept: KeptPatcher) -> Iterator[ModelPatcher]:
    """Put the styles on the base; where they find no room, all but the UNet makes room for them."""
    with ExitStack() as stack:
        try:
            mix = stack.enter_context(kept.blended(base, styles))
        except OutOfMemory:
            _leave_unet_alone(base)
            mix = stack.enter_context(kept.blended(base, styles))
        yield mix


def _leave_unet_alone(base: Base) -> None:
    send_away([model for model in models_of(base) if model is not base.unet], base.device)


def _alike(order: Order, pictures: range) -> range:
    """The first of the pictures, as far as their prompts have the same number of chunks: none gets another's padding."""
    chunks = order.chunks[pictures.start]
    stop = next((index for index in pictures if order.chunks[index] != chunks), pictures.stop)
    return range(pictures.start, stop)


def _start(base: Base, order: Order, cancelled: Callable[[], bool], notes: list[Text]) -> Tensor | None:
    """Return the source picture's latents, once for all pictures; None without one. `notes` as for `encode_source`."""
    source, run = order.request.source, order.runs[0]
    if source is None:
        return None
    if cancelled():
        raise Cancelled("Stopped before the first step.")
    return encode_source(base, source, run.width_px, run.height_px, cancelled, notes)


def _paint_batch(
    base: Base,
    order: Order,
    styles: Sequence[Style],
    names: dict[str, str],
    mix: ModelPatcher,
    pictures: range,
    start: Tensor | None,
    cancelled: Callable[[], bool],
    apart: bool,
) -> Iterator[DenoisingStep | PictureDone | int]:
    """Paint some of the request's pictures together; yields a bare index for a picture that is not numbers."""
    if cancelled():
        raise Cancelled("Stopped before the first step.")
    latents = yield from denoise(base, order, styles, mix, pictures, start, cancelled, apart)
    mix.allow_merging(0)
    latents = latents.to(base.device)
    for row, index in enumerate(pictures):
        if order.request.only not in (None, index):
            continue
        if cancelled():
            raise Cancelled("Stopped while finishing the pictures.")
        done = finish(base, order, names, latents[row : row + 1], len(pictures), row, index, cancelled)
        yield index if done is None else done


def _automatic_batch(base: Base, order: Order) -> int:
    """How many pictures go through the UNet at once, by what is fastest or, `together`, by memory alone."""
    latents = max(run.width_px * run.height_px for run in order.runs) // base.vae_factor**2
    most, kind = len(order.request.seeds), "cpu" if base.device.type == "cpu" else "accelerator"
    free = free_bytes(base.device)
    if free is None or not order.request.together:
        most = min(most, LATENTS_AT_ONCE[kind] // latents)
    if free is not None:
        free -= 0 if lies_on(base.unet, base.device) else weight_bytes(base.unet)
        most = min(most, int(free / _picture_bytes(base, order)))
    return max(1, most)


def _spare_bytes(base: Base, order: Order, pictures: int) -> int:
    """How much memory is free beside all parts of the base and what so many pictures take in its UNet.

    0 where the device doesn't tell.
    """
    away = [model for model in models_of(base) if not lies_on(model, base.device)]
    needed = weight_bytes(*away) + pictures * _picture_bytes(base, order)
    return max(0, int((free_bytes(base.device) or 0) - needed))


def _picture_bytes(base: Base, order: Order) -> float:
    """What one picture takes in the UNet at the largest size of the order."""
    latents = max(run.width_px * run.height_px for run in order.runs) // base.vae_factor**2
    return MARGIN * denoising_bytes(base.unet, latents, 2 if order.guided else 1)
