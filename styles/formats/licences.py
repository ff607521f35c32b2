"""What a licence says about making something new of a style; read modestly, for a warning and never as law.

Short names are those of SPDX (https://spdx.org/licenses); all other text is searched for the few plain phrases that
people write, and where nothing is found nothing is claimed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from styles.text import Text, quoted

CREATIVE_COMMONS = re.compile(
    r"(?<![a-z])cc[ -]*by(?P<terms>(?:[ -]*(?:nc|nd|sa))*)(?:[ -]*v?(?P<version>[1-4]\.[05]))?(?![a-z0-9])",
    re.IGNORECASE,
)
NO_CHANGES = re.compile(
    r"\bno[ -]?deriv(?:s|ativ(?:es?|e[ -]works?))\b"
    r"|\b(?:no|not|never|don['’]?t)\s+(?:be\s+)?(?:(?:any|for|allow(?:ed)?|to|make)\s+)*"
    r"(?:merg(?:e[ds]?|ing)|bak(?:e[ds]?|ing)|remix(?:e[ds]|ing)?|derivatives?|derivative[ -]works?|modif\w+|adaptations?)\b"
    r"|\b(?:merg(?:es?|ing)|remix(?:es|ing)?|derivatives?|modifications?)\s+(?:(?:is|are)\s+)?"
    r"(?:not\s+(?:allowed|permitted)|forbidden|prohibited)\b"
    r"|\ball rights reserved\b",
    re.IGNORECASE,
)
NOT_FOR_MONEY = re.compile(
    r"\bnon[ -]?commercial\b|\bno(?:t for)? commercial\b|\bpersonal use only\b", re.IGNORECASE
)
SAME_TERMS = re.compile(
    r"\bshare[ -]?alike\b|\b(?:a|l)?gpl\b|\bsame (?:licen[cs]e|terms|permissions)\b", re.IGNORECASE
)
USE_RULES = re.compile(r"\bopen ?rail\b|\bopenrail(?:\+\+)?|\bcreativeml\b", re.IGNORECASE)
FREE = ("CC0-1.0", "MIT", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "Unlicense", "0BSD")
NAMES = {  # as people type them: as SPDX names them
    "cc0": "CC0-1.0",
    "cc zero": "CC0-1.0",
    "public domain": "CC0-1.0",
    "apache 2.0": "Apache-2.0",
    "apache-2": "Apache-2.0",
    "apache 2": "Apache-2.0",
    **{name.casefold(): name for name in FREE},
}


@dataclass(frozen=True)
class Terms:
    """What a licence asks for, as far as its text shows: all false for one that is silent or unknown."""

    known: bool  # whether anything of it was understood
    no_changes: bool = False  # nothing new may be made of it and shared
    not_for_money: bool = False
    same_terms: bool = False  # what is made of it must be under the same licence
    use_rules: bool = False  # rules for its use that must be passed on


def spdx_name(licence: str) -> str:
    """Return the SPDX name of a licence that is typed in another way (`cc by-sa 4.0`), else the text as it is."""
    text = " ".join(licence.split())
    match = CREATIVE_COMMONS.fullmatch(text)
    if match and match["version"]:
        marks = [mark for mark in ("NC", "ND", "SA") if mark.casefold() in match["terms"].casefold()]
        return "-".join(["CC-BY", *marks, match["version"]])
    return NAMES.get(text.casefold(), licence)


def terms_of(licence: str) -> Terms:
    """Read what a licence asks for, from its SPDX name or its words."""
    text = " ".join(licence.split())
    marks = [match["terms"].casefold() for match in CREATIVE_COMMONS.finditer(text)]
    plain = CREATIVE_COMMONS.sub(" ", text)
    asks = {
        "no_changes": any("nd" in mark for mark in marks) or bool(NO_CHANGES.search(plain)),
        "not_for_money": any("nc" in mark for mark in marks) or bool(NOT_FOR_MONEY.search(plain)),
        "same_terms": any("sa" in mark for mark in marks) or bool(SAME_TERMS.search(plain)),
        "use_rules": bool(USE_RULES.search(plain)),
    }
    return Terms(known=bool(marks) or spdx_name(text) in FREE or any(asks.values()), **asks)


def warnings_about(works: Iterable[tuple[str, str]]) -> tuple[Text, ...]:
    """Say in sentences what the licences of (name, licence) mean for something new that is made of them together."""
    terms = {work: terms_of(work[1]) for work in works}
    warnings = [
        Text(
            "The licence of “{name}” ({licence}) forbids to share what is made from it: keep the result to yourself, or ask its author.",
            name=name,
            licence=spdx_name(licence),
        )
        for (name, licence), asks in terms.items()
        if asks.no_changes
    ]
    if names := [name for (name, _), asks in terms.items() if asks.not_for_money]:
        warnings.append(
            Text("Not for commercial use, and so neither is the result: {names}.", names=_quoted(names))
        )
    same = {spdx_name(licence): name for (name, licence), asks in terms.items() if asks.same_terms}
    if len(same) > 1:
        warnings.append(
            Text(
                "{names} each ask for their own licence for what is made from them ({licences}): no licence may fit all.",
                names=_quoted(same.values()),
                licences=", ".join(same),
            )
        )
    elif same:
        warnings.append(
            Text(
                "What is made from {names} must have its licence: {licence}.",
                names=_quoted(same.values()),
                licence=next(iter(same)),
            )
        )
    if names := [name for (name, _), asks in terms.items() if asks.use_rules]:
        warnings.append(Text("With rules for use that are to be passed on: {names}.", names=_quoted(names)))
    if names := [name for (name, licence), asks in terms.items() if licence.strip() and not asks.known]:
        warnings.append(Text("Read the licence before you share the result: {names}.", names=_quoted(names)))
    if names := [name for (name, licence) in terms if not licence.strip()]:
        warnings.append(
            Text("Ask before you share it: not every licence is known ({names}).", names=_quoted(names))
        )
    return tuple(warnings)


def _quoted(names: Iterable[str]) -> str:
    return Text.joined(", ", map(quoted, names))
