"""A style's card, edited in its file: the header is written anew, the tensors stay bit by bit, and with them the id."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from styles.errors import BadInput, StyleFileError
from styles.formats.metadata import COUNTS, card_texts, shown_metadata, trigger_counts
from styles.formats.reader import read_card
from styles.formats.safetensors_header import Header, hash_rest, header_bytes, open_header, tensor_hash
from styles.formats.style import LONGEST_TAG, MOST_TAGS, TEXT_LIMITS, StyleCard
from styles.formats.thumbnail import public_thumbnail
from styles.library.folder import weights_of
from styles.mixing.blend import STRONGEST
from styles.storage import atomic
from styles.storage.names import clean_text

TEXTS = ("trigger", "author", "licence", "description", "rights")
LARGEST_HEADER_WRITTEN = 1 << 20  # bytes; ComfyUI shows no metadata beyond
EDITABLE = (*TEXTS, "suggested_weight", "tags", "thumbnail")


def edit_card(path: Path, changes: Mapping[str, Any]) -> StyleCard:
    """Change what a style's file, or the file in its PEFT folder, says of it; return the card as it reads back.

    `changes` has fields of the card as in EDITABLE; a thumbnail is the bytes of a picture or None. What other tools
    wrote into the file stays, except where it says what was changed. Raises BadInput for what can't be written,
    StyleFileError, DiskFullError; then the file is as it was.
    """
    card = read_card(path)
    edited = replace(card, **checked(changes))
    for file in weights_of(path):  # each of a PEFT folder says it all
        _edit_file(file, card, edited, set(changes))
    return replace(read_card(path, hashed=False), id=card.id)


def _edit_file(file: Path, card: StyleCard, edited: StyleCard, names: set[str]) -> None:
    header = open_header(file)
    style_id = tensor_hash([(file, header)])
    # What the file said in its own way stays: only what differs between the two cards is written.
    before, after = shown_metadata(card, card.id), shown_metadata(edited, card.id)
    metadata = {key: value for key, value in header.metadata.items() if key not in before or key in after}
    metadata |= {key: value for key, value in after.items() if value != before.get(key)}
    if metadata.get(COUNTS, "") == trigger_counts(card.trigger):  # else they are counts of captions
        metadata.pop(COUNTS, None)
        metadata |= {COUNTS: counts} if (counts := trigger_counts(edited.trigger)) else {}
    head = header_bytes({key: entry.to_json() for key, entry in header.tensors.items()}, metadata)
    if len(head) > max(LARGEST_HEADER_WRITTEN, header.data_start):
        raise BadInput(
            "What the card of “{style}” would say takes {count} bytes, more than other tools read.",
            "Shorten its description, or take a smaller picture.",
            style=card.name,
            count=len(head),
        )
    with atomic.replacing(file) as temporary:
        if _written(file, header, head, temporary) != style_id:
            raise StyleFileError(
                "“{style}” was changed by something else meanwhile.", "Try again.", style=card.name
            )
        _check(temporary, header, style_id, edited, names)


def checked(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return changes of a card as they can be written; raises BadInput."""
    values: dict[str, Any] = {}
    for name, value in changes.items():
        if name not in EDITABLE:
            raise BadInput(
                "“{name}” can't be edited.", "What can: {editable}.", name=name, editable=", ".join(EDITABLE)
            )
        if name in TEXTS:
            values[name] = _text(name, value)
        elif name == "suggested_weight":
            values[name] = _weight(value)
        elif name == "tags":
            values[name] = _tags(value)
        elif value is None:
            values[name] = None
        else:
            values[name] = public_thumbnail(bytes(value))
            if values[name] is None:
                raise BadInput("This is no picture that can be a thumbnail.", "Choose a PNG, JPEG or WebP.")
    return values


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise BadInput("The {name} is no text.", "Give it as text.", name=name)
    text = value.replace("\r\n", "\n").strip()
    if len(text) > TEXT_LIMITS[name]:
        raise BadInput(
            "The {name} has {count} characters.",
            "Write at most {limit}, and the rest elsewhere.",
            name=name,
            count=len(text),
            limit=TEXT_LIMITS[name],
        )
    if clean_text(text, TEXT_LIMITS[name], lines=name == "description") != text:
        raise BadInput(
            "The {name} holds characters that can't be seen.", "Write it as plain text.", name=name
        )
    return text


def _weight(value: Any) -> float:
    try:
        weight = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        weight = math.nan
    if not math.isfinite(weight) or abs(weight) > STRONGEST:
        raise BadInput(
            "“{value}” is no weight for a style.",
            "Give a number from -{highest:g} to {highest:g}.",
            value=clean_text(str(value), 40),
            highest=STRONGEST,
        )
    return weight


def _tags(values: Any) -> tuple[str, ...]:
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise BadInput("Tags are a list of words.", "Give each tag on its own.")
    tags = tuple(str(value).strip() for value in values)
    if len(tags) > MOST_TAGS:
        raise BadInput(
            "{count} tags are too many for one style.",
            "Give at most {most_tags}.",
            count=len(tags),
            most_tags=MOST_TAGS,
        )
    for tag in tags:
        if not tag or "," in tag or clean_text(tag, LONGEST_TAG) != tag:
            raise BadInput(
                "“{tag}” can't be a tag.",
                "A tag has 1 to {longest_tag} characters and no comma.",
                tag=clean_text(tag, 40),
                longest_tag=LONGEST_TAG,
            )
    return tags


def _written(file: Path, header: Header, head: bytes, temporary: Path) -> str:
    """Write the new header and the old tensors, and return the sha256 of these."""
    digest = hashlib.sha256()
    with file.open("rb") as source, temporary.open("wb") as target:
        target.write(head)
        source.seek(header.data_start)
        hash_rest(source, digest, target)
    return digest.hexdigest()


def _check(written: Path, header: Header, style_id: str, edited: StyleCard, names: set[str]) -> None:
    """Read the new file back before it takes the place of the old one."""
    written_header = open_header(written)
    if written_header.tensors != header.tensors or tensor_hash([(written, written_header)]) != style_id:
        raise StyleFileError(
            "The new file of “{style}” does not read back.",
            "Look whether the disk is sound.",
            style=edited.name,
        )
    texts = replace(
        StyleCard(edited.name, edited.family, edited.rank), **card_texts(written_header.metadata, "")
    )
    lost = sorted(name for name in names if getattr(texts, name) != getattr(edited, name))
    if lost:
        raise StyleFileError(
            "The file of “{style}” can't hold this {part}.",
            "Write it in another way.",
            style=edited.name,
            part=lost[0].replace("_", " "),
        )
