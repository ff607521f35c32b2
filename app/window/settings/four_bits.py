"""How a base is kept: as it is, or in four bits; what each is worth and costs, and what NF4 needs."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from app.i18n import say, translated
from app.setup.nf4 import NF4_MB, add_nf4, is_own_venv, pip_command
from app.setup.pip import SetupProblem
from styles.errors import AtelierError, SettingsError
from styles.quantization.quantization import (
    NF4,
    OFFERED,
    PLAIN,
    is_bitsandbytes_installed,
    quantization_title,
    quantization_words,
)
from styles.text import Text

if TYPE_CHECKING:
    import gradio as gr

    from app.studio import Studio
    from styles.bases.shelf import BaseEntry

ROOT = Path(__file__).resolve().parents[3]
GB = 1e9
# By the kind of a problem, see SetupProblem.
PROBLEMS = {
    "disk": (Text("There is no room on the disk for it."), Text("Make room, then press Install again.")),
    "network": (
        Text("It could not be downloaded: that needs the internet, this once."),
        Text("Check the connection, and the proxy if there is one, then press Install again."),
    ),
    "hashes": (
        Text("What came is not the package that Atelier was tested with."),
        Text("Press Install again, later perhaps."),
    ),
    "no wheel": (
        Text("There is no such package for this computer and its Python."),
        Text("Groups need nothing more: keep a base with those."),
    ),
    "unusable": (
        Text("It was installed and does not compute on this computer, so it was taken off again."),
        Text("Groups need nothing more: keep a base with those."),
    ),
}
OTHER_PROBLEM = (Text("Installing it failed."), Text("Press Install again."))


def sizes_gb(studio: Studio, entries: Iterable[BaseEntry]) -> dict[str, dict[str, float]]:
    """By the name of each base that is here, the GB that its UNet takes as it is and in four bits, in the precision used here.

    Merged bases are left out, which stay in the four bits that they are in.
    """
    from styles.bases.files.inspection import inspect_base
    from styles.bases.files.unet_size import unet_bytes

    bytes_each = _bytes_each(studio)
    sizes = {}
    for entry in entries:
        if entry.state != "here" or entry.merged:
            continue
        path = Path(entry.source)
        facts = inspect_base(path, studio.shelf.settings_of(path))
        sizes[entry.name] = {name: unet_bytes(facts, name, bytes_each) / GB for name in OFFERED}
    return sizes


def _bytes_each(studio: Studio) -> int:
    """The bytes of a weight in the precision that bases are opened in, of half precision where that can't be told."""
    from styles.devices.device import device_for
    from styles.devices.precision import dtype_for

    try:
        return dtype_for(studio.settings.precision, device_for(studio.settings.device)).itemsize
    except AtelierError:
        return 2


def keeping_form(now: str, sizes: Mapping[str, float], to_install: str, number: int) -> str:
    """How a base can be kept, with what it takes so, and when that is the better choice."""
    choices = []
    for name, about in OFFERED.items():
        title, about_id = translated(quantization_title(name)), f"base-{number}-{name}"
        checked = " checked" if name == now else ""
        more = to_install if name == NF4 else ""
        choices.append(
            f'<label><input type="radio" name="quantize" value="{name}"{checked} aria-describedby="{about_id}">'
            f"<span>{escape(title)}</span> <span>{_gigabytes(sizes[name])}</span></label>"
            f'<p id="{about_id}">{escape(translated(about))}</p>{more}'
        )
    title = say("In four bits: {now}", now=_in_four_bits(now))
    label = escape(say("How it is kept"))
    worth = say(
        "The memory that the largest part of this base takes, its UNet. In four bits each step is a little slower, and "
        "pictures differ a little."
    )
    return (
        f'<details class="keeping"><summary>{escape(title)}</summary><form data-submit="keep">'
        f'<p>{escape(worth)}</p><fieldset aria-label="{label}">{"".join(choices)}</fieldset>'
        f'<button class="asking">{escape(say("Keep it so"))}</button></form></details>'
    )


def _in_four_bits(now: str) -> str:
    return say("no") if now == PLAIN else translated(quantization_title(now))


def _gigabytes(size: float) -> str:
    return f"{size:.2f} GB" if size >= 0.1 else f"{size * 1000:.0f} MB"


def kept_words(entry: BaseEntry) -> str:
    """What to say once it is changed how a base is kept."""
    kept = say(
        "{name} is kept {now} from now on.",
        name=entry.name,
        now=translated(quantization_words(entry.quantize)),
    )
    if entry.quantize == PLAIN:
        return kept
    once = say("The next picture or training puts it into four bits, which is done once and takes a moment.")
    return f"{kept} {once}"


def nf4_to_install(can_install: bool) -> str:
    """What to say of NF4 where it is not installed, as HTML; empty where it is."""
    if is_bitsandbytes_installed():
        return ""
    lacks = say("It needs the package bitsandbytes, which is not installed.")
    if not can_install:
        return f'<p class="lacking">{escape(lacks)} {escape(say("Install it on the computer itself."))}</p>'
    if not is_own_venv(ROOT):
        own = say("Atelier runs in a Python of your own: install it there.")
        return (
            f'<p class="lacking">{escape(lacks)} {escape(own)} <code>{escape(pip_command(ROOT))}</code></p>'
        )
    button = say("Install it ({size} MB)", size=NF4_MB)
    return (
        f'<p class="lacking">{escape(lacks)} <button type="button" class="asking" data-do="install">'
        f"{escape(button)}</button></p>"
    )


def install_nf4(progress: gr.Progress) -> str:
    """Install what NF4 needs into the Python that runs, and say how that went; raises SettingsError."""
    step = say("Installing what NF4 needs…")
    progress(0, desc=step)

    def tell(words: str) -> None:
        if match := re.search(r": (\d+) %$", words):
            progress(int(match[1]) / 100, desc=step)

    if not is_own_venv(ROOT):
        raise SettingsError(
            "Atelier runs in a Python of your own.",
            "Install it there: {command}",
            command=pip_command(ROOT),
        )
    try:
        add_nf4(ROOT, tell)
    except SetupProblem as problem:
        what, hint = PROBLEMS.get(problem.kind, OTHER_PROBLEM)
        raise SettingsError(
            "{what} The details are in {file}.",
            hint,
            what=what,
            file=ROOT / ".venv" / "setup.log",
        ) from problem
    # So that this process finds what was not there when it began.
    importlib.invalidate_caches()
    if not is_bitsandbytes_installed():
        return say("NF4 is installed. Close Atelier and start it again, then it can be chosen.")
    return say("NF4 is installed: choose it now.")
