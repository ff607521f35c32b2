"""Which parts of a base lie on its device: all of them where there is room, else those at work.

As diffusers' `enable_model_cpu_offload` has it, but only where memory asks for it, and as far: by the bytes of the
parts' weights, what their work takes (`working_memory`) and what is free. Whatever of a base is called is brought
first; the others lie in the computer's memory meanwhile. An Apple device computes in that very memory, and a CPU, too:
there nothing leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from styles.bases.stopping import models_of
from styles.bases.working_memory import MARGIN, weight_bytes
from styles.devices.memory import free_bytes, give_back
from styles.errors import OutOfMemory, is_out_of_memory

if TYPE_CHECKING:
    from styles.bases.base import Base

CPU = torch.device("cpu")
# Devices that compute in the computer's memory, by torch's names.
IN_SYSTEM_MEMORY = ("cpu", "mps")


def bring(base: Base, *models: nn.Module, work_bytes: float = 0) -> None:
    """Bring parts of a base to its device, and as many of the others off it as they and their work need room for.

    None of the others stays where the base spares memory. Where even all of the others gone leave too little for the
    work, that is tried all the same. Raises OutOfMemory where there is no room for the parts themselves.
    """
    bring_models(models, models_of(base), base.device, work_bytes, base.spares_memory)


def bring_models(
    models: Sequence[nn.Module],
    of_base: Sequence[nn.Module],
    device: torch.device,
    work_bytes: float = 0,
    spare_memory: bool = False,
) -> None:
    """Do the same for the models of a base that is not open yet; the last of the others leaves first."""
    away = [model for model in models if not lies_on(model, device)]
    if device.type in IN_SYSTEM_MEMORY:
        for model in away:
            model.to(device)
        return
    others = [
        model for model in of_base if lies_on(model, device) and all(model is not one for one in models)
    ]
    if spare_memory:
        send_away(others, device)
        others = []
    needed = weight_bytes(*away)
    _make_room(needed + MARGIN * work_bytes, others, device)
    if not away:
        return
    free = free_bytes(device)
    if free is not None and free < needed:
        raise _too_large(needed, device)
    problem = move_if_room(away, device)
    if problem is not None and others:
        send_away(others, device)
        problem = move_if_room(away, device)
    if problem is not None:
        raise _too_large(needed, device) from problem


def move_if_room(models: Sequence[nn.Module], device: torch.device) -> Exception | None:
    """Bring models to a device; where its memory is full, leave them whole in the computer's and return the error."""
    try:
        for model in models:
            model.to(device)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        # Without what its frames hold.
        problem = error.with_traceback(None)
    else:
        return None
    for model in models:
        model.to(CPU)
    give_back(device)
    return problem


def send_away(models: Sequence[nn.Module], device: torch.device) -> None:
    """Bring models that lie on a device into the computer's memory, unless the device has no other."""
    if device.type in IN_SYSTEM_MEMORY:
        return
    there = [model for model in models if lies_on(model, device)]
    for model in there:
        model.to(CPU)
    if there:
        give_back(device)


def fits_whole(models: Sequence[nn.Module], device: torch.device, work_bytes: float) -> bool:
    """Whether all models of a base have room on a device at once, beside their work; so where it doesn't tell."""
    if device.type in IN_SYSTEM_MEMORY:
        return True
    free = free_bytes(device)
    away = [model for model in models if not lies_on(model, device)]
    return free is None or weight_bytes(*away) + MARGIN * work_bytes <= free


def room_for(base: Base, model: nn.Module) -> int | None:
    """Return what a part of a base could take for its work, once all others have left; None where nothing tells."""
    device, free = base.device, free_bytes(base.device)
    if free is None or device.type in IN_SYSTEM_MEMORY:
        return free
    others = [one for one in models_of(base) if one is not model and lies_on(one, device)]
    return max(0, free + weight_bytes(*others) - (0 if lies_on(model, device) else weight_bytes(model)))


def lies_on(model: nn.Module, device: torch.device) -> bool:
    """Whether a model's weights lie on a device, which has no number where there is only one of its kind."""
    weight = next(model.parameters(), None)
    if weight is None:
        return True
    place = weight.device
    return place.type == device.type and (device.index is None or place.index in (None, device.index))


def _make_room(needed: float, others: list[nn.Module], device: torch.device) -> None:
    """Send as many of the others away as it takes; those that have left are taken out of the list."""
    while others and (free := free_bytes(device)) is not None and free < needed:
        send_away([others.pop()], device)


def _too_large(needed: float, device: torch.device) -> OutOfMemory:
    return OutOfMemory(
        "This base needs {needed:.1f} GB of memory on {device} at once, and {free:.1f} GB are free there.",
        "Close other programs, or use a smaller base.",
        needed=needed / 1e9,
        device=device,
        free=(free_bytes(device) or 0) / 1e9,
    )
