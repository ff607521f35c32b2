"""The samplers on offer, a row each, set up for what the base was trained with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from styles.errors import RecipeError

if TYPE_CHECKING:
    from styles.bases.base import Base

TRAINED = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "steps_offset")


@dataclass(frozen=True)
class Sampler:
    """A scheduler of diffusers as a sampler."""

    scheduler: str  # the class in diffusers
    a1111_name: str
    # On a base that was trained without zero terminal SNR.
    timestep_spacing: str = "linspace"
    karras_sigmas: bool = False
    # Each step draws noise of its own.
    ancestral: bool = False
    # What else the scheduler is told, on every base.
    options: Mapping[str, Any] = field(default_factory=dict)


# DPM-Solver++ 2M (arXiv 2211.01095) takes Karras sigmas (arXiv 2206.00364). DDIM never clips: latents go beyond -1..1.
SAMPLERS = {
    "dpm++ 2m": Sampler("DPMSolverMultistepScheduler", "DPM++ 2M", karras_sigmas=True),
    "ddim": Sampler(
        "DDIMScheduler", "DDIM", "leading", options={"clip_sample": False, "set_alpha_to_one": False}
    ),
    "euler a": Sampler("EulerAncestralDiscreteScheduler", "Euler a", ancestral=True),
}
DEFAULT_SAMPLER = next(iter(SAMPLERS))


def make_scheduler(base: Base, sampler: str = DEFAULT_SAMPLER) -> Any:
    """Return a fresh diffusers scheduler for this base; raises RecipeError for an unknown sampler.

    On a zero-terminal-SNR base every sampler takes trailing timesteps (arXiv 2305.08891) and none takes Karras sigmas,
    which would spend 13 of 20 steps above t = 925 there.
    """
    import diffusers

    row = SAMPLERS.get(sampler)
    if row is None:
        raise RecipeError(
            "There is no sampler “{sampler}”.",
            "Choose one of: {samplers}.",
            sampler=sampler,
            samplers=", ".join(SAMPLERS),
        )
    options = {name: base.scheduler_config[name] for name in TRAINED if name in base.scheduler_config}
    options |= {"prediction_type": base.prediction_type, "rescale_betas_zero_snr": base.zero_terminal_snr}
    if row.karras_sigmas:
        options["use_karras_sigmas"] = not base.zero_terminal_snr
    spacing = "trailing" if base.zero_terminal_snr else row.timestep_spacing
    return getattr(diffusers, row.scheduler)(**options, **row.options, timestep_spacing=spacing)
