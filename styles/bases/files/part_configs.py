"""The configs of a base's parts, judged before anything is built of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from styles.errors import BaseError
from styles.storage.file_reading import read_json
from styles.storage.names import clean_text
from styles.text import Text

MOST_LAYERS, LARGEST_NUMBER = 128, 1 << 20  # in a config; SDXL's largest are 32 and 49408
MOST_TRAINED_STEPS = 10_000
BETA_SCHEDULES = ("linear", "scaled_linear", "squaredcos_cap_v2")
SCALE = 0.18215  # diffusers' default, for older configs that don't say theirs
HINT = Text("Fetch the base again.")
LARGEST_PX = 1 << 14  # a native size beyond it is no Stable Diffusion's


def read_config(path: Path) -> dict[str, Any]:
    """Read one part's JSON config; raises BaseError where it is missing or malformed."""
    try:
        config = read_json(path)
    except (OSError, ValueError) as error:
        raise BaseError(
            "{folder}/{file} is missing or unreadable in this base.",
            HINT,
            folder=path.parent.name,
            file=path.name,
        ) from error
    if not isinstance(config, dict):
        raise BaseError("{folder}/{file} is not a config.", HINT, folder=path.parent.name, file=path.name)
    return config


def vae_factor(vae_config: Mapping[str, Any]) -> int:
    """Return how many pixels one latent is wide."""
    return 2 ** (len(vae_config.get("block_out_channels", (0,) * 4)) - 1)


def latent_scale(vae_config: Mapping[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return scale and shift of a VAE's latents, one number each or one a channel: see `styles.bases.vae`.

    Raises TypeError, ValueError, KeyError, OverflowError or ZeroDivisionError for what are no numbers.
    """
    scale = float(vae_config.get("scaling_factor", SCALE))
    mean, std = vae_config.get("latents_mean"), vae_config.get("latents_std")
    if mean is None or std is None:
        return (scale,), (float(vae_config.get("shift_factor") or 0.0),)
    return tuple(scale / float(one) for one in std), tuple(float(one) for one in mean)


def has_scale(vae_config: Mapping[str, Any]) -> bool:
    """Whether the scale and the shift of a VAE's config are numbers that can be used."""
    try:
        scale, shift = latent_scale(vae_config)
    except (TypeError, ValueError, KeyError, OverflowError, ZeroDivisionError):
        return False
    shaped = {len(scale), len(shift)} <= {1, vae_config.get("latent_channels", 4)}
    return shaped and all(0 < one < math.inf for one in scale) and all(map(math.isfinite, shift))


def check_sizes(value: Any, name: str, key: str = "") -> None:
    """Raise BaseError for numbers of a config that no model has: one is built of it layer by layer, without asking."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for at, one in inner:
        check_sizes(one, name, at if isinstance(at, str) else key)
    most = MOST_LAYERS if "layers" in key or isinstance(value, list) else LARGEST_NUMBER
    size = len(value) if isinstance(value, list) else value
    if type(size) is int and size > most:
        raise BaseError(
            "{name} is damaged: {key} is {size} in its config.",
            HINT,
            name=name,
            key=clean_text(key, 40),
            size=clean_text(str(size), 40),
        )


def native_size_px(unet: Mapping[str, Any], vae: Mapping[str, Any], name: str) -> int:
    """Return the side of the pictures that a base was trained on; raises BaseError for a config that says none."""
    sides = unet.get("sample_size") or 64
    sides = sides if isinstance(sides, list) else [sides]
    blocks = vae.get("block_out_channels", (0,) * 4)
    counted = isinstance(blocks, list | tuple) and 0 < len(blocks) < 16
    if counted and sides and all(type(side) is int for side in sides):
        size = max(sides) * vae_factor(vae)
        if 0 < size <= LARGEST_PX:
            return size
    raise BaseError(
        "{name} is damaged: its configs say no size of pictures that can be painted.", HINT, name=name
    )


def check_noise_schedule(scheduler: Mapping[str, Any], name: str) -> None:
    """Raise BaseError for a noise schedule that can't be; `styles.generation.samplers` takes these settings from it."""
    steps = scheduler.get("num_train_timesteps", 1000)
    betas = scheduler.get("trained_betas")
    whole = type(steps) is int and 1 <= steps <= MOST_TRAINED_STEPS
    sound = {
        "num_train_timesteps": whole,
        "beta_start": _is_share(scheduler.get("beta_start", 0.0001)),
        "beta_end": _is_share(scheduler.get("beta_end", 0.02)),
        "beta_schedule": scheduler.get("beta_schedule", "linear") in BETA_SCHEDULES,
        "trained_betas": betas is None
        or (isinstance(betas, list) and whole and len(betas) == steps and all(map(_is_share, betas))),
        "steps_offset": scheduler.get("steps_offset", 0) in (0, 1),
    }
    odd = next((key for key, good in sound.items() if not good), "")
    if odd:
        raise BaseError(
            "{name} is damaged: the {part} of its scheduler is {value}.",
            HINT,
            name=name,
            part=odd,
            value=clean_text(str(scheduler.get(odd)), 40),
        )


def _is_share(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value < 1
