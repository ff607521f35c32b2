"""What to send along with a question: the machine, the versions and the last errors, and nothing of the artist's."""

from __future__ import annotations

import getpass
import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.i18n import language, say
from app.machine import look_at
from styles.errors import AtelierError
from styles.quantization.quantization import PLAIN
from styles.storage.file_reading import read_bytes, why
from styles.storage.home import Home
from styles.storage.version import version

if TYPE_CHECKING:
    from app.studio import Studio

LAST_LINES = 60
LARGEST_LOG = 64 << 20  # bytes
# Parts that a picture or a training goes through; their licences are told in the window.
LIBRARIES = (
    "torch", "diffusers", "transformers", "accelerate", "peft", "safetensors", "huggingface_hub", "numpy", "pillow",
    "pi-heif", "psd-tools", "gradio", "typer", "filelock", "psutil", "bitsandbytes",
)  # fmt: skip
QUOTED = re.compile(r"“[^”]*”|«[^»]*»|'[^'\n]*'|\"[^\"\n]*\"")
ADDRESSES = re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b")  # of other devices
PATHS = re.compile(r"(?:[A-Za-z]:)?(?:[\\/][^\\/\s:*?\"<>|,;()]+){2,}")


def report(studio: Studio) -> str:
    """A text that can be shown to anybody: no names of styles and pictures, no prompts, no folders of the artist."""
    lines = [f"Atelier {version()}"]
    try:
        lines += [f"{what}: {which}" for what, which in look_at(studio).rows()]
    except AtelierError as error:
        lines.append(f"device: {error.message}")
    settings = studio.settings
    lines += [
        f"settings: device {settings.device}, precision {settings.precision}, low memory {settings.low_memory}, compiled {settings.compile}, "
        f"safety checker {settings.safety_checker}, other devices {settings.shared}, language {language()}",
        f"base in use: {_base(studio)}",
        f"counts: {len(studio.library.cards())} styles, {len(studio.jobs())} trainings",
        "",
        "last lines of the log:",
        *last_lines(studio.home),
    ]
    return "\n".join(lines)


def _base(studio: Studio) -> str:
    """The family of the base in use: its name may be the artist's own."""
    entry = next((entry for entry in studio.shelf.list() if entry.in_use), None)
    if entry is None:
        return "none"
    kept = "" if entry.quantize == PLAIN else f", {entry.quantize}"
    return f"{entry.family or 'unknown'}, {entry.native_size_px} px{kept}"


def newest_log(home: Home) -> Path | None:
    """The log of the last day on which something went wrong."""
    logs = (path for path in home.log.glob("*.log") if path.is_file())
    return max(logs, default=None, key=lambda path: path.name)


def last_lines(home: Home) -> list[str]:
    """The end of the log, cleaned of what is private."""
    log = newest_log(home)
    if log is None:
        return ["(nothing has gone wrong yet)"]
    try:
        lines = read_bytes(log, LARGEST_LOG).decode("utf-8", errors="replace").splitlines()
    except OSError as error:
        return [f"({log.name} can't be read: {why(error)})"]
    return [without_private(line) for line in lines[-LAST_LINES:]]


def without_private(line: str) -> str:
    """A line of a log without folders, names in quotation marks, addresses of devices, and the name of who is logged in."""
    source = re.match(r'(\s*File )"([^"]+)"(, line \d+.*)', line)
    if source:  # a line of the program, told by its place in the package
        parts = Path(source[2].replace("\\", "/")).parts
        return f"{source[1]}{'/'.join(parts[-3:])}{source[3]}"
    if line.startswith("    "):  # the program's own text
        return line
    line = ADDRESSES.sub("(address)", PATHS.sub("(path)", QUOTED.sub("“…”", line)))
    try:
        name = getpass.getuser()
    except (OSError, KeyError, ImportError):
        return line
    return re.sub(rf"\b{re.escape(name)}\b", "(user)", line) if len(name) > 2 else line


def libraries() -> list[tuple[str, str]]:
    """(name and version, licence) of what Atelier is built on, as the packages themselves say."""
    rows = []
    for name in LIBRARIES:
        try:
            package = metadata(name).json
        except PackageNotFoundError:
            continue
        rows.append((f"{package['name']} {package['version']}", licence_of(package) or say("in its package")))
    return rows


def licence_of(package: Mapping[str, Any]) -> str:
    """The licence that a package's metadata state, as short as they do; empty where they leave it to a file."""
    text = package.get("license_expression") or str(package.get("license", "")).strip().split("\n")[0]
    classed = [
        row.split("::")[-1].strip() for row in package.get("classifier", []) if row.startswith("License")
    ]
    return text if text and len(text) < 60 else ", ".join(classed)
