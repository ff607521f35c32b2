"""From a request to pictures: our own denoising loop, a generator that can be watched and stopped at every step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from styles.base import Base
from styles.blend import Blend, BlendPart
from styles.errors import BlendError, Cancelled, Failure, OutOfMemory, PromptError, RecipeError
from styles.prompts import check_prompt, cut_words, encode_prompts
from styles.recipe import MAX_GUIDANCE, MAX_PICTURES, MAX_PIXELS, MAX_SEED, MAX_STEPS, SAMPLERS, Recipe
from styles.sampling import make_scheduler
from styles.stacked import BlendedModel, blended, check_family
from styles.style import Style

BLACK = 3  # of 255: a picture with nothing brighter is black to the eye
LATENTS_AT_ONCE = {"cpu": 4 * 16 * 16, "accelerator": 8 * 64 * 64}  # summed over the pictures of a batch
BYTES_PER_LATENT = 1.2e9 / 64**2  # of a guided picture in half precision, with room to spare


@dataclass(frozen=True)
class CreateRequest:
    """What to paint: one picture for each seed.

    `prompt` is one text for all pictures, or one for each. `weights` is (pictures, styles), or one row for all.
    `None` and 0 mean what suits the base. `batch` pictures go through the UNet at once; with `only`, all seeds are
    one batch of which a single picture is wanted (that is how a picture is made again).
    """

    prompt: str | tuple[str, ...]
    negative: str = ""
    weights: tuple[tuple[float, ...], ...] = ()
    seeds: tuple[int, ...] = (0,)
    steps: int = 20
    guidance: float | None = None  # 1 and below: none, and half the work
    guidance_rescale: float | None = None  # 0..1, arXiv 2305.08891
    sampler: str = SAMPLERS[0]
    width_px: int = 0
    height_px: int = 0
    batch: int = 0
    only: int | None = None
    safety_checker: bool = True

    def __post_init__(self) -> None:
        count = len(self.seeds)
        if not 1 <= count <= MAX_PICTURES:
            raise RecipeError(f"{count} pictures can't be made at once.", f"Ask for 1 to {MAX_PICTURES}.")
        for seed in self.seeds:
            if not 0 <= seed <= MAX_SEED:
                raise RecipeError(f"{seed} is no seed.", f"Seeds go from 0 to {MAX_SEED}.")
        if not 1 <= self.steps <= MAX_STEPS:
            raise RecipeError(
                f"{self.steps} steps can't be done.", f"Choose 1 to {MAX_STEPS}; 20 to 30 is usual."
            )
        if self.guidance is not None and not 0 <= self.guidance <= MAX_GUIDANCE:
            raise RecipeError(
                f"A guidance of {self.guidance} can't be used.",
                f"Choose 0 to {MAX_GUIDANCE:g}; 7.5 is usual.",
            )
        if self.guidance_rescale is not None and not 0 <= self.guidance_rescale <= 1:
            raise RecipeError(
                f"A guidance rescale of {self.guidance_rescale} can't be used.", "Choose 0 to 1."
            )
        if self.sampler not in SAMPLERS:
            raise RecipeError(
                f"“{self.sampler}” is no sampler here.", f"Choose one of: {', '.join(SAMPLERS)}."
            )
        if isinstance(self.prompt, tuple) and len(self.prompt) != count:
            raise PromptError(
                f"There are {len(self.prompt)} prompts for {count} pictures.", "Give one for each."
            )
        if self.weights and len(self.weights) not in (1, count):
            raise BlendError(f"There are {len(self.weights)} rows of weights for {count} pictures.")
        if not all(math.isfinite(weight) for row in self.weights for weight in row):
            raise BlendError("A weight is not a finite number.", "Give a number such as 0.7 for each style.")
        if self.only is not None and self.only not in range(count):
            raise RecipeError(f"There is no picture {self.only} in a batch of {count}.")
        for text in (*self.prompts, self.negative):
            check_prompt(text)

    @property
    def prompts(self) -> tuple[str, ...]:
        """One prompt for each picture."""
        return (self.prompt,) * len(self.seeds) if isinstance(self.prompt, str) else self.prompt


@dataclass(frozen=True, eq=False)
class StepDone:
    """A step of one batch is done; `first` is the batch's first picture, `pictures` how many are asked for in all."""

    step: int  # 1..steps
    steps: int
    first: int
    pictures: int
    pixels: Tensor = field(repr=False)  # (batch, h, w, 3) uint8, still on the device

    @property
    def share(self) -> float:
        """How much of the whole request is done, 0..1."""
        return (self.first * self.steps + len(self.pixels) * self.step) / (self.pictures * self.steps)

    @property
    def previews(self) -> list[Image.Image]:
        """Small pictures of what is coming, one latent a pixel; made when asked for, as only then the device is waited for."""
        return [Image.fromarray(pixels) for pixels in self.pixels.cpu().numpy()]


@dataclass(frozen=True, eq=False)
class PictureDone:
    """A picture is finished; `notes` say what the artist should know about it."""

    index: int  # in the request
    image: Image.Image
    recipe: Recipe
    notes: tuple[str, ...] = ()
    hidden: bool = False  # by the base's safety checker


@dataclass(frozen=True)
class _Order:
    """A request with everything that the base decides filled in."""

    request: CreateRequest
    guidance: float
    guidance_rescale: float
    width_px: int
    height_px: int
    weights: Tensor  # (pictures, styles)


def generate(
    base: Base,
    request: CreateRequest,
    styles: Sequence[Style] = (),
    *,
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[StepDone | PictureDone]:
    """Paint the request with the styles mixed by its weights, yielding every step and every finished picture.

    The base carries the styles only while this runs. One seed makes one picture, whatever its neighbours. Raises BadInput
    before anything is computed, Cancelled between two steps, OutOfMemory, and Failure after the last picture if
    some were not numbers any more.
    """
    order = _fill_in(base, request, len(styles))
    check_family(base, styles)
    return _paint(base, order, styles, cancelled)


def _paint(
    base: Base, order: _Order, styles: Sequence[Style], cancelled: Callable[[], bool]
) -> Iterator[StepDone | PictureDone]:
    request = order.request
    count, first = len(request.seeds), 0
    fixed = request.batch > 0 or request.only is not None
    size = count if request.only is not None else request.batch or _automatic_batch(base, order)
    spoilt: list[int] = []
    with blended(base, styles) as mix:
        while first < count:
            pictures = range(first, min(first + size, count))
            try:
                for event in _paint_batch(base, order, styles, mix, pictures, cancelled):
                    if isinstance(event, int):
                        spoilt.append(event)
                        first = event + 1
                    else:
                        yield event
                        if isinstance(event, PictureDone):
                            first = event.index + 1
            except RuntimeError as error:  # of which torch's OutOfMemoryError is one
                if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in str(error):
                    raise
                if fixed or len(pictures) == 1:
                    raise OutOfMemory(
                        f"{base.device} has too little memory for {len(pictures)} pictures of "
                        f"{order.width_px}x{order.height_px} px at once.",
                        "Choose a smaller size or fewer pictures, or close other programs.",
                    ) from error
                size = len(pictures) // 2  # what is not finished yet goes again, in smaller batches
            else:
                first = pictures.stop
            if base.device.type != "cpu" and first < count:
                torch.accelerator.empty_cache()
    if spoilt:
        raise Failure(
            f"{len(spoilt)} of {count} pictures came out as no numbers (NaN) on {base.device} in {dtype_name(base.dtype)}: "
            f"number {', '.join(str(index + 1) for index in spoilt[:10])}.",
            "Lower the styles' weights and the guidance; if it stays so, choose fp32 in the settings.",
        )


def request_again(recipe: Recipe, styles: Sequence[Style]) -> CreateRequest:
    """Return the request that makes a recipe's picture again, in a batch of the same shape.

    Its neighbours of then are not needed: any pictures in their places leave the same rounding. `styles` must be
    the recipe's, in any order.
    """
    batch = recipe.batch_shape[0] if recipe.batch_shape else 1
    return CreateRequest(
        prompt=recipe.prompt,
        negative=recipe.negative,
        weights=(tuple(recipe.blend.weight_of(style.id) for style in styles),),
        seeds=(recipe.seed,) * batch,
        steps=recipe.steps,
        guidance=recipe.guidance,
        guidance_rescale=recipe.guidance_rescale,
        sampler=recipe.sampler,
        width_px=recipe.width_px,
        height_px=recipe.height_px,
        only=recipe.batch_index,
        safety_checker=recipe.safety_checker,
    )


def dtype_name(dtype: torch.dtype) -> str:
    """Return `fp32`, `fp16` or `bf16`."""
    return {torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16"}.get(dtype, str(dtype))


def _fill_in(base: Base, request: CreateRequest, styles: int) -> _Order:
    """Check the request against the base and complete it."""
    width, height = request.width_px or base.native_size_px, request.height_px or base.native_size_px
    multiple = base.size_multiple_px
    for name, size in (("width", width), ("height", height)):
        if size < multiple or size % multiple:
            near = max(multiple, round(size / multiple) * multiple)
            raise RecipeError(
                f"A {name} of {size} px can't be painted by “{base.name}”.",
                f"Choose a multiple of {multiple}, such as {near}.",
            )
    if width * height > MAX_PIXELS:
        raise RecipeError(
            f"{width}x{height} px is more than can be painted.",
            f"Stay under {MAX_PIXELS // 10**6} megapixels.",
        )
    rows = request.weights or ((1.0,) * styles,)
    if any(len(row) != styles for row in rows):
        raise BlendError(
            f"There are {len(rows[0])} weights for {styles} styles.", "Give one weight for each style."
        )
    if len(rows) == 1:
        rows = rows * len(request.seeds)
    for row in rows:
        for weight in row:
            BlendPart("", weight)  # raises for a weight out of range, before anything is computed
    guidance, rescale = base.default_guidance
    return _Order(
        request=request,
        guidance=guidance if request.guidance is None else request.guidance,
        guidance_rescale=rescale if request.guidance_rescale is None else request.guidance_rescale,
        width_px=width,
        height_px=height,
        # Double, so that the recipe tells the weights as they were given.
        weights=torch.tensor(rows, dtype=torch.float64).reshape(len(request.seeds), styles),
    )


def _automatic_batch(base: Base, order: _Order) -> int:
    latents = order.width_px * order.height_px // base.vae_factor**2
    if base.device.type == "cpu":
        return max(1, LATENTS_AT_ONCE["cpu"] // latents)
    most = LATENTS_AT_ONCE["accelerator"]
    if hasattr(torch.accelerator, "get_memory_info"):
        try:
            free, _ = torch.accelerator.get_memory_info(base.device)
            most = min(most, int(free / BYTES_PER_LATENT * 2 / base.dtype.itemsize))
        except (RuntimeError, NotImplementedError):
            pass  # a device that doesn't tell: a batch that is too large is halved later
    return max(1, min(32, most // latents))


def _paint_batch(
    base: Base,
    order: _Order,
    styles: Sequence[Style],
    mix: BlendedModel,
    pictures: range,
    cancelled: Callable[[], bool],
) -> Iterator[StepDone | PictureDone | int]:
    """Paint some of the request's pictures together; yields a bare index for a picture that is not numbers."""
    request = order.request
    if cancelled():
        raise Cancelled("Stopped before the first step.")
    if styles:
        mix.set_gains(order.weights[pictures.start : pictures.stop])
    guided = order.guidance > 1
    states = _states(base, request, styles, pictures, guided)  # (B or 2B, tokens, width)
    generators = [torch.Generator().manual_seed(request.seeds[index]) for index in pictures]
    scheduler = make_scheduler(base, request.sampler)
    scheduler.set_timesteps(request.steps)  # stay on the CPU: indexing them there never waits for the device
    timesteps = scheduler.timesteps.to(base.device)
    latents = _starting_noise(base, order, generators) * scheduler.init_noise_sigma  # (B, C, h, w) fp32
    noise = {"generator": generators} if request.sampler == "euler a" else {}
    first = 0 if request.only is not None else pictures.start
    for step in range(request.steps):
        if cancelled():
            raise Cancelled(f"Stopped after {step} of {request.steps} steps.")
        prediction = _predict(
            base, order, scheduler, latents, states, timesteps[step], scheduler.timesteps[step]
        )
        with torch.no_grad():
            outcome = scheduler.step(prediction, scheduler.timesteps[step], latents, **noise)
            latents = outcome.prev_sample
            clean = outcome.get("pred_original_sample")
            pixels = base.preview.pixels(scheduler.model_outputs[-1] if clean is None else clean)
        yield StepDone(step + 1, request.steps, first, len(request.seeds), pixels)
    shape = tuple(latents.shape)
    for row, index in enumerate(pictures):
        if request.only is not None and index != request.only:
            continue
        if cancelled():
            raise Cancelled("Stopped while finishing the pictures.")
        yield _finish(base, order, styles, latents[row : row + 1], shape, row, index)


def _starting_noise(base: Base, order: _Order, generators: Sequence[torch.Generator]) -> Tensor:
    shape = (base.latent_channels, order.height_px // base.vae_factor, order.width_px // base.vae_factor)
    # Drawn on the CPU in fp32, so that a seed is the same noise on every device.
    return torch.stack([torch.randn(shape, generator=generator) for generator in generators]).to(base.device)


@torch.no_grad()
def _states(
    base: Base, request: CreateRequest, styles: Sequence[Style], pictures: range, guided: bool
) -> Tensor:
    """Encode the batch's prompts, each text once unless a style changes the text encoder per picture."""
    prompts = [request.prompts[index] for index in pictures]
    texts = [request.negative] * len(prompts) + prompts if guided else prompts
    if any(layer.network != "unet" for style in styles for layer in style.layers):
        return encode_prompts(base, texts)
    different = list(dict.fromkeys(texts))
    return encode_prompts(base, different)[[different.index(text) for text in texts]]


@torch.no_grad()
def _predict(
    base: Base,
    order: _Order,
    scheduler: Any,
    latents: Tensor,
    states: Tensor,
    on_device: Tensor,
    timestep: Tensor,
) -> Tensor:
    """Return the guided prediction (B, C, h, w) in fp32."""
    guided = order.guidance > 1
    inputs = torch.cat([latents] * 2) if guided else latents
    inputs = scheduler.scale_model_input(inputs, timestep).to(base.dtype)
    prediction = base.unet(inputs, on_device, encoder_hidden_states=states, return_dict=False)[0].float()
    if not guided:
        return prediction
    without, withs = prediction.chunk(2)
    prediction = without + order.guidance * (withs - without)
    if order.guidance_rescale > 0:  # arXiv 2305.08891, section 3.4
        axes = list(range(1, prediction.ndim))
        rescaled = prediction * (withs.std(axes, keepdim=True) / prediction.std(axes, keepdim=True))
        prediction = order.guidance_rescale * rescaled + (1 - order.guidance_rescale) * prediction
    return prediction


def _finish(
    base: Base,
    order: _Order,
    styles: Sequence[Style],
    latents: Tensor,
    shape: tuple[int, ...],
    row: int,
    index: int,
) -> PictureDone | int:
    """Decode one picture, look at it, and write its recipe; returns the index alone if it is not numbers."""
    request = order.request
    pixels = _decode(base, latents)  # (h, w, 3) in 0..1
    if pixels is None:
        return index
    image = Image.fromarray((pixels * 255).round().to(torch.uint8).cpu().numpy())
    notes = _notes(base, request, index)
    hidden = request.safety_checker and base.safety_checker is not None and _unsafe(base, image)
    if hidden:
        image = Image.new("RGB", image.size)
        notes += ("The base's safety checker hid this picture; it can be turned off in the settings.",)
    elif max(high for _, high in image.getextrema()) <= BLACK:  # type: ignore[misc]
        notes += ("This picture is black: try another seed, a lower weight or fp32.",)
    return PictureDone(
        0 if request.only is not None else index,
        image,
        _recipe(base, order, styles, shape, row, index),
        notes,
        hidden,
    )


@torch.no_grad()
def _decode(base: Base, latents: Tensor) -> Tensor | None:
    """Return the picture of one latent, (h, w, 3) in 0..1, in fp32 if half precision overflows; None if not numbers."""
    if not bool(torch.isfinite(latents).all()):
        return None
    scaled = latents / base.vae.config.scaling_factor
    decoded = base.vae.decode(scaled.to(base.vae.dtype)).sample.float()
    if not bool(torch.isfinite(decoded).all()) and base.vae.dtype != torch.float32:
        dtype = base.vae.dtype
        try:
            decoded = base.vae.to(torch.float32).decode(scaled).sample
        finally:
            base.vae.to(dtype)  # there and back is exact
    if not bool(torch.isfinite(decoded).all()):
        return None
    return (decoded[0].permute(1, 2, 0) * 0.5 + 0.5).clamp(0, 1)


@torch.no_grad()
def _unsafe(base: Base, image: Image.Image) -> bool:
    """Ask the base's safety checker."""
    import numpy

    inputs = base.feature_extractor([image], return_tensors="pt").pixel_values
    pixels = numpy.asarray(image, dtype=numpy.float32)[None] / 255
    _, found = base.safety_checker(images=[*pixels], clip_input=inputs.to(base.device, base.dtype))
    return bool(found[0])


def _notes(base: Base, request: CreateRequest, index: int) -> tuple[str, ...]:
    notes = []
    for name, text in (("prompt", request.prompts[index]), ("negative prompt", request.negative)):
        cut = cut_words(base, text)
        if cut:
            notes.append(f"The {name} is longer than this base reads; left out: “{cut}”.")
    return tuple(notes)


def _recipe(
    base: Base, order: _Order, styles: Sequence[Style], shape: tuple[int, ...], row: int, index: int
) -> Recipe:
    request = order.request
    ids = [style.id or f"unsaved-{column + 1}" for column, style in enumerate(styles)]
    weights = order.weights[index].tolist()
    return Recipe(
        prompt=request.prompts[index],
        negative=request.negative,
        base=base.name,
        base_fingerprint=base.fingerprint,
        family=base.family,
        blend=Blend(tuple(BlendPart(style, weight) for style, weight in zip(ids, weights, strict=True))),
        style_names=tuple(sorted((style, styles[column].name) for column, style in enumerate(ids))),
        seed=request.seeds[index],
        sampler=request.sampler,
        steps=request.steps,
        guidance=order.guidance,
        guidance_rescale=order.guidance_rescale,
        width_px=order.width_px,
        height_px=order.height_px,
        safety_checker=request.safety_checker and base.safety_checker is not None,
        device=base.device.type,
        dtype=dtype_name(base.dtype),
        batch_shape=shape,
        batch_index=row,
        versions=_versions(),
    )


def _versions() -> tuple[tuple[str, str], ...]:
    import diffusers

    return (("diffusers", diffusers.__version__), ("torch", torch.__version__))
