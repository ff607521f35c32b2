"""The accelerators that torch lists on this machine, and why one of them can't compute."""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch

from styles.errors import OutOfMemory, SettingsError, is_out_of_memory
from styles.text import Text

# What CUDA and HIP say, in lower case, of a card that another program has for itself alone (a compute mode of the
# driver), and of one that none of the kernels in this torch was built for.
BUSY = ("busy or unavailable", "already in use by a different thread")
NO_KERNELS = ("no kernel image is available", "invalid device function")
LONGEST_REASON = 200


@dataclass(frozen=True)
class Card:
    """One accelerator."""

    device: str  # as torch names it: cuda:0, xpu:1, mps
    name: str  # its maker's, such as NVIDIA GeForce RTX 3060
    memory_bytes: int = 0  # in all; 0 where it doesn't say

    @property
    def words(self) -> Text:
        """Its names and its memory."""
        if not self.memory_bytes:
            return Text("{device} ({name})", device=self.device, name=self.name)
        return Text(
            "{device} ({name}, {memory:.0f} GB)",
            device=self.device,
            name=self.name,
            # As its maker counts them.
            memory=self.memory_bytes / 2**30,
        )


def cards() -> tuple[Card, ...]:
    """Return the accelerators that torch lists; none computes for that, nor takes memory."""
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if accelerator is None:
        return ()
    return tuple(card_of(device) for device in _devices(accelerator.type))


def _devices(kind: str) -> list[torch.device]:
    if kind == "mps":
        return [torch.device(kind)]
    return [torch.device(kind, index) for index in range(torch.accelerator.device_count())]


def card_of(device: torch.device) -> Card:
    """Return what torch says of an accelerator."""
    if device.type == "mps":
        return Card(str(device), torch.backends.mps.get_name(), torch.mps.recommended_max_memory())
    if device.type in ("cuda", "xpu"):
        about = torch.get_device_module(device).get_device_properties(device)
        # ROCm goes by CUDA's name, and some of its cards by no maker's.
        maker = "AMD " if device.type == "cuda" and torch.version.hip and "AMD" not in about.name else ""
        return Card(str(device), maker + about.name, about.total_memory)
    return Card(str(device), device.type)


def problem_of(device: torch.device) -> SettingsError | None:
    """Let a device multiply two small matrices; return what keeps it from that, None where it comes out right.

    Raises OutOfMemory where its memory is too full to tell, which may be another moment's.
    """
    try:
        ones = torch.ones(8, 8, device=device)
        if float((ones @ ones).sum()) == 512.0:
            return None
        reason = "8x8 ones"
    # AssertionError: a torch that was built without that device.
    except (RuntimeError, TypeError, AssertionError) as error:
        reason = str(error)
        if is_out_of_memory(error):
            raise full(device) from error
    if any(sign in reason.lower() for sign in BUSY):
        return SettingsError(
            "Another program has {device} for itself alone.",
            "Close that program, let programs share the card (`nvidia-smi -c 0`), or choose another device in the settings.",
            device=device,
        )
    if any(sign in reason.lower() for sign in NO_KERNELS):
        return SettingsError(
            "The installed PyTorch ({version}) was not built for {card}.",
            "Run `python launch.py setup` again for one that was; where there is none, choose cpu in the settings.",
            version=torch.__version__,
            card=card_of(device).words,
        )
    return SettingsError(
        "{device} can't compute ({reason}).",
        "Restart the computer; if it stays so, update the driver of the graphics card, or choose another device in the settings.",
        device=device,
        reason=_first_line(reason),
    )


def full(device: torch.device) -> OutOfMemory:
    """Return what to say of a device without memory for the least computation."""
    return OutOfMemory(
        "The memory of {device} is full.",
        "Close other programs that use it, or choose another device in the settings.",
        device=device,
    )


def driver_problem() -> SettingsError | None:
    """Return why a torch that was built for CUDA or ROCm lists no card; None where there is just none.

    torch itself only warns, once in a process, and says that there is no card.
    """
    if torch.version.cuda is None and torch.version.hip is None:
        return None
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        reason = str(error)
    else:
        return None
    if "no NVIDIA driver" in reason:
        return None
    if too_old := re.search(r"driver on your system is too old \(found version (\d+)\)", reason):
        # 11040 is 11.4.
        thousands, rest = divmod(int(too_old[1]), 1000)
        return SettingsError(
            "The NVIDIA driver is too old for the installed PyTorch: it can do CUDA {found}, and {needed} is needed.",
            "Update the driver of the graphics card; or run `python launch.py setup` again for an older build of PyTorch.",
            found=f"{thousands}.{rest // 10}",
            needed=torch.version.cuda,
        )
    if torch.version.hip and "No HIP GPUs are available" in reason:
        return SettingsError(
            "PyTorch for AMD cards finds none that it may use.",
            "On Linux, let yourself into the groups render and video (`sudo usermod -aG render,video $USER`), and log in again.",
        )
    if re.search(r"No (CUDA|HIP) GPUs are available", reason):
        return None
    return SettingsError(
        "PyTorch can't use the graphics card ({reason}).",
        "Restart the computer; if it stays so, update the driver of the graphics card.",
        reason=_first_line(reason),
    )


def _first_line(reason: str) -> str:
    return reason.strip().split("\n", 1)[0].rstrip(".")[:LONGEST_REASON]
