"""The samplers on offer, each set up for what the base was trained with."""

from __future__ import annotations

from typing import Any

from styles.bases.base import Base
from styles.errors import RecipeError
from styles.generation.recipe import SAMPLERS

TRAINED = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "steps_offset")


def make_scheduler(base: Base, sampler: str = SAMPLERS[0]) -> Any:
    """Return a fresh diffusers scheduler for this base; raises RecipeError for an unknown sampler.

    DPM-Solver++ 2M (arXiv 2211.01095) takes Karras sigmas (arXiv 2206.00364). On a zero-terminal-SNR base every
    sampler takes trailing timesteps (arXiv 2305.08891) and none takes Karras sigmas, which would spend
    13 of 20 steps above t = 925 there. DDIM never clips: latents go beyond -1..1.
    """
    from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, EulerAncestralDiscreteScheduler

    settings = {name: base.scheduler_config[name] for name in TRAINED if name in base.scheduler_config}
    settings["prediction_type"] = base.prediction_type
    settings["rescale_betas_zero_snr"] = base.zero_terminal_snr
    spacing = "trailing" if base.zero_terminal_snr else "linspace"
    if sampler == "dpm++ 2m":
        return DPMSolverMultistepScheduler(
            **settings, timestep_spacing=spacing, use_karras_sigmas=not base.zero_terminal_snr
        )
    if sampler == "ddim":
        spacing = "trailing" if base.zero_terminal_snr else "leading"
        return DDIMScheduler(**settings, timestep_spacing=spacing, clip_sample=False, set_alpha_to_one=False)
    if sampler == "euler a":
        return EulerAncestralDiscreteScheduler(**settings, timestep_spacing=spacing)
    raise RecipeError(
        "“{sampler}” is no sampler here.",
        "Choose one of: {samplers}.",
        sampler=sampler,
        samplers=", ".join(SAMPLERS),
    )
