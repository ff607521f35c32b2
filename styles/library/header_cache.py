"""Style files read fast where many are alike: thousands share a few layouts, and differ in what they say.

The beginning of a file tells two of them apart. A header that lists the same tensors as one that was judged before, at
the same places, needs no second judgement: only its metadata and a few of its alphas are read. Whatever is the least
bit odd is read in full, and refused there. Ten thousand styles are listed seven times as fast by it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

from styles.formats.metadata import CARD_KEY, NAMING_FAMILY, STRENGTH, card_texts
from styles.formats.reader import read_card_and_alphas
from styles.formats.safetensors_header import LARGEST_HEADER
from styles.formats.style import StyleCard
from styles.formats.textual_inversion import FLAG
from styles.library.folder import weights_of
from styles.storage.file_reading import open_file

SAMPLE_BYTES = 16 << 10
CLAIM_KEY = b'"sshs_model_hash"'
CLAIM = re.compile(CLAIM_KEY + rb'\s*:\s*"(?:0x)?([0-9a-f]{64})"', re.IGNORECASE)
NOTHING = hashlib.sha256(b"").hexdigest()  # what some trainers claim in every file
START = '{"__metadata__":'
MOST_LAYOUTS = 2000
LARGEST_ALIKE = 4 << 20  # bytes of a header; of larger ones there are few
# Begin what only `card_texts` reads, which is done for every file.
TEXTS = ("modelspec.", "ss_", "sshs_", CARD_KEY)
WHOLE_LOKR = '.lokr_w2"'
Places = tuple[tuple[int, int], ...]  # (begin, end) in bytes


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
    match = CLAIM.match(header, place) if place >= 0 else None
    claim = match[1].decode().lower() if match else ""
    return "" if claim == NOTHING else claim


class _Split(NamedTuple):
    """A header, with what differs from file to file taken apart from what many have alike."""

    # A hash of the list of tensors, and the metadata that may change what they are taken for.
    alike: tuple[Any, ...]
    data_start: int
    metadata: dict[str, str]


class HeaderCache:
    """Reads cards without ids, and remembers the layouts that were judged."""

    def __init__(self) -> None:
        self._alphas: dict[tuple[Any, ...], Places] = {}  # those that the cards of files alike depend on
        self._judged: dict[tuple[Any, ...], dict[str, Any]] = {}  # what is the same on all cards of a kind

    def card(self, path: Path, beginning: Beginning | None = None) -> StyleCard:
        """Return what `read_card` does without hashing, given what a look into the file showed.

        Raises StyleFileError, OSError.
        """
        beginning = beginning or beginning_of(weights_of(path))
        # A folder's strength is in its settings, which its header doesn't show.
        split = None if path.is_dir() else _split(beginning.header, beginning.section)
        if split and split.alike in self._alphas:
            alike = self._judged.get(self._kind(path, split))
            if alike is not None:
                return StyleCard(**(alike | card_texts(split.metadata, path.stem) | {"path": path}))
        card, alphas = read_card_and_alphas(path)
        if split and card.layers:  # else words alone: the file's name may be the word
            self._remember(path, split, card, tuple((entry.begin, entry.end) for entry in alphas))
        return card

    def _remember(self, path: Path, split: _Split, card: StyleCard, alphas: Places) -> None:
        if len(self._judged) >= MOST_LAYOUTS:
            self._alphas.clear()
            self._judged.clear()
        self._alphas[split.alike] = alphas
        own = {"id", "path", *card_texts(split.metadata, path.stem)}
        same = {field.name: getattr(card, field.name) for field in fields(card) if field.name not in own}
        self._judged[self._kind(path, split)] = same

    def _kind(self, path: Path, split: _Split) -> tuple[Any, ...]:
        digest = hashlib.blake2b(digest_size=16)
        with path.open("rb", buffering=0) as file:  # else some thousand bytes are read for two
            for begin, end in self._alphas[split.alike]:
                file.seek(split.data_start + begin)
                digest.update(file.read(end - begin))
        return split.alike, digest.digest()


def _split(header: bytes, section: int) -> _Split | None:
    """Take a header apart, with the size of the tensors behind it; None for one that has to be read in full."""
    if not 0 < len(header) <= LARGEST_ALIKE:
        return None
    metadata: dict[str, str] = {}
    try:
        text = header.decode("utf-8")
        end = 0
        if text.startswith(START):
            metadata, end = json.JSONDecoder(object_pairs_hook=_texts).raw_decode(text, len(START))
        elif '"__metadata__"' in text:  # behind the tensors, where nobody puts it
            return None
    except (ValueError, RecursionError):
        return None
    if not isinstance(metadata, dict):
        return None
    rest = f"{bool(end)} {section} {text[end:].rstrip(' ')}".encode()
    layout = hashlib.blake2b(rest, digest_size=16).digest()
    return _Split((layout, *_meaning(metadata, WHOLE_LOKR in text)), 8 + len(header), metadata)


def _meaning(metadata: dict[str, str], strength: bool) -> list[tuple[str, str]]:
    """Return the metadata that may change what the tensors are taken for; a word may have any name.

    `strength` is whether their strength may be told there.
    """
    return [
        (key, value)
        for key, value in sorted(metadata.items())
        if not key.startswith(TEXTS)
        or key in NAMING_FAMILY
        or value == FLAG
        or (strength and key in STRENGTH)
    ]


def _texts(pairs: list[tuple[str, Any]]) -> Mapping[str, str]:
    """Texts by name, each once; anything else is left to the full reader."""
    values = dict(pairs)
    if len(values) != len(pairs) or not all(type(value) is str for value in values.values()):
        raise ValueError("odd metadata")
    return values
