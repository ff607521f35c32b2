"""Files, folders and bases that a request names: by whom, and which ones.

Whoever came with the key is this user, and may name any path of this machine. Another device, which came with the
password, may name what it uploaded and the bases that are listed.
"""

from __future__ import annotations

import re
from pathlib import Path

from gradio.context import LocalContext

from app.studio import Studio
from app.window.server.access import ASKS_HERE
from app.window.server.uploads import uploaded
from styles.errors import BadInput
from styles.storage.home import expanded
from styles.storage.names import clean_text

HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


def asks_here() -> bool:
    """Whether what is being answered was asked with the key; False outside of a request."""
    request = LocalContext.request.get(None)
    scope = getattr(getattr(request, "request", None), "scope", {})
    return scope.get(ASKS_HERE) is True


def file_named(path: str) -> Path:
    """A file or folder to read; raises BadInput."""
    return whole_path(path) if asks_here() else uploaded(path)


def folder_named(folder: str) -> Path:
    """A folder to write into; raises BadInput."""
    if not asks_here():
        raise BadInput(
            "Another device can't have files written into folders of this computer.",
            "Export on the page: the browser keeps the file.",
        )
    return whole_path(folder)


def whole_path(text: str) -> Path:
    """A path that does not depend on the working folder, which is the window's own and goes with it; raises BadInput."""
    path = expanded(text.strip())
    # Half of a surrogate pair, which a script can send, is in no name of a file.
    if not path.is_absolute() or "\0" in text or any("\ud800" <= character < "\udc80" for character in text):
        raise BadInput(
            "“{text}” is no whole path.",
            "Give the path from the root or the drive on, or from ~ on.",
            text=clean_text(text, 300),
        )
    return path


def base_named(studio: Studio, base: str) -> str:
    """A base to paint with or train on; raises BadInput."""
    name = base.strip()
    if name and not asks_here():
        listed = {name for entry in studio.shelf.list() for name in (entry.name, entry.source)}
        if name not in listed:
            raise not_listed(name)
    return base


def base_to_add(base: str) -> str:
    """A base to put on the list: another device may fetch one from the Hub, and name no path; raises BadInput."""
    name = base.strip()
    if not asks_here() and (not HUB_ID.fullmatch(name) or Path(name).exists()):
        raise not_listed(name)
    return base


def vae_named(path: str) -> Path | None:
    """A VAE for a base, None for its own: only this computer's user may name one; raises BadInput."""
    if not path.strip():
        return None
    if not asks_here():
        raise BadInput(
            "Another device can't name a VAE of this computer.",
            "Leave it out, or do it on the computer itself.",
        )
    return whole_path(path)


def not_to_change() -> BadInput:
    """The answer to another device that would settle something else for a base."""
    return BadInput("Another device can't change a base of this computer.", "Do it on the computer itself.")


def not_listed(name: str) -> BadInput:
    """The answer to a name that is none of the bases that are offered."""
    return BadInput(
        "“{name}” is not on the list of bases.",
        "Another device can choose a listed one; a file or folder is added on the computer where Atelier runs.",
        name=name,
    )
