"""Rights of files, for tests that run as root."""

from __future__ import annotations

import ctypes
import os
import sys

CAPABILITIES_VERSION = 0x20080522  # linux/capability.h
PASSING_OVER_RIGHTS = (1, 2)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH


def obey_rights() -> None:
    """Let what a file allows hold for this thread, too, where it is root, who else may do everything."""
    if sys.platform != "linux" or os.getuid():
        return
    system = ctypes.CDLL(None, use_errno=True)
    asked = (ctypes.c_uint32 * 2)(CAPABILITIES_VERSION, 0)
    held = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; then the same of the higher ones
    assert system.capget(asked, held) == 0
    for place in (0, 1, 2):
        for capability in PASSING_OVER_RIGHTS:
            held[place] &= ~(1 << capability)
    assert system.capset(asked, held) == 0, os.strerror(ctypes.get_errno())
