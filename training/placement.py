"""Where a training computes, and in which precision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from styles.errors import SettingsError
from styles.text import Text
from training.events import Warned

if TYPE_CHECKING:
    import torch

    from training.checkpoint import Checkpoint


@dataclass(frozen=True)
class Placement:
    """A device, the precision of the base on it, and what there is to say of that."""

    device: torch.device
    dtype: torch.dtype
    notes: tuple[Warned, ...] = ()


def placed(device: str, precision: str, start: Checkpoint | None = None) -> Placement:
    """Where to train, by the names of device and precision; raises SettingsError for what can't be had.

    What goes on from `start` keeps the precision that it began with, unless another is named.
    """
    from styles.devices.device import device_for, idle_card
    from styles.devices.precision import DTYPES, convolves, dtype_for, dtype_name

    chosen = device_for(device)
    dtype = dtype_for(precision, chosen)
    notes: tuple[Warned, ...] = ()
    if device == "auto" and chosen.type == "cpu" and (problem := idle_card()):
        notes += (
            Warned(Text("{problem} The processor does the work.", problem=problem.message), problem.hint),
        )
    begun = start.progress.environment.get("dtype", "") if start else ""
    before = next((one for one in DTYPES.values() if str(one) == f"torch.{begun}"), dtype)
    if precision == "auto" and before != dtype and trains(chosen, before) and convolves(chosen, before):
        notes += (
            Warned(
                Text(
                    "Going on in {before}, in which this training began; a new one would take {now} on this device.",
                    before=dtype_name(before),
                    now=dtype_name(dtype),
                ),
                Text("To change it, pause the training, choose a precision in the settings, and resume it."),
            ),
        )
        dtype = before
    if not trains(chosen, dtype):
        raise SettingsError("A processor can't train in fp16.", "Choose auto, fp32 or bf16 as the precision.")
    return Placement(chosen, dtype, notes)


def check_precision(device: str, precision: str) -> None:
    """Raise SettingsError where a training can't have that precision on that device, both by their names."""
    # All others can be had wherever there is anything to compute on; torch need not be loaded for them.
    if precision == "fp16":
        placed(device, precision)


def trains(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether gradients can be had: fp16 needs a scaler of the loss, which accelerate has for no processor."""
    return device.type != "cpu" or str(dtype) != "torch.float16"
