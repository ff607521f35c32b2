"""Which graphics cards the system lists, before any torch is installed.

Standard library only: launch.py uses this before anything is installed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

QUERY = "--query-gpu=name,compute_cap,driver_version"
KFD, KFD_NODES = Path("/dev/kfd"), Path("/sys/class/kfd/kfd/topology/nodes")


@dataclass(frozen=True)
class Card:
    """One NVIDIA card as `nvidia-smi` lists it."""

    name: str
    capability: float | None  # compute capability, e.g. 8.6; None where nvidia-smi can't tell
    driver: int  # the main number of the driver's version, e.g. 580


@dataclass(frozen=True)
class AmdCards:
    """AMD's cards as the kernel's compute driver (amdkfd) lists them."""

    targets: tuple[str, ...] = ()  # what kernels are compiled for, e.g. gfx1102
    may_use: bool = False  # this user may open them


def read_nvidia_smi() -> str | None:
    """What `nvidia-smi` answers about the cards, its error text when it fails, or None where there is none."""
    places = [
        "nvidia-smi",
        "C:/Program Files/NVIDIA Corporation/NVSMI/nvidia-smi.exe",
        "/usr/lib/wsl/lib/nvidia-smi",
    ]
    program = next((path for path in map(shutil.which, places) if path), None)
    if program is None:
        return None
    try:
        # A card that sleeps takes seconds to wake; a broken driver may never answer.
        answer = subprocess.run(
            [program, QUERY, "--format=csv,noheader"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=30,
        )
    except subprocess.TimeoutExpired:
        return "nvidia-smi did not answer within 30 seconds"
    except OSError as error:
        return f"nvidia-smi could not be started: {error}"
    return answer.stdout.decode("utf-8", "replace")


def read_other_cards() -> tuple[str, ...]:
    """Makers of graphics cards that are not NVIDIA's ("AMD", "Intel"), as far as Linux tells; else empty."""
    makers = {"0x1002": "AMD", "0x8086": "Intel"}
    names = []
    for file in sorted(Path("/sys/class/drm").glob("card[0-9]/device/vendor")):
        try:
            names.append(makers.get(file.read_text().strip()))
        except OSError:
            continue  # a card that goes away while we look is no card for us
    return tuple(sorted({maker for maker in names if maker}))


def cards_in(nvidia_smi: str) -> tuple[Card, ...]:
    """The cards in an answer to QUERY (csv without header); empty when it is an error message."""
    cards = []
    for line in nvidia_smi.splitlines():
        fields = [field.strip() for field in line.rsplit(",", 2)]
        if len(fields) != 3:
            continue
        name, capability, driver = fields
        main_number = driver.split(".")[0]
        if not main_number.isdigit():
            continue
        try:
            cards.append(Card(name, float(capability), int(main_number)))
        except ValueError:  # "[N/A]", "[Not Supported]" on some virtual cards
            cards.append(Card(name, None, int(main_number)))
    return tuple(cards)


def read_amd_cards(nodes: Path = KFD_NODES, device: Path = KFD) -> AmdCards:
    """AMD's cards on Linux; none elsewhere, and none without the driver that computing takes."""
    targets = []
    for file in sorted(nodes.glob("*/properties")):
        try:
            version = re.search(r"^gfx_target_version (\d+)$", file.read_text(), re.MULTILINE)
        except OSError:
            continue
        # 110002 is gfx1102, 90010 is gfx90a; a processor's node has 0.
        if version and int(version[1]):
            rest, stepping = divmod(int(version[1]), 100)
            targets.append(f"gfx{rest // 100}{rest % 100}{stepping:x}")
    return AmdCards(tuple(targets), os.access(device, os.R_OK | os.W_OK))
