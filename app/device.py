"""What this machine computes on, in words."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.studio import Studio


def device_rows(studio: Studio) -> list[tuple[str, str]]:
    """(what, which) of the device, its memory and the versions; imports torch."""
    import diffusers
    import torch

    from styles.base import device_for, pick_dtype
    from styles.generate import dtype_name

    device = device_for(studio.settings.device)
    precision = studio.settings.precision
    rows = [
        ("Home", str(studio.home.root)),
        ("Device", str(device)),
        ("Precision", precision if precision != "auto" else dtype_name(pick_dtype(device))),
    ]
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        rows += [
            ("Graphics card", torch.cuda.get_device_name(device)),
            ("Its memory", f"{free / 1e9:.1f} GB free of {total / 1e9:.1f} GB"),
        ]
    rows += [
        ("Processor", f"{platform.machine()}, threads: {torch.get_num_threads()}"),
        ("Python", platform.python_version()),
        ("torch", torch.__version__),
        ("diffusers", diffusers.__version__),
    ]
    return rows
