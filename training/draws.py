"""All chance in a training run, derived from (seed, step), so that a resumed run draws what an unbroken one does."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from styles.bases.conditioning import Conditioning
    from training.encode import Bucket, Prepared
    from training.plan import TrainingPlan


@dataclass(frozen=True)
class Draw:
    """What one forward pass is about, on the device."""

    latents: Tensor  # (B, C, h, w) fp32, freshly sampled
    noise: Tensor  # (B, C, h, w) fp32, without offset
    offset: Tensor  # (B, C, 1, 1) fp32, standard normal
    timesteps: Tensor  # (B,) int64
    conditioning: Conditioning
    mask: Tensor | None = None  # (B, 1, h, w) fp32, see Bucket


def derived_seed(seed: int, *purpose: object) -> int:
    """Return a 63-bit seed for one purpose, unrelated to that of any other seed or purpose."""
    text = ":".join(map(str, (seed, *purpose)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def cpu_generator(seed: int, *purpose: object) -> torch.Generator:
    """Return a fresh CPU generator for one purpose."""
    import torch

    return torch.Generator().manual_seed(derived_seed(seed, *purpose))


def draw(prepared: Prepared, plan: TrainingPlan, step: int, part: int, train_timesteps: int) -> Draw:
    """Draw the batch of one forward pass: the pictures of `part` of the gradient accumulation of one step.

    A step's pictures, with their noise and captions, are drawn together, so that they are the same however they are
    split into batches. Nothing here waits for the device. Artworks repeat inside a step only when it is larger than
    their bucket, or where they are to be shown more often than others; timesteps are stratified over the step, which leaves each one uniform but their mean much steadier.
    """
    import torch

    from styles.devices.device import sent_to

    generator = cpu_generator(plan.seed, "step", step, 0)
    counts = torch.tensor([_shown(bucket) for bucket in prepared.buckets], dtype=torch.float32)
    bucket = prepared.buckets[int(torch.multinomial(counts, 1, generator=generator))]
    count, pictures = _shown(bucket), plan.batch * plan.gradient_accumulation
    orders = [torch.randperm(count, generator=generator) for _ in range(-(-pictures // count))]
    rows = torch.cat(orders)[:pictures]
    if bucket.rows is not None:
        rows = bucket.rows[rows]
    strata = torch.randperm(pictures, generator=generator) + torch.rand(pictures, generator=generator)
    timesteps = (strata * (train_timesteps / pictures)).long().clamp_(max=train_timesteps - 1)
    captioned = (torch.rand(pictures, generator=generator) >= plan.caption_dropout).long()
    beside = torch.randint(max(1, prepared.companions), (pictures,), generator=generator)

    here = slice(part * plan.batch, (part + 1) * plan.batch)
    device = bucket.mean.device
    drawn = sent_to(device, torch.stack([rows, timesteps, captioned, beside])[:, here])
    rows, timesteps, captioned, beside = drawn
    shape = (pictures, *bucket.mean.shape[1:])
    on_device = torch.Generator(device).manual_seed(derived_seed(plan.seed, "noise", step, 0))
    fresh = torch.randn((2, *shape), device=device, generator=on_device)[:, here]
    offset = torch.randn((*shape[:2], 1, 1), device=device, generator=on_device)[here]
    latents = bucket.mean[rows] + bucket.std[rows] * fresh[0]
    captions, companions = bucket.captions[rows], len(prepared.captions) - prepared.companions
    captions = torch.where(captions < 0, companions + beside, captions) * captioned
    conditioning = prepared.captions[captions].sized(bucket.time_ids[rows])
    mask = None if bucket.masks is None else bucket.masks[rows]
    return Draw(latents, fresh[1], offset, timesteps, conditioning, mask)


def _shown(bucket: Bucket) -> int:
    """Count the pictures of a bucket, each as often as it is shown."""
    return len(bucket.mean) if bucket.rows is None else len(bucket.rows)
