"""Kernels that give the same bits every time: what a training runs with, and so what a trial of it measures."""

from __future__ import annotations

import os


def make_repeatable() -> None:
    """Choose such kernels for this process, so that a resumed run equals an unbroken one."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    import torch

    torch.use_deterministic_algorithms(True, warn_only=True)
    # Filling costs time, and nothing here reads memory that it has not written.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
