"""Optimizer, learning rate and schedule, by sd-scripts' names of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from training.other_trainers.settings import OtherSettings
from training.other_trainers.values import as_number

OPTIMIZER_NAMES = {"adamw": "adamw", "adamw8bit": "adamw8bit", "pagedadamw": "paged_adamw"}
# Optimizers whose rates mean something else.
OWN_RATE = ("prodigy", "dadapt", "adafactor", "schedulefree", "came")


def take_optimizer(result: OtherSettings, values: Mapping[str, Any]) -> None:
    """Take over optimizer, rate and schedule, or name what this plan doesn't have."""
    given = str(values.get("optimizer_type") or values.get("optimizer") or "")
    name = OPTIMIZER_NAMES.get(given.casefold())
    if name is not None:
        result.take("optimizer", "optimizer", name)
    elif given:  # without one it is AdamW there, too
        result.leave_out("optimizer", given)
    unet, rate = as_number(values.get("unet_lr")), as_number(values.get("learning_rate"))
    setting, chosen = ("unet_lr", unet) if unet else ("learning_rate", rate)
    if unet and rate and unet != rate:
        result.leave_out("learning_rate", values["learning_rate"])
    if chosen:
        if any(kind in given.casefold() for kind in OWN_RATE):
            result.leave_out(setting, chosen)
        else:
            result.take("learning_rate", setting, chosen)
    if as_number(values.get("text_encoder_lr")):
        result.leave_out("text_encoder_lr", values["text_encoder_lr"])
    given_args = values.get("optimizer_args") or []
    if isinstance(given_args, dict):
        given_args = [f"{name}={value}" for name, value in given_args.items()]
    for part in given_args if isinstance(given_args, list) else re.findall(r"\S+=\S+", str(given_args)):
        key, _, value = str(part).partition("=")
        if key.strip() == "weight_decay" and (decay := as_number(value.strip())) is not None:
            result.take("weight_decay", "weight_decay", decay)
        else:
            result.leave_out("optimizer_args", part)
    _take_schedule(result, str(values.get("lr_scheduler") or values.get("lr_scheduler_type") or ""))


def _take_schedule(result: OtherSettings, name: str) -> None:
    kind = name.casefold()
    if kind in ("constant", "constant_with_warmup"):
        result.numbers["final_rate_fraction"] = 1.0
        if kind == "constant":
            result.numbers["warmup_fraction"] = result.numbers.get("warmup_fraction", 0.0)
    elif kind == "cosine":
        result.numbers["final_rate_fraction"] = 0.0
    elif kind:
        result.leave_out("lr_scheduler", name)
