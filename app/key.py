"""The key of a home: what a browser or a script of this user shows to be let in. Standard library only.

It lies in a file of the home that this user alone can read, and stays the same over restarts, so that bookmarks, the
installed page and open tabs go on. Whoever can read that file could read the whole home.
"""

from __future__ import annotations

import hmac
import html
import os
import platform
import re
import secrets
import stat
import sys
import webbrowser
from pathlib import Path

from styles.errors import AtelierError
from styles.storage.atomic import write_private
from styles.storage.file_reading import read_json
from styles.storage.home import Home

BYTES = 32
FORM = re.compile(r"[A-Za-z0-9_-]{43}")  # 32 bytes in URL-safe base64 (RFC 4648)
# What a script sends with each request, and what the launcher sends to learn whether a page is this home's.
HEADER, CHALLENGE, PROOF = "x-atelier-key", "x-atelier-challenge", "x-atelier"
REDIRECT = """<!doctype html><meta charset="utf-8"><title>Atelier</title><meta name="referrer" content="no-referrer">
<meta http-equiv="refresh" content="0;url={url}"><a href="{url}">Atelier</a>
"""


def key_file(home: Home) -> Path:
    """Where the key of this home lies."""
    return home.root / "key.txt"


def running_file(home: Home) -> Path:
    """Where the open window over this home says at which port it is served."""
    return home.root / "running.json"


def open_port(home: Home) -> int:
    """The port that the window over this home is served at, as it told the launcher; 0 before that."""
    try:
        port = read_json(running_file(home))["port"]
    except (OSError, ValueError, KeyError, TypeError):
        return 0
    return port if type(port) is int and 0 < port < 1 << 16 else 0


def read_key(home: Home) -> str | None:
    """The key of this home; None where there is none yet, or where somebody else may have put it there."""
    file = key_file(home)
    try:
        about = file.lstat()
        if not stat.S_ISREG(about.st_mode) or (os.name != "nt" and about.st_uid not in (os.getuid(), 0)):
            return None
        text = file.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return None
    return text if FORM.fullmatch(text) else None


def home_key(home: Home) -> str:
    """The key of this home, made where there is none; where it can't be kept it holds for this start only."""
    key = read_key(home)
    if key is None:
        key = secrets.token_urlsafe(BYTES)
        try:
            write_private(key_file(home), key)
        except (AtelierError, OSError) as error:
            print(f"The key of {home.root} can't be kept: {error}", file=sys.stderr, flush=True)
    return key


def proof(key: str, challenge: str) -> str:
    """What only somebody who has the key can answer to a challenge (HMAC-SHA256, RFC 2104), in hexadecimal."""
    return hmac.new(key.encode("ascii"), challenge.encode("utf-8", "replace"), "sha256").hexdigest()


def address(port: int, key: str) -> str:
    """The address that lets a browser of this machine in."""
    return f"http://127.0.0.1:{port}/?key={key}"


def open_page(home: Home, url: str) -> None:
    """Open the browser at `url`, which holds the key.

    Where other users of the machine can read with which words a program was started, as on Linux, the browser is
    started with the name of a private file that leads there.
    """
    file = home.root / "open.html"
    if commands_are_seen() and can_be_read_by_browser(file):
        try:
            write_private(file, REDIRECT.format(url=html.escape(url)))
            url = file.absolute().as_uri()
        except (AtelierError, OSError):
            pass  # a home that can't be written to: better seen for a moment than not opened
    webbrowser.open(url)


def commands_are_seen() -> bool:
    """Whether the words that start the browser can be read by other users: elsewhere they are handed over unseen."""
    windows_inside = "microsoft" in platform.release().lower()  # a browser of Windows, which has other paths
    return sys.platform.startswith("linux") and not windows_inside


def can_be_read_by_browser(file: Path) -> bool:
    """Whether a browser in a sandbox (snap, Flatpak) gets to a file: not outside the user's folder, nor hidden."""
    try:
        inside = file.absolute().relative_to(Path.home())
    except (ValueError, RuntimeError):
        return False
    return not any(part.startswith(".") for part in inside.parts)
