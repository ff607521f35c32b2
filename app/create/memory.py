"""Whether a picture can be painted beside a running training, and what its memory becomes afterwards."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import cache

from app.settings import Settings
from styles.errors import OutOfMemory
from styles.families import Family, family_of
from styles.quantization.quantization import PLAIN
from styles.storage.home import Home

ROOM_TO_WORK = 1.25  # times the weights, of a base whose family says nothing


def needed_gb(family: Family, precision: str, quantize: str = PLAIN) -> tuple[float, float]:
    """A family's `painting_gb` in that precision, or `painting_nf4_gb` for a base in four bits of any kind."""
    wider = 2 if precision == "fp32" else 1
    whole, least = family.painting_gb if quantize == PLAIN else family.painting_nf4_gb
    return whole * wider, least * wider


def refuse_if_crowded(source: str, home: Home, settings: Settings, training_name: str) -> None:
    """Raise OutOfMemory when the accelerator has too little free memory for the base; on a CPU there is always some."""
    from styles.devices.device import device_for
    from styles.devices.memory import free_bytes
    from styles.devices.precision import dtype_for, dtype_name

    device = device_for(settings.device)
    free = free_bytes(device) if device.type != "cpu" else None
    if free is None:
        return
    needed = _needed_bytes(source, home, dtype_name(dtype_for(settings.precision, device)))
    if free < needed:
        raise OutOfMemory(
            "While “{training}” is training, the graphics card has {free:.1f} GB free, and painting needs about {needed:.1f} GB.",
            "Pause the training, paint, and let it go on.",
            training=training_name,
            free=free / 1e9,
            needed=needed / 1e9,
        )


def _needed_bytes(source: str, home: Home, precision: str) -> float:
    """The least that painting takes of a card."""
    from styles.bases.files.inspection import inspect_base
    from styles.bases.shelf import find_source

    path, settings = find_source(source, home)
    facts = inspect_base(path, settings)
    _, least = needed_gb(family_of(facts.family), precision, facts.quantize)
    if least:
        return least * 1e9
    files = path.rglob("*.safetensors") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files) * ROOM_TO_WORK


def give_back_memory() -> None:
    """Return what is free to the system. glibc keeps it by itself, in pieces, for every thread that has painted."""
    if sys.platform == "linux" and (trim := _malloc_trim()):
        trim(0)


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    """Look glibc's function up; other C libraries have none."""
    return getattr(ctypes.CDLL(None), "malloc_trim", None)
