"""What Atelier says, in the artist's language: English in the code, other languages in one catalogue each.

The English sentence is the key, as with gettext:

    from app.i18n import say
    say("Create")
    say("Imported {count} of {total}.", count=3, total=4)
    say_count(3, "1 artwork.", "{count} artworks.")
    PRESETS = ((unsaid("Quick"), "quick"), ...)        # a constant; say(PRESETS[0][0]) where it is shown

The first argument is a literal string with named places, never an f-string: a test collects the literals of all calls
and asks each for its Spanish. The Spanish stands in `es/*.json`, one file for a room or a part, all read as one
catalogue (what two rooms say may stand in both, if they agree); `python -m tests.app.texts` lists what lacks one. Call `say` when a text is shown, not when a module is
imported: only then is the language known.

What is raised or noted below this package (errors, warnings in a journal, words of progress) is English there, and
changes its language where it is shown:

    translated("Port 7860 is in use by another program.")       # found by "Port {} is in use by another program."
    say_error(error)                                            # message and hint of one of our errors

The language is chosen once, when a command or the window starts (`speak`); another choice in Settings holds from the
next start on. Standard library only, and quick to import.
"""

from __future__ import annotations

import functools
import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Any

LANGUAGES = ("en", "es")
FOLDER = Path(__file__).parent
# One process speaks one language, as it has one locale: handing it down to each label would help nobody.
_spoken = "en"


def speak(wanted: str = "auto") -> str:
    """Choose the language of this process, `auto` for the system's; return the one that it is."""
    global _spoken
    _spoken = wanted if wanted in LANGUAGES else system_language(os.environ, sys.platform)
    return _spoken


def language() -> str:
    """The language that is spoken, as in LANGUAGES."""
    return _spoken


def say(text: str, /, **values: Any) -> str:
    """`text` in the artist's language, with `values` in its places."""
    spoken = catalogue(_spoken).get(text, text)
    return spoken.format(**values) if values else spoken


def say_count(count: int, one: str, many: str, /, **values: Any) -> str:
    """`one` where `count` is 1, else `many`; both may hold the place `{count}`."""
    return say(one if count == 1 else many, count=count, **values)


def unsaid(text: str, /) -> str:
    """`text` as it is, noted as one that `say` will be asked for: for constants."""
    return text


def say_error(error: Exception) -> str:
    """What one of our errors says, in the artist's language: what happened, and what to do now."""
    message, hint = getattr(error, "message", str(error)), getattr(error, "hint", "")
    return f"{translated(message)} {translated(hint)}".strip()


def translated(sentence: str) -> str:
    """An English text that was put together elsewhere, in the artist's language; as it is where none is known.

    Several sentences one after the other are looked up one by one, and so are those inside a place.
    """
    if _spoken == "en" or not sentence:
        return sentence
    return _translated(sentence, _spoken)


def _translated(text: str, into: str) -> str:
    pieces = re.split(r"((?<=[.!?])\s+|\n)", text)  # sentences, and what stands between them
    spoken, first = "", 0
    while first < len(pieces):
        # The shortest run first; a text of several sentences may be one entry.
        for last in range(first + 1, len(pieces) + 1, 2):
            whole = _looked_up("".join(pieces[first:last]), into)
            if whole is not None:
                break
        else:
            last, whole = first + 1, _with_known_end(pieces[first], into)
        spoken += whole + "".join(pieces[last : last + 1])
        first = last + 1
    return spoken


def _with_known_end(sentence: str, into: str) -> str:
    """A sentence that is not known, with what follows its colon if that is: a reason behind the name of a file."""
    head, colon, tail = sentence.partition(": ")
    return f"{head}: {_looked_up(tail, into) or tail}" if colon else sentence


def _looked_up(text: str, into: str) -> str | None:
    known = catalogue(into)
    if text in known and "{" not in text:
        return known[text]
    found = next(filter(None, (pattern.apply(text) for pattern in patterns(into))), None)
    if found is None and text.endswith("."):  # a reason that was put at the end of a sentence
        bare = _looked_up(text[:-1], into)
        return None if bare is None else bare + "."
    return found


@dataclass(frozen=True)
class Pattern:
    """An entry with places, to recognise a sentence by that was made from it."""

    regex: re.Pattern[str]
    spoken: str
    # For each place, whether it stands in quotation marks: a name, and never words of ours.
    quoted: tuple[bool, ...]
    literal: int  # characters that are not places
    anchor: str  # the longest of them together, quickly looked for

    def apply(self, text: str) -> str | None:
        """The sentence in the other language, None where it was not made from this entry."""
        match = self.regex.fullmatch(text) if self.anchor in text else None
        if match is None:
            return None
        pairs = zip(match.groups(), self.quoted, strict=True)
        return self.spoken.format(*(value if quoted else _inner(value) for value, quoted in pairs))


def _inner(value: str) -> str:
    """What stands in a place: a sentence of ours may be quoted there, single words are names and numbers."""
    return translated(value) if " " in value else value


def places(text: str) -> list[str]:
    """The names of the places in `text`, numbers for those without a name."""
    found = [name for _, name, _, _ in Formatter().parse(text) if name is not None]
    return [name or str(number) for number, name in enumerate(found)]


@functools.cache
def catalogue(wanted: str) -> Mapping[str, str]:
    """English to `wanted`; empty for English."""
    entries: dict[str, str] = {}
    for file in sorted((FOLDER / wanted).glob("*.json")):
        entries |= json.loads(file.read_text(encoding="utf-8"))
    return entries


@functools.cache
def patterns(wanted: str) -> tuple[Pattern, ...]:
    """The entries with nameless places, the most telling first; a text with named ones is said, never recognised."""
    made = [pattern_for(text, spoken) for text, spoken in catalogue(wanted).items() if nameless(text)]
    return tuple(sorted(made, key=lambda pattern: -pattern.literal))


def nameless(text: str) -> bool:
    """Whether an entry is one to recognise sentences by, with places as `{}` or with doubled braces."""
    return "{}" in text or "{{" in text


def pattern_for(text: str, spoken: str) -> Pattern:
    """How to recognise a sentence made from `text`, and what it becomes."""
    regex, literals, quoted = "", [""], []
    for literal, place, _, _ in Formatter().parse(text):
        regex += re.escape(literal)
        literals.append(literal)
        if place is not None:
            regex += "(.*?)"
            quoted.append(literal.endswith(("“", "‘", "'", '"', "`")))
    anchor = max(literals, key=len)
    return Pattern(re.compile(regex), spoken, tuple(quoted), len("".join(literals)), anchor)


def system_language(environment: Mapping[str, str], platform: str) -> str:
    """The first language of the system that Atelier speaks, else English."""
    for name in ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"):  # in the order of gettext
        if environment.get(name):
            return _known(environment[name])
    if platform == "win32":
        return _known(_windows_language())
    if platform == "darwin":  # a double-clicked program is given no LANG there
        return _known(_mac_language())
    return "en"


def _known(locale: str) -> str:
    short = locale.replace("-", "_").split("_")[0].split(".")[0].casefold()
    return short if short in LANGUAGES else "en"


def _windows_language() -> str:
    import ctypes
    import locale

    number = ctypes.windll.kernel32.GetUserDefaultUILanguage()  # type: ignore[attr-defined, unused-ignore]
    return locale.windows_locale.get(number, "en")


def _mac_language() -> str:
    import plistlib

    preferences = Path.home() / "Library" / "Preferences" / ".GlobalPreferences.plist"
    try:
        return str(plistlib.loads(preferences.read_bytes())["AppleLanguages"][0])
    except (OSError, ValueError, LookupError):
        return "en"
