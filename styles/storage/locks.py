"""Looking whether another process holds a lock file, as filelock takes it."""

from __future__ import annotations

import os
from pathlib import Path

from styles.storage.file_reading import open_file

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOOK_SECONDS = 0.06


def is_held(lock: Path) -> bool:
    """Say whether a process holds this lock now; the system frees the lock of a killed one.

    Who only looks is not to be taken for the holder by somebody else who looks. Whoever takes a lock that is looked at
    has to wait for longer than LOOK_SECONDS.
    """
    if not os.path.isfile(lock):  # nobody has been here, or nobody can
        return False
    if fcntl:
        try:
            # To read only, so that a folder that can't be written is looked at, too.
            with open_file(lock) as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # many may look at once
                return False
        except BlockingIOError:
            return True
        except OSError:
            pass  # a file system that can't, as Windows can't
    from filelock import FileLock, Timeout

    try:  # a look insists for longer than another one lasts
        with FileLock(lock, timeout=LOOK_SECONDS, poll_interval=LOOK_SECONDS / 20):
            return False
    except Timeout:
        return True
    except OSError:  # who can't take the lock can't be told apart from who never had it
        return False
