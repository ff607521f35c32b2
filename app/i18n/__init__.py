"""What Atelier says, in the artist's language: English in the code, other languages in one gettext catalogue each.

The English sentence is the key:

    from app.i18n import say
    say("Create")
    say("Imported {count} of {total}.", count=3, total=4)
    say_count(3, "1 artwork.", "{count} artworks.")
    PRESETS = ((unsaid("Quick"), "quick"), ...)        # a constant; say(PRESETS[0][0]) where it is shown

The first argument is a literal string with named places, never an f-string: translators get it from there. Call `say`
when a text is shown, not when a module is imported: only then is the language known.

What is raised or noted below this package is a `Text` or an error with a template and values (`styles/text.py`), and
changes its language where it is shown:

    translated(warning)
    say_error(error)                                   # message and hint of one of our errors

The catalogues are `locale/LANGUAGE/LC_MESSAGES/atelier.po`; `python -m tests.app.texts` brings them up to date with the
source. Each is compiled when it is first needed, and kept beside it: a fresh clone needs no step for that, and no two
branches have to agree on a compiled file. The language is chosen once, when a command or the window starts (`speak`);
another choice in Settings holds from the next start on. Quick to import.
"""

from __future__ import annotations

import contextlib
import functools
import gettext
import io
import os
import struct
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from styles.errors import AtelierError
from styles.storage.atomic import write_bytes
from styles.text import Text

LANGUAGES = ("en", "es")
LOCALE = Path(__file__).parent / "locale"
# One process speaks one language, as it has one locale: handing it down to each label would help nobody.
_spoken = "en"


def speak(choice: str = "auto") -> str:
    """Choose the language of this process, `auto` for the system's; return the one that it is."""
    global _spoken
    _spoken = choice if choice in LANGUAGES else system_language(os.environ, sys.platform)
    return _spoken


def language() -> str:
    """The language that is spoken, as in LANGUAGES."""
    return _spoken


def say(text: str, /, **values: Any) -> str:
    """`text` in the artist's language, with `values` in its places."""
    spoken = catalogue(_spoken).gettext(text) if text else ""
    return spoken.format(**values) if values else spoken


def say_count(count: int, one: str, many: str, /, **values: Any) -> str:
    """`one` where `count` is 1, else `many`, as the language counts; both may hold the place `{count}`."""
    return catalogue(_spoken).ngettext(one, many, count).format(count=count, **values)


def unsaid(text: str, /) -> str:
    """`text` as it is, noted as one that `say` will be asked for: for constants."""
    return text


def say_error(error: Exception) -> str:
    """What an error says, in the artist's language: what happened, and what to do now."""
    return translated(error.text if isinstance(error, AtelierError) else str(error))


def translated(text: str) -> str:
    """A text with its values in the artist's language, those that are texts too; any other string as it is."""
    if _spoken == "en" or not text or not isinstance(text, Text):
        return text
    words, values = catalogue(_spoken), text.values
    if text.plural:
        template = words.ngettext(text.template, text.plural, values["count"])
    else:
        template = words.gettext(text.template)
    return template.format(**{name: translated(value) for name, value in values.items()})


@functools.cache
def catalogue(spoken: str) -> gettext.NullTranslations:
    """What there is to say in a language; English stands in the code."""
    source = LOCALE / spoken / "LC_MESSAGES" / "atelier.po"
    if not source.exists():
        return gettext.NullTranslations()
    binary = source.with_suffix(".mo")
    if binary.exists() and binary.stat().st_mtime_ns > source.stat().st_mtime_ns:
        with contextlib.suppress(OSError, ValueError, struct.error), binary.open("rb") as file:
            return gettext.GNUTranslations(file)
    compiled = _compiled(source)
    with contextlib.suppress(AtelierError, OSError):
        write_bytes(binary, compiled)
    return gettext.GNUTranslations(io.BytesIO(compiled))


def _compiled(source: Path) -> bytes:
    # Only where a catalogue was changed: importing it takes longer than all else here.
    from babel.messages.mofile import write_mo
    from babel.messages.pofile import read_po

    compiled = io.BytesIO()
    with source.open("rb") as file:
        write_mo(compiled, read_po(file))
    return compiled.getvalue()


def system_language(environment: Mapping[str, str], platform: str) -> str:
    """The first language of the system that Atelier speaks, else English."""
    for name in ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"):  # in the order of gettext
        if environment.get(name):
            return _supported(environment[name])
    if platform == "win32":
        return _supported(_windows_language())
    if platform == "darwin":  # a double-clicked program is given no LANG there
        return _supported(_mac_language())
    return "en"


def _supported(locale: str) -> str:
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
