"""The first start: makes `.venv` beside launch.py and installs what Atelier needs, told in plain words.

Standard library only. Nothing is installed while the stamp in `.venv`, written last, matches the lock files and the
choice of torch; a `.venv` without a stamp is half-made and is made again.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import platform
import re
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app.setup.graphics_cards import read_amd_cards, read_nvidia_smi, read_other_cards
from app.setup.lock import LOCKS, RANGES
from app.setup.pip import (
    PipFailed,
    Say,
    SetupProblem,
    can_reach,
    child_environment,
    has_own_index,
    name_of,
    pip_install,
    requirement_lines,
    run_logged,
    venv_python,
)
from app.setup.torch_choice import (
    TORCH_VERSION,
    TorchChoice,
    choose_torch,
    cpu_choice,
    is_for_card,
    next_choice,
    plain_choice,
    prove_on_card,
)

STAMP = "atelier.json"  # written last; without it a .venv is half-made
BEGUN = "atelier-made-this"  # written first; without it a .venv is somebody else's
PARTS = ("requirements", "nf4", "tests")  # by their names in the stamp, in the order of the files
REST_GB = 2.0  # unpacked and downloaded: all requirements but torch


def set_up(
    root: Path, say: Say, *, with_tests: bool = False, again: bool = False, newest: bool | None = None
) -> Path:
    """Make sure that `root/.venv` has everything, and return its Python.

    `with_tests` adds what the tests need; `again` gives a graphics card that could not be used another chance;
    `newest` takes the newest packages that the requirements allow, False those of the lock files, None which of both
    was taken last. Raises SetupProblem.
    """
    fitting = choose_torch(platform.system(), read_nvidia_smi(), read_other_cards(), read_amd_cards())
    if _is_current(root, fitting, with_tests, again, newest):
        if not fitting.uses_card and is_for_card(read_stamp(root)["torch_installed"]):
            say(fitting.words)
        return venv_python(root)
    with setup_lock(root, say):
        if _is_current(root, fitting, with_tests, again, newest):  # another setup has just finished
            return venv_python(root)
        _install_all(root, fitting, say, with_tests, again, newest)
        say("Atelier is set up.")
    return venv_python(root)


def read_stamp(root: Path) -> dict[str, str]:
    """What the finished `.venv` was made for; empty when there is none or it is half-made."""
    try:
        stamp = json.loads((root / ".venv" / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) and _venv_runs(root) else {}


def log_surprise(root: Path) -> Path:
    """Write the traceback of the exception that is being handled to a log file, and say which."""
    log = root / ".venv" / "setup.log"
    if not log.parent.is_dir():
        log = Path(tempfile.gettempdir()) / "atelier-setup.log"
    with log.open("a", encoding="utf-8") as file:
        traceback.print_exc(file=file)
    return log


def _is_current(root: Path, fitting: TorchChoice, with_tests: bool, again: bool, newest: bool | None) -> bool:
    stamp = read_stamp(root)
    taken_newest = bool(stamp.get("newest"))
    if newest or (newest is False and taken_newest):
        return False
    files = part_files(root, taken_newest)
    parts = _parts(bool(stamp.get("nf4")), with_tests)
    return _torch_fits(stamp, fitting, again) and all(
        stamp.get(part) == digest(files[part]) for part in parts
    )


def part_files(root: Path, newest: bool) -> dict[str, Path]:
    """What each part is installed from."""
    return {part: root / file for part, file in zip(PARTS, RANGES if newest else LOCKS, strict=True)}


def _parts(nf4: bool, tests: bool) -> list[str]:
    """What is wanted of PARTS; the tests need all."""
    return list(PARTS) if tests else [part for part in PARTS[:2] if part != "nf4" or nf4]


def _torch_fits(stamp: dict[str, str], fitting: TorchChoice, again: bool) -> bool:
    if stamp.get("torch_version") != TORCH_VERSION:
        return False
    if stamp.get("torch_asked") == fitting.build:
        return not again or stamp.get("torch_installed") == fitting.build
    # A card that is away (a driver that waits for a restart) installs nothing: its builds run without it, too.
    return fitting.build == "cpu" and is_for_card(stamp.get("torch_installed", ""))


def digest(file: Path) -> str:
    """What changes with the requirements in a file."""
    return hashlib.sha256("\n".join(requirement_lines(file)).encode()).hexdigest()[:16]


def _venv_runs(root: Path) -> bool:
    """Whether the Python of `.venv` is there, and also the one that it was made from (an update may remove it)."""
    try:
        settings = (root / ".venv" / "pyvenv.cfg").read_text(encoding="utf-8")
    except OSError:
        return False
    made_from = re.search(r"^home\s*=\s*(.+)$", settings, re.MULTILINE)
    return venv_python(root).exists() and made_from is not None and Path(made_from[1].strip()).is_dir()


def _install_all(
    root: Path, fitting: TorchChoice, say: Say, with_tests: bool, again: bool, newest: bool | None
) -> None:
    stamp = read_stamp(root)
    newest = bool(stamp.get("newest")) if newest is None else newest
    parts = _parts(bool(stamp.get("nf4")), with_tests or bool(stamp.get("tests")))
    files, ranges = part_files(root, newest), part_files(root, True)
    names = [name_of(line) for part in parts for line in requirement_lines(ranges[part])]
    packages = Packages(root, [files[part] for part in parts], names, newest, say)
    new_stamp = {
        **{part: digest(files[part]) if part in parts else "" for part in PARTS},
        "newest": "yes" if newest else "",
        "torch_version": TORCH_VERSION,
    }
    if _torch_fits(stamp, fitting, again):
        say("Bringing Atelier's packages up to date ...")
        check_disk(root, REST_GB)
        # An update that is killed leaves no stamp, so that all is made again; one that fails leaves the old one.
        (root / ".venv" / STAMP).unlink()
        try:
            packages.install()
        except SetupProblem:
            write_stamp(root, stamp)
            raise
        write_stamp(root, {**stamp, **new_stamp})
    else:
        say("Setting up Atelier. This happens once and takes a few minutes, longer on a slow connection.")
        say(fitting.words)
        # Twice, since pip keeps a copy of what it downloads.
        check_disk(root, fitting.disk_gb + 2 * fitting.download_gb + REST_GB)
        with _previous_kept(root):
            installed = _install_torch(root, fitting, packages, say)
            if newest:
                packages.install()
        write_stamp(root, {**new_stamp, "torch_asked": fitting.build, "torch_installed": installed})


@dataclass(frozen=True)
class Packages:
    """All that is installed beside torch."""

    root: Path
    # Lock files, or with `newest` files of requirements.
    files: list[Path]
    # Of the requirements; what they need in turn is not counted.
    names: list[str]
    newest: bool
    say: Say

    def install(self) -> None:
        """Let pip install them; raises PipFailed."""
        if self.newest:
            # torch is named again, so that no requirement may replace it.
            arguments = [f"torch=={TORCH_VERSION}", "--upgrade", "--upgrade-strategy", "eager"]
        else:
            # A lock file names what packages need as well, but for torch, which has a run of its own.
            arguments = ["--require-hashes", "--no-deps"]
        for file in self.files:
            arguments += ["-r", str(file)]
        done = 1 if self.newest else 0
        pip_install(self.root, arguments, self.names, self.say, done=done, total=len(self.names) + 1)

    def install_torch(self, arguments: list[str]) -> None:
        """Let pip install torch, before the newest packages and after those of the lock; raises PipFailed."""
        done = 0 if self.newest else len(self.names)
        pip_install(self.root, arguments, ["torch"], self.say, done=done, total=len(self.names) + 1)


def write_stamp(root: Path, stamp: dict[str, str]) -> None:
    """Say what the `.venv` was made for."""
    partial = root / ".venv" / f"{STAMP}.partial"
    partial.write_text(json.dumps(stamp, indent=1), encoding="utf-8")
    os.replace(partial, root / ".venv" / STAMP)


@contextlib.contextmanager
def _previous_kept(root: Path) -> Iterator[None]:
    """Put a finished `.venv` aside while another is made in its place, and back if that one is not finished."""
    folder, aside = root / ".venv", root / ".venv-old-previous"
    if not read_stamp(root):
        yield
        return
    try:
        shutil.rmtree(aside, ignore_errors=True)
        folder.rename(aside)
    except OSError as error:
        raise SetupProblem(
            f"{folder} is in use ({error.strerror}). Close Atelier, then start it again."
        ) from error
    try:
        yield
    except BaseException:
        if folder.exists():
            os.replace(folder / "setup.log", aside / "setup.log")  # the message names it
            shutil.rmtree(folder, ignore_errors=True)
        aside.rename(folder)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _install_torch(root: Path, fitting: TorchChoice, packages: Packages, say: Say) -> str:
    """Install the best torch that can be had and that calculates on the card; the build that it became.

    What the lock files name is installed before, so that torch finds what it needs, checked by its hashes.
    """
    system = platform.system()
    choice: TorchChoice | None = fitting
    fresh = False
    while choice is not None:
        if not fresh:  # also after a torch that failed: the libraries of two CUDA versions share folders
            _make_venv(root, say)
            if not packages.newest:
                packages.install()
            fresh = True
        choice = _obtainable(root, choice, system, say)
        index = ["--extra-index-url", choice.index_url] if choice.index_url else []
        try:
            packages.install_torch([choice.requirement, *index])
        except PipFailed as failure:
            if choice.index_url is None or "No matching distribution" not in failure.output:
                raise
            say(f"The PyTorch project has no {choice.build} build for this machine.")
            choice = next_choice(choice, system) or plain_choice(choice, "")
            say(choice.words)
            continue
        if not choice.uses_card:
            return choice.build
        works, said = prove_on_card(venv_python(root), child_environment())
        if works:
            say(f"{said} has passed a test calculation and will do the work.")
            return choice.build
        fresh = False
        say(f"PyTorch can't calculate on the graphics card ({said}).")
        choice = next_choice(choice, system)
        if choice is not None:
            say(choice.words)
    raise AssertionError("next_choice ends with the processor, which needs no proof")


def _obtainable(root: Path, choice: TorchChoice, system: str, say: Say) -> TorchChoice:
    """`choice` if its index can be reached, else the best build that the ordinary index has."""
    if choice.index_url is None:
        return choice
    if choice.build == "cpu" and has_own_index(venv_python(root)):
        # A company's or a school's own packages: the artist's settings know best where torch comes from.
        return plain_choice(choice, "")
    if can_reach(f"{choice.index_url}/torch/"):
        return choice
    plain = plain_choice(cpu_choice(system, ""), "")
    say(
        "The PyTorch project's own packages can't be reached, so the ordinary build is taken"
        + (
            " and the processor does the work; run `python launch.py setup` again later."
            if choice.uses_card
            else "."
        )
    )
    return plain


def check_disk(folder: Path, needed_gb: float) -> None:
    """Raise SetupProblem when the disk of `folder` has less than `needed_gb` GB free."""
    free_gb = shutil.disk_usage(folder).free / 1e9
    if free_gb < needed_gb:
        raise SetupProblem(
            f"Setting up needs about {needed_gb:.1f} GB of free disk space and {folder} has {free_gb:.1f} GB. "
            "Make room, or move this folder to a larger disk, then run the same command again.",
            "disk",
        )


def _make_venv(root: Path, say: Say) -> None:
    """An empty `.venv` with pip; what was half-made before goes, what is somebody else's moves aside."""
    folder = root / ".venv"
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if importlib.util.find_spec("ensurepip") is None or importlib.util.find_spec("venv") is None:
        raise SetupProblem(
            f"This Python can't make a virtual environment. On Debian and Ubuntu, run "
            f"`sudo apt install python{version}-venv`, then the same command again."
        )
    if Path(sys.prefix).resolve() == folder.resolve():
        raise SetupProblem(
            "The .venv must be made again, but is in use: run `deactivate`, then the same command again."
        )
    try:
        if folder.is_dir() and (folder / BEGUN).exists():
            say("Clearing an unfinished or outdated .venv ...")
            shutil.rmtree(folder)
        elif folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
            aside = next(path for n in range(1, 1000) if not (path := root / f".venv-old-{n}").exists())
            folder.rename(aside)
            say(f"There was a .venv that Atelier did not finish making; it is now called {aside.name}.")
        folder.mkdir(exist_ok=True)
        (folder / BEGUN).touch()
    except OSError as error:
        raise SetupProblem(
            f"{folder} can't be made ({error.strerror or error}). Close programs that use it, or move this folder to "
            "a place where you may write, then run the same command again."
        ) from error
    say("Making a place for Atelier's own packages (.venv) ...")
    code, output = run_logged(root, [sys.executable, "-m", "venv", str(folder)], lambda lines: None)
    if code != 0:
        apt = (
            f" On Debian and Ubuntu, `sudo apt install python{version}-venv` cures it."
            if "ensurepip" in output
            else ""
        )
        raise SetupProblem(f"Python could not make {folder}.{apt} The details are in {folder / 'setup.log'}.")


@contextlib.contextmanager
def setup_lock(root: Path, say: Say) -> Iterator[None]:
    """Only one setup at a time in `root`; the system takes the lock back when the process ends in any way."""
    try:
        file = (root / ".setup.lock").open("a+b")
    except OSError as error:
        raise SetupProblem(
            f"{root} can't be written to ({error.strerror}). Move this folder to a place where you may write, "
            "then run the same command again."
        ) from error
    with file:
        waited = False
        while not _try_lock(file.fileno()):
            if not waited:
                say("Another start is setting up in this folder; waiting for it ...")
                waited = True
            time.sleep(0.5)
        yield


def _try_lock(descriptor: int) -> bool:
    # filelock isn't installed yet, so both systems' own calls.
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(descriptor, 0, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
