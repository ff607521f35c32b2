"""Finding styles: by words, by a name or place, by the beginning of an id; and near names for one that is not there."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence

from styles.errors import UnknownStyleError
from styles.library.catalogue import Catalogue
from styles.library.folder import SUFFIX
from styles.library.index import MARKS, is_in
from styles.library.listing import Entry
from styles.library.notes import Note
from styles.storage.names import SHA256, clean_text

SHORTEST_ID = 8  # digits
SHORT_ID = 12  # that tell styles apart on a screen
HEX = frozenset("0123456789abcdef")


def chosen(
    entries: Iterable[Entry],
    marks: Mapping[str, Note],
    words: str,
    family: str,
    favourites: bool,
    newest: bool,
) -> list[Entry]:
    """Return the styles that have all words, are of a family, and are favourites, as far as these are given.

    In the order given, or the newest first; bundled ones last, as their dates are those of their copying.
    """
    found = [entry for entry in entries if entry.readable]
    if favourites:
        found = [entry for entry in found if marks.get(entry.id, Note()).favourite]
    if wanted := _split(words):
        found = [entry for entry in found if _matches(entry, marks.get(entry.id), wanted)]
    if family:
        found = [entry for entry in found if entry.card and entry.card.family == family]
    if newest:
        found.sort(key=lambda entry: entry.card.created if entry.card else "", reverse=True)
        found.sort(key=lambda entry: entry.bundled)
    return found


def _split(words: str) -> list[tuple[str, str]]:
    """Return the words of a search, folded, each with the field that it is looked for in: empty for any."""
    found = []
    for word in words.casefold().split():
        field, _, wanted = word.partition(":")
        found.append((field, wanted) if wanted and field in MARKS else ("", word))
    return found


def _matches(entry: Entry, mark: Note | None, words: Iterable[tuple[str, str]]) -> bool:
    """Whether a style has all words, in any case and order; tags of the artist's own count as the card's."""
    own = "\n".join(mark.tags).casefold() if mark else ""
    for field, word in words:
        if not is_in(field, word, entry.row.words) and (word not in own or field not in ("", "tag")):
            return False
    return True


def named(wanted: str, entries: Sequence[Entry]) -> Entry | None:
    """Return the style of that place or name, in any case where none has it exactly; None where none has it.

    Of several the one outside of subfolders counts, the artist's own before bundled ones. Raises UnknownStyleError
    where that does not tell which is meant.
    """
    for alike in (
        [entry for entry in entries if entry.place.where == wanted],
        [entry for entry in entries if "/" in wanted and entry.place.where == wanted + SUFFIX],
        [entry for entry in entries if entry.name == wanted],
        [entry for entry in entries if entry.name.casefold() == wanted.casefold()],
    ):
        if not alike:
            continue
        depths = [_depth(entry) for entry in alike]
        nearest = [entry for entry, depth in zip(alike, depths, strict=True) if depth == min(depths)]
        ids = {entry.id for entry in nearest}
        if len(nearest) == 1 or (len(ids) == 1 and "" not in ids):
            return nearest[0]
        places = ", ".join(clean_text(entry.place.where, 120) for entry in nearest[:5])
        raise UnknownStyleError(
            "{count} styles are called “{name}”: {places}.",
            "Name the one that you mean.",
            count=len(nearest),
            name=clean_text(wanted, 80),
            places=places,
        )
    return None


def with_id(wanted: str, entries: Sequence[Entry], catalogue: Catalogue, thorough: bool) -> Entry | None:
    """Return the style whose id begins so; None where there is none, or too few digits to tell.

    Where none is known, files without an id are hashed: those that claim this one, and if `thorough` all others. Raises
    UnknownStyleError where several begin so.
    """
    wanted = wanted.casefold()
    if len(wanted) < SHORTEST_ID or not HEX.issuperset(wanted):
        return None
    known = {entry.id: entry for entry in reversed(entries) if entry.id.startswith(wanted)}
    if len(known) > 1:
        raise UnknownStyleError(
            "The ids of {count} styles begin with {id}.", "Give more of it.", count=len(known), id=wanted
        )
    if known:
        return next(iter(known.values()))
    unknown = [entry for entry in entries if entry.unhashed]
    unknown.sort(key=lambda entry: not entry.row.claimed.startswith(wanted))
    if not thorough:
        unknown = [entry for entry in unknown if entry.row.claimed.startswith(wanted)]
    return next((entry for entry in catalogue.identifying(unknown) if entry.id.startswith(wanted)), None)


def not_found(wanted: str, names: Sequence[str], kind: str = "style") -> UnknownStyleError:
    """Return the error for a name that nothing has, with names that are near."""
    folded = {name.casefold(): name for name in names}
    near = [folded[name] for name in difflib.get_close_matches(wanted.casefold(), folded, n=3, cutoff=0.5)]
    near += [name for name in names if wanted and wanted.casefold() in name.casefold() and name not in near]
    if near:
        hint = f"Did you mean {' or '.join(f'“{name}”' for name in near[:3])}?"
    elif names:
        hint = f"There is {', '.join(f'“{name}”' for name in names[:8])}{' …' if len(names) > 8 else ''}."
    else:
        hint = f"There is no {kind} yet."
    if SHA256.fullmatch(wanted):
        return UnknownStyleError(
            "There is no {kind} whose id begins with {id}.", hint, kind=kind, id=wanted[:SHORT_ID]
        )
    return UnknownStyleError("There is no {kind} “{name}”.", hint, kind=kind, name=clean_text(wanted, 80))


def _depth(entry: Entry) -> int:
    return 1000 if entry.bundled else entry.place.where.count("/")
