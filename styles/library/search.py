"""Finding styles: by words, by a name or place, by the beginning of an id; and near names for one that is not there."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence

from styles.errors import UnknownStyleError
from styles.families import family_of
from styles.library.catalogue import Catalogue
from styles.library.folder import SUFFIX
from styles.library.index import MARKS, is_in
from styles.library.listing import Entry
from styles.library.notes import Note
from styles.storage.names import SHA256, clean_text, folded, stands_in_tags_as
from styles.text import Text, either, quoted

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
    matches = [entry for entry in entries if entry.readable]
    if favourites:
        matches = [entry for entry in matches if marks.get(entry.id, Note()).favourite]
    if terms := _split(words):
        matches = [entry for entry in matches if _matches(entry, marks.get(entry.id), terms)]
    if family:
        matches = [
            entry for entry in matches if entry.card and family_of(entry.card.family).is_meant_by(family)
        ]
    if newest:
        matches.sort(key=lambda entry: entry.card.created if entry.card else "", reverse=True)
        matches.sort(key=lambda entry: entry.bundled)
    return matches


def _split(words: str) -> list[tuple[str, str]]:
    """Return the words of a search, folded, each with the field that it is looked for in: empty for any."""
    terms = []
    for word in words.casefold().split():
        field, _, value = word.partition(":")
        terms.append((field, value) if value and field in MARKS else ("", word))
    return terms


def _matches(entry: Entry, mark: Note | None, words: Iterable[tuple[str, str]]) -> bool:
    """Whether a style has all words, in any case and order; tags of the artist's own count as the card's."""
    own = "\n".join(mark.tags).casefold() if mark else ""
    for field, word in words:
        if not is_in(field, word, entry.row.words) and (word not in own or field not in ("", "tag")):
            return False
    return True


def named(query: str, entries: Sequence[Entry]) -> Entry | None:
    """Return the style of that place or name, in any case where none has it exactly; None where none has it.

    The name that an export has, and a picture's tag, counts as well: `ochre_dabs` is “ochre dabs”.

    Of several the one outside of subfolders counts, the artist's own before bundled ones. Raises UnknownStyleError
    where that does not tell which is meant.
    """
    for alike in (
        [entry for entry in entries if entry.place.where == query],
        [entry for entry in entries if "/" in query and entry.place.where == query + SUFFIX],
        [entry for entry in entries if entry.name == query],
        [entry for entry in entries if folded(entry.name) == folded(query)],
        [entry for entry in entries if stands_in_tags_as(entry.name, query)],
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
            name=clean_text(query, 80),
            places=places,
        )
    return None


def with_id(query: str, entries: Sequence[Entry], catalogue: Catalogue, thorough: bool) -> Entry | None:
    """Return the style whose id begins so; None where there is none, or too few digits to tell.

    Where none is known, files without an id are hashed: those that claim this one, and if `thorough` all others. A1111
    names a style by what its file claims, with the `0x` of some: such a short hash means the file that claims it, where
    no id begins so. Raises UnknownStyleError where several begin so.
    """
    written = query.casefold()
    query = written.removeprefix("0x")
    if len(query) < SHORTEST_ID or not HEX.issuperset(query):
        return None
    by_id = {entry.id: entry for entry in reversed(entries) if entry.id.startswith(query)}
    if len(by_id) > 1:
        raise UnknownStyleError(
            "The ids of {count} styles begin with {id}.", "Give more of it.", count=len(by_id), id=query
        )
    if by_id:
        return next(iter(by_id.values()))
    unknown = [entry for entry in entries if entry.unhashed]
    unknown.sort(key=lambda entry: not entry.row.claimed.startswith(query))
    if not thorough:
        unknown = [entry for entry in unknown if entry.row.claimed.startswith(query)]
    if match := next((entry for entry in catalogue.identifying(unknown) if entry.id.startswith(query)), None):
        return match
    claiming = [entry for entry in entries if entry.row.claimed.startswith(query)]
    return claiming[0] if len(claiming) == 1 and not SHA256.fullmatch(written) else None


def not_found(query: str, names: Sequence[str], *, deleted: bool = False) -> UnknownStyleError:
    """Return the error for a name that nothing has, with names that are near."""
    by_folded = {folded(name): name for name in names}
    near = [by_folded[name] for name in difflib.get_close_matches(folded(query), by_folded, n=3, cutoff=0.5)]
    near += [name for name in names if query and query.casefold() in name.casefold() and name not in near]
    if near:
        hint = Text("Did you mean {near}?", near=either(map(quoted, near[:3])))
    elif names:
        hint = Text(
            "There is {names}{more}.",
            names=Text.joined(", ", map(quoted, names[:8])),
            more=" …" if len(names) > 8 else "",
        )
    else:
        hint = Text("There is no deleted style yet.") if deleted else Text("There is no style yet.")
    if SHA256.fullmatch(query):
        return UnknownStyleError(
            "There is no deleted style whose id begins with {id}."
            if deleted
            else "There is no style whose id begins with {id}.",
            hint,
            id=query[:SHORT_ID],
        )
    return UnknownStyleError(
        "There is no deleted style “{name}”." if deleted else "There is no style “{name}”.",
        hint,
        name=clean_text(query, 80),
    )


def _depth(entry: Entry) -> int:
    return 1000 if entry.bundled else entry.place.where.count("/")
