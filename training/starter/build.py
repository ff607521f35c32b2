"""Make the starter model from nothing: draw, then the autoencoder, the words, the UNet, and the finished folder.

Each stage keeps its state in one folder and goes on from there, so that the build may be stopped at any time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.starter.autoencoder import encode_drawings, train_decoder, train_vae
from training.starter.drawings import draw_all, read_drawn
from training.starter.model import make_scheduler, make_unet
from training.starter.stage import BuildPlan, Stage, autocast, set_rate
from training.starter.words import encode_captions, train_words


def build(state: Path, out: Path, plan: BuildPlan, device: torch.device) -> None:
    """Run every stage that is not finished in `state`, then write the model folder `out`."""
    state.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(plan.seed)
    draw_all(state, plan.drawings, plan.textures, plan.workers)
    vae = train_vae(state, plan, device)
    encode_drawings(state, vae, device)
    train_decoder(state, plan, vae, device)
    text_encoder, tokenizer = train_words(state, plan, device)
    unet = train_unet(state, plan, text_encoder, tokenizer, device)
    write_model(state, out, vae, text_encoder, tokenizer, unet)


# --- the UNet --------------------------------------------------------------------------------------------


def train_unet(state: Path, plan: BuildPlan, encoder: Any, tokenizer: Any, device: torch.device) -> Any:
    """Train the UNet by the plain v loss on the drawings' latents; returns the averaged weights."""
    unet = make_unet().to(device, memory_format=torch.channels_last)
    averaged = make_unet().to(device).requires_grad_(False)
    averaged.load_state_dict(unet.state_dict())
    optimizer = torch.optim.AdamW(
        unet.parameters(), lr=plan.learning_rate, betas=(0.9, 0.99), weight_decay=0.01
    )
    stage = Stage(state / "unet.pt", unet, optimizer, averaged)
    stored = torch.load(state / "latents.pt", weights_only=True)
    mean, deviation = stored["latents"].chunk(2, 1)
    captions = encode_captions(encoder, tokenizer, [record.caption for record in read_drawn(state)], device)
    nothing = encode_captions(encoder, tokenizer, [""], device)
    alphas = make_scheduler().alphas_cumprod
    pairs = list(zip(averaged.parameters(), unet.parameters(), strict=True))
    for step in stage.steps("UNet", plan.unet_steps):
        rng = torch.Generator().manual_seed(plan.seed * 1_000_003 + step)
        rows = torch.randint(len(mean), (plan.unet_batch,), generator=rng)
        noise = torch.randn((2, plan.unet_batch, *mean.shape[1:]), generator=rng)
        # Spread evenly over the schedule with one random offset: less noise in the gradient than free draws.
        places = (
            torch.arange(plan.unet_batch) + torch.rand(plan.unet_batch, generator=rng)
        ) / plan.unet_batch
        timesteps = (places * len(alphas)).long().clamp(max=len(alphas) - 1)
        dropped = torch.rand(plan.unet_batch, generator=rng) < 0.1
        clean = (mean[rows].float() + deviation[rows].float() * noise[0]) * stored["scale"]
        signal = alphas[timesteps].sqrt().view(-1, 1, 1, 1)
        spread = (1 - alphas[timesteps]).sqrt().view(-1, 1, 1, 1)
        noisy = signal * clean + spread * noise[1]
        target = signal * noise[1] - spread * clean
        text = torch.where(dropped.view(-1, 1, 1), nothing, captions[rows]).float()
        noisy = noisy.to(device, memory_format=torch.channels_last)
        predicted = _predict(unet, noisy, timesteps.to(device), text.to(device), device)
        loss = F.mse_loss(predicted.float(), target.to(device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
        rate = warm_flat_decay(step, plan.unet_steps, plan.decay_share)
        set_rate(optimizer, plan.learning_rate * rate)
        optimizer.step()
        if step % 4 == 0:
            # A short memory at first: the first weights are noise.
            _average(pairs, keep=0.5 ** (4 / min(plan.ema_half_life, 4 + step / 10)))
        if step % 50 == 0:
            print(f"UNet: loss {loss.item():.4f}", flush=True)
    return averaged.eval()


def _predict(unet: Any, noisy: Tensor, timesteps: Tensor, text: Tensor, device: torch.device) -> Tensor:
    # On a CPU the gradients of small convolutions are no faster in bfloat16, so only a GPU gets autocast.
    if device.type == "cpu":
        return unet(noisy, timesteps, text).sample
    with autocast(device):
        return unet(noisy, timesteps, text).sample


@torch.no_grad()
def _average(pairs: list[tuple[Tensor, Tensor]], keep: float) -> None:
    torch._foreach_lerp_([slow for slow, _ in pairs], [fast for _, fast in pairs], 1 - keep)


def warm_flat_decay(step: int, total: int, decay_share: float, warm_up: int = 100) -> float:
    left = (total - step) / (total * decay_share)
    return min(1.0, (step + 1) / warm_up, left)


# --- the finished folder ---------------------------------------------------------------------------------


def write_model(state: Path, out: Path, vae: Any, text_encoder: Any, tokenizer: Any, unet: Any) -> None:
    """Write the StableDiffusionPipeline folder in fp16 safetensors."""
    from diffusers import StableDiffusionPipeline

    vae.register_to_config(scaling_factor=torch.load(state / "latents.pt", weights_only=True)["scale"])
    pipeline = StableDiffusionPipeline(
        vae=vae.cpu().half(),
        text_encoder=text_encoder.cpu().half(),
        tokenizer=tokenizer,
        unet=unet.cpu().half(),
        scheduler=make_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(out, safe_serialization=True)
    print(f"written to {out}", flush=True)
