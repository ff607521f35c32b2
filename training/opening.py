"""How a training opens its base: as it is kept, or in four bits where no batch and no checkpointing would make it fit."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import torch

from styles.errors import OutOfMemory, SettingsError
from styles.quantization.quantization import (
    FALLBACK,
    NF4,
    PLAIN,
    QUANTIZATIONS,
    Quantization,
    is_bitsandbytes_installed,
    quantization_of,
    quantization_words,
)
from styles.quantization.support import problem_with
from styles.text import NO_TEXT, Text
from training.fitting import UnopenedBase, fit, least_bytes, needed_bytes, no_room

if TYPE_CHECKING:
    from styles.bases.files.inspection import BaseFacts
    from styles.storage.home import Home
    from training.checkpoint import Checkpoint
    from training.placement import Placement
    from training.plan import TrainingPlan


def how_to_open(
    plan: TrainingPlan, home: Home, place: Placement, start: Checkpoint | None = None
) -> tuple[str | None, Text]:
    """Return how the base is to be kept (None: as its settings say), and why where the memory decides that.

    A training that goes on keeps what it began with; a plan's word counts, "none" too, and a base that is kept in four
    bits is opened so. Raises SettingsError where what is settled can't be had; OutOfMemory where it fits in no way, or
    only in one that needs bitsandbytes; BaseError for a base that can't be opened.
    """
    from styles.bases.files.inspection import inspect_base
    from styles.bases.shelf import find_source
    from styles.devices.memory import free_bytes

    settled = plan.quantize if start is None else start.progress.quantize
    if settled is not None:
        _check_usable(settled, place.device)
        return settled, NO_TEXT
    path, settings = find_source(plan.base, home)
    free = free_bytes(place.device)
    if free is None:
        return None, NO_TEXT
    facts = inspect_base(path, settings)
    if facts.quantize != PLAIN:
        return None, NO_TEXT
    name = plan.base if not os.path.exists(plan.base) else path.name
    free -= _vae_bytes(facts, place)
    base = _unopened(facts, name, place)

    def fits(quantization: Quantization | None = None) -> bool:
        return fit(plan, lambda split: needed_bytes(base, split, quantization), free) is not None

    if fits():
        return None, NO_TEXT
    four_bits = QUANTIZATIONS[NF4]
    problem = problem_with(four_bits, place.device)
    if not fits(four_bits):
        raise no_room(base, plan, free, None if problem else four_bits)
    if problem:
        raise _would_fit(base, plan, free, problem)
    return NF4, Text(
        "{free:.1f} GB of memory are free, and training on {base} as it is needs {needed:.1f} GB at the least: it is opened {quantization}. What is trained so is about as good, and a step takes longer.",
        free=free / 1e9,
        base=name,
        needed=least_bytes(base, plan) / 1e9,
        quantization=quantization_words(NF4),
    )


def _check_usable(quantize: str, device: torch.device) -> None:
    """Raise SettingsError where what a training is settled on can't be had, with what helps that training."""
    quantization = quantization_of(quantize)
    problem = problem_with(quantization, device) if quantization else None
    if problem is None:
        return
    if is_bitsandbytes_installed():
        hint = Text(
            "Train on another device; or begin a new training over {other}, which runs everywhere.",
            other=FALLBACK,
        )
    else:
        hint = Text(
            "Install it in Settings, or with `python launch.py setup --nf4`, and this training goes on; or begin a new one over {other}, which needs nothing else.",
            other=FALLBACK,
        )
    raise SettingsError(problem.message, hint)


def _would_fit(base: UnopenedBase, plan: TrainingPlan, free: int, problem: SettingsError) -> OutOfMemory:
    """What to raise where the base would fit in four bits, and can't be had so."""
    return OutOfMemory(
        "Training on {base} needs {needed:.1f} GB of memory at the least, and {free:.1f} GB are free. In four bits it would need {smaller:.1f} GB: {problem}",
        problem.hint,
        base=base.name,
        needed=least_bytes(base, plan) / 1e9,
        free=free / 1e9,
        smaller=least_bytes(base, plan, QUANTIZATIONS[NF4]) / 1e9,
        problem=problem.message,
    )


def _unopened(facts: BaseFacts, name: str, place: Placement) -> UnopenedBase:
    from diffusers import UNet2DConditionModel

    from styles.bases.files.part_configs import vae_factor

    unet = _without_numbers(UNet2DConditionModel, facts.unet_config, place.dtype)
    return UnopenedBase(name, unet, facts.native_size_px, vae_factor(facts.vae_config), place.device)


def _vae_bytes(facts: BaseFacts, place: Placement) -> int:
    """What the VAE keeps of the memory: on a card it is not there during a step."""
    from diffusers import AutoencoderKL

    from styles.bases.offload import IN_SYSTEM_MEMORY
    from styles.bases.working_memory import weight_bytes

    if place.device.type not in IN_SYSTEM_MEMORY:
        return 0
    # In which it is encoded.
    return weight_bytes(_without_numbers(AutoencoderKL, facts.vae_config, torch.float32))


def _without_numbers(model_class: Any, config: dict[str, Any], dtype: torch.dtype) -> Any:
    from styles.bases.files.loading import quiet_loading

    with quiet_loading(), torch.device("meta"):
        return model_class.from_config(config).to(dtype)
