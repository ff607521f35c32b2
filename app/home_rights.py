"""Who may read a home: this user alone. A new one is made so; one from before is mended."""

from __future__ import annotations

import os
import stat
from contextlib import suppress

from app.key import key_file, running_file
from app.settings import Settings
from styles.storage.home import Home

# All that Atelier puts into a home.
ENTRIES = {
    "styles", "pictures", "jobs", "bases", "trash", "log", "blends", "draft", "cache", "captioners", "demo",
    "settings.json", "queue.json", "measured.json", "running.json", "running.lock", "key.txt", "open.html",
}  # fmt: skip
OTHERS = stat.S_IRWXG | stat.S_IRWXO


def make_private(home: Home) -> None:
    """Take the rights of other users on a home away, as far as it is ours and its file system has such rights.

    Not those on a folder that holds anything else than Atelier's files, or that is marked as shared (sticky, set-gid):
    `--home` may name one that people share. The files that hold the key and the password's hash are closed anywhere. On
    Windows the rights of the user's profile hold.
    """
    if os.name == "nt":
        return
    for file in (key_file(home), Settings.path(home), running_file(home)):
        with suppress(OSError):
            about = file.lstat()
            if stat.S_ISREG(about.st_mode) and about.st_uid == os.getuid() and about.st_mode & OTHERS:
                file.chmod(stat.S_IMODE(about.st_mode) & ~OTHERS)
    with suppress(OSError):
        about = home.root.stat()
        mode = stat.S_IMODE(about.st_mode)
        shared = mode & (stat.S_ISVTX | stat.S_ISGID)
        if mode & OTHERS and not shared and about.st_uid == os.getuid() and _holds_only_ours(home):
            home.root.chmod(mode & ~OTHERS)


def _holds_only_ours(home: Home) -> bool:
    """Whether nothing lies in the home but what Atelier made; hidden files are the system's, and count as nothing."""
    names = (entry.name for entry in home.root.iterdir() if not entry.name.startswith("."))
    return all(name in ENTRIES or " damaged " in name for name in names)
