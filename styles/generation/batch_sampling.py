"""Our own denoising loop over one batch: a generator that can be watched and stopped at every step."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from styles.bases.base import Base
from styles.bases.conditioning import Conditioning
from styles.bases.offload import bring
from styles.bases.prediction import predict
from styles.bases.slices import in_slices
from styles.bases.stopping import stopped
from styles.bases.working_memory import MARGIN, denoising_bytes
from styles.devices.device import sent_to, wait_for
from styles.devices.memory import free_bytes
from styles.errors import Cancelled, is_out_of_memory
from styles.formats.style import Style
from styles.generation.prompts import encode_prompts
from styles.generation.request import Order, Run
from styles.generation.samplers import make_scheduler, sampler_of, set_steps
from styles.mixing.model_patcher import ModelPatcher
from styles.mixing.prompt_words import Vocabulary

Rows = tuple[tuple[float, ...], ...]  # (pictures, styles)
Prompts = tuple[str, ...]  # the negative one, then one for each picture
# Encodings of one batch's prompts, for styles that change the text encoder and take turns, and for prompts that change.
KEPT_STATES = 16


@dataclass(frozen=True, eq=False)
class DenoisingStep:
    """A step of one batch is done; `first` is the batch's first picture, `pictures` how many are asked for in all."""

    step: int  # 1..steps
    steps: int  # of each picture, a second pass included
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


def denoise(
    base: Base,
    order: Order,
    styles: Sequence[Style],
    mix: ModelPatcher,
    pictures: range,
    start: Tensor | None,
    cancelled: Callable[[], bool],
    apart: bool = False,
) -> Generator[DenoisingStep, None, Tensor]:
    """Denoise some of the order's pictures together, yielding every step; returns the latents (B, C, h, w) in fp32.

    `start` is the source picture's latents (1, C, h, w) on the CPU, None to paint from noise alone; `apart` as for
    `predict`, which it is by itself where memory asks for it. Raises Cancelled between two steps, and within one where
    `styles.bases.stopping` looks after the base.
    """
    seeds = order.request.seeds
    mixing = _Mixing(base, order, styles, mix, pictures, cancelled, apart)
    generators = [torch.Generator().manual_seed(seeds[index]) for index in pictures]
    first = 0 if order.request.only is not None else pictures.start
    done, latents = 0, start
    for number, run in enumerate(order.runs):
        if number > 0:
            assert latents is not None
            latents = _enlarged(base, latents, run)
        latents = yield from _run(base, order, run, mixing, generators, latents, done, first, cancelled)
        done += run.steps - run.first
    assert latents is not None
    return latents


def _run(
    base: Base,
    order: Order,
    run: Run,
    mixing: _Mixing,
    generators: Sequence[torch.Generator],
    clean: Tensor | None,
    done: int,
    first: int,
    cancelled: Callable[[], bool],
) -> Generator[DenoisingStep, None, Tensor]:
    """Do the steps of one run, after the `done` ones of the runs before, yielding each; returns the latents."""
    request, sampler = order.request, sampler_of(order.request.sampler)
    scheduler = make_scheduler(base, request.sampler, request.schedule)
    # They stay on the CPU: indexing them there never waits for the device.
    set_steps(scheduler, request.sampler, run.steps)
    timesteps = scheduler.timesteps.to(base.device)
    begin = run.first * sampler.evaluations
    end = min(run.steps * sampler.evaluations, len(timesteps))
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(begin)
    latents = _starting_latents(base, run, scheduler, begin, generators, clean)
    latents = latents.to(base.device)  # (B, C, h, w) fp32
    noise = {"generator": generators} if sampler.stochastic else {}
    for index in range(begin, end):
        step = index // sampler.evaluations
        if cancelled():
            raise Cancelled(
                "Stopped after {done} of {steps} steps.", done=step - run.first, steps=run.steps - run.first
            )
        timestep = scheduler.timesteps[index]
        with torch.no_grad():
            inputs = scheduler.scale_model_input(latents, timestep).to(base.dtype)
            prediction = mixing.prediction(inputs, timesteps[index], step, run)
            outcome = scheduler.step(prediction, timestep, latents, **noise)
            latents = outcome.prev_sample
        if (index + 1) % sampler.evaluations and index + 1 < end:
            continue
        clean_now = outcome.get("pred_original_sample", outcome.get("denoised"))
        with torch.no_grad():
            pixels = base.preview.pixels(scheduler.model_outputs[-1] if clean_now is None else clean_now)
        # The only wait of a step, so that stopping is heard and the clock tells the truth.
        wait_for(base.device)
        done += 1
        yield DenoisingStep(done, order.steps, first, len(request.seeds), pixels)
    return latents


def _starting_latents(
    base: Base,
    run: Run,
    scheduler: Any,
    begin: int,
    generators: Sequence[torch.Generator],
    clean: Tensor | None,
) -> Tensor:
    """Return noise, or the clean latents (1 or B, C, h, w) with as much noise as belongs to the timestep `begin`."""
    shape = (base.latent_channels, run.height_px // base.vae_factor, run.width_px // base.vae_factor)
    # Drawn on the CPU in fp32, so that a seed is the same noise on every device.
    noise = torch.stack([torch.randn(shape, generator=generator) for generator in generators])
    if clean is None:
        return noise * scheduler.init_noise_sigma
    clean = clean.expand_as(noise)
    if run.first == run.steps:
        return clean.clone()
    return scheduler.add_noise(clean, noise, scheduler.timesteps[begin : begin + 1])


def _enlarged(base: Base, latents: Tensor, run: Run) -> Tensor:
    """Return the latents at a run's size, on the CPU."""
    size = (run.height_px // base.vae_factor, run.width_px // base.vae_factor)
    return F.interpolate(latents.cpu(), size=size, mode="bicubic", align_corners=False)


class _Mixing:
    """One batch's styles on the model: at each step the gains that its blends ask for, and the prompt under them."""

    def __init__(
        self,
        base: Base,
        order: Order,
        styles: Sequence[Style],
        mix: ModelPatcher,
        pictures: range,
        cancelled: Callable[[], bool],
        apart: bool,
    ) -> None:
        self._apart = apart
        # Whether the mix is in the UNet's weights, so that what is compiled may be called; None: not tried yet.
        self._fused: bool | None = None
        self._base, self._order, self._mix, self._cancelled = base, order, mix, cancelled
        self._prompts = [order.request.prompts[index] for index in pictures]
        self._blends = [order.blends[index] for index in pictures]
        self._vocabularies = [order.vocabularies[index] for index in pictures]
        # The same for all of a batch, see `generate`.
        self._chunks = order.chunks[pictures.start]
        # Styles that change the text encoder, too: only their gains make it necessary to encode again.
        worded = [any(layer.network != "unet" for layer in style.layers) for style in styles]
        self._worded = [column for column, changes in enumerate(worded) if changes]
        self._composition = self._knobs("composition")
        self._texture = self._knobs("texture")
        self._heard = [{part.style for part in blend.sounding} for blend in self._blends]
        self._gains: Rows | None = None
        self._lasting = True  # the next step has the same gains
        self._conditionings: dict[tuple[Rows, Prompts], Conditioning] = {}
        self._prompted: Conditioning | None = None
        # The same for pictures of the run's size, made once: it goes to the device.
        self._sized: Conditioning | None = None
        self._size_px = (0, 0)

    def prediction(self, inputs: Tensor, timestep: Tensor, step: int, run: Run) -> Tensor:
        """Return the guided prediction (B, C, h, w) in fp32 at step 0..steps-1 of the sampler's whole run."""
        order = self._order
        ids, request = order.ids, order.request
        gains, after = (
            tuple(blend.gains_of_step(at, run.steps, ids) for blend in self._blends)
            for at in (step, step + 1)
        )
        # Where the mean is taken, there is one change after the other within a step.
        self._lasting = step + 1 < run.steps and gains == after and order.mode != "average guidance"
        prompts = tuple(request.prompt_at(text, step, run) for text in (request.negative, *self._prompts))
        if order.mode == "average guidance":
            return self._mean_prediction(inputs, timestep, gains, prompts)
        return self._guided(inputs, timestep, gains, prompts)

    def _mean_prediction(self, inputs: Tensor, timestep: Tensor, gains: Rows, prompts: Prompts) -> Tensor:
        """One guided pass with each style alone, and their mean for each picture over the styles that it has."""
        ids = self._order.ids
        columns = [column for column, style in enumerate(ids) if any(style in heard for heard in self._heard)]
        if not columns:
            return self._guided(inputs, timestep, gains, prompts)
        total: Tensor | None = None
        # In the order of the ids, so that the order of the sliders can't change a single bit of the picture.
        for column in sorted(columns, key=lambda column: ids[column]):
            if total is not None and self._cancelled():
                raise stopped()
            alone = tuple(
                tuple(gain if other == column else 0.0 for other, gain in enumerate(row)) for row in gains
            )
            prediction = self._guided(inputs, timestep, alone, prompts)
            # A picture without any style takes the first pass alone, which is the bare base's.
            counts = torch.tensor(
                [ids[column] in heard or not (heard or total is not None) for heard in self._heard]
            )
            counts = sent_to(prediction.device, counts)[:, None, None, None]
            summed = prediction if total is None else total + prediction
            total = torch.where(counts, summed, torch.zeros_like(summed) if total is None else total)
        assert total is not None
        many = torch.tensor([max(1, len(heard)) for heard in self._heard], dtype=torch.float32)
        return total / sent_to(total.device, many)[:, None, None, None]

    def _guided(self, inputs: Tensor, timestep: Tensor, gains: Rows, prompts: Prompts) -> Tensor:
        base = self._base
        height, width = inputs.shape[-2:]
        size_px = (width * base.vae_factor, height * base.vae_factor)
        conditioning = self._conditioning_under(gains, prompts, size_px)
        slices = in_slices(base, height * width, len(conditioning), self._cancelled)
        blocks = base.compiled_blocks
        if blocks is not None and self._fused and blocks.problem is None and isinstance(slices, nullcontext):
            try:
                with blocks.in_use():
                    return self._predict(inputs, timestep, conditioning)
            except Exception as error:
                if is_out_of_memory(error) or not blocks.fails_with(error):
                    raise
        with slices:
            return self._predict(inputs, timestep, conditioning)

    def _predict(self, inputs: Tensor, timestep: Tensor, conditioning: Conditioning) -> Tensor:
        order = self._order
        guidance = order.guidance if order.guided else None
        rescale = order.guidance_rescale
        return predict(self._base.unet, inputs, timestep, conditioning, guidance, rescale, apart=self._apart)

    def _conditioning_under(self, gains: Rows, prompts: Prompts, size_px: tuple[int, int]) -> Conditioning:
        """Set the gains and return what the prompts say under them for pictures (width, height), B or 2B rows."""
        if gains != self._gains and self._order.ids:
            self._mix.set_gains(gains, self._composition, self._texture, lasting=self._lasting)
            self._gains, self._fused = gains, None
        key = tuple(tuple(row[column] for column in self._worded) for row in gains), prompts
        if key not in self._conditionings:
            # The UNet may have to leave, and then with its own weights.
            self._unfuse()
            if len(self._conditionings) >= KEPT_STATES:
                self._conditionings.clear()
            self._conditionings[key] = self._encoded(*prompts)
        conditioning = self._conditionings[key]
        if conditioning is not self._prompted or size_px != self._size_px:
            self._make_room(size_px, len(conditioning))
        if conditioning is not self._prompted:
            self._unfuse()
            # Keys and values of cross-attention once, not at every step.
            self._mix.prompt(None if self._apart else conditioning.states)
            self._prompted, self._sized = conditioning, None
        if self._sized is None or size_px != self._size_px:
            self._sized, self._size_px = conditioning.sized_as(*size_px), size_px
        if self._fused is None and self._base.compiled_blocks is not None:
            self._fused = self._mix.fuse()
        return self._sized

    def _unfuse(self) -> None:
        self._mix.unfuse()
        self._fused = None

    def _make_room(self, size_px: tuple[int, int], rows: int) -> None:
        """Bring the UNet to the device for calls of so many rows, and split its guidance if that is still too little."""
        base = self._base
        latents = size_px[0] * size_px[1] // base.vae_factor**2
        work_bytes = denoising_bytes(base.unet, latents, rows)
        bring(base, base.unet, work_bytes=work_bytes)
        if self._order.guided and len(self._prompts) == 1 and base.device.type != "cpu":
            free = free_bytes(base.device)
            self._apart = self._apart or (free is not None and free < MARGIN * work_bytes)
        if self._apart:
            self._mix.spare_memory()

    @torch.no_grad()
    def _encoded(self, negative: str, *prompts: str) -> Conditioning:
        """Encode the prompts, each text once unless a style changes the text encoder per picture."""
        base, guided = self._base, self._order.guided
        if self._worded:
            texts = [negative] * len(prompts) * guided + [*prompts]
            words = self._vocabularies * (2 if guided else 1)
            return encode_prompts(base, texts, words, self._order.request.reading, self._chunks)
        # One picture's texts at a time: what its neighbours are asked for must not change what it rounds to.
        requested = list(zip(prompts, self._vocabularies, strict=True))
        pairs = {one: self._pair(negative, *one) for one in dict.fromkeys(requested)}
        positive = [pairs[one][-1:] for one in requested]
        negatives = [pairs[one][:1] for one in requested] if guided else []
        return Conditioning.cat([*negatives, *positive])

    def _pair(self, negative: str, prompt: str, words: Vocabulary) -> Conditioning:
        """Encode a prompt, with the negative one before it where it is needed."""
        texts = list(dict.fromkeys([negative, prompt] if self._order.guided else [prompt]))
        reading = self._order.request.reading
        return encode_prompts(self._base, texts, [words] * len(texts), reading, self._chunks)

    def _knobs(self, name: str) -> Rows | None:
        """One knob of all parts, (pictures, styles), None where all are 1."""
        rows = tuple(
            tuple(getattr(blend.part_of(style), name) for style in self._order.ids) for blend in self._blends
        )
        return None if all(knob == 1 for row in rows for knob in row) else rows
