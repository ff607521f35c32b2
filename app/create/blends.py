"""The blends that an artist keeps: small files in the home that name their styles by content."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from app.create.mix_orders import MixOrder
from app.i18n import translated
from styles.errors import BadInput, BlendError
from styles.formats.style import StyleCard
from styles.library.library import Library, Refused
from styles.library.missing import name_note, namesake
from styles.mixing.blend import Blend
from styles.mixing.blend_file import (
    SUFFIX,
    NamedStyle,
    SavedBlend,
    blends_folder,
    delete_blend,
    load_blend,
    save_blend,
    saved_blends,
)
from styles.storage.atomic import write_new
from styles.storage.home import Home
from styles.storage.names import clean_text, folded, suggested_name
from styles.text import either, quoted


class Blends:
    """The files in a home's `blends/` folder, by name; a name that is taken gets a number."""

    def __init__(self, home: Home, library: Library) -> None:
        self.home = home
        self.library = library
        self.folder = blends_folder(home)

    def all(self) -> tuple[list[SavedBlend], list[Refused]]:
        """The blends by name, and the files that can't be read."""
        blends, refused = [], []
        for path in saved_blends(self.folder):
            try:
                blends.append(load_blend(path))
            except BlendError as error:
                refused.append(Refused(path, error.text))
        return blends, refused

    def find(self, name: str) -> SavedBlend:
        """The blend of that name, whether its styles are here or not; raises BlendError."""
        return load_blend(self._path(name))

    def started(self, name: str) -> MixOrder:
        """The mix that begins with the blend of that name; a style that was made anew since is followed by its name.

        Raises BlendError, UnknownStyleError naming the styles that are missing.
        """
        saved = self.find(name)
        here = set(self._here(saved.blend, thorough=True))
        blend, notes = saved.blend, []
        for gone in saved.missing(here):
            card = namesake(self.library, gone.name)
            # A stranger's blend may name styles as the artist does.
            if (
                card is None
                or (card.author, card.family) != (gone.author, gone.family)
                or blend.part_of(card.id)
            ):
                continue
            parts = [
                replace(part, style=card.id if part.style == gone.id else part.style) for part in blend.parts
            ]
            blend, here = replace(blend, parts=tuple(parts)), here | {gone.id}
            notes.append(translated(name_note(card.name, gone.id)))
        saved.check_present(here)
        return MixOrder(start=blend, notes=tuple(notes))

    def save(self, name: str, blend: Blend, names: Mapping[str, str] | None = None) -> Path:
        """Keep a blend; the path of its file. `names` are, by id, of styles that may not be here.

        Raises BadInput for a name that is none, BlendError for no style.
        """
        here = self._here(blend, thorough=True)
        gone = [NamedStyle(style, name_of) for style, name_of in (names or {}).items() if style not in here]
        return save_blend(blend, name, [*here.values(), *gone], self.folder)

    def bring(self, file: Path) -> SavedBlend:
        """Bring a blend's file in, as it is; raises BlendError for one that is none, or is here already."""
        saved = load_blend(file)
        for present in self.all()[0]:
            if present.blend == saved.blend:
                raise BlendError("{file} is here already, as “{name}”.", file=file.name, name=present.name)
        return load_blend(write_new(self.folder, saved.name, SUFFIX, file.read_bytes()))

    def export(self, name: str, folder: Path) -> Path:
        """Copy a blend's file into a folder; its path there."""
        path = self._path(name)
        if folder.exists() and not folder.is_dir():
            raise BadInput("{folder} is not a folder.", "Choose a folder to put the blend in.", folder=folder)
        return write_new(folder, suggested_name(path.stem), SUFFIX, path.read_bytes())

    def delete(self, name: str) -> Path:
        """Move a blend's file to the trash; its path there."""
        return delete_blend(self._path(name), self.home)

    def facts(self, saved: SavedBlend) -> dict[str, Any]:
        """All that a blend says, as plain JSON values, with the ids of the styles that are missing."""
        here = {style: card.name for style, card in self._here(saved.blend, thorough=False).items()}
        facts = {style.id: asdict(style) for style in saved.styles}
        names = {style: {"name": name} for style, name in here.items()}  # as they are called here
        return {
            "name": saved.name,
            "mode": saved.blend.mode,
            "styles": [
                facts.get(part.style, {}) | names.get(part.style, {}) | part.to_json() | {"id": part.style}
                for part in saved.blend.parts
            ],
            "missing": [style.id for style in saved.missing(here)],
        }

    def words(self, saved: SavedBlend) -> str:
        """A blend on one line."""
        facts = self.facts(saved)
        parts = []
        for style in facts["styles"]:
            said = [
                "missing" if style["id"] in facts["missing"] else "",
                "by schedule" if "schedule" in style else "",
                "muted" if style.get("muted") else "",
                "solo" if style.get("solo") else "",
            ]
            notes = ", ".join(filter(None, said))
            name = style.get("name") or style["id"][:12]
            parts.append(f"{name} {style['weight']:g}{f' ({notes})' if notes else ''}")
        mode = "" if saved.blend.mode == "sum" else f" [{saved.blend.mode}]"
        return f"{saved.name}: {', '.join(parts)}{mode}"

    def _here(self, blend: Blend, *, thorough: bool) -> dict[str, StyleCard]:
        """The styles of a blend that are here, by id; those that claim no id are hashed only where it must be known."""
        cards = self.library.with_ids([part.style for part in blend.parts], thorough=thorough)
        return {card.id: card for card in cards}

    def _path(self, name: str) -> Path:
        paths = saved_blends(self.folder)
        stem = name.strip()
        for path in (
            *(path for path in paths if path.stem == stem),
            *(path for path in paths if folded(path.stem) == folded(stem)),
        ):
            return path
        names = [path.stem for path in paths]
        near = difflib.get_close_matches(stem, names, n=3, cutoff=0.5) or names[:8]
        shown = either(map(quoted, near)) if near else ""
        raise BlendError(
            "There is no blend “{name}”.",
            "There is {shown}." if near else "No blend has been kept yet.",
            name=clean_text(stem, 80),
            shown=shown,
        )
