"""Cards read fast where many files are alike: thousands of styles share a few layouts, and differ in what they say.

A header that lists the same tensors as one that was judged before, at the same places, needs no second judgement: only
its metadata and its alphas are read. Whatever is the least bit odd is read in full, and refused there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from styles.style import StyleCard
from styles.style_file import read_card
from styles.style_metadata import CARD_KEY, card_texts
from styles.tensor_header import open_header

START = '{"__metadata__":'
MOST_LAYOUTS = 2000
LARGEST_HEADER = 4 << 20  # bytes; of larger ones there are few
# Metadata that says nothing of what the tensors are; all other entries have to be the same.
SAYS_ONLY = ("modelspec.", "ss_", "sshs_", CARD_KEY)
SAYS_MORE = ("modelspec.architecture", "ss_base_model_version", "ss_v2", "ss_network")


@dataclass(frozen=True)
class _Split:
    """A header, with what differs from file to file taken apart from what many have alike."""

    layout: bytes  # a hash of the list of tensors and of how many bytes they take
    data_start: int
    metadata: dict[str, str]

    @property
    def meaning(self) -> tuple[tuple[str, str], ...]:
        """The metadata that may change how the tensors are read."""
        return tuple(
            (key, value)
            for key, value in sorted(self.metadata.items())
            if not key.startswith(SAYS_ONLY) or key.startswith(SAYS_MORE)
        )


class LikeHeaders:
    """Reads cards without ids, and remembers the layouts that were judged."""

    def __init__(self) -> None:
        self._alphas: dict[bytes, tuple[tuple[int, int], ...]] = {}  # where a layout has its alphas
        self._judged: dict[tuple[Any, ...], dict[str, Any]] = {}  # what is the same on all cards of a kind

    def card(self, path: Path) -> StyleCard:
        """Return what `read_card` does without hashing; raises StyleFileError, OSError."""
        split = None if path.is_dir() else _split(path)
        if split is None:
            return read_card(path, hashed=False)
        if split.layout in self._alphas:
            known = self._judged.get(self._kind(path, split))
            if known is not None:
                texts = card_texts(split.metadata, path.stem)
                return StyleCard(**(known | texts | {"path": path}))
        card = read_card(path, hashed=False)
        if not card.layers:  # words alone: the file's name may be the word
            return card
        texts = card_texts(split.metadata, path.stem)
        if len(self._judged) >= MOST_LAYOUTS:
            self._alphas.clear()
            self._judged.clear()
        entries = open_header(path).tensors
        places = [(entry.begin, entry.end) for key, entry in entries.items() if key.endswith(".alpha")]
        self._alphas[split.layout] = tuple(sorted(places))
        same = {f.name: getattr(card, f.name) for f in fields(card) if f.name not in {"id", "path", *texts}}
        self._judged[self._kind(path, split)] = same
        return card

    def _kind(self, path: Path, split: _Split) -> tuple[Any, ...]:
        digest = hashlib.blake2b(digest_size=16)
        with path.open("rb") as file:
            for begin, end in self._alphas[split.layout]:
                file.seek(split.data_start + begin)
                digest.update(file.read(min(end - begin, 8)))
        return split.layout, split.meaning, digest.digest()


def _split(path: Path) -> _Split | None:
    """Take a header apart; None for one that has to be read in full. Raises OSError."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        size = file.seek(0, 2) - 8 - length
        if size <= 0 or length > LARGEST_HEADER:
            return None
        file.seek(8)
        data = file.read(length)
    metadata: dict[str, str] = {}
    try:
        text = data.decode("utf-8")
        end = 0
        if text.startswith(START):
            metadata, end = json.JSONDecoder(object_pairs_hook=_texts).raw_decode(text, len(START))
    except (ValueError, RecursionError):
        return None
    if not isinstance(metadata, dict):
        return None
    rest = f"{bool(end)} {size} {text[end:].rstrip(' ')}".encode()
    return _Split(hashlib.blake2b(rest, digest_size=16).digest(), 8 + length, metadata)


def _texts(pairs: list[tuple[str, Any]]) -> Mapping[str, str]:
    """Texts by name, each once; anything else is left to the full reader."""
    values = dict(pairs)
    if len(values) != len(pairs) or not all(type(value) is str for value in values.values()):
        raise ValueError("odd metadata")
    return values
