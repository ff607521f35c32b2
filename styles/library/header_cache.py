"""Cards read fast where many files are alike: thousands of styles share a few layouts, and differ in what they say.

A header that lists the same tensors as one that was judged before, at the same places, needs no second judgement: only
its metadata and a few of its alphas are read. Whatever is the least bit odd is read in full, and refused there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

from styles.formats.metadata import CARD_KEY, NAMING_FAMILY, card_texts
from styles.formats.reader import read_card_and_alphas
from styles.formats.style import StyleCard
from styles.formats.textual_inversion import FLAG
from styles.library.beginnings import Beginning, beginning_of
from styles.library.folder import weights_of

START = '{"__metadata__":'
MOST_LAYOUTS = 2000
LARGEST_HEADER = 4 << 20  # bytes; of larger ones there are few
TEXTS = (
    "modelspec.",
    "ss_",
    "sshs_",
    CARD_KEY,
)  # begin what only `card_texts` reads, which is done for every file
Places = tuple[tuple[int, int], ...]  # (begin, end) in bytes


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
            known = self._judged.get(self._kind(path, split))
            if known is not None:
                return StyleCard(**(known | card_texts(split.metadata, path.stem) | {"path": path}))
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
    if not 0 < len(header) <= LARGEST_HEADER:
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
    return _Split((layout, *_meaning(metadata)), 8 + len(header), metadata)


def _meaning(metadata: dict[str, str]) -> list[tuple[str, str]]:
    """Return the metadata that may change what the tensors are taken for; a word may have any name."""
    return [
        (key, value)
        for key, value in sorted(metadata.items())
        if not key.startswith(TEXTS) or key in NAMING_FAMILY or value == FLAG
    ]


def _texts(pairs: list[tuple[str, Any]]) -> Mapping[str, str]:
    """Texts by name, each once; anything else is left to the full reader."""
    values = dict(pairs)
    if len(values) != len(pairs) or not all(type(value) is str for value in values.values()):
        raise ValueError("odd metadata")
    return values
