"""The optimizers of a training, by the name that its plan holds.

To add one: a row in OPTIMIZERS. Its state for a weight has to be tensors and whole numbers, which checkpoints keep by name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from styles.errors import SettingsError
from styles.quantization.quantization import check_bitsandbytes
from styles.text import Text

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from training.plan import TrainingPlan

Maker = Callable[["list[Tensor]", "TrainingPlan"], "torch.optim.Optimizer"]


def _adamw(weights: list[Tensor], plan: TrainingPlan) -> torch.optim.Optimizer:
    """AdamW (arXiv 1711.05101), where it can with one kernel for all layers instead of several for each.

    Such a kernel also reads a loss scale where it lies; the others make each step wait for the device.
    """
    import torch

    def made(fused: bool) -> torch.optim.Optimizer:
        return torch.optim.AdamW(weights, lr=plan.learning_rate, weight_decay=plan.weight_decay, fused=fused)

    try:
        return made(fused=True)
    except RuntimeError:  # torch has no such kernel for this device
        return made(fused=False)


def _adamw8bit(weights: list[Tensor], plan: TrainingPlan) -> torch.optim.Optimizer:
    """AdamW whose means are in 8 bits (arXiv 2110.02861); those of weights below 4096 numbers stay in 32."""
    from bitsandbytes.optim import AdamW8bit

    return _with_whole_steps(AdamW8bit(weights, lr=plan.learning_rate, weight_decay=plan.weight_decay))


def _paged_adamw(weights: list[Tensor], plan: TrainingPlan) -> torch.optim.Optimizer:
    """AdamW whose means leave the card where it is full (QLoRA, arXiv 2305.14314, section 3)."""
    from bitsandbytes.optim import PagedAdamW

    return _with_whole_steps(PagedAdamW(weights, lr=plan.learning_rate, weight_decay=plan.weight_decay))


def _with_whole_steps(optimizer: Any) -> Any:
    """Let an optimizer of bitsandbytes count its steps in Python, as it asks for, after it has read a state of tensors."""
    load = optimizer.load_state_dict

    def load_state_dict(state_dict: Any, **settings: Any) -> None:
        load(state_dict, **settings)
        for state in optimizer.state.values():
            state["step"] = int(state["step"])

    optimizer.load_state_dict = load_state_dict
    return optimizer


OPTIMIZERS: dict[str, Maker] = {"adamw": _adamw, "adamw8bit": _adamw8bit, "paged_adamw": _paged_adamw}
OWN = "adamw"  # that needs neither a package nor a kind of device


def check_optimizer(name: str | None, device: str | torch.device) -> None:
    """Raise SettingsError for an optimizer that a device, by its name or itself, can't have; None is the usual one."""
    if name in (None, OWN):
        return
    from styles.devices.device import device_for

    check_bitsandbytes(
        Text("The optimizer {optimizer}", optimizer=name),
        Text("take adamw, which needs as good as no more memory here"),
    )
    chosen = device_for(device)
    # ROCm goes by its name.
    if chosen.type != "cuda":
        raise SettingsError(
            "The optimizer {optimizer} runs on CUDA alone, and training is on {device}.",
            "Take adamw, which needs as good as no more memory here.",
            optimizer=name,
            device=chosen.type,
        )
