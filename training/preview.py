"""Small pictures of how far a style has come, painted with the layers in training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from styles.bases.base import Base
from styles.bases.conditioning import Conditioning
from styles.bases.offload import move_if_room
from styles.bases.prediction import predict
from styles.bases.vae import decode
from styles.devices.device import wait_for
from styles.generation.samplers import make_scheduler
from styles.storage.atomic import replacing
from training.encode import Interrupted
from training.events import PreviewReady
from training.job import Job
from training.plan import TrainingPlan


@torch.no_grad()
def paint_previews(
    base: Base,
    unet: Any,
    prompts: Conditioning,
    negative: Conditioning,
    plan: TrainingPlan,
    cancelled: Callable[[], bool],
) -> list[Image.Image]:
    """Paint one picture per prompt, from the same noise at every call; raises Interrupted between two steps.

    `negative` is a single row, of the empty prompt where there is none. The VAE waits on the CPU and visits the device only to decode.
    """
    latents = torch.cat([_start(base, plan.preview_seed + number) for number in range(len(prompts))])
    at_once = max(1, plan.batch // 2)  # with guidance no more than a training step holds
    training = unet.training
    unet.eval()
    try:
        done = [
            _denoise(
                base, unet, latents[n : n + at_once], prompts[n : n + at_once], negative, plan, cancelled
            )
            for n in range(0, len(prompts), at_once)
        ]
    finally:
        unet.train(training)
    return _decode(base, torch.cat(done))


def _start(base: Base, seed: int) -> Tensor:
    side = base.native_size_px // base.vae_factor
    generator = torch.Generator().manual_seed(seed)  # on the CPU: the same noise on every device
    return torch.randn((1, base.latent_channels, side, side), generator=generator)


def _denoise(
    base: Base,
    unet: Any,
    latents: Tensor,
    prompts: Conditioning,
    negative: Conditioning,
    plan: TrainingPlan,
    cancelled: Callable[[], bool],
) -> Tensor:
    scheduler = make_scheduler(base)
    scheduler.set_timesteps(plan.preview_steps)
    # They stay on the CPU: indexing them there never waits for the device.
    timesteps = scheduler.timesteps.to(base.device)
    guidance, rescale = base.default_guidance
    latents = latents.to(base.device) * scheduler.init_noise_sigma
    conditioning = Conditioning.cat([*[negative] * len(prompts), prompts])  # (2B, tokens, width)
    conditioning = conditioning.to(base.device, base.dtype).sized_as(base.native_size_px, base.native_size_px)
    for timestep, on_device in zip(scheduler.timesteps, timesteps, strict=True):
        if cancelled():
            raise Interrupted
        inputs = scheduler.scale_model_input(latents, timestep).to(base.dtype)
        prediction = predict(unet, inputs, on_device, conditioning, guidance, rescale)
        latents = scheduler.step(prediction, timestep, latents, return_dict=False)[0]
        wait_for(base.device)
    return latents


def _decode(base: Base, latents: Tensor) -> list[Image.Image]:
    vae, place = base.vae, next(base.vae.parameters()).device
    # A preview is no reason to end a training: where there is no room for the VAE, it works on the CPU.
    move_if_room([vae], base.device)
    try:
        return [_picture(decode(vae, one)) for one in latents.split(1)]
    finally:
        vae.to(place)


def _picture(decoded: Tensor) -> Image.Image:
    pixels = torch.nan_to_num((decoded[0] + 1) * 127.5).clamp(0, 255).round()  # (3, H, W)
    return Image.fromarray(pixels.permute(1, 2, 0).to("cpu", torch.uint8).numpy())


def is_preview_due(job: Job, plan: TrainingPlan, step: int) -> bool:
    """Say whether previews belong before a step that are not there yet."""
    if not plan.preview_every or not plan.preview_prompts:
        return False
    due = step % plan.preview_every == 0 or step == plan.steps
    return due and not (job.folder / _path(step, len(plan.preview_prompts) - 1)).exists()


def keep_previews(job: Job, plan: TrainingPlan, step: int, images: list[Image.Image]) -> PreviewReady:
    """Write the previews of a step into the job's folder."""
    paths = []
    for number, image in enumerate(images):
        paths.append(_path(step, number))
        with replacing(job.folder / paths[-1]) as temporary:
            image.save(temporary)
    return PreviewReady(step, tuple(paths), plan.preview_prompts)


def _path(step: int, number: int) -> str:
    return f"previews/step-{step:06d}-{number}.png"
