"""Kernels that give the same bits every time, where there are such: what a training runs with, and so what a trial of it measures."""

from __future__ import annotations

import os


def make_repeatable() -> None:
    """Choose such kernels for this process.

    On a CPU a resumed run equals an unbroken one. On a card it need not: the backward pass of attention, for one, adds
    up in any order, and what has no other way is let be (`warn_only`).
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    import torch

    torch.use_deterministic_algorithms(True, warn_only=True)
    # Filling costs time, and nothing here reads memory that it has not written.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
