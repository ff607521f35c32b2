"""What this machine computes on, in plain words, and in numbers for who wants them."""

from __future__ import annotations

import platform
import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.create.memory import ROOM_TO_WORK
from app.i18n import say
from styles.bases.shelf import RECOMMENDED

if TYPE_CHECKING:
    from app.studio import Studio

GB = 1e9


@dataclass(frozen=True)
class Machine:
    """What a look at the machine found; sizes in bytes."""

    device: str  # as torch names it: cpu, cuda, mps
    card: str  # the graphics card's name; empty without one
    threads: int
    memory: int
    memory_free: int
    card_memory: int  # 0 without one of its own
    card_memory_free: int
    disk_free: int
    precision: str
    versions: tuple[tuple[str, str], ...]

    @property
    def room_bytes(self) -> int:
        """The memory that a base and the work on it must fit into."""
        return self.card_memory or self.memory

    def words(self) -> list[str]:
        """What an artist wants to know of it, a sentence each."""
        if self.device == "cpu":
            lines = [
                say(
                    "Pictures are painted and styles trained on the processor: it works, but slowly. A graphics card "
                    "is many times faster."
                )
            ]
        else:
            lines = [
                say("Pictures are painted and styles trained on the graphics card {card}.", card=self.card)
            ]
        if self.card_memory:
            lines.append(
                say(
                    "The card has {total} GB of memory, {free} GB of it free now.",
                    total=_gb(self.card_memory),
                    free=_gb(self.card_memory_free),
                )
            )
        lines.append(
            say(
                "The computer has {total} GB of memory, {free} GB of it free now.",
                total=_gb(self.memory),
                free=_gb(self.memory_free),
            )
        )
        # The recommended ones have two bytes for each weight.
        wider = 2 if self.precision == "fp32" else 1
        for family in dict.fromkeys(base.family for base in RECOMMENDED):
            size_gb = min(base.size_gb for base in RECOMMENDED if base.family == family)
            needed = size_gb * wider * ROOM_TO_WORK
            words = (
                say("{base} fits: it needs about {needed} GB.", base=family.name, needed=_short(needed))
                if self.room_bytes >= needed * GB
                else say(
                    "{base} needs about {needed} GB and may not fit: switch the low-memory mode on.",
                    base=family.name,
                    needed=_short(needed),
                )
            )
            lines.append(words)
        lines.append(say("Where your files are, {free} GB are free on the disk.", free=_gb(self.disk_free)))
        return lines

    def rows(self) -> list[tuple[str, str]]:
        """(what, which): the same in numbers, with the versions; names of parts are in no language."""
        rows = [("device", f"{self.device} {self.card}".strip()), ("precision", self.precision)]
        if self.card_memory:
            rows.append(("card memory", f"{_gb(self.card_memory_free)} of {_gb(self.card_memory)} GB free"))
        rows += [
            ("memory", f"{_gb(self.memory_free)} of {_gb(self.memory)} GB free"),
            ("disk", f"{_gb(self.disk_free)} GB free"),
            ("processor", f"{platform.machine()}, {self.threads} threads"),
            ("system", f"{platform.system()} {platform.release()}"),
        ]
        return rows + list(self.versions)


def look_at(studio: Studio) -> Machine:
    """Look at the machine as it is now; imports torch. Raises SettingsError for a device that can't be had."""
    import diffusers
    import gradio
    import psutil
    import torch

    from styles.devices.device import device_for
    from styles.devices.precision import dtype_name, pick_dtype

    device = device_for(studio.settings.device)
    memory = psutil.virtual_memory()
    card, card_free, card_total = "", 0, 0
    if device.type == "cuda":
        card = torch.cuda.get_device_name(device)
        card_free, card_total = torch.cuda.mem_get_info(device)
    elif device.type != "cpu":
        card = f"{platform.processor() or platform.machine()} ({device.type})"
    precision = studio.settings.precision
    return Machine(
        device=device.type,
        card=card,
        threads=torch.get_num_threads(),
        memory=memory.total,
        memory_free=memory.available,
        card_memory=card_total,
        card_memory_free=card_free,
        disk_free=shutil.disk_usage(studio.home.root).free,
        precision=precision if precision != "auto" else dtype_name(pick_dtype(device)),
        versions=(
            ("Python", sys.version.split()[0]),
            ("torch", torch.__version__),
            ("diffusers", diffusers.__version__),
            ("gradio", gradio.__version__),
        ),
    )


def _gb(size: int) -> str:
    return _short(size / GB)


def _short(gigabytes: float) -> str:
    return f"{gigabytes:.0f}" if gigabytes >= 20 else f"{gigabytes:.1f}"
