"""Whether a style file is whole: its header, its layers, its numbers, and the hash that it was written with.

Looks at everything that can be wrong, where reading stops at the first thing. A hash proves damage only where we
wrote it: LyCORIS names another one in every file, and kohya's merge scripts that of the numbers before rounding
(sd-scripts 0.9, networks/merge_lora.py; LyCORIS 3, kohya/utils.py).
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from styles.errors import StyleFileError
from styles.formats.metadata import CARD_KEY
from styles.formats.peft import open_adapters
from styles.formats.reader import read_style
from styles.formats.safetensors_header import Header, open_header, open_style_file, read_tensors
from styles.formats.style import Style, StyleCard
from styles.library.compatibility.opening import Compatibility, opens_in
from styles.storage.names import SHA256, clean_text
from styles.text import NO_TEXT, Text, both, few, quoted

CLAIMS = ("sshs_model_hash", "modelspec.hash_sha256")  # metadata that names the sha256 of the tensor section
LARGEST_FP16 = 65504.0
MOST_NAMED = 5  # tensors in one sentence


@dataclass(frozen=True)
class FileCheck:
    """One thing that was looked at.

    `state` is good, note (nothing is wrong with the file, but it is worth knowing) or bad; `hint` says what to do.
    """

    name: str
    state: str
    words: Text
    hint: Text = NO_TEXT


@dataclass(frozen=True)
class Verified:
    """What became of the checks of one file or PEFT folder.

    `id` is the sha256 of the tensors that are there, empty where the header can't be read; `card` is None for a
    file that doesn't open, and then there are no `openings`: which programs open it.
    """

    path: Path
    id: str
    card: StyleCard | None
    checks: tuple[FileCheck, ...]
    openings: tuple[Compatibility, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether nothing is wrong with the file."""
        return all(check.state != "bad" for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "path": str(self.path),
            "id": self.id,
            "whole": self.whole,
            "card": self.card.to_json() if self.card else None,
            "checks": [asdict(check) for check in self.checks],
            "opens_in": {opening.tool: [opening.opens, *opening.reasons] for opening in self.openings},
        }


@dataclass(frozen=True)
class Numbers:
    """What one pass over the tensors finds."""

    sha256: str
    not_finite: tuple[str, ...]  # keys
    beyond_fp16: tuple[str, ...]


def verify(path: Path) -> Verified:
    """Look at all of a style file or PEFT folder and say what is right and what is wrong.

    A file that can't be opened is a bad check, not an exception.
    """
    try:
        files = _files(path)
        numbers = _numbers(files)
    except StyleFileError as error:
        return Verified(path, "", None, (_refused("header", error),))
    style: Style | None = None
    openings: tuple[Compatibility, ...] = ()
    checks = [_header([header for _, header in files])]
    try:
        style = read_style(path)
        openings = opens_in(path)
    except StyleFileError as error:
        checks.append(_refused("layers", error))
    else:
        checks += [_layers(style), *(FileCheck("card", "note", words) for words in style.card.problems)]
    checks += [*_finite(numbers, opened=style is not None), _hash(files, numbers.sha256)]
    return Verified(path, numbers.sha256, style.card if style else None, tuple(checks), openings)


def _files(path: Path) -> list[tuple[Path, Header]]:
    if os.path.isdir(path):
        return [(adapter.file, adapter.header) for adapter in open_adapters(path)]
    return [(path, open_header(path))]


def _header(headers: list[Header]) -> FileCheck:
    tensors = [entry for header in headers for entry in header.tensors.values()]
    entries = sum(len(header.metadata) for header in headers)
    dtypes = ", ".join(sorted({entry.dtype for entry in tensors}))
    words = Text(
        "{count} tensors ({dtypes}) and {entries} entries of metadata hang together.",
        count=len(tensors),
        dtypes=dtypes,
        entries=entries,
    )
    return FileCheck("header", "good", words)


def _layers(style: Style) -> FileCheck:
    card = style.card
    counts = Text.joined(
        ", ",
        (
            Text("{layers} of {network}", layers=count, network=network)
            for network, count in card.layers.items()
        ),
    )
    words = Text(
        "{kind}, rank {rank}, {counts}: a {family}.",
        kind=card.kind,
        rank=card.rank,
        counts=counts,
        family=card.made_for,
    )
    if not any(bool(layer.up.any()) and bool(layer.down.any()) for layer in style.layers):
        return FileCheck(
            "layers", "note", Text("{facts} But it changes nothing: each layer has only zeros.", facts=words)
        )
    return FileCheck("layers", "good", words)


def _numbers(files: list[tuple[Path, Header]]) -> Numbers:
    digest, not_finite, beyond = hashlib.sha256(), [], []
    for path, header in files:
        with open_style_file(path) as file:
            for key, tensor, data in read_tensors(file, header, path.name):
                digest.update(data)
                largest = float(tensor.abs().amax())  # not a number if one of them is none
                if not math.isfinite(largest):
                    not_finite.append(key)
                elif largest > LARGEST_FP16:
                    beyond.append(key)
    return Numbers(digest.hexdigest(), tuple(not_finite), tuple(beyond))


def _finite(numbers: Numbers, opened: bool) -> Iterator[FileCheck]:
    if numbers.not_finite and opened:  # reading refuses such values wherever they count
        yield FileCheck(
            "numbers",
            "note",
            Text(
                "{names}: there are values that are no numbers (NaN or infinite), and that its change doesn't depend on.",
                names=_named(numbers.not_finite),
            ),
        )
    elif numbers.not_finite:
        yield FileCheck(
            "numbers",
            "bad",
            Text(
                "{names}: there are values that are no numbers (NaN or infinite).",
                names=_named(numbers.not_finite),
            ),
            Text("Get the file again; a training that diverged leaves such files."),
        )
    if numbers.beyond_fp16:
        yield FileCheck(
            "numbers",
            "note",
            Text(
                "{names}: there are numbers beyond {largest:g}, where half precision ends; many tools read a style in it.",
                names=_named(numbers.beyond_fp16),
                largest=LARGEST_FP16,
            ),
        )
    if not numbers.not_finite and not numbers.beyond_fp16:
        yield FileCheck("numbers", "good", Text("All values are numbers that half precision can hold."))


def _hash(files: list[tuple[Path, Header]], sha256: str) -> FileCheck:
    metadata = files[0][1].metadata if len(files) == 1 else {}
    claimed = {key: metadata[key].lower().removeprefix("0x") for key in CLAIMS if key in metadata}
    claims = {key: claim for key, claim in claimed.items() if SHA256.fullmatch(claim)}
    wrong = [key for key, claim in claims.items() if claim != sha256]
    right = [key for key in claims if key not in wrong]
    if wrong and CARD_KEY in metadata:
        return FileCheck(
            "hash",
            "bad",
            Text(
                "The tensors are not those that {keys} was made of: they have the hash {hash}…, the file says {claim}….",
                keys=both(wrong),
                hash=sha256[:12],
                claim=claims[wrong[0]][:12],
            ),
            Text(
                "They were changed or damaged after the file was written; get it again from whoever made it."
            ),
        )
    if right:
        return FileCheck(
            "hash",
            "good",
            Text("The tensors are those that {keys} was made of.", keys=both(right)),
        )
    if wrong:
        return FileCheck(
            "hash",
            "note",
            Text(
                "{keys} names the hash {claim}…, the tensors have {hash}…. Other programs make this hash in other ways (LyCORIS) or before they round (kohya's merges), so it tells nothing about damage.",
                keys=both(wrong),
                hash=sha256[:12],
                claim=claims[wrong[0]][:12],
            ),
        )
    return FileCheck(
        "hash", "note", Text("It names no hash of its tensors, so that a changed value can't be noticed.")
    )


def _named(keys: tuple[str, ...]) -> str:
    return few([quoted(clean_text(key, 120)) for key in keys], MOST_NAMED)


def _refused(name: str, error: StyleFileError) -> FileCheck:
    return FileCheck(name, "bad", error.message, error.hint)
