"""From finished latents to a picture with its recipe: decoded, looked at, and told about."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from styles.bases.base import Base
from styles.bases.offload import bring, send_away
from styles.bases.slices import in_slices
from styles.bases.vae import decode, in_fp32, on_cpu_note
from styles.bases.working_memory import decoding_bytes
from styles.devices.precision import dtype_name
from styles.errors import OutOfMemory, is_out_of_memory, memory_errors
from styles.generation.prompts import prompt_notes
from styles.generation.recipe import Recipe
from styles.generation.request import CreateRequest, Order
from styles.generation.samplers import schedule_used
from styles.quantization.quantization import quantization_of
from styles.storage.version import version
from styles.text import Text

BLACK = 3  # of 255: a picture with nothing brighter is black to the eye


@dataclass(frozen=True, eq=False)
class PictureDone:
    """A picture is finished; `notes` say what the artist should know about it."""

    index: int  # in the request
    image: Image.Image
    recipe: Recipe
    notes: tuple[Text, ...] = ()
    hidden: bool = False  # by the base's safety checker


def finish(
    base: Base,
    order: Order,
    names: dict[str, str],
    latents: Tensor,
    pictures: int,
    row: int,
    index: int,
    cancelled: Callable[[], bool],
) -> PictureDone | None:
    """Decode one picture, look at it, and write its recipe; None if it is not numbers.

    `latents` is (1, C, h, w), row `row` of a batch of `pictures`; `names` are the styles' by id.
    """
    request = order.request
    decoding: list[Text] = []
    with in_slices(base, latents.shape[-2] * latents.shape[-1], 1, cancelled), _enough_memory(base, latents):
        pixels = _decode(base, latents, decoding)  # (h, w, 3) in 0..1
    if pixels is None:
        return None
    image = Image.fromarray((pixels * 255).round().to(torch.uint8).cpu().numpy())
    notes = (*_notes(base, order, index), *decoding)
    if base.compiled_blocks is not None:
        notes += base.compiled_blocks.news()
    hidden = request.safety_checker and base.safety_checker is not None and _unsafe(base, image)
    if hidden:
        image = Image.new("RGB", image.size)
        notes += (Text("The base's safety checker hid this picture; it can be turned off in the settings."),)
    elif max(high for _, high in image.getextrema()) <= BLACK:  # type: ignore[misc]
        notes += (
            Text("This picture is black: try another seed or a lower weight.")
            if base.dtype == torch.float32
            else Text(
                "This picture is black: choose fp32 as the precision, in the settings, or try another seed or a lower weight."
            ),
        )
    return PictureDone(
        0 if request.only is not None else index,
        image,
        _recipe(base, order, names, pictures, row, index),
        notes,
        hidden,
    )


def _decode(base: Base, latents: Tensor, notes: list[Text]) -> Tensor | None:
    """Return the picture of one latent, (h, w, 3) in 0..1; None if not numbers."""
    if not bool(torch.isfinite(latents).all()):
        return None
    height, width = latents.shape[-2:]
    precision: AbstractContextManager[Any] = nullcontext()
    try:
        bring(base, base.vae, work_bytes=decoding_bytes(base.vae, height * width * base.vae_factor**2))
    except OutOfMemory:
        # It lies on the CPU, where half precision is no faster.
        notes.append(on_cpu_note(base.device))
        precision = in_fp32(base.vae)
    with precision:
        decoded = decode(base.vae, latents, notes)
    if not bool(torch.isfinite(decoded).all()):
        return None
    return (decoded[0].permute(1, 2, 0) * 0.5 + 0.5).clamp(0, 1)


def _enough_memory(base: Base, latents: Tensor) -> AbstractContextManager[None]:
    """Say in words that not even the last way to decode has room: it must not be taken for the denoising's."""
    height, width = latents.shape[-2:]
    return memory_errors(
        "{device} has too little memory to decode a picture of {width_px}x{height_px} px.",
        "Choose a smaller size, or close other programs.",
        device=base.device,
        width_px=width * base.vae_factor,
        height_px=height * base.vae_factor,
    )


@torch.no_grad()
def _unsafe(base: Base, image: Image.Image) -> bool:
    """Ask the base's safety checker, on the CPU where the device has no room for it."""
    import numpy

    checker = base.safety_checker
    inputs = base.feature_extractor([image], return_tensors="pt").pixel_values
    pixels = numpy.asarray(image, dtype=numpy.float32)[None] / 255

    def flagged() -> bool:
        weight = next(checker.parameters())
        _, found = checker(images=[*pixels], clip_input=inputs.to(weight.device, weight.dtype))
        return bool(found[0])

    try:
        bring(base, checker)
        return flagged()
    except Exception as error:
        if base.device.type == "cpu" or not is_out_of_memory(error):
            raise
    send_away([checker], base.device)
    with in_fp32(checker):
        return flagged()


def _notes(base: Base, order: Order, index: int) -> tuple[Text, ...]:
    notes: list[Text] = []
    request = order.request
    for name, text in (
        (Text("prompt"), request.prompts[index]),
        (Text("negative prompt"), request.negative),
    ):
        for stage in order.prompts_over(text):
            notes += prompt_notes(base, name, stage, order.vocabularies[index], request.reading)
    notes = list(dict.fromkeys(notes))
    if request.clip_skip > 2 and len(base.text_encoders) > 1:
        notes.append(
            Text(
                "Clip skip {clip_skip} changes nothing: this base always reads the layer before the last.",
                clip_skip=request.clip_skip,
            )
        )
    passes = order.blends[index].passes
    if passes > 1:
        notes.append(
            Text("With average guidance every step took {passes} passes, one for each style.", passes=passes)
        )
    used = schedule_used(base, request.sampler, request.schedule)
    if request.schedule not in (None, used):
        notes.append(
            Text(
                "“{sampler}” doesn't take the schedule type “{schedule}” on this base; it took “{used}”.",
                sampler=request.sampler,
                schedule=request.schedule,
                used=used,
            )
        )
    return tuple(notes)


def _recipe(base: Base, order: Order, names: dict[str, str], pictures: int, row: int, index: int) -> Recipe:
    request, first = order.request, order.runs[0]
    second = request.second_pass
    factor = base.vae_factor
    return Recipe(
        prompt=request.prompts[index],
        negative=request.negative,
        base=base.name,
        base_fingerprint=base.fingerprint,
        family=base.family,
        blend=order.blends[index],
        style_names=tuple(sorted(names.items())),
        seed=request.seeds[index],
        sampler=request.sampler,
        schedule=schedule_used(base, request.sampler, request.schedule),
        clip_skip=request.clip_skip,
        prompt_signs=request.prompt_signs,
        steps=request.steps,
        guidance=order.guidance,
        guidance_rescale=order.guidance_rescale,
        width_px=first.width_px,
        height_px=first.height_px,
        safety_checker=request.safety_checker and base.safety_checker is not None,
        device=base.device.type,
        dtype=dtype_name(base.dtype),
        batch_shape=(pictures, base.latent_channels, first.height_px // factor, first.width_px // factor),
        batch_index=row,
        versions=_versions(request, base),
        source=request.source.sha256 if request.source else "",
        source_strength=request.strength if request.source else 0.0,
        second_scale=second.scale if second else 0.0,
        second_strength=second.strength if second else 0.0,
        second_steps=second.steps if second else 0,
        threads=torch.get_num_threads() if base.device.type == "cpu" else 0,
        vae=base.vae_fingerprint,
        quantize=base.quantize,
    )


def _versions(request: CreateRequest, base: Base) -> tuple[tuple[str, str], ...]:
    import diffusers

    versions = {"atelier": version(), "diffusers": diffusers.__version__, "torch": torch.__version__}
    if request.source is not None:
        import PIL

        versions["pillow"] = PIL.__version__  # it brings the source to size
    quantization = quantization_of(base.quantize)
    if quantization is not None:
        versions[quantization.name] = quantization.version
    return tuple(sorted(versions.items()))
