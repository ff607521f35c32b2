"""Finding styles: by words, by a name or place, by the beginning of an id; and near names for one that is not there."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence

from styles.catalogue import Catalogue, Entry
from styles.errors import UnknownStyleError
from styles.folder import SUFFIX
from styles.marks import Mark
from styles.names import clean_text
from styles.style import FAMILY_NAMES, StyleCard

SHORTEST_ID = 8  # digits
HEX = frozenset("0123456789abcdef")
FIELDS: dict[str, Callable[[StyleCard], tuple[str, ...]]] = {
    "name": lambda card: (card.name,),
    "trigger": lambda card: (card.trigger, *card.tokens),
    "author": lambda card: (card.author,),
    "tag": lambda card: card.tags,
    "base": lambda card: (card.family, FAMILY_NAMES.get(card.family, ""), card.base_name),
}


def matches(entry: Entry, mark: Mark | None, words: str) -> bool:
    """Whether a style has all words, in any case and order; tags of the artist's own count as the card's.

    A word such as `tag:ink` is looked for in that field alone.
    """
    if entry.card is None:
        return False
    own = "\n".join(mark.tags).casefold() if mark else ""
    for word in words.casefold().split():
        field, _, wanted = word.partition(":")
        if wanted and field in FIELDS:
            told = "\n".join(FIELDS[field](entry.card)).casefold()
            if wanted not in told and not (field == "tag" and wanted in own):
                return False
        elif word not in entry.words and word not in own:
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
            f"{len(nearest)} styles are called “{clean_text(wanted, 80)}”: {places}.",
            "Name the one that you mean.",
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
        raise UnknownStyleError(f"The ids of {len(known)} styles begin with {wanted}.", "Give more of it.")
    if known:
        return next(iter(known.values()))
    unknown = [entry for entry in entries if entry.card and not entry.id]
    unknown.sort(key=lambda entry: not entry.claimed.startswith(wanted))
    if not thorough:
        unknown = [entry for entry in unknown if entry.claimed.startswith(wanted)]
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
    return UnknownStyleError(f"There is no {kind} “{clean_text(wanted, 80)}”.", hint)


def _depth(entry: Entry) -> int:
    return 1000 if entry.bundled else entry.place.where.count("/")
