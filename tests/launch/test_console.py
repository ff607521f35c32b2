"""A double click: the terminal that was opened for it stays open until a failure's last words were read."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import launch

ROOT = Path(launch.__file__).resolve().parent
WAITING = "Press Enter to close this window."


@pytest.mark.skipif(os.name == "nt", reason="a console of its own is told in another way on Windows")
@pytest.mark.parametrize(("own_session", "arguments"), [(True, []), (False, []), (True, ["--port", "0"])])
def test_a_console_of_our_own_waits_after_a_failure(
    tmp_path: Path, own_session: bool, arguments: list[str]
) -> None:
    import pty

    shutil.copy(ROOT / "launch.py", tmp_path)  # without app/ it has to fail
    ours, theirs = pty.openpty()
    started = subprocess.Popen(
        [sys.executable, "launch.py", *arguments],
        cwd=tmp_path, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=own_session,
    )  # fmt: skip
    os.close(theirs)
    said = b""
    try:
        while WAITING.encode() not in said:
            said += os.read(ours, 10_000)
        assert started.poll() is None, "it did not wait"
        os.write(ours, b"\n")
    except OSError:  # the terminal is gone, and so is the program
        pass
    finally:
        code = started.wait(300)
        os.close(ours)
    assert code != 0
    assert (WAITING.encode() in said) == (own_session and not arguments)
