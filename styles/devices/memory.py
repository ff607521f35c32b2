"""A device's memory: what is free of it, the limit that torch is held to there, and how it is given back."""

from __future__ import annotations

import gc

import torch

# Left to the driver, the desktop and other programs when torch is held to a limit.
SPARED_BYTES = 300_000_000


def free_bytes(device: torch.device) -> int | None:
    """Return how many bytes new tensors can take on a device now; None where it doesn't tell.

    What torch keeps in its own cache counts as free, and no more than the limit that torch is held to.
    """
    import psutil

    if device.type == "cpu":
        return int(psutil.virtual_memory().available)
    if device.type == "mps":
        # Of the computer's own memory: as much as the driver recommends, if other programs leave it.
        cached = torch.mps.driver_allocated_memory() - torch.mps.current_allocated_memory()
        recommended = torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()
        return max(0, min(recommended, psutil.virtual_memory().available + cached))
    try:
        free, total = torch.accelerator.get_memory_info(device)
        allocated = torch.accelerator.memory_allocated(device)
        free += torch.accelerator.memory_reserved(device) - allocated
    except (RuntimeError, NotImplementedError, AttributeError):
        return None
    if device.type == "cuda":
        limit = torch.cuda.get_per_process_memory_fraction(device) * total
        free = min(free, int(limit) - allocated)
    return max(0, int(free))


def limit_memory(device: torch.device) -> None:
    """Hold torch to what is free on the device now, less `SPARED_BYTES`; what it holds already counts as its own.

    On Windows the driver would else spill into the computer's memory, 10 to 100 times slower and without a word,
    instead of failing. Only CUDA (and ROCm, which goes by its name) has such a limit; elsewhere nothing happens.
    """
    if device.type != "cuda":
        return
    free, total = torch.accelerator.get_memory_info(device)
    ours = free + torch.accelerator.memory_reserved(device) - SPARED_BYTES
    torch.cuda.set_per_process_memory_fraction(min(1.0, max(0.0, ours / total)), device)


def give_back(device: torch.device) -> None:
    """Return to the device what nothing refers to any more, so that others find it free."""
    gc.collect()
    if device.type != "cpu":
        torch.accelerator.empty_cache()
