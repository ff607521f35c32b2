"""The optimizers of a training, by the name that its plan holds.

To add one: a row in OPTIMIZERS. Its state for a weight has to be tensors only, which checkpoints keep by name. With a
second row the setting in `settings.py` gets a label, and form and command line offer it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

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


OPTIMIZERS: dict[str, Maker] = {"adamw": _adamw}
