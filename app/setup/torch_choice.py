"""Which build of PyTorch fits this machine: a pure choice from what `nvidia-smi` says.

Standard library only: launch.py uses this before anything is installed.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

TORCH_VERSION = "2.13.0"
WHEEL_INDEX = "https://download.pytorch.org/whl/"  # the PyTorch project's own; one folder per build

# Compute capabilities in each build, and the driver that each needs. Sources: PyTorch's release matrix
# (RELEASE.md, "PyTorch CUDA Support Matrix"), NVIDIA's CUDA release notes, table 3 (CUDA 12.x runs on any driver
# of the 12 series through minor version compatibility).
CUDA_13_CAPABILITY = 7.5  # Turing
CUDA_13_DRIVER = 580
# Maxwell, Pascal, Volta up to Hopper; Blackwell (10.0 and 12.0) is not in it.
CUDA_12_CAPABILITIES = (5.0, 9.0)
CUDA_12_DRIVER = 525

QUERY = "--query-gpu=name,compute_cap,driver_version"


@dataclass(frozen=True)
class Card:
    """One NVIDIA card as `nvidia-smi` lists it."""

    name: str
    capability: float | None  # compute capability, e.g. 8.6; None where nvidia-smi can't tell
    driver: int  # the main number of the driver's version, e.g. 580


@dataclass(frozen=True)
class TorchChoice:
    """A build of torch: what pip is asked for, and why, in words for the artist."""

    build: str  # "cu130", "cu126", "cpu" or "mps"
    requirement: str  # what pip is asked for
    index_url: str | None  # an extra index that has it; None where the ordinary one does
    words: str
    download_gb: float  # roughly, with the libraries that it brings
    disk_gb: float  # roughly, once unpacked
    cards: tuple[str, ...] = ()  # that were found, whether it uses them or not

    @property
    def uses_cuda(self) -> bool:
        return self.build.startswith("cu")


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


def choose_torch(system: str, nvidia_smi: str | None, other_cards: tuple[str, ...] = ()) -> TorchChoice:
    """The build of torch for this machine; pure.

    `system` is "Linux", "Windows" or "Darwin" as `platform.system()` says; `nvidia_smi` is what read_nvidia_smi()
    returned and `other_cards` what read_other_cards() did.
    """
    names = tuple(card.name for card in cards_in(nvidia_smi or ""))
    return replace(_choice(system, nvidia_smi, other_cards), cards=names)


def _choice(system: str, nvidia_smi: str | None, other_cards: tuple[str, ...]) -> TorchChoice:
    if system == "Darwin":
        return TorchChoice(
            "mps", f"torch=={TORCH_VERSION}", None, "Apple's graphics (Metal) will be used.", 0.1, 0.5
        )
    if nvidia_smi is None:
        return cpu_choice(system, _words_without_nvidia(other_cards))
    cards = cards_in(nvidia_smi)
    if not cards:
        return cpu_choice(system, _words_for_failure(nvidia_smi))

    driver = min(card.driver for card in cards)  # one driver serves all cards
    capabilities = [card.capability for card in cards if card.capability is not None]
    names = ", ".join(card.name for card in cards)
    low, high = CUDA_12_CAPABILITIES
    fits_13 = [c for c in capabilities if c >= CUDA_13_CAPABILITY]
    fits_12 = [c for c in capabilities if low <= c <= high]

    if not capabilities:  # the driver alone decides; the proof after installing has the last word
        if driver >= CUDA_13_DRIVER:
            return cuda_13_choice(system, f"Found {names}: taking PyTorch for CUDA 13.")
        if driver >= CUDA_12_DRIVER:
            return cuda_12_choice(f"Found {names}: taking PyTorch for CUDA 12.6.")
        return cpu_choice(system, _words_for_old_driver(names, driver, CUDA_12_DRIVER))
    if not fits_12 and not fits_13:
        words = f"Found {names}, which is too old for today's PyTorch: the processor will do the work."
        return cpu_choice(system, words)
    # With cards of several generations: all of them if one build covers all, else the build for the newer ones.
    needs_13 = len(fits_13) == len(capabilities) or len(fits_12) < len(capabilities)
    if fits_13 and driver >= CUDA_13_DRIVER and needs_13:
        idle = "" if len(fits_13) == len(capabilities) else " Its older cards stay idle."
        return cuda_13_choice(system, f"Found {names}: taking PyTorch for CUDA 13.{idle}")
    if fits_12 and driver >= CUDA_12_DRIVER:
        reason = (
            "" if driver >= CUDA_13_DRIVER or not fits_13 else f" (driver {driver} is too old for CUDA 13)"
        )
        idle = "" if len(fits_12) == len(capabilities) else " A newer driver would wake its other cards."
        return cuda_12_choice(f"Found {names}: taking PyTorch for CUDA 12.6{reason}.{idle}")
    needed_driver = CUDA_12_DRIVER if fits_12 else CUDA_13_DRIVER
    return cpu_choice(system, _words_for_old_driver(names, driver, needed_driver))


def next_choice(failed: TorchChoice, system: str) -> TorchChoice | None:
    """What to try when the build that was chosen could not calculate on the card; None after the last."""
    if failed.build == "cu130":
        return cuda_12_choice("Trying PyTorch for CUDA 12.6 instead.")
    if failed.build == "cu126":
        words = "The processor will do the work. After a driver update, run `python launch.py setup` again."
        return cpu_choice(system, words)
    return None


def cuda_13_choice(system: str, words: str) -> TorchChoice:
    """CUDA 13: what the ordinary index has for Linux; on Windows it has only a build without CUDA."""
    if system == "Linux":
        return TorchChoice("cu130", f"torch=={TORCH_VERSION}", None, words, 2.6, 6.5)
    return TorchChoice("cu130", f"torch=={TORCH_VERSION}+cu130", WHEEL_INDEX + "cu130", words, 1.8, 4.5)


def cuda_12_choice(words: str) -> TorchChoice:
    """CUDA 12.6, the last that knows cards before Turing and drivers before 580."""
    return TorchChoice("cu126", f"torch=={TORCH_VERSION}+cu126", WHEEL_INDEX + "cu126", words, 2.7, 6.5)


def cpu_choice(system: str, words: str) -> TorchChoice:
    """No CUDA: small. On Linux only the PyTorch project's index has it; elsewhere the ordinary one does, too."""
    if system == "Linux":
        return TorchChoice("cpu", f"torch=={TORCH_VERSION}+cpu", WHEEL_INDEX + "cpu", words, 0.2, 0.9)
    return TorchChoice("cpu", f"torch=={TORCH_VERSION}", None, words, 0.2, 0.9)


def plain_choice(choice: TorchChoice, words: str) -> TorchChoice:
    """The same version from the ordinary index, for when the PyTorch project's can't be reached.

    It calculates on the processor everywhere; on Linux it may be the large CUDA 13 build, on Windows it has no CUDA.
    """
    return replace(choice, build="cpu", requirement=f"torch=={TORCH_VERSION}", index_url=None, words=words)


PROOF = """
import sys, torch
if not torch.cuda.is_available():
    sys.exit("PyTorch sees no card that it can use")
a = torch.randn(256, 256, dtype=torch.float64)
b = (a.float().cuda() @ a.float().cuda()).cpu().double()
error = ((b - a @ a).abs().max() / (a @ a).abs().max()).item()
if not error < 0.01:
    sys.exit("the card miscalculated: a matrix product is off by %g" % error)
print(torch.cuda.get_device_name(0))
"""


def prove_on_card(python: Path, environment: dict[str, str]) -> tuple[bool, str]:
    """Multiply two matrices on the card with that Python's torch: (True, card's name) or (False, the reason)."""
    try:
        proof = subprocess.run(
            [str(python), "-c", PROOF],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=environment,
            timeout=300,  # Windows scans a new CUDA library for minutes before it lets it load
        )
    except subprocess.TimeoutExpired:
        return False, "no answer within five minutes"
    said = (proof.stdout if proof.returncode == 0 else proof.stderr).decode("utf-8", "replace").strip()
    last_line = said.splitlines()[-1] if said else f"exit code {proof.returncode}"
    return proof.returncode == 0, last_line


def _words_without_nvidia(other_cards: tuple[str, ...]) -> str:
    if other_cards:
        makers = " and ".join(other_cards)
        return f"No NVIDIA card here; {makers} graphics are not used, so the processor will do the work."
    return "No NVIDIA card here: the processor will do the work."


def _words_for_failure(nvidia_smi: str) -> str:
    said = next((line.strip() for line in nvidia_smi.splitlines() if line.strip()), "nothing")
    lower = nvidia_smi.lower()
    if "no devices were found" in lower:
        return "The NVIDIA driver sees no card: the processor will do the work."
    if "mismatch" in lower:
        cure = "Restart the computer (the driver was updated)"
    elif "not a valid field" in lower:  # nvidia-smi before 510 doesn't know compute_cap
        cure = "Update the NVIDIA driver"
    else:
        cure = "Reinstall or update the NVIDIA driver"
    return (
        f"The NVIDIA driver does not work ({said}): the processor will do the work for now. "
        f"{cure}, then run `python launch.py setup` again."
    )


def _words_for_old_driver(names: str, driver: int, needed_driver: int) -> str:
    return (
        f"Found {names}, but its driver {driver} is too old (it takes {needed_driver} or newer): the processor will do "
        "the work for now. Update the NVIDIA driver, then run `python launch.py setup` again."
    )
