"""The beginning of a style's files, read in one go: what many files have alike, and what tells two of them apart.

Nothing of it is judged here, and for files that turn out to be no style it means nothing.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from styles.formats.safetensors_header import LARGEST_HEADER
from styles.library.folder import weights_of
from styles.storage.file_reading import open_file

SAMPLE_BYTES = 16 << 10
CLAIM_KEY = b'"sshs_model_hash"'
CLAIM = re.compile(CLAIM_KEY + rb'\s*:\s*"(?:0x)?([0-9a-f]{64})"')


class Beginning(NamedTuple):
    """What one look into a style's files shows."""

    header: bytes  # of its one file; empty for a style of several files
    section: int  # bytes that the tensors take
    sample: str  # a hash of the first of these bytes; empty where there are none
    claimed: str  # the sha256 of the tensors that the files name, true or not

    @property
    def likeness(self) -> tuple[int, str]:
        """What files with the same tensors have in common, and others hardly ever."""
        return self.section, self.sample


def beginning_of(files: Sequence[Path]) -> Beginning:
    """Read the beginnings of the safetensors files that a style is; raises OSError."""
    header, section, samples, claimed = b"", 0, hashlib.blake2b(digest_size=16), ""
    for path in files:
        with open_file(path) as file:
            length = int.from_bytes(file.read(8), "little")
            size = os.fstat(file.fileno()).st_size - 8 - length
            if size <= 0 or length > LARGEST_HEADER:
                return Beginning(b"", 0, "", "")
            data = file.read(length + SAMPLE_BYTES)
        header = data[:length]
        claimed = claimed or _claim(header)
        samples.update(data[length:])
        section += size
    sample = samples.hexdigest() if section else ""
    return Beginning(header if len(files) == 1 else b"", section, sample, claimed)


def likeness_of(path: Path) -> tuple[int, str]:
    """Return what a style has in common with every other of the same tensors; raises OSError."""
    return beginning_of(weights_of(path)).likeness


def _claim(header: bytes) -> str:
    place = header.find(CLAIM_KEY)
    found = CLAIM.match(header, place) if place >= 0 else None
    return found[1].decode() if found else ""
