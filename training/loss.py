"""What the UNet is asked to predict, and how much each timestep counts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from training.draws import Draw
    from training.plan import TrainingPlan

_BETAS = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas")


@dataclass(frozen=True)
class Objective:
    """The loss of one base: noise schedule, target and weights, as tables over the timesteps on the device."""

    prediction_type: str  # "epsilon" | "v_prediction"
    signal: Tensor  # (T,) fp32, sqrt(alphas_cumprod)
    noise: Tensor  # (T,) fp32, sqrt(1 - alphas_cumprod)
    weights: Tensor  # (T,) fp32
    noise_offset: float

    @property
    def train_timesteps(self) -> int:
        return len(self.signal)

    def noisy(self, drawn: Draw) -> tuple[Tensor, Tensor]:
        """Return the noisy latents and the target for them, both (B, C, h, w) fp32.

        The target on v-prediction bases is v = signal * noise - sigma * latents (arXiv 2202.00512, section 4).
        """
        signal = self.signal[drawn.timesteps].view(-1, 1, 1, 1)
        sigma = self.noise[drawn.timesteps].view(-1, 1, 1, 1)
        noise = drawn.noise + self.noise_offset * drawn.offset if self.noise_offset else drawn.noise
        noisy = signal * drawn.latents + sigma * noise
        target = noise if self.prediction_type == "epsilon" else signal * noise - sigma * drawn.latents
        return noisy, target

    def loss(
        self, predicted: Tensor, target: Tensor, timesteps: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """Return the weighted mean square error, a scalar on the device.

        `mask` (B, 1, h, w) says how much each place counts; the mean is over all places, as in OneTrainer and
        sd-scripts, so that a small mask is a small error.
        """
        squares = (predicted.float() - target).square()  # (B, C, h, w)
        if mask is not None:
            squares = squares * mask
        errors = squares.mean(dim=(1, 2, 3))  # (B,)
        return (errors * self.weights[timesteps]).mean()


def objective_of(
    scheduler_config: dict[str, Any],
    prediction_type: str,
    zero_terminal_snr: bool,
    plan: TrainingPlan,
    device: torch.device,
) -> Objective:
    """Make the loss that fits a base.

    Noise-predicting: min-SNR, weight min(snr, gamma) / snr (arXiv 2303.09556, section 3.4), and noise offset.
    v-predicting: min(snr, gamma) / (snr + 1), the same in terms of v. With zero terminal SNR (arXiv 2305.08891) that
    weight is zero at the last timestep, the very one that sets the palette, so the plain loss is taken.
    """
    import torch
    from diffusers import DDPMScheduler

    settings = {key: scheduler_config[key] for key in _BETAS if scheduler_config.get(key) is not None}
    schedule = DDPMScheduler(**settings, rescale_betas_zero_snr=zero_terminal_snr)
    alphas = schedule.alphas_cumprod.double()  # (T,)
    weights = torch.ones_like(alphas)
    if plan.min_snr_gamma is not None and not zero_terminal_snr:
        snr = alphas / (1 - alphas)
        capped = snr.clamp(max=plan.min_snr_gamma)
        weights = capped / snr if prediction_type == "epsilon" else capped / (snr + 1)
    return Objective(
        prediction_type,
        alphas.sqrt().float().to(device),
        (1 - alphas).sqrt().float().to(device),
        weights.float().to(device),
        plan.noise_offset if prediction_type == "epsilon" else 0.0,
    )


def learning_rate_at(plan: TrainingPlan, step: int) -> float:
    """Return the rate of a step (0-based): linear warm-up, then half a cosine down to the final rate."""
    warmup = round(plan.warmup_fraction * plan.steps)
    if step < warmup:
        return plan.learning_rate * (step + 1) / (warmup + 1)
    way = (step - warmup) / max(1, plan.steps - warmup)
    low = plan.learning_rate * plan.final_rate_fraction
    return low + (plan.learning_rate - low) * 0.5 * (1 + math.cos(math.pi * way))
