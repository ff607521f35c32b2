"""The versions that Atelier is tested with, those of its packages' own packages included.

`python -m app.setup.lock` writes the lock files for every system and Python at once, as `uv` resolves them; with
`--upgrade` it takes the newest that the ranges allow, without it only what they no longer allow. Set-up installs from
them, each wheel by its hash.

Standard library only: set-up reads them before anything is installed.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app.setup.torch_choice import TORCH_VERSION

# Of the app, of its extra for NF4, and of the tests, which need both.
RANGES = ("requirements.txt", "app/setup/nf4.txt", "tests/requirements.txt")
LOCKS = ("app/setup/requirements.lock", "app/setup/nf4.lock", "tests/requirements.lock")
# torch has a build for each kind of card, and the libraries of CUDA come with it, in the versions that it names.
WITH_TORCH = re.compile(r"(torch|triton|nvidia-.*|cuda-.*)==")
HEADER = """\
# Written by `python -m app.setup.lock`: what {ranges} came to, for each system and Python.
# torch, and the libraries of CUDA that it names, are chosen by app/setup/torch_choice.py.
"""


@dataclass(frozen=True)
class LockedPackage:
    """One version of one package, and where it is installed."""

    name: str
    version: str
    # As in `python_full_version < '3.12'`; empty: everywhere.
    marker: str
    # Each "sha256:" and 64 hex digits, one for each of its files.
    hashes: tuple[str, ...]


def locked_packages(file: Path) -> Iterator[LockedPackage]:
    """The packages in a lock file, in its order."""
    for block in _blocks(file):
        requirement, _, marker = block.split("\\\n")[0].partition(";")
        name, _, version = requirement.strip().partition("==")
        hashes = re.findall(r"--hash=(\S+)", block)
        yield LockedPackage(name, version, marker.strip(), tuple(hashes))


def write_locks(root: Path, options: list[str]) -> None:
    """Write the lock files anew; `options` go to `uv pip compile`. Raises CalledProcessError."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    oldest_python = project["requires-python"].partition(",")[0].removeprefix(">=")
    locked: set[str] = set()
    for ranges, lock in zip(RANGES, LOCKS, strict=True):
        command = [
            sys.executable,
            "-m",
            "uv",
            "pip",
            "compile",
            "--quiet",
            "--universal",
            "--generate-hashes",
        ]
        command += ["--python-version", oldest_python, "--only-binary", ":all:", "--no-header", *options]
        # The extra and the tests run beside the app, so they take its versions, and their files hold only what is theirs.
        command += [part for before in LOCKS[: LOCKS.index(lock)] for part in ("--constraints", before)]
        command += ["--output-file", lock, ranges, "-"]
        subprocess.run(command, cwd=root, input=f"torch=={TORCH_VERSION}\n", text=True, check=True)
        packages = {block.split("\\\n")[0]: block for block in _blocks(root / lock)}
        own = [first for first in packages if not WITH_TORCH.match(first) and first not in locked]
        text = HEADER.format(ranges=ranges) + "".join(packages[first] for first in own)
        (root / lock).write_text(text, encoding="utf-8")
        locked.update(own)


def _blocks(file: Path) -> list[str]:
    """The lines of each package in a lock file: its version, its hashes, who needs it."""
    return re.findall(r"^[\w.-]+==.*\n(?:[ \t].*\n)*", file.read_text(encoding="utf-8"), re.MULTILINE)


if __name__ == "__main__":
    write_locks(Path(__file__).resolve().parents[2], sys.argv[1:])
