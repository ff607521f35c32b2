"""Which build of PyTorch fits this machine: a pure choice from the graphics cards that the system lists.

Standard library only: launch.py uses this before anything is installed.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

from app.setup.graphics_cards import AmdCards, cards_in

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
# AMD's, on Linux alone: what torch 2.11 says that it was built for there (get_arch_list() in uv pull request 18730).
# Not its gfx900 and gfx906: the libraries of ROCm 7 have nothing for them any more (ROCm/TheRock issue 1844). That the
# index has torch 2.13 for ROCm 7.2 was not seen, only that it has 2.12.1; where it has not, the CPU's build is taken.
ROCM_BUILD = "rocm7.2"
ROCM_TARGETS = (
    "gfx908", "gfx90a", "gfx942", "gfx950", "gfx1030", "gfx1100", "gfx1101", "gfx1102", "gfx1150", "gfx1151", "gfx1200",
    "gfx1201",
)  # fmt: skip
NO_AMD = AmdCards()


@dataclass(frozen=True)
class TorchChoice:
    """A build of torch: what pip is asked for, and why, in words for the artist."""

    build: str  # "cu130", "cu126", "rocm7.2", "cpu" or "mps"
    requirement: str  # what pip is asked for
    index_url: str | None  # an extra index that has it; None where the ordinary one does
    words: str
    download_gb: float  # roughly, with the libraries that it brings
    disk_gb: float  # roughly, once unpacked
    cards: tuple[str, ...] = ()  # that were found, whether it uses them or not

    @property
    def uses_card(self) -> bool:
        """A card has to calculate with it, which is proven once it is installed."""
        return is_for_card(self.build)


def is_for_card(build: str) -> bool:
    """Whether that build of torch is one for a graphics card whose driver has to be there as well."""
    return build.startswith(("cu", "rocm"))


def choose_torch(
    system: str,
    nvidia_smi: str | None,
    other_cards: tuple[str, ...] = (),
    amd: AmdCards = NO_AMD,
) -> TorchChoice:
    """The build of torch for this machine; pure.

    `system` is "Linux", "Windows" or "Darwin" as `platform.system()` says; `nvidia_smi` is what read_nvidia_smi()
    returned, `other_cards` what read_other_cards() did and `amd` what read_amd_cards() did.
    """
    names = tuple(card.name for card in cards_in(nvidia_smi or ""))
    names += tuple(f"AMD {target}" for target in amd.targets)
    return replace(_choice(system, nvidia_smi, other_cards, amd), cards=names)


def _choice(system: str, nvidia_smi: str | None, other_cards: tuple[str, ...], amd: AmdCards) -> TorchChoice:
    if system == "Darwin":
        return TorchChoice(
            "mps", f"torch=={TORCH_VERSION}", None, "Apple's graphics (Metal) will be used.", 0.1, 0.5
        )
    if nvidia_smi is None:
        return _choice_without_nvidia(system, other_cards, amd)
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
    if failed.build == ROCM_BUILD:
        words = "The processor will do the work. After an update of the AMD driver, run `python launch.py setup` again."
        return cpu_choice(system, words)
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


def rocm_choice(words: str) -> TorchChoice:
    """ROCm: its libraries are inside torch's own wheel. The sizes are those of older builds, roughly."""
    return TorchChoice(
        ROCM_BUILD, f"torch=={TORCH_VERSION}+{ROCM_BUILD}", WHEEL_INDEX + ROCM_BUILD, words, 5.0, 15.0
    )


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
why = ""
# One is enough: of several, the first that calculates is taken.
for number in range(torch.cuda.device_count()):
    try:
        b = (a.float().cuda(number) @ a.float().cuda(number)).cpu().double()
        error = ((b - a @ a).abs().max() / (a @ a).abs().max()).item()
        if error < 0.01:
            print(torch.cuda.get_device_name(number))
            sys.exit()
        why = why or "the card miscalculated: a matrix product is off by %g" % error
    except RuntimeError as problem:
        why = why or "RuntimeError: %s" % str(problem).splitlines()[0]
sys.exit(why)
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


def _choice_without_nvidia(system: str, other_cards: tuple[str, ...], amd: AmdCards) -> TorchChoice:
    found = ", ".join(amd.targets)
    fitting = [target for target in amd.targets if target in ROCM_TARGETS]
    if fitting and amd.may_use:
        return rocm_choice(f"Found AMD graphics ({found}): taking PyTorch for ROCm {ROCM_BUILD[4:]}.")
    if fitting:
        return cpu_choice(
            system,
            f"Found AMD graphics ({found}), but you may not compute with them: the processor will do the work for now. "
            "Let yourself into their groups with `sudo usermod -aG render,video $USER`, log in again, then run "
            "`python launch.py setup` again.",
        )
    if amd.targets:
        words = f"Found AMD graphics ({found}), which today's PyTorch has no build for: the processor will do the work."
        return cpu_choice(system, words)
    words = "No NVIDIA card here"
    if other_cards:
        words += f"; {' and '.join(other_cards)} graphics are not used"
    words += ": the processor will do the work."
    if "AMD" in other_cards:
        words += " PyTorch uses an AMD card through the driver amdgpu with its compute part (/dev/kfd), which is not there."
    elif system == "Windows":
        words += " For AMD cards the PyTorch project has builds on Linux only."
    if "Intel" in other_cards:
        words += f" For an Intel Arc card it has one of its own, which setup does not take: {WHEEL_INDEX}xpu"
    return cpu_choice(system, words + ("" if words.endswith(".") else "."))


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
