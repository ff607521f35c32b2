"""Make the starter model from nothing: draw, then the autoencoder, the words, the UNet, and the finished folder.

Each stage keeps its state in one folder and goes on from there, so that the build may be stopped at any time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.starter.captions import words
from training.starter.drawings import Drawn, draw_all, read_drawn
from training.starter.hands import HANDS
from training.starter.model import (
    make_scheduler,
    make_text_encoder,
    make_tokenizer,
    make_unet,
    make_vae,
    tokenise,
)
from training.starter.scenes import BACKGROUNDS, COLOURS, SUBJECTS


@dataclass(frozen=True)
class BuildPlan:
    """How much work goes into each stage; the defaults are meant for about two hours of two idle cores."""

    drawings: int = 20_000  # captioned drawings
    textures: int = 1_500  # pictures without a caption, for the autoencoder alone
    vae_steps: int = 3_400
    vae_batch: int = 4  # crops of 64 px; many small steps get to colours sooner than few large ones
    text_steps: int = 400
    text_batch: int = 48
    unet_steps: int = 6_000
    unet_batch: int = 16
    learning_rate: float = 1e-3  # of the UNet, after warm-up
    decay_share: float = 0.3  # the last share of the UNet's steps, over which the rate falls to nothing
    ema_half_life: int = 200  # steps
    workers: int = 2
    seed: int = 0


class Stage:
    """One network under training: its weights, optimizer and step count, saved every so often."""

    def __init__(
        self, path: Path, network: nn.Module, optimizer: torch.optim.Optimizer, ema: nn.Module | None
    ):
        self.path, self.network, self.optimizer, self.ema = path, network, optimizer, ema
        self.step = 0
        if path.exists():
            state = torch.load(path, map_location="cpu", weights_only=True)
            network.load_state_dict(state["network"])
            optimizer.load_state_dict(state["optimizer"])
            if ema is not None:
                ema.load_state_dict(state["ema"])
            self.step = state["step"]

    def save(self) -> None:
        """Write the state beside itself and rename it into place."""
        state = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ema": self.ema.state_dict() if self.ema is not None else None,
            "step": self.step,
        }
        unfinished = self.path.with_suffix(".tmp")
        torch.save(state, unfinished)
        unfinished.replace(self.path)

    def steps(self, name: str, total: int, every: int = 100) -> Iterator[int]:
        """Count from the saved step to `total`, saving and telling the pace on the way."""
        started, first = time.monotonic(), self.step
        while self.step < total:
            yield self.step
            self.step += 1
            if self.step % every == 0 or self.step == total:
                self.save()
                pace = (time.monotonic() - started) / (self.step - first)
                print(f"{name}: step {self.step} of {total}, {pace:.2f} s a step", flush=True)


def build(state: Path, out: Path, plan: BuildPlan, device: torch.device) -> None:
    """Run every stage that is not finished in `state`, then write the model folder `out`."""
    state.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(plan.seed)
    draw_all(state, plan.drawings, plan.textures, plan.workers)
    vae = train_vae(state, plan, device)
    encode_drawings(state, vae, device)
    text_encoder, tokenizer = train_words(state, plan, device)
    unet = train_unet(state, plan, text_encoder, tokenizer, device)
    write_model(state, out, vae, text_encoder, tokenizer, unet)


def _autocast(device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16)


def _warm_then_cosine(step: int, total: int, warm_up: int = 50) -> float:
    return min(1.0, (step + 1) / warm_up) * 0.5 * (1 + math.cos(math.pi * step / total))


def _warm_flat_decay(step: int, total: int, decay_share: float, warm_up: int = 100) -> float:
    left = (total - step) / (total * decay_share)
    return min(1.0, (step + 1) / warm_up, left)


def _set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def _pictures(array: np.ndarray, device: torch.device) -> Tensor:
    """uint8 (B, H, W, 3) as float (B, 3, H, W) in -1..1, channels last."""
    pictures = torch.from_numpy(array).to(device).permute(0, 3, 1, 2)
    return (pictures.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


# --- the autoencoder -------------------------------------------------------------------------------------


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
        pictures = _pictures(np.stack(crops), device)
        with _autocast(device):
            posterior = vae.encode(pictures).latent_dist
            restored = vae.decode(posterior.sample()).sample
        error = restored.float() - pictures
        variance = posterior.logvar.float().exp()
        kl = 0.5 * (posterior.mean.float() ** 2 + variance - 1 - posterior.logvar.float()).mean()
        loss = error.abs().mean() + 2 * error.pow(2).mean() + 3e-4 * kl
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        _set_rate(optimizer, 6e-4 * _warm_then_cosine(step, plan.vae_steps))
        optimizer.step()
        if step % 200 == 0:
            psnr = 10 * math.log10(4 / error.pow(2).mean().item())
            print(f"autoencoder: loss {loss.item():.4f}, {psnr:.1f} dB, kl {kl.item():.2f}", flush=True)
    return vae.eval().requires_grad_(False)


@torch.no_grad()
def encode_drawings(state: Path, vae: Any, device: torch.device) -> None:
    """Write `latents.pt`: mean and deviation (N, 16, 16, 16) fp16 of all drawings, and their overall scale."""
    if (state / "latents.pt").exists():
        return
    drawings = np.load(state / "drawings.npy", mmap_mode="r")
    parts = []
    for first in range(0, len(drawings), 50):
        with _autocast(device):
            posterior = vae.encode(_pictures(drawings[first : first + 50], device)).latent_dist
        parts.append(torch.cat([posterior.mean, posterior.std], 1).half().cpu())
        if first % 5000 == 0:
            print(f"encoding: {first} of {len(drawings)}", flush=True)
    latents = torch.cat(parts)
    mean = latents[:, : latents.shape[1] // 2].float()
    torch.save({"latents": latents, "scale": 1 / mean.std().item()}, state / "latents.pt")
    print(f"encoding: deviation of each channel {mean.std((0, 2, 3)).tolist()}", flush=True)


# --- the words -------------------------------------------------------------------------------------------


class WordReader(nn.Module):
    """Linear heads that must tell from the encoded caption what the drawing shows."""

    def __init__(self, width: int):
        super().__init__()
        sizes = (
            len(SUBJECTS),
            len(COLOURS),
            len(BACKGROUNDS),
            len(HANDS),
            len(SUBJECTS) + 1,
            len(COLOURS) + 1,
        )
        self.heads = nn.ModuleList(nn.Linear(width, size) for size in sizes)

    def forward(self, pooled: Tensor) -> list[Tensor]:
        return [head(pooled) for head in self.heads]


def _labels(drawn: Drawn) -> list[int]:
    subjects, colours = list(SUBJECTS), list(COLOURS)
    first, second = drawn.subjects[0], drawn.subjects[1] if len(drawn.subjects) > 1 else None
    return [
        subjects.index(first[0]),
        colours.index(first[1]),
        list(BACKGROUNDS).index(drawn.background),
        list(HANDS).index(drawn.hand),
        subjects.index(second[0]) if second else len(subjects),
        colours.index(second[1]) if second else len(colours),
    ]


def train_words(state: Path, plan: BuildPlan, device: torch.device) -> tuple[Any, Any]:
    """Train the text encoder to keep subject, colour, background and hand apart; afterwards it stays frozen."""
    tokenizer = make_tokenizer(words(), state / "tokenizer")
    encoder = make_text_encoder(tokenizer).to(device)
    reader = WordReader(encoder.config.hidden_size).to(device)
    both = nn.ModuleList([encoder, reader])
    optimizer = torch.optim.AdamW(both.parameters(), lr=1e-3, weight_decay=0.01)
    stage = Stage(state / "text.pt", both, optimizer, None)
    records = read_drawn(state)
    tokens = tokenise(tokenizer, [record.caption for record in records])
    # Attention is causal: what stands before the padding does not depend on it, so it need not be computed.
    lengths = (tokens != tokenizer.eos_token_id).sum(1) + 1
    labels = torch.tensor([_labels(record) for record in records])
    for step in stage.steps("words", plan.text_steps):
        rng = np.random.default_rng([plan.seed, step, 2])
        rows = torch.from_numpy(rng.integers(0, len(records), plan.text_batch))
        torch.manual_seed(plan.seed * 1_000_003 + step)
        states = encoder(input_ids=tokens[rows, : lengths[rows].max()].to(device))
        # A little noise on what is read keeps different things well apart.
        pooled = states.pooler_output + 0.3 * torch.randn_like(states.pooler_output)
        answers = reader(pooled)
        truth = labels[rows].to(device)
        loss = torch.stack([F.cross_entropy(a, truth[:, i]) for i, a in enumerate(answers)]).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(both.parameters(), 1.0)
        _set_rate(optimizer, 1e-3 * _warm_then_cosine(step, plan.text_steps))
        optimizer.step()
        if step % 50 == 0:
            right = [(a.argmax(-1) == truth[:, i]).float().mean().item() for i, a in enumerate(answers)]
            print(f"words: loss {loss.item():.3f}, right {[round(r, 2) for r in right]}", flush=True)
    return encoder.eval().requires_grad_(False), tokenizer


@torch.no_grad()
def encode_captions(encoder: Any, tokenizer: Any, captions: list[str], device: torch.device) -> Tensor:
    """Text states (N, 40, 256) in half precision."""
    parts = []
    for first in range(0, len(captions), 250):
        tokens = tokenise(tokenizer, captions[first : first + 250]).to(device)
        parts.append(encoder(input_ids=tokens).last_hidden_state.half().cpu())
    return torch.cat(parts)


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
        rate = _warm_flat_decay(step, plan.unet_steps, plan.decay_share)
        _set_rate(optimizer, plan.learning_rate * rate)
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
    with _autocast(device):
        return unet(noisy, timesteps, text).sample


@torch.no_grad()
def _average(pairs: list[tuple[Tensor, Tensor]], keep: float) -> None:
    torch._foreach_lerp_([slow for slow, _ in pairs], [fast for _, fast in pairs], 1 - keep)


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
