"""A blend as a thing to keep and to share: a small JSON file that names its styles by content hash."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from styles.errors import BlendError, UnknownStyleError
from styles.formats.style import TEXT_LIMITS, StyleCard
from styles.mixing.blend import Blend
from styles.storage.atomic import disk_errors, unused_name, write_new
from styles.storage.file_reading import read_bytes, read_json
from styles.storage.home import Home
from styles.storage.names import SHA256, clean_text, safe_name, suggested_name
from styles.text import Text, few

SUFFIX = ".json"
FORMAT = 1
LARGEST = 256 << 10  # bytes
TOLD = ("name", "author", "licence", "trigger", "family")  # what a file says of each style, for people


@dataclass(frozen=True)
class NamedStyle:
    """What a blend's file tells of a style that may not be here; all text is cleaned on construction."""

    id: str
    name: str = ""
    author: str = ""
    licence: str = ""
    trigger: str = ""
    family: str = ""

    def __post_init__(self) -> None:
        for name in TOLD:
            object.__setattr__(self, name, clean_text(str(getattr(self, name)), TEXT_LIMITS[name]))

    @property
    def words(self) -> Text:
        """Name, author, licence and the beginning of the id."""
        author = Text("by {author}", author=self.author) if self.author else ""
        facts = filter(None, [author, self.licence, f"id {self.id[:12]}"])
        return Text("“{name}” ({facts})", name=self.name or Text("unnamed"), facts=Text.joined(", ", facts))


@dataclass(frozen=True)
class SavedBlend:
    """A blend with its name and what is known of its styles, by id."""

    name: str
    blend: Blend
    styles: tuple[NamedStyle, ...]

    def missing(self, ids: Collection[str]) -> tuple[NamedStyle, ...]:
        """Return the styles whose ids are not among `ids`."""
        return tuple(style for style in self.styles if style.id not in ids)

    def check_present(self, ids: Collection[str]) -> None:
        """Raise UnknownStyleError naming the styles whose ids are not among `ids`."""
        missing = self.missing(ids)
        if missing:
            raise UnknownStyleError(
                Text(
                    "{count} of the {styles} styles of “{name}” is not in the library: {missing}.",
                    "{count} of the {styles} styles of “{name}” are not in the library: {missing}.",
                    count=len(missing),
                    styles=len(self.styles),
                    name=self.name,
                    missing=few([style.words for style in missing], 5),
                ),
                "Import them; a style is known by its id, whatever its file is called.",
            )


def blends_folder(home: Home) -> Path:
    """Where a home keeps its blends."""
    return home.root / "blends"


def saved_blends(folder: Path) -> list[Path]:
    """Return the files of the blends that are kept in a folder, by name; `load_blend` says what can't be read."""
    files = folder.glob(f"[!.]*{SUFFIX}") if folder.is_dir() else ()
    return sorted(files, key=lambda path: path.stem.casefold())


def save_blend(blend: Blend, name: str, cards: Iterable[StyleCard | NamedStyle], folder: Path) -> Path:
    """Write a blend as `NAME.json`, whole or not at all, and return its path; `cards` are of the library's styles.

    A name that is taken gets a number; the very same blend of that name is kept once. Raises BadInput for a name that
    is no file name and for a blend that is empty or has a style that was never saved, DiskFullError.
    """
    name = safe_name(name, "blend")
    if not blend.parts:
        raise BlendError("There is no style in the blend to keep.", "Mix some styles first.")
    by_id = {card.id: card for card in cards}
    for part in blend.parts:
        if not SHA256.fullmatch(part.style):
            raise BlendError(
                "The style {style} was never saved.", "Save it, then the blend.", style=part.style[:80]
            )
    styles = []
    for part in blend.parts:
        card = by_id.get(part.style)
        values = {key: getattr(card, key) for key in TOLD if card and getattr(card, key)}
        styles.append(part.to_json() | values)
    whole = {"atelier_blend": FORMAT, "name": name, "mode": blend.mode, "styles": styles}
    data = (json.dumps(whole, ensure_ascii=False, allow_nan=False, indent=2) + "\n").encode("utf-8")
    for path in saved_blends(folder):
        with suppress(OSError):  # what can't be read is another one
            if read_bytes(path, LARGEST) == data:
                return path
    return write_new(folder, name, SUFFIX, data)


def delete_blend(path: Path, home: Home) -> Path:
    """Move a blend's file to the home's trash and return where it is; raises BlendError, BadInput."""
    target = unused_name(home.trash, path.stem, SUFFIX)
    try:
        with disk_errors(target):
            home.trash.mkdir(parents=True, exist_ok=True)
            os.replace(path, target)
    except OSError as error:
        raise BlendError(
            "{file} can't be deleted ({reason}).", "Check the path.", file=path.name, reason=error.strerror
        ) from error
    return target


def load_blend(path: Path) -> SavedBlend:
    """Read a blend's file under the name that the file has; raises BlendError for anything else."""
    try:
        values = read_json(path, LARGEST)
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise BlendError(
                "{file} is no blend: it is larger than {kib} KiB.", file=path.name, kib=LARGEST >> 10
            ) from error
        raise BlendError(
            "{file} can't be read ({reason}).", "Check the path.", file=path.name, reason=error.strerror
        ) from error
    except ValueError as error:
        raise BlendError(
            "{file} is no blend, or damaged.", "Ask for the file again.", file=path.name
        ) from error
    try:
        version = values["atelier_blend"]
        parts = values["styles"]
        if isinstance(version, bool) or not isinstance(version, int):
            raise TypeError("atelier_blend")
        if version > FORMAT:
            raise BlendError(
                "{file} was saved by a newer Atelier.", "Update this one to open it.", file=path.name
            )
        blend = Blend.from_json({"mode": values["mode"], "parts": parts})
        styles = tuple(_named(part) for part in parts)
    except BlendError as error:
        raise BlendError(
            "{file} can't be used: {reason}", error.hint, file=path.name, reason=error.message
        ) from error
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise BlendError(
            "{file} is no blend, or damaged.", "Ask for the file again.", file=path.name
        ) from error
    if not blend.parts:
        raise BlendError("{file} is a blend without any style.", "Ask for the file again.", file=path.name)
    return SavedBlend(suggested_name(path.stem), blend, tuple(sorted(styles, key=lambda style: style.id)))


def _named(part: Any) -> NamedStyle:
    style = str(part["style"])
    if not SHA256.fullmatch(style):
        raise BlendError("“{style}” is no style's id.", style=clean_text(style, 80))
    return NamedStyle(style, **{key: str(part.get(key, "")) for key in TOLD})
