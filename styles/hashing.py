"""The id of a style's file, made in pieces: hashing a large one may stop at any megabyte and go on later."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from pathlib import Path

from styles.file_reading import open_file

BLOCK_BYTES = 1 << 20


class Hashing:
    """The sha256 of the tensors of some safetensors files, one after another."""

    def __init__(self, files: Iterable[Path]) -> None:
        self._digest = hashlib.sha256()
        self._files = list(files)
        self._at = 0  # where to go on in the first of them; 0: not begun

    def go_on(self, until: float) -> str:
        """Return the id; empty where `until` (of `time.monotonic`) comes first. At least one block is hashed.

        Raises OSError.
        """
        while self._files:
            with open_file(self._files[0]) as file:
                self._at = self._at or 8 + int.from_bytes(file.read(8), "little")
                file.seek(self._at)
                while block := file.read(BLOCK_BYTES):
                    self._digest.update(block)
                    self._at += len(block)
                    if len(block) == BLOCK_BYTES and time.monotonic() >= until:
                        return ""
            self._files.pop(0)
            self._at = 0
        return self._digest.hexdigest()
