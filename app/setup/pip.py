"""Running pip in `.venv`: its progress and its failures in plain words, all that it says in a log.

Standard library only: launch.py uses this before anything is installed.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

LARGE_MB = 20  # a download from this size on is worth a line of its own

Say = Callable[[str], None]


class SetupProblem(Exception):
    """Setting up can't go on; the text says what happened and what to do, `kind` the first in a word.

    Kinds: disk, network, hashes, no wheel, unusable; empty for all others.
    """

    def __init__(self, text: str, kind: str = "") -> None:
        super().__init__(text)
        self.kind = kind


class PipFailed(SetupProblem):
    """pip could not install something; `output` is all that it said."""

    def __init__(self, text: str, output: str) -> None:
        super().__init__(text, kind_of_failure(output))
        self.output = output


def venv_python(root: Path) -> Path:
    """Where the Python of `root/.venv` is, whether it exists or not."""
    return root / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def child_environment() -> dict[str, str]:
    """The environment for programs of the `.venv`: without what other Pythons and their packages left in it."""
    environment = {
        name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")
    }
    return {**environment, "PYTHONUTF8": "1"}


def requirement_lines(file: Path) -> tuple[str, ...]:
    """The requirements in `file` without comments and blank lines."""
    lines = (line.split("#", 1)[0].strip() for line in file.read_text(encoding="utf-8").splitlines())
    return tuple(line for line in lines if line)


def pip_install(
    root: Path, arguments: list[str], names: list[str], say: Say, *, done: int, total: int
) -> None:
    """Run `pip install` for `names`, after `done` of the `total` requirements of this set-up; raises PipFailed."""
    python = venv_python(root)
    bar = "raw" if _pip_version(python) >= (24, 1) else "off"
    command = [
        str(python),
        "-m",
        "pip",
        "install",
        "--no-input",
        # A source package would run code of its own while it is built.
        "--only-binary=:all:",
        "--progress-bar",
        bar,
        *arguments,
    ]

    def follow(lines: Iterable[str]) -> None:
        for words in progress_words(lines, names, done, total):
            say(words)

    code, output = run_logged(root, command, follow)
    if code != 0:
        raise PipFailed(words_for_failure(output, root / ".venv" / "setup.log"), output)


def _pip_version(python: Path) -> tuple[int, ...]:
    command = [str(python), "-m", "pip", "--version"]
    answer = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=child_environment()
    )
    return tuple(int(number) for number in re.findall(rb"\d+", answer.stdout.split(b" from ")[0]))


def run_logged(root: Path, command: list[str], follow: Callable[[Iterable[str]], None]) -> tuple[int, str]:
    """Run `command`, its output appended to .venv/setup.log and shown line by line to `follow`; (exit code, output)."""
    scratch = root / ".venv" / "tmp"  # pip unpacks gigabytes; /tmp is a small part of memory on some systems
    scratch.mkdir(exist_ok=True)
    environment = child_environment()
    environment.update(TMPDIR=str(scratch), TEMP=str(scratch), TMP=str(scratch), PYTHONUNBUFFERED="1")
    environment.update(PIP_USER="0", PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_REQUIRE_VIRTUALENV="0")
    output: list[str] = []
    with (root / ".venv" / "setup.log").open("a", encoding="utf-8") as log:
        log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {' '.join(command)}\n")
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            encoding="utf-8",
            errors="replace",
        ) as process:

            def lines() -> Iterator[str]:
                assert process.stdout is not None
                for line in process.stdout:
                    if not line.startswith("Progress "):
                        output.append(line)
                        log.write(line)
                    yield line

            try:
                remaining = lines()
                follow(remaining)
                for _ in remaining:
                    pass
            except BaseException:
                process.terminate()
                raise
    shutil.rmtree(scratch, ignore_errors=True)
    return process.returncode, "".join(output)


def progress_words(lines: Iterable[str], names: list[str], done: int, total: int) -> Iterator[str]:
    """What pip prints, in plain words: `Fetching diffusers (2 of 14) ...`, large downloads with their percentage.

    `names` are the requirements of this run, before which `done` of the `total` were installed.
    """
    waiting = list(names)
    large, shown_percent, number = "", 0, done
    for line in lines:
        text = line.strip()
        if match := re.match(
            r"(Collecting|Requirement already satisfied:) (\S+)|(Processing) .*?([\w.]+)-\d[^/\\]*\.whl", text
        ):
            name = name_of(match[2] or match[4])
            large = ""
            if name in waiting:
                waiting.remove(name)
                number += 1
                if match[1] != "Requirement already satisfied:":
                    yield f"Fetching {name} ({number} of {total}) ..."
        elif match := re.match(r"Downloading (\S+?)-\d\S* \(([\d.]+) (MB|GB)\)", text):
            size_mb = float(match[2]) * (1000 if match[3] == "GB" else 1)
            large, shown_percent = (match[1].rsplit("/")[-1] if size_mb >= LARGE_MB else ""), 0
            if large:
                yield f"  downloading {large}, {match[2]} {match[3]} ..."
        elif match := re.match(r"Progress (\d+) of (\d+)", text):
            percent = 100 * int(match[1]) // max(1, int(match[2]))
            if large and shown_percent + 20 <= percent < 100:
                shown_percent = percent - percent % 20
                yield f"  {large}: {shown_percent} %"
        elif match := re.match(r"Installing collected packages: (.+)", text):
            count = len(match[1].split(","))
            what = f"{names[0]} ({done + 1} of {total})" if len(names) == 1 else f"{count} packages"
            yield f"Installing {what} ..."


def kind_of_failure(output: str) -> str:
    """What went wrong in pip, from what it printed; see SetupProblem."""
    if "No space left on device" in output or "Errno 28" in output or "not enough space" in output:
        return "disk"
    network = r"NewConnectionError|NameResolutionError|ConnectTimeoutError|Read timed out|ProxyError|ConnectionError"
    if re.search(
        network + r"|Failed to establish|CERTIFICATE_VERIFY_FAILED|Temporary failure in name", output
    ):
        return "network"
    if "DO NOT MATCH THE HASHES" in output:
        return "hashes"
    return "no wheel" if "No matching distribution found for" in output else ""


def words_for_failure(output: str, log: Path) -> str:
    """What went wrong in pip and what to do, from what it printed."""
    details = f"The details are in {log}."
    match kind_of_failure(output):
        case "disk":
            return f"The disk is full. Make room, then run the same command again. {details}"
        case "network":
            return (
                "The packages could not be downloaded: setting up needs the internet, this once. Check the connection "
                f"(and the proxy, if there is one), then run the same command again: it goes on where it was. {details}"
            )
        case "hashes":
            return (
                "A package that came is not the one that Atelier was tested with. Run the same command again; if that "
                f"does not help, `python launch.py setup --newest` takes packages untested. {details}"
            )
    if missing := re.search(r"No matching distribution found for (\S+)", output):
        return f"There is no {missing[1]} for this computer and this Python ({platform.python_version()}). {details}"
    errors = [line.strip() for line in output.splitlines() if line.startswith("ERROR")]
    return f"Installing failed{f' ({errors[-1]})' if errors else ''}. Run the same command again. {details}"


def name_of(requirement: str) -> str:
    """`Pillow-Heif~=1.8` -> `pillow-heif`."""
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    return re.sub(r"[-_.]+", "-", match[0]).lower() if match else requirement


def has_own_index(python: Path) -> bool:
    """Whether pip is told, in a file or the environment, to take packages from elsewhere than usual."""
    listing = subprocess.run(
        [str(python), "-m", "pip", "config", "list"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=child_environment(),
    )
    settings = listing.stdout.decode("utf-8", "replace")
    return bool(re.search(r"\.(index-url|find-links|no-index)=", settings))


def can_reach(url: str, timeout_seconds: float = 3) -> bool:
    """Whether a page answers within a moment."""
    request = urllib.request.Request(url, method="HEAD", headers={"User-Agent": "Atelier setup"})
    try:
        with urllib.request.urlopen(request, timeout=timeout_seconds):
            return True
    except (OSError, ValueError):  # all that urllib raises is an OSError
        return False
