"""A reader of latents, which shows the UNet what of a latent makes a subject.

To the plain v loss a subject's outline is a few cells among many, and a UNet is long content with a lump of the right
colour. What a network sees that tells subjects apart tells it sooner (as latent perceptual loss, arXiv 2411.04873).
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.starter.drawings import Drawn, read_drawn
from training.starter.model import COLOUR_CHANNELS, LATENT_CHANNELS
from training.starter.scenes import SUBJECTS
from training.starter.stage import BuildPlan, Stage, set_rate, warm_then_cosine


class ShapeReader(nn.Module):
    """Scaled latents (B, 8, 16, 16) to what is seen in them at three sizes, and to a logit for each subject."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes = nn.ModuleList(
            [
                nn.Sequential(nn.Conv2d(LATENT_CHANNELS, 48, 3, padding=1), _Residual(48)),
                nn.Sequential(_convolution(48, 96, stride=2), _Residual(96)),
                nn.Sequential(_convolution(96, 160, stride=2), _Residual(160)),
            ]
        )
        self.head = nn.Linear(320, len(SUBJECTS))

    def see(self, latents: Tensor) -> list[Tensor]:
        """Features (B, 48, 16, 16), (B, 96, 8, 8) and (B, 160, 4, 4)."""
        seen: list[Tensor] = []
        for size in self.sizes:
            seen.append(size(seen[-1] if seen else latents))
        return seen

    def name(self, seen: list[Tensor]) -> Tensor:
        """Logits (B, subjects) from what was seen."""
        return self.head(torch.cat([seen[-1].mean((2, 3)), seen[-1].amax((2, 3))], 1))


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(_convolution(width, width), _convolution(width, width))

    def forward(self, features: Tensor) -> Tensor:
        return features + self.inner(features)


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), nn.GroupNorm(8, outputs), nn.SiLU())


def subjects_of(drawn: list[Drawn]) -> Tensor:
    """What each drawing shows, as shares (N, subjects) that sum to one."""
    names = list(SUBJECTS)
    shares = torch.zeros(len(drawn), len(names))
    for row, one in enumerate(drawn):
        for subject, _ in one.subjects:
            shares[row, names.index(subject)] += 1 / len(one.subjects)
    return shares


def train_shapes(state: Path, plan: BuildPlan, device: torch.device) -> ShapeReader:
    """Train the reader on the drawings' latents, moved about, noisy, and at times without their strokes."""
    reader = ShapeReader().to(device)
    optimizer = torch.optim.AdamW(reader.parameters(), lr=2e-3, betas=(0.9, 0.99), weight_decay=0.02)
    stage = Stage(state / "shapes.pt", reader, optimizer, None)
    stored = torch.load(state / "latents.pt", weights_only=True)
    mean, deviation = stored["latents"].chunk(2, 1)
    subjects = subjects_of(read_drawn(state))
    batch = plan.shape_batch
    for step in stage.steps("shapes", plan.shape_steps):
        rng = torch.Generator().manual_seed(plan.seed * 1_000_003 + step)
        rows = torch.randint(len(mean), (batch,), generator=rng)
        noise = torch.randn((3, batch, *mean.shape[1:]), generator=rng)
        latents = (mean[rows].float() + deviation[rows].float() * noise[0]) * stored["scale"]
        latents = _moved(latents, rng)
        # It will be shown guesses from the midst of denoising: soft, noisy, their strokes still missing.
        level, calm, bare = torch.rand((3, batch, 1, 1, 1), generator=rng)
        latents = latents + 0.6 * level * (calm < 0.7) * noise[1]
        strokes = slice(COLOUR_CHANNELS, None)
        latents[:, strokes] = torch.where(bare < 0.3, level * noise[2, :, strokes], latents[:, strokes])
        named = reader.name(reader.see(latents.to(device)))
        loss = F.cross_entropy(named, subjects[rows].to(device), label_smoothing=0.05)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        set_rate(optimizer, 2e-3 * warm_then_cosine(step, plan.shape_steps))
        optimizer.step()
        if step % 100 == 0:
            right = (named.argmax(1).cpu() == subjects[rows].argmax(1)).float().mean().item()
            print(f"shapes: loss {loss.item():.3f}, right {right:.2f}", flush=True)
    return reader.eval().requires_grad_(False)


def _moved(latents: Tensor, rng: torch.Generator) -> Tensor:
    """The latents moved by up to two cells, their edges drawn out."""
    down, across = torch.randint(5, (2,), generator=rng).tolist()
    height, width = latents.shape[-2:]
    padded = F.pad(latents, (2, 2, 2, 2), mode="replicate")
    return padded[:, :, down : down + height, across : across + width]
