"""What other tools keep beside a style: a picture, and a text with its trigger words.

A1111 and InvokeAI write `NAME.png` and `NAME.json` (https://github.com/AUTOMATIC1111/stable-diffusion-webui,
modules/ui_extra_networks_user_metadata.py). What the style's own file says counts more.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from styles.formats.style import StyleCard
from styles.library.folder import PICTURE_ENDINGS, TEXT_ENDING, name_of
from styles.mixing.blend import STRONGEST
from styles.storage.file_reading import open_file, read_json
from styles.storage.picture_budget import check_shown

LARGEST_TEXT = 1 << 20  # bytes
LARGEST_PICTURE = 64 << 20


def with_side_text(card: StyleCard, path: Path) -> StyleCard:
    """Return a style's card with what the text beside its file adds; a text that can't be read adds nothing."""
    values = _side_text(path.with_name(name_of(path) + TEXT_ENDING))
    changes: dict[str, Any] = {}
    for name, theirs in (("trigger", "activation text"), ("description", "description")):
        said = values.get(theirs)
        if not getattr(card, name) and isinstance(said, str) and said.strip():
            changes[name] = said
    weight: Any = values.get("preferred weight")
    # 0 is what A1111 writes where nothing was chosen.
    usable = isinstance(weight, int | float) and 0 < abs(weight) < 100  # NaN is neither
    if card.suggested_weight == 1.0 and usable:
        changes["suggested_weight"] = max(-STRONGEST, min(STRONGEST, float(weight)))
    return replace(card, **changes) if changes else card


def side_thumbnail(path: Path) -> bytes | None:
    """Return the picture beside a style as a 256x256 JPEG without metadata; None where there is none that opens."""
    for ending in PICTURE_ENDINGS:
        picture = path.with_name(name_of(path) + ending)
        if os.path.isfile(picture) and (thumbnail := thumbnail_of(picture)):
            return thumbnail
    return None


def has_picture(path: Path) -> bool:
    """Whether a picture lies beside a style, without opening it."""
    return any(os.path.isfile(path.with_name(name_of(path) + ending)) for ending in PICTURE_ENDINGS)


def without_picture(files: Iterable[str]) -> set[str]:
    """Return those of some styles beside which no picture lies, by one look into each folder."""
    names: dict[str, set[str]] = {}
    places = set()
    for file in files:
        folder = os.path.dirname(file)
        if folder not in names:
            try:
                names[folder] = {os.path.normcase(name) for name in os.listdir(folder)}
            except OSError:  # taken away since it was listed
                names[folder] = set()
        pictures = (os.path.normcase(name_of(file) + ending) for ending in PICTURE_ENDINGS)
        if names[folder].isdisjoint(pictures):
            places.add(file)
    return places


def thumbnail_of(picture: Path) -> bytes | None:
    """Return a picture's file as a thumbnail, None where it is none that can be opened."""
    from PIL import Image

    from styles.formats.thumbnail import thumbnail_jpeg

    try:
        with open_file(picture) as file:
            if os.fstat(file.fileno()).st_size > LARGEST_PICTURE:
                return None
            with Image.open(file, formats=("JPEG", "PNG", "WEBP")) as image:
                check_shown(image)
                return thumbnail_jpeg(image)
    # Pillow's decoders raise anything of damaged bytes: KeyError, TypeError, struct.error, ...
    except Exception:
        return None


def _side_text(file: Path) -> dict[str, Any]:
    try:
        values = read_json(file, LARGEST_TEXT)
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
