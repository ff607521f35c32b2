"""The UNet's stage. On a CPU several workers of one thread each train a UNet, and average their weights now and then.

Two threads on one small UNet wait for each other at every operation; two workers hardly ever do, and see twice the
pictures (local SGD, arXiv 1805.09767).
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.starter.drawings import read_drawn, rows_by_hand
from training.starter.model import COLOUR_CHANNELS, make_scheduler, make_unet
from training.starter.shapes import ShapeReader, subjects_of
from training.starter.stage import BuildPlan, Stage, set_rate


@dataclass(frozen=True)
class Lesson:
    """What the UNet is shown for a part of its training, and what counts in it."""

    until: float  # the share of all steps at which it ends
    calm: float  # the share of drawings that are calm: shapes are learnt soonest where no strokes hide them
    alone: bool  # whether those calm ones show a single subject
    every: int  # every `every`-th timestep lies in the middle, where it is decided what is shown
    middle: tuple[float, float]  # of the schedule
    # Weight of the latents' strokes in the v loss; to whoever looks for a shape they are noise.
    strokes: float
    seen: float  # weight of what the reader of shapes sees otherwise in the guess than in the drawing
    named: float  # weight of its naming the caption's subject in the guess


LESSONS = (
    # colours, grounds and hands come by themselves
    Lesson(0.68, calm=0.5, alone=False, every=2, middle=(0.4, 0.9), strokes=0.15, seen=0, named=0),
    # what the subjects' words mean: little else is shown, and for a while their shapes are caricatures
    Lesson(0.75, calm=1.0, alone=True, every=1, middle=(0.35, 0.95), strokes=0.15, seen=1, named=0.3),
    # everything again, now that the words are told apart
    Lesson(0.82, calm=0.5, alone=False, every=2, middle=(0.4, 0.9), strokes=0.3, seen=1, named=0.05),
    Lesson(1.00, calm=0.25, alone=True, every=2, middle=(0.4, 0.9), strokes=1.0, seen=1, named=0.1),
)


def take_up(state: Path, unet: Any, plan: BuildPlan) -> BuildPlan:
    """Let `train_unet` begin with a trained UNet, in the last lesson alone; returns the plan to train it by.

    The plan's steps are that lesson's, and over all of them the rate falls to nothing.
    """
    share = 1 - LESSONS[-2].until
    total = round(plan.unet_steps / share)
    if not (state / "unet.pt").exists():
        stage = Stage(state / "unet.pt", unet, _optimizer(unet, plan), unet)
        stage.step = total - plan.unet_steps
        stage.save()
    return replace(plan, unet_steps=total, decay_share=share)


def train_unet(state: Path, plan: BuildPlan, device: torch.device) -> Any:
    """Train the UNet on the drawings' latents, lesson by lesson; returns the averaged weights."""
    workers = plan.workers if device.type == "cpu" else 1
    if workers == 1:
        _work(0, 1, state, plan, device, "")
    else:
        with tempfile.TemporaryDirectory() as meeting:
            torch.multiprocessing.spawn(
                _work, (workers, state, plan, device, f"{meeting}/workers"), nprocs=workers
            )
    averaged = make_unet()
    averaged.load_state_dict(torch.load(state / "unet.pt", map_location="cpu", weights_only=True)["ema"])
    return averaged.eval()


def _work(rank: int, workers: int, state: Path, plan: BuildPlan, device: torch.device, meeting: str) -> None:
    """Train to the last step; the first worker keeps the state."""
    if workers > 1:
        torch.set_num_threads(1)
        torch.distributed.init_process_group(
            "gloo", init_method=f"file://{meeting}", rank=rank, world_size=workers
        )
    # In bfloat16 the loss became NaN within 50 steps on a GPU, and on a CPU these gradients are no faster in it.
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    unet = make_unet().to(device, memory_format=torch.channels_last)
    averaged = make_unet().to(device).requires_grad_(False)
    averaged.load_state_dict(unet.state_dict())
    optimizer = _optimizer(unet, plan)
    stage = Stage(state / "unet.pt", unet, optimizer, averaged, keeps=rank == 0)
    # All that is drawn from lies on the device: a GPU is done with a batch before a CPU could have gathered it.
    stored = torch.load(state / "latents.pt", map_location=device, weights_only=True)
    mean, deviation = stored["latents"].chunk(2, 1)
    texts = torch.load(state / "captions.pt", map_location=device, weights_only=True)
    alphas = make_scheduler().alphas_cumprod.to(device)
    calmness, subjects = _calmness(state).to(device), subjects_of(read_drawn(state)).to(device)
    alone = (subjects.amax(1) == 1).float()
    reader = ShapeReader().to(device).eval().requires_grad_(False)
    reader.load_state_dict(torch.load(state / "shapes.pt", map_location="cpu", weights_only=True)["network"])
    pairs = list(zip(averaged.parameters(), unet.parameters(), strict=True))
    batch = plan.unet_batch
    if stage.step == 0:
        _mix(unet, workers)  # all begin alike
    for step in stage.steps("UNet", plan.unet_steps, every=100 if device.type == "cpu" else 1000):
        lesson = next(one for one in LESSONS if step < one.until * plan.unet_steps)
        rng = torch.Generator(device).manual_seed((plan.seed * 1_000_003 + step) * workers + rank)
        calm = round(lesson.calm * batch)
        rows = torch.randint(len(mean), (batch,), generator=rng, device=device)
        chances = calmness * alone if lesson.alone else calmness
        rows[:calm] = torch.multinomial(chances, calm, replacement=True, generator=rng)
        rows = rows[torch.randperm(batch, generator=rng, device=device)]
        noise = torch.randn((2, batch, *mean.shape[1:]), generator=rng, device=device)
        # Spread evenly over the schedule with one random offset: less noise in the gradient than free draws.
        offset = torch.rand(batch, generator=rng, device=device)
        places = (torch.arange(batch, device=device) + offset) / batch
        first, last = lesson.middle
        places[:: lesson.every] = first + (last - first) * places[:: lesson.every]
        timesteps = (places * len(alphas)).long().clamp(max=len(alphas) - 1)
        dropped = torch.rand(batch, generator=rng, device=device) < 0.1
        clean = (mean[rows].float() + deviation[rows].float() * noise[0]) * stored["scale"]
        signal = alphas[timesteps].sqrt().view(-1, 1, 1, 1)
        spread = (1 - alphas[timesteps]).sqrt().view(-1, 1, 1, 1)
        noisy = signal * clean + spread * noise[1]
        target = signal * noise[1] - spread * clean
        text = torch.where(dropped.view(-1, 1, 1), texts["nothing"], texts["captions"][rows]).float()
        noisy = noisy.to(memory_format=torch.channels_last)
        predicted = unet(noisy, timesteps, text).sample
        weights = torch.ones(mean.shape[1], 1, 1, device=device)
        weights[COLOUR_CHANNELS:] = lesson.strokes
        loss = ((predicted - target).square() * weights).mean()
        if lesson.seen or lesson.named:
            guess = signal * noisy - spread * predicted
            subjects_shown = subjects[rows] * ~dropped.view(-1, 1)
            loss = loss + _unlike(reader, guess, clean, subjects_shown, signal.flatten(), lesson)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
        set_rate(optimizer, plan.learning_rate * _warm_flat_decay(step, plan.unet_steps, plan.decay_share))
        optimizer.step()
        if (step + 1) % plan.mix_every == 0 or step + 1 == plan.unet_steps:
            _mix(unet, workers)
            # A short memory at first: the first weights are noise.
            _average(pairs, keep=0.5 ** (plan.mix_every / min(plan.ema_half_life, 4 + step / 10)))
        if step % 50 == 0 and rank == 0:
            print(f"UNet: loss {loss.item():.4f}", flush=True)
    if workers > 1:
        torch.distributed.destroy_process_group()


def _optimizer(unet: nn.Module, plan: BuildPlan) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        unet.parameters(), lr=plan.learning_rate, betas=(0.9, 0.99), weight_decay=0.01, fused=True
    )


def _unlike(
    reader: ShapeReader, guess: Tensor, clean: Tensor, subjects_shown: Tensor, signal: Tensor, lesson: Lesson
) -> Tensor:
    """How unlike the drawing the guess (B, 8, 16, 16) is to the reader, counted by how much there is to guess from."""
    seen = reader.see(guess)
    with torch.no_grad():
        true = reader.see(clean)
    away = [
        (guessed - drawn).square().mean((1, 2, 3)) / drawn.square().mean()
        for guessed, drawn in zip(seen, true, strict=True)
    ]
    named = F.cross_entropy(reader.name(seen), subjects_shown, reduction="none")
    together = lesson.seen * torch.stack(away).mean(0) * signal + lesson.named * named * signal.sqrt()
    return together.mean()


def _calmness(state: Path) -> Tensor:
    """How often to show each drawing (N,) where calm hands go first.

    Calm is a hand whose neighbouring pixels differ little, against how much there is to see.
    """
    drawings = np.load(state / "drawings.npy", mmap_mode="r")
    drawn = read_drawn(state)
    calm = {}
    for hand, rows in rows_by_hand(drawn).items():
        pictures = drawings[rows[:20]].astype(np.float32)
        calm[hand] = float(pictures.std((1, 2)).mean() / np.abs(np.diff(pictures, axis=2)).mean())
    return torch.tensor([calm[one.hand] ** 2.5 for one in drawn])


@torch.no_grad()
def _mix(unet: nn.Module, workers: int) -> None:
    """Give every worker the mean of all workers' weights."""
    if workers == 1:
        return
    weights = list(unet.parameters())
    together = torch.cat([weight.reshape(-1) for weight in weights])
    torch.distributed.all_reduce(together)
    for weight, part in zip(weights, together.div_(workers).split([w.numel() for w in weights]), strict=True):
        weight.copy_(part.view(weight.shape))


@torch.no_grad()
def _average(pairs: list[tuple[Tensor, Tensor]], keep: float) -> None:
    torch._foreach_lerp_([slow for slow, _ in pairs], [fast for _, fast in pairs], 1 - keep)


def _warm_flat_decay(step: int, total: int, decay_share: float, warm_up: int = 100) -> float:
    left = (total - step) / (total * decay_share)
    return min(1.0, (step + 1) / warm_up, left)
