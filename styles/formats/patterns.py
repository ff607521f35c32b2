"""Regular expressions of strangers, matched within bounded time.

PEFT's settings name layers by regular expressions. Python's own engine goes back and forth and can take years over a
pattern that was made for it, so RE2 matches them: in time that grows with the pattern and the text alone. What it
can't do (look-around, back-references) is refused. The work of a whole file is counted, and bounded as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import re2

from styles.errors import StyleFileError
from styles.storage.names import clean_text
from styles.text import Text

LONGEST, MOST = 400, 4000  # characters, patterns
LARGEST = 1 << 18  # bytes that RE2 may take for one pattern
MOST_WORK = 200_000_000  # for all patterns and layers of a style, in steps of RE2; at worst 3 ns each
TEST, LOOK = 800, 30  # steps that a call of RE2, or a look at a path's end, takes as long as
FIXED = re.compile(r"\^?(?:\w|\.|\\\.)+", re.ASCII)
# What RE2 takes for something else than Python does.
ELSEWHERE = re.compile(r"\\[pPQECz]|\\x\{|\[:|\(\?<\w|\(\?[a-zA-Z]*U|\{,\d")
LOOKS_AROUND, REFERS_BACK = re.compile(r"\(\?<?[=!]"), re.compile(r"\\[1-9]|\(\?P=")


class Work:
    """Counts what the patterns of one style take; raises StyleFileError when that is too much."""

    def __init__(self) -> None:
        self.steps = 0

    def add(self, steps: int) -> None:
        self.steps += steps
        if self.steps > MOST_WORK:
            raise StyleFileError(
                "Its settings name its layers by patterns that take too long to follow.",
                "They may be made to do so; get the style from elsewhere.",
            )


class Patterns:
    """Patterns of one file, matched as PEFT does: the first that is all of a path, or its end after a dot.

    Raises StyleFileError for one that isn't understood (look-around and back-references are not), and when all
    matching together takes too long.
    """

    def __init__(self, patterns: Iterable[str], work: Work | None = None) -> None:
        self.work = work or Work()
        texts = list(patterns)
        if len(texts) > MOST:
            raise StyleFileError(
                "Its settings name {count} patterns of layers, at most {most} are read.",
                "Get the file again.",
                count=len(texts),
                most=MOST,
            )
        compiled = [_fixed(text) or _compiled(text, self.work) for text in texts]
        self._patterns = [(one.tail, one, text) for one, text in zip(compiled, texts, strict=True)]

    def first(self, path: str) -> str | None:
        """Return the first pattern that matches a path, None if none does."""
        self.work.add(LOOK * len(self._patterns))
        for tail, pattern, text in self._patterns:
            if path.endswith(tail) and pattern.matches(path, self.work):
                return text
        return None


@dataclass(frozen=True)
class _Fixed:
    """A pattern of plain characters and any-characters only: nearly all are, and there may be one for each layer."""

    anchored: bool
    length: int
    plain: tuple[tuple[int, str], ...]  # plain characters and where they begin; between them any

    @property
    def tail(self) -> str:
        """The plain characters at its end."""
        start, text = self.plain[-1] if self.plain else (0, "")
        return text if start + len(text) == self.length else ""

    def matches(self, path: str, work: Work) -> bool:
        work.add(2 * LOOK)
        begin = len(path) - self.length
        if begin < 0 or (begin > 0 and (self.anchored or path[begin - 1] != ".")):
            return False
        for start, text in self.plain:
            work.add(2 * LOOK)
            if not path.startswith(text, begin + start):
                return False
        return True


@dataclass(frozen=True)
class _Compiled:
    """A pattern that RE2 has read."""

    regexp: Any
    size: int  # instructions, each of which may be looked at for each byte
    tail = ""  # nothing is known of it

    def matches(self, path: str, work: Work) -> bool:
        work.add(TEST + self.size * (len(path) + 1))
        return self.regexp.fullmatch(path) is not None


def _fixed(text: str) -> _Fixed | None:
    if len(text) > LONGEST:
        raise _not_understood(text, Text("it has more than {most} characters", most=LONGEST))
    if not FIXED.fullmatch(text):
        return None
    # An escaped dot is a dot; a bare one, shown as NUL, is any character.
    shown = text.removeprefix("^").replace(r"\.", "\1").replace(".", "\0").replace("\1", ".")
    plain = tuple((match.start(), match[0]) for match in re.finditer(r"[^\0]+", shown))
    return _Fixed(text.startswith("^"), len(shown), plain)


def _compiled(text: str, work: Work) -> _Compiled:
    if LOOKS_AROUND.search(text):
        raise _not_understood(text, Text("it looks at what stands before or after"))
    if REFERS_BACK.search(text):
        raise _not_understood(text, Text("it refers back to what it has matched"))
    if match := ELSEWHERE.search(text):
        raise _not_understood(
            text, Text("{letters} means different things in different tools", letters=match[0])
        )
    theirs = re.sub(r"\\.", lambda match: r"\z" if match[0] == r"\Z" else match[0], text)
    work.add(TEST + 100 * len(text))
    try:
        regexp = re2.compile(rf"(?:.*\.)?(?:{theirs})", _options())
    except re2.error as error:
        reason = error.args[0] if error.args else b""
        message = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise _not_understood(text, Text.as_it_is(clean_text(message, 120))) from error
    except UnicodeEncodeError as error:
        raise _not_understood(text, Text("it holds half a character")) from error
    work.add(200 * regexp.programsize)
    return _Compiled(regexp, regexp.programsize)


@cache
def _options() -> Any:
    options = re2.Options()
    options.max_mem = LARGEST
    options.log_errors = False
    options.never_capture = True
    return options


def _not_understood(text: str, reason: Text) -> StyleFileError:
    return StyleFileError(
        "Its settings name layers by a pattern that isn't understood ({reason}): {text}.",
        "Ask for the style in the kohya form, which needs no patterns.",
        reason=reason,
        text=clean_text(text, 120),
    )
