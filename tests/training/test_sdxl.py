"""Training Stable Diffusion XL: its gradients are those of a plain loop, it learns, goes on as if never broken off."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from styles.bases.base import Base, open_base
from styles.bases.conditioning import picture_time_ids
from styles.bases.prediction import predict
from styles.formats.reader import read_style
from styles.generation.request import CreateRequest
from styles.library.library import Library
from styles.storage.home import Home
from tests.styles.painting import loaded_pipeline, paint, pixels
from tests.tiny import tiny_base_folder
from training import checkpoint, encode
from training.adapters import adapted
from training.draws import draw
from training.events import Finished, Paused, PhaseStarted, StepDone
from training.job import Job
from training.loop import train
from training.trainer import Trainer, begin

from .conftest import picture, small_plan

MakeJob = Callable[..., Job]
# A wide artwork, cropped at both sides to 256 x 128 px.
WIDE_PX = (400, 160)
PLAIN = {
    "batch": 2, "gradient_accumulation": 1, "gradient_checkpointing": False, "noise_offset": 0.0, "caption_dropout": 0.0,
    "opposite_every": 0, "grad_clip": 1e3, "resolution_px": 192, "preview_every": 0, "rank": 2, "alpha": 4.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def folders(tiny_sdxl: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    velocity = tiny_base_folder(
        tmp_path_factory.mktemp("bases") / "v",
        "sdxl",
        prediction_type="v_prediction",
        zero_terminal_snr=False,
    )
    return {"epsilon": tiny_sdxl, "v_prediction": velocity}


def opened(folder: Path) -> Base:
    return open_base(folder, Home(folder.parent), device="cpu")


@pytest.fixture
def one_artwork(tmp_path: Path, make_job: MakeJob) -> Callable[..., Job]:
    """Make a job with a single wide artwork."""

    def make(base: Path, **overrides: Any) -> Job:
        file = tmp_path / "wide.png"
        picture(*WIDE_PX).save(file)
        file.with_suffix(".txt").write_text("a red cat", encoding="utf-8")
        return Job.create(tmp_path / "home" / "jobs", small_plan(base, "sdxl", **PLAIN | overrides), [file])

    return make


def trainer_of(base: Base, job: Job) -> Iterator[Trainer]:
    for _ in encode.prepare(base, job, job.plan, lambda: False):
        pass
    with adapted(base.unet, job.plan) as weights:
        trainer = begin(job, job.plan, base, weights)
        try:
            yield trainer
        finally:
            trainer.close()


def plain_gradients(
    folder: Path,
    prediction: str,
    weights: dict[str, Tensor],
    latents: Tensor,
    noise: Tensor,
    timesteps: Tensor,
) -> dict[str, Tensor]:
    """One step by diffusers' own modules: W x + (alpha / r) B A x (arXiv 2106.09685), min-SNR (arXiv 2303.09556)."""
    pipeline = StableDiffusionXLPipeline.from_pretrained(folder, local_files_only=True)
    unet: Any = UNet2DConditionModel.from_pretrained(folder / "unet")
    unet.requires_grad_(False)
    leaves = {name: value.detach().clone().requires_grad_() for name, value in weights.items()}

    def adapt(path: str) -> Callable[..., Tensor]:
        down, up = leaves[f"{path}.down"], leaves[f"{path}.up"]
        return lambda module, inputs, output: output + 4.0 / 2 * (inputs[0] @ down.T) @ up.T

    for path in {name.rpartition(".")[0] for name in leaves}:
        unet.get_submodule(path).register_forward_hook(adapt(path))
    states, _, pooled, _ = pipeline.encode_prompt("blocks, a red cat", do_classifier_free_guidance=False)
    schedule = DDPMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type=prediction
    )
    target = noise if prediction == "epsilon" else schedule.get_velocity(latents, noise, timesteps)
    # Scaled to 320 x 128 px for a bucket of 256 x 128, so that 32 are cut off on the left.
    time_ids = torch.tensor([[160, 400, 0, 32, 128, 256]] * 2)
    predicted = unet(
        schedule.add_noise(latents, noise, timesteps),
        timesteps,
        states.repeat(2, 1, 1),
        added_cond_kwargs={"text_embeds": pooled.repeat(2, 1), "time_ids": time_ids},
    ).sample
    snr = schedule.alphas_cumprod[timesteps] / (1 - schedule.alphas_cumprod[timesteps])
    weight = snr.clamp(max=5) / (snr if prediction == "epsilon" else snr + 1)
    loss = ((predicted - target).square().mean(dim=(1, 2, 3)) * weight).mean()
    loss.backward()
    return {name: value.grad for name, value in leaves.items() if value.grad is not None}


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_a_step_has_the_gradients_of_a_plain_loop(
    prediction: str, folders: dict[str, Path], one_artwork: MakeJob
) -> None:
    base = opened(folders[prediction])
    job = one_artwork(folders[prediction])
    for trainer in trainer_of(base, job):
        generator = torch.Generator().manual_seed(1)
        for name, weight in trainer.weights.items():
            if name.endswith(".up"):
                weight.data = 0.05 * torch.randn(weight.shape, generator=generator)
        before = {name: weight.detach().clone() for name, weight in trainer.weights.items()}
        drawn = draw(trainer.prepared, job.plan, 0, 0, 1000)
        trainer.take_step()
        # After one step AdamW's first moment is a tenth of the gradient.
        ours = {
            name: trainer.optimizer.optimizer.state[weight]["exp_avg"] / 0.1
            for name, weight in trainer.weights.items()
        }
        theirs = plain_gradients(
            folders[prediction], prediction, before, drawn.latents, drawn.noise, drawn.timesteps
        )
        assert ours.keys() == theirs.keys() and len(ours) == 2 * 4 * 8
        for name, gradient in theirs.items():
            assert gradient.norm() > 0
            assert (ours[name] - gradient).norm() <= 1e-4 * gradient.norm(), name


def test_an_artwork_brings_its_own_size_and_crop(folders: dict[str, Path], one_artwork: MakeJob) -> None:
    base = opened(folders["epsilon"])
    job = one_artwork(folders["epsilon"], flip=True)
    for _ in encode.prepare(base, job, job.plan, lambda: False):
        pass
    prepared = encode.load(job)
    (bucket,) = prepared.buckets
    expected = picture_time_ids(256, 128, original_px=WIDE_PX, crop_px=(32, 0))
    assert torch.equal(bucket.time_ids, expected.expand(2, 6))
    assert prepared.captions.pooled is not None
    assert not prepared.captions.pooled[0].any(), "the empty caption says nothing, as SDXL was trained"
    assert prepared.captions.pooled[1].any()


def teach_to_denoise(base: Base, prepared: encode.Prepared) -> None:
    """Let the UNet see noise over random blocks for a while, since one of random weights has nothing to be adapted."""
    base.unet.requires_grad_(True)
    optimizer = torch.optim.AdamW(base.unet.parameters(), lr=2e-3)
    schedule = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    generator = torch.Generator().manual_seed(0)
    conditioning = prepared.captions[[0] * 4].sized_as(64, 64)
    for _ in range(40):
        blocks = 0.05 * torch.nn.functional.interpolate(torch.randn(4, 4, 4, 4, generator=generator), 16)
        noise = torch.randn(blocks.shape, generator=generator)
        timesteps = torch.randint(500, 1000, (4,), generator=generator)
        noisy = schedule.add_noise(blocks, noise, timesteps)  # type: ignore[arg-type]
        loss = (predict(base.unet, noisy, timesteps, conditioning) - noise).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    base.unet.requires_grad_(False)


def test_a_hundred_steps_on_one_artwork_halve_the_loss(
    folders: dict[str, Path], one_artwork: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = opened(folders["epsilon"])
    job = one_artwork(
        folders["epsilon"], rank=8, alpha=8.0, batch=1, resolution_px=64, steps=100, learning_rate=3e-3,
        min_snr_gamma=None, warmup_fraction=0.0, final_rate_fraction=1.0,
    )  # fmt: skip
    for _ in encode.prepare(base, job, job.plan, lambda: False):
        pass
    teach_to_denoise(base, encode.load(job))
    for trainer in trainer_of(base, job):
        always = replace(draw(trainer.prepared, job.plan, 0, 0, 1000), timesteps=torch.tensor([600]))
        monkeypatch.setattr("training.trainer.draw", lambda *_, always=always: always)
        losses = []
        for _ in range(100):
            trainer.take_step()
            losses.append(trainer.read_loss())
        assert losses[-1] < losses[0] / 2


def test_a_resumed_training_equals_an_unbroken_one_and_its_style_opens_in_diffusers(
    folders: dict[str, Path], make_job: MakeJob, tmp_path: Path
) -> None:
    folder = folders["epsilon"]
    base = opened(folder)
    whole, broken = (
        make_job(folder, "sdxl", learning_rate=3e-2, flip=True, gradient_accumulation=2) for _ in range(2)
    )
    for job, pauses in ((whole, False), (broken, True)):
        with job.held():
            for event in train(job, base=base, device="cpu"):
                job.append(event)
                if pauses and isinstance(event, StepDone) and event.step == 2:
                    job.request("pause")
    assert isinstance(broken.events()[-1], Paused)
    with broken.held():
        for event in train(broken, base=base, device="cpu"):
            broken.append(event)
    ends = [job.events()[-1] for job in (whole, broken)]
    assert all(isinstance(end, Finished) for end in ends)
    results = [checkpoint.latest(job.folder / "checkpoints") for job in (whole, broken)]
    assert results[0] and results[1]
    assert all(torch.equal(results[0].weights[name], value) for name, value in results[1].weights.items())

    style = Library(whole.home).find("blocks")
    assert style.family == "sdxl" and style.path is not None
    pipeline = loaded_pipeline(base)
    about: dict[str, Any] = {"num_inference_steps": 3, "guidance_scale": 5.0, "width": 64, "height": 64}
    bare = pipeline("blocks, a cat", generator=torch.Generator().manual_seed(4), **about).images[0]
    pipeline.load_lora_weights(style.path.parent, weight_name=style.path.name, use_safetensors=True)
    theirs = pipeline("blocks, a cat", generator=torch.Generator().manual_seed(4), **about).images[0]
    request = CreateRequest(
        "blocks, a cat", seeds=(4,), steps=3, guidance=5.0, guidance_rescale=0.0, weights=((1.0,),)
    )
    (ours,) = paint(base, request, (read_style(style.path),))
    assert abs(pixels(ours.image) - pixels(theirs)).max() <= 1
    assert abs(pixels(bare) - pixels(theirs)).max() > 2, "what was learnt is seen"


def test_the_text_encoders_leave_the_memory_before_the_first_step(
    folders: dict[str, Path], make_job: MakeJob
) -> None:
    def encoders() -> int:
        gc.collect()
        return sum(type(one) in (CLIPTextModel, CLIPTextModelWithProjection) for one in gc.get_objects())

    before, job = encoders(), make_job(folders["epsilon"], "sdxl", steps=1)
    counts: dict[str, int] = {}
    with job.held():
        for event in train(job, device="cpu"):
            if isinstance(event, PhaseStarted) and event.phase != "latents":
                counts[event.phase] = encoders() - before
    assert counts["captions"] >= 2 and counts["training"] == 0
