"""The samplers and schedule types on offer, a row each, set up for what the base was trained with."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from styles.errors import RecipeError
from styles.storage.names import clean_text
from styles.text import Text

if TYPE_CHECKING:
    from styles.bases.base import Base

TRAINED = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "steps_offset")


@dataclass(frozen=True)
class Schedule:
    """A schedule type: how the noise levels of the steps are spread."""

    # What A1111 calls it in a picture's text.
    a1111_name: str
    # What a scheduler of diffusers is told.
    options: Mapping[str, Any] = field(default_factory=dict)
    # What others call it, as `_plain` leaves a name.
    other_names: tuple[str, ...] = ()


# A1111 knew "Uniform" before "Normal"; both are the same. ComfyUI's "simple" begins at the last timestep, as trailing does.
SCHEDULES = {
    "normal": Schedule("Uniform", other_names=("uniform",)),
    # arXiv 2206.00364, equation 5
    "karras": Schedule("Karras", {"use_karras_sigmas": True}, ("k",)),
    "exponential": Schedule("Exponential", {"use_exponential_sigmas": True}),
    # arXiv 2305.08891, table 2
    "sgm uniform": Schedule("SGM Uniform", {"timestep_spacing": "trailing"}, ("simple", "trailing")),
}
TRAILING = "sgm uniform"
BY_NOISE_LEVEL = ("normal", "karras", "exponential", TRAILING)
BY_TIMESTEP = ("normal", TRAILING)


@dataclass(frozen=True)
class Sampler:
    """A scheduler of diffusers as a sampler."""

    # The class in diffusers.
    scheduler: str
    a1111_name: str
    # What it can be asked for, and which of them it takes unasked.
    schedules: tuple[str, ...] = BY_NOISE_LEVEL
    usual: str = "normal"
    timestep_spacing: str = "linspace"
    # Each step draws noise.
    stochastic: bool = False
    # Of the UNet in a step.
    evaluations: int = 1
    most_steps: int = 1000
    # What else the scheduler is told, on every base.
    options: Mapping[str, Any] = field(default_factory=dict)
    # What others call it, as `_plain` leaves a name.
    other_names: tuple[str, ...] = ()


# DPM-Solver++ (arXiv 2211.01095) and its SDE form, whose usual schedule types are A1111's. DDIM (arXiv 2010.02502) never
# clips: latents go beyond -1..1. DPM++ SDE spreads its own timesteps from the last one on, so that they are trailing
# whether they are called that or normal; a step of it is a pair of diffusers' steps, as everywhere else. LCM (arXiv
# 2310.04378) takes its steps out of the 50 that it was distilled for, from the last one on.
SAMPLERS = {
    "dpm++ 2m": Sampler("DPMSolverMultistepScheduler", "DPM++ 2M", usual="karras"),
    "dpm++ 2m sde": Sampler(
        "DPMSolverMultistepScheduler", "DPM++ 2M SDE", usual="exponential", stochastic=True,
        options={"algorithm_type": "sde-dpmsolver++"},
    ),
    "dpm++ sde": Sampler(
        "DPMSolverSinglestepScheduler", "DPM++ SDE", usual="karras", stochastic=True, evaluations=2,
        options={"algorithm_type": "sde-dpmsolver++", "lower_order_final": True},
    ),
    "ddim": Sampler(
        "DDIMScheduler", "DDIM", BY_TIMESTEP, timestep_spacing="leading",
        options={"clip_sample": False, "set_alpha_to_one": False},
    ),
    "euler": Sampler("EulerDiscreteScheduler", "Euler"),
    "euler a": Sampler(
        "EulerAncestralDiscreteScheduler", "Euler a", BY_TIMESTEP, stochastic=True, other_names=("eulerancestral",)
    ),
    "heun": Sampler("HeunDiscreteScheduler", "Heun", evaluations=2),
    "unipc": Sampler("UniPCMultistepScheduler", "UniPC", other_names=("unipcbh2",)),
    "lcm": Sampler("LCMScheduler", "LCM", (TRAILING,), usual=TRAILING, stochastic=True, most_steps=50),
}  # fmt: skip
DEFAULT_SAMPLER = next(iter(SAMPLERS))


def sampler_of(name: str) -> Sampler:
    """Return the sampler of that name; raises RecipeError for an unknown one."""
    if name not in SAMPLERS:
        raise RecipeError(
            "There is no sampler “{sampler}”.",
            "Choose one of: {samplers}.",
            sampler=name,
            samplers=", ".join(SAMPLERS),
        )
    return SAMPLERS[name]


def schedule_used(base: Base, sampler: str, schedule: str | None) -> str:
    """Return the schedule type that a sampler takes where this one is requested, None: its usual one.

    On a zero-terminal-SNR base every sampler takes trailing timesteps (arXiv 2305.08891): Karras sigmas would spend 13
    of 20 steps above t = 925 there.
    """
    row = sampler_of(sampler)
    requested = TRAILING if base.zero_terminal_snr else schedule
    return requested if requested in row.schedules else row.usual


def make_scheduler(base: Base, sampler: str = DEFAULT_SAMPLER, schedule: str | None = None) -> Any:
    """Return a fresh diffusers scheduler for this base; raises RecipeError for an unknown sampler."""
    import diffusers

    row = sampler_of(sampler)
    kind = getattr(diffusers, row.scheduler)
    trained = {name: base.scheduler_config[name] for name in TRAINED if name in base.scheduler_config}
    trained |= {"prediction_type": base.prediction_type, "rescale_betas_zero_snr": base.zero_terminal_snr}
    taken = inspect.signature(kind.__init__).parameters
    if base.zero_terminal_snr and "rescale_betas_zero_snr" not in taken:
        trained["trained_betas"] = _zero_terminal_snr_betas(trained)
    used = SCHEDULES[schedule_used(base, sampler, schedule)]
    options = {"timestep_spacing": row.timestep_spacing, **trained, **row.options, **used.options}
    return kind(**{name: value for name, value in options.items() if name in taken})


def set_steps(scheduler: Any, sampler: str, steps: int) -> None:
    """Spread so many steps of a sampler over its scheduler, which has `evaluations` timesteps for each.

    A scheduler of order 2 repeats each timestep by itself, and leaves out the last one's second.
    """
    scheduler.set_timesteps(steps * sampler_of(sampler).evaluations // scheduler.order)


def sampler_named(name: str, schedule: str = "") -> tuple[str, str]:
    """Return the sampler and the schedule type that others call so, each empty where there is none of that name.

    The names of A1111 ("DPM++ 2M Karras"), ComfyUI ("dpmpp_2m_sde_gpu", "sgm_uniform") and InvokeAI ("dpmpp_2m_k"). Where
    they name no schedule type, it is the normal one.
    """
    schedules = {other: ours for ours, row in SCHEDULES.items() for other in (_plain(ours), *row.other_names)}
    samplers = {other: ours for ours, row in SAMPLERS.items() for other in (_plain(ours), *row.other_names)}
    plain, said = _plain(name), _plain(schedule)
    if plain in samplers:
        row = SAMPLERS[samplers[plain]]
        unsaid = "normal" if not said and "normal" in row.schedules else row.usual
        return samplers[plain], schedules.get(said, "") if said not in ("", "automatic") else unsaid
    for ending, ours in schedules.items():
        if plain.endswith(ending) and plain.removesuffix(ending) in samplers:
            return samplers[plain.removesuffix(ending)], ours
    return "", schedules.get(said, "")


def missing_notes(sampler: str, schedule: str = "") -> list[Text]:
    """What to say of a picture's sampler, or else its schedule type, where they are not here."""
    if sampler and sampler not in SAMPLERS:
        return [
            Text(
                "The picture was made with the sampler “{sampler}”, which is not here; DPM++ 2M is taken.",
                sampler=clean_text(sampler, 80),
            )
        ]
    if schedule and schedule not in SCHEDULES:
        return [
            Text(
                "The picture was made with the schedule type “{schedule}”, which is not here; the sampler's own is taken.",
                schedule=clean_text(schedule, 80),
            )
        ]
    return []


def _plain(name: str) -> str:
    """A name without what programs write differently: case, signs, and where the noise is drawn."""
    spelled = name.strip().lower().replace("+", "p").removeprefix("k_").removesuffix("_gpu")
    return re.sub(r"[^a-z0-9]", "", spelled)


def _zero_terminal_snr_betas(trained: Mapping[str, Any]) -> list[float]:
    """The betas of a zero-terminal-SNR schedule, for a scheduler that can't rescale them itself."""
    from diffusers import EulerDiscreteScheduler

    # Its last one is above 0 by a hair, so that no sigma is infinite.
    alphas_cumprod: list[float] = EulerDiscreteScheduler(**trained).alphas_cumprod.double().tolist()
    return [1 - after / before for before, after in zip([1.0, *alphas_cumprod], alphas_cumprod, strict=False)]
