"""The autoencoder's stages: trained on crops, its latents of all drawings kept, its decoder taught further on them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from training.starter.drawings import read_drawn, rows_by_hand
from training.starter.model import make_vae
from training.starter.stage import BuildPlan, Stage, autocast, set_rate, warm_then_cosine


def train_vae(state: Path, plan: BuildPlan, device: torch.device) -> Any:
    """Train the autoencoder on crops of drawings and textures: absolute and squared error, and a slight KL."""
    vae = make_vae().to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=6e-4, betas=(0.9, 0.99), weight_decay=0.0)
    stage = Stage(state / "vae.pt", vae, optimizer, None)
    drawings = np.load(state / "drawings.npy", mmap_mode="r")
    textures = np.load(state / "textures.npy", mmap_mode="r")
    crop_px = 64
    for step in stage.steps("autoencoder", plan.vae_steps, every=400):
        rng = np.random.default_rng([plan.seed, step, 1])
        torch.manual_seed(plan.seed * 1_000_003 + step)
        # The last fifth sees whole pictures, since normalisation depends on how much is seen.
        whole = step >= 0.8 * plan.vae_steps
        count = plan.vae_batch // 4 if whole else plan.vae_batch
        crops = []
        for _ in range(count):
            source = textures if rng.random() < 0.15 else drawings
            picture = source[int(rng.integers(len(source)))]
            if not whole:
                y, x = rng.integers(0, picture.shape[0] - crop_px + 1, 2)
                picture = picture[y : y + crop_px, x : x + crop_px]
            crops.append(picture[:, :: 1 if rng.random() < 0.5 else -1])
        pictures = as_input(np.stack(crops), device)
        with autocast(device):
            posterior = vae.encode(pictures).latent_dist
            restored = vae.decode(posterior.sample()).sample
        error = restored.float() - pictures
        variance = posterior.logvar.float().exp()
        kl = 0.5 * (posterior.mean.float() ** 2 + variance - 1 - posterior.logvar.float()).mean()
        loss = error.abs().mean() + 2 * error.pow(2).mean() + 3e-4 * kl
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        set_rate(optimizer, 6e-4 * warm_then_cosine(step, plan.vae_steps))
        optimizer.step()
        if step % 200 == 0:
            psnr = 10 * math.log10(4 / error.pow(2).mean().item())
            print(f"autoencoder: loss {loss.item():.4f}, {psnr:.1f} dB, kl {kl.item():.2f}", flush=True)
    return vae.eval().requires_grad_(False)


@torch.no_grad()
def encode_drawings(state: Path, vae: Any, device: torch.device, scale: float | None = None) -> None:
    """Write `latents.pt`: mean and deviation (N, 16, 16, 16) fp16 of all drawings, and their overall scale.

    An autoencoder that a UNet knows already keeps its own `scale`.
    """
    if (state / "latents.pt").exists():
        return
    drawings = np.load(state / "drawings.npy", mmap_mode="r")
    parts = []
    for first in range(0, len(drawings), 50):
        with autocast(device):
            posterior = vae.encode(as_input(np.array(drawings[first : first + 50]), device)).latent_dist
        parts.append(torch.cat([posterior.mean, posterior.std], 1).half().cpu())
        if first % 5000 == 0:
            print(f"encoding: {first} of {len(drawings)}", flush=True)
    latents = torch.cat(parts)
    mean = latents[:, : latents.shape[1] // 2].float()
    torch.save({"latents": latents, "scale": scale or 1 / mean.std().item()}, state / "latents.pt")
    print(f"encoding: deviation of each channel {mean.std((0, 2, 3)).tolist()}", flush=True)


def train_decoder(state: Path, plan: BuildPlan, vae: Any, device: torch.device) -> None:
    """Train the decoder alone further, on the kept latents, and most on the hands that it restores worst.

    The encoder stays, and so do the latents: a UNet trained on them need not know.
    """
    drawings = np.load(state / "drawings.npy", mmap_mode="r")
    textures = np.load(state / "textures.npy", mmap_mode="r")
    mean, deviation = torch.load(state / "latents.pt", weights_only=True)["latents"].chunk(2, 1)
    in_hands = list(rows_by_hand(read_drawn(state)).values())
    shares = torch.tensor([_error(vae, mean[rows[:8]], drawings[rows[:8]], device) for rows in in_hands])
    decoder = nn.ModuleList([vae.post_quant_conv, vae.decoder]).train().requires_grad_(True)
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=4e-4, betas=(0.9, 0.99), weight_decay=0.0)
    stage = Stage(state / "decoder.pt", decoder, optimizer, None)
    for step in stage.steps("decoder", plan.decoder_steps, every=200):
        rng = torch.Generator().manual_seed(plan.seed * 1_000_003 + step)
        hands = torch.multinomial(shares, plan.decoder_batch, replacement=True, generator=rng).tolist()
        latents, originals = [], []
        for hand in hands:
            chance = int(torch.randint(2**31, (), generator=rng))
            if chance % 8 == 0:  # now and then what is no drawing, since photographs pass through it as well
                picture = as_input(textures[[chance % len(textures)]], device)
                with torch.no_grad(), autocast(device):
                    latents.append(vae.encode(picture).latent_dist.mean.float())
                originals.append(picture)
                continue
            row = in_hands[hand][chance % len(in_hands[hand])]
            noise = torch.randn(mean[row].shape, generator=rng)
            latents.append((mean[row].float() + deviation[row].float() * noise)[None].to(device))
            originals.append(as_input(drawings[[row]], device))
        with autocast(device):
            restored = vae.decode(torch.cat(latents)).sample
        error = restored.float() - torch.cat(originals)
        loss = 0.5 * error.abs().mean() + 4 * error.pow(2).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        set_rate(optimizer, 4e-4 * warm_then_cosine(step, plan.decoder_steps))
        optimizer.step()
        if step % 200 == 0:
            print(f"decoder: loss {loss.item():.4f}", flush=True)
    vae.eval().requires_grad_(False)


@torch.no_grad()
def _error(vae: Any, latents: Tensor, drawings: np.ndarray, device: torch.device) -> float:
    """The mean squared error of a few restored drawings."""
    restored = vae.decode(latents.float().to(device)).sample.clamp(-1, 1)
    return float((restored - as_input(drawings, device)).pow(2).mean())


def as_input(array: np.ndarray, device: torch.device) -> Tensor:
    """uint8 (B, H, W, 3) as float (B, 3, H, W) in -1..1, channels last."""
    pictures = torch.from_numpy(array).to(device).permute(0, 3, 1, 2)
    return (pictures.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
