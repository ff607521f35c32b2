"""What this machine computes on, in plain words, and in numbers for who wants them."""

from __future__ import annotations

import platform
import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from app.create.memory import needed_gb
from app.i18n import say, translated
from app.setup.graphics_cards import read_amd_cards, read_nvidia_smi, read_other_cards
from app.setup.torch_choice import choose_torch
from styles.bases.recommended import RECOMMENDED
from styles.errors import OutOfMemory, SettingsError
from styles.quantization.quantization import NF4
from styles.text import NO_TEXT, Text

if TYPE_CHECKING:
    import torch

    from app.studio import Studio
    from styles.devices.cards import Card
    from styles.families import Family

GB = 1e9


@dataclass(frozen=True)
class Machine:
    """What a look at the machine found; sizes in bytes."""

    device: str  # as torch names it: cpu, cuda:0, mps
    card: str  # the graphics card's name; empty without one
    # Each graphics card that there is, and why none of them, or not the one that was chosen, is used.
    cards: tuple[Card, ...]
    problem: Text
    refused: bool  # the device that was chosen can't be had, and none is taken in its place
    threads: int
    memory: int
    memory_free: int
    # Of a card that has its own, and computes in no other; else 0, as of Apple's.
    card_memory: int
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
        lines = [translated(self.problem)] if self.problem else []
        if self.device == "cpu" and not self.refused:
            lines += [
                say(
                    "Pictures are painted and styles trained on the processor: it works, but slowly. A graphics card "
                    "is many times faster."
                )
            ]
        elif not self.refused:
            lines += [
                say("Pictures are painted and styles trained on the graphics card {card}.", card=self.card)
            ]
        if len(self.cards) > 1:
            names = ", ".join(translated(card.words) for card in self.cards)
            lines.append(
                say(
                    "There are several graphics cards: {cards}. Another one is chosen by its name, as the device.",
                    cards=names,
                )
            )
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
        for family in dict.fromkeys(base.family for base in RECOMMENDED):
            lines.append(self._room_for(family))
        lines.append(say("Where your files are, {free} GB are free on the disk.", free=_gb(self.disk_free)))
        return lines

    def _room_for(self, family: Family) -> str:
        """Whether a base of a family fits the memory, wholly or with its parts taking turns."""
        whole, least = needed_gb(family, self.precision)
        if self.room_bytes >= whole * GB:
            return say("{base} fits: it needs about {needed} GB.", base=family.name, needed=_short(whole))
        if self.card_memory and self.room_bytes >= least * GB:
            return say(
                "{base} fits, a little slower: its parts take turns on the card, which needs about {needed} GB at least.",
                base=family.name,
                needed=_short(least),
            )
        whole_nf4, least_nf4 = needed_gb(family, self.precision, NF4)
        smallest = least_nf4 if self.card_memory else whole_nf4
        if self.room_bytes >= smallest * GB:
            return say(
                "{base} fits in four bits, a little slower: as NF4 it needs about {needed} GB at least.",
                base=family.name,
                needed=_short(smallest),
            )
        return say(
            "{base} does not fit: it needs about {needed} GB.",
            base=family.name,
            needed=_short(least if self.card_memory else whole),
        )

    def rows(self) -> list[tuple[str, str]]:
        """(what, which): the same in numbers, with the versions; names of parts are in no language."""
        rows = [("device", f"{self.device} {self.card}".strip()), ("precision", self.precision)]
        rows += [("card", translated(card.words)) for card in self.cards]
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
    """Look at the machine as it is now; imports torch. A device that can't be had is told, and the CPU looked at."""
    import diffusers
    import gradio
    import psutil
    import torch

    from styles.bases.offload import IN_SYSTEM_MEMORY
    from styles.devices.cards import card_of, cards
    from styles.devices.memory import free_bytes
    from styles.devices.precision import dtype_name, pick_dtype

    device, problem = device_of(studio.settings.device)
    card = None if device.type == "cpu" else card_of(device)
    precision = studio.settings.precision
    if precision == "auto":
        try:
            precision = dtype_name(pick_dtype(device))
        except OutOfMemory as error:
            problem = error.text
    memory = psutil.virtual_memory()
    card_memory = card.memory_bytes if card and device.type not in IN_SYSTEM_MEMORY else 0
    runtime = torch.version.hip or torch.version.cuda
    return Machine(
        device=str(device),
        card=card.name if card else "",
        cards=cards(),
        problem=problem,
        refused=bool(problem) and device.type == "cpu" and studio.settings.device != "auto",
        threads=torch.get_num_threads(),
        memory=memory.total,
        memory_free=memory.available,
        card_memory=card_memory,
        card_memory_free=(free_bytes(device) or 0) if card_memory else 0,
        disk_free=shutil.disk_usage(studio.home.root).free,
        precision=precision,
        versions=(
            ("Python", sys.version.split()[0]),
            ("torch", torch.__version__),
            *([("ROCm" if torch.version.hip else "CUDA", runtime)] if runtime else []),
            ("diffusers", diffusers.__version__),
            ("gradio", gradio.__version__),
            *_nf4_version(),
        ),
    )


def _nf4_version() -> list[tuple[str, str]]:
    """The version of what NF4 needs, where it is installed."""
    try:
        return [("bitsandbytes", version("bitsandbytes"))]
    except PackageNotFoundError:
        return []


def device_of(name: str) -> tuple[torch.device, Text]:
    """The device of that name, and why it is the CPU where that is not what was hoped for."""
    import torch

    from styles.devices.device import device_for, idle_card

    try:
        device = device_for(name)
    except (SettingsError, OutOfMemory) as error:
        return torch.device("cpu"), error.text
    if name != "auto" or device.type != "cpu":
        return device, NO_TEXT
    idle = idle_card()
    return device, idle.text if idle else _unused()


def _unused() -> Text:
    """What to say of a graphics card that the installed PyTorch was not built for, as far as the system lists it."""
    system = platform.system()
    found = choose_torch(system, read_nvidia_smi(), read_other_cards(), read_amd_cards())
    if not found.cards:
        return NO_TEXT
    if found.build == "cpu":
        return Text("The graphics card is not used. {reason}", reason=found.words)
    return Text(
        "The installed PyTorch was built without the graphics card {cards}: run `python launch.py setup` again.",
        cards=", ".join(found.cards),
    )


def _gb(size: int) -> str:
    return _short(size / GB)


def _short(gigabytes: float) -> str:
    return f"{gigabytes:.0f}" if gigabytes >= 20 else f"{gigabytes:.1f}"
