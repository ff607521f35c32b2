"""Regular expressions of strangers, matched within bounded time.

PEFT's settings name layers by regular expressions. Python's own engine goes back and forth and can take years over a
pattern that was made for it, so here a pattern is read into a tree and all its ways are followed at once: each place
of the text is looked at once for each part of the pattern, and the work of a whole file is counted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from styles.errors import StyleFileError
from styles.names import clean_text

LONGEST, DEEPEST, MOST, MOST_REPEATS = 400, 20, 4000, 1000  # characters, groups in groups, patterns, {n}
MOST_STEPS = 2_000_000  # for all patterns and layers of a file: seconds at worst
FIXED = re.compile(r"\^?(?:\w|\.|\\\.)+")
CLASSES: dict[str, Callable[[str], bool]] = {
    "d": str.isdigit,
    "w": lambda c: c == "_" or c.isalnum(),
    "s": str.isspace,
}


@dataclass(frozen=True)
class Char:
    """One character that passes a test."""

    test: Callable[[str], bool]


@dataclass(frozen=True)
class Edge:
    """The start or the end of the text."""

    start: bool


@dataclass(frozen=True)
class Sequence:
    parts: tuple[Node, ...]


@dataclass(frozen=True)
class Either:
    ways: tuple[Node, ...]


@dataclass(frozen=True)
class Repeat:
    part: Node
    least: int
    most: int | None  # None: any number


Node = Char | Edge | Sequence | Either | Repeat
ANY = Char(lambda character: character != "\n")


class Patterns:
    """Patterns of one file, matched as PEFT does: the first that is all of a path, or its end after a dot.

    Raises StyleFileError for one that isn't understood (look-around and back-references are not), and when all
    matching together takes too long.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        self._patterns = [(_fixed(text), text) for text in patterns]
        if len(self._patterns) > MOST:
            raise StyleFileError(
                f"Its settings name {len(self._patterns)} patterns of layers, at most {MOST} are read.",
                "Get the file again.",
            )
        self._trees = {text: _Parser(text).tree() for fixed, text in self._patterns if fixed is None}
        self._steps = 0

    def first(self, path: str) -> str | None:
        """Return the first pattern that matches a path, None if none does."""
        for fixed, text in self._patterns:
            if fixed is not None:
                if fixed.matches(path):
                    return text
            elif self._matches(self._trees[text], path):
                return text
        return None

    def _matches(self, tree: Node, path: str) -> bool:
        walk = _Walk(path, MOST_STEPS - self._steps)
        starts = [0, *(place + 1 for place, character in enumerate(path) if character == ".")]
        found = any(walk.ends(tree, start) >> len(path) & 1 for start in starts)
        self._steps += walk.steps
        return found


@dataclass(frozen=True)
class _Fixed:
    """A pattern of plain characters and any-characters only: nearly all are."""

    anchored: bool
    characters: tuple[str | None, ...]  # None: any
    tail: str  # the plain characters at its end

    def matches(self, path: str) -> bool:
        if not path.endswith(self.tail):
            return False
        start = len(path) - len(self.characters)
        if start < 0 or (start > 0 and (self.anchored or path[start - 1] != ".")):
            return False
        return all(wanted in (None, c) for wanted, c in zip(self.characters, path[start:], strict=True))


def _fixed(text: str) -> _Fixed | None:
    if len(text) > LONGEST:
        raise _not_understood(text)
    if not FIXED.fullmatch(text):
        return None
    found = re.findall(r"\\\.|.", text.removeprefix("^"))
    characters = tuple(None if one == "." else one[-1] for one in found)
    tail = ""
    for one in reversed(characters):
        if one is None:
            break
        tail = one + tail
    return _Fixed(text.startswith("^"), characters, tail)


class _Walk:
    """All ways through a text at once: places are bits of a number."""

    def __init__(self, text: str, most_steps: int) -> None:
        self.text = text
        self.most_steps = most_steps
        self.steps = 0
        self._known: dict[tuple[int, int], int] = {}

    def ends(self, node: Node, start: int) -> int:
        """Return where the node can end that starts at a place, as bits."""
        known = (id(node), start)
        if known not in self._known:
            self.steps += 1
            if self.steps > self.most_steps:
                raise StyleFileError(
                    "Its settings name its layers by patterns that take too long to follow.",
                    "They may be made to do so; get the style from elsewhere.",
                )
            self._known[known] = self._ends(node, start)
        return self._known[known]

    def _ends(self, node: Node, start: int) -> int:
        if isinstance(node, Char):
            fits = start < len(self.text) and node.test(self.text[start])
            return 1 << start + 1 if fits else 0
        if isinstance(node, Edge):
            return 1 << start if start == (0 if node.start else len(self.text)) else 0
        if isinstance(node, Sequence):
            places = 1 << start
            for part in node.parts:
                places = self._from(part, places)
            return places
        if isinstance(node, Either):
            places = 0
            for way in node.ways:
                places |= self.ends(way, start)
            return places
        if isinstance(node.part, Char) and (node.least, node.most) == (0, None):  # by far the commonest
            end = start
            while end < len(self.text) and node.part.test(self.text[end]):
                end += 1
            return (1 << end + 1) - (1 << start)
        places = 1 << start
        for _ in range(node.least):
            places = self._from(node.part, places)
            if not places:
                return 0
        new, more = places, node.most
        left = len(self.text) + 1 if more is None else more - node.least
        while new and left > 0:
            new = self._from(node.part, new) & ~places
            places |= new
            left -= 1
        return places

    def _from(self, node: Node, places: int) -> int:
        found = 0
        while places:
            lowest = places & -places
            found |= self.ends(node, lowest.bit_length() - 1)
            places ^= lowest
            self.steps += 1
        return found


class _Parser:
    """Reads the regular expressions that have no need to look back."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def tree(self) -> Node:
        tree = self._either(0)
        if self.at < len(self.text):
            raise _not_understood(self.text)
        return tree

    def _either(self, depth: int) -> Node:
        if depth > DEEPEST:
            raise _not_understood(self.text)
        ways = [self._sequence(depth)]
        while self._take("|"):
            ways.append(self._sequence(depth))
        return ways[0] if len(ways) == 1 else Either(tuple(ways))

    def _sequence(self, depth: int) -> Node:
        parts: list[Node] = []
        while self.at < len(self.text) and self.text[self.at] not in "|)":
            parts.append(self._repeated(self._atom(depth)))
        return Sequence(tuple(parts))

    def _repeated(self, part: Node) -> Node:
        found = re.compile(r"[*+?]|\{(\d{0,4})(?:(,)(\d{0,4}))?\}").match(self.text, self.at)
        if not found or found[0] in ("{}", "{,}"):
            return part
        if isinstance(part, Edge):
            raise _not_understood(self.text)
        self.at = found.end()
        least, most = {"*": (0, None), "+": (1, None), "?": (0, 1)}.get(found[0], (0, None))
        if found[0][0] == "{":
            least = int(found[1] or 0)
            most = (int(found[3]) if found[3] else None) if found[2] else least
        self._take("?")  # how greedy it is changes nothing about whether there is a match
        if self.at < len(self.text) and self.text[self.at] in "*+?{":
            raise _not_understood(self.text)
        if max(least, most or 0) > MOST_REPEATS or (most is not None and most < least):
            raise _not_understood(self.text)
        return Repeat(part, least, most)

    def _atom(self, depth: int) -> Node:
        character = self._next()
        if character == "(":
            if self._take("?") and not self._take(":") and not self._named():
                raise _not_understood(self.text)
            inner = self._either(depth + 1)
            if not self._take(")"):
                raise _not_understood(self.text)
            return inner
        if character in "^$":
            return Edge(character == "^")
        if character == ".":
            return ANY
        if character == "[":
            return self._class()
        if character == "\\":
            escaped = self._next()
            if escaped in "AZ":
                return Edge(escaped == "A")
            return Char(self._escape(escaped))
        if character in "*+?{":
            raise _not_understood(self.text)
        return Char(character.__eq__)

    def _class(self) -> Node:
        negated = self._take("^")
        tests: list[Callable[[str], bool]] = []
        while not tests or not self._take("]"):
            low = self._next()
            if low == "\\":
                escaped = self._next()
                tests.append(self._escape(escaped))
            elif self.text[self.at : self.at + 1] == "-" and self.text[self.at + 1 : self.at + 2] not in (
                "]",
                "",
            ):
                self.at += 1
                high = self._next()
                if high in "\\[" or high < low:
                    raise _not_understood(self.text)
                tests.append(_between(low, high))
            else:
                tests.append(low.__eq__)
        if negated:
            return Char(lambda c: not any(test(c) for test in tests))
        return Char(lambda c: any(test(c) for test in tests))

    def _escape(self, character: str) -> Callable[[str], bool]:
        if character.lower() in CLASSES:
            test = CLASSES[character.lower()]
            return test if character.islower() else lambda c: not test(c)
        if character.isalnum():
            raise _not_understood(self.text)
        return character.__eq__

    def _named(self) -> bool:
        found = re.compile(r"P<\w{1,40}>").match(self.text, self.at)
        self.at = found.end() if found else self.at
        return bool(found)

    def _next(self) -> str:
        if self.at >= len(self.text):
            raise _not_understood(self.text)
        self.at += 1
        return self.text[self.at - 1]

    def _take(self, character: str) -> bool:
        if self.text[self.at : self.at + 1] != character:
            return False
        self.at += 1
        return True


def _between(low: str, high: str) -> Callable[[str], bool]:
    return lambda c: low <= c <= high


def _not_understood(text: str) -> StyleFileError:
    return StyleFileError(
        f"Its settings name layers by a pattern that isn't understood: {clean_text(text, 120)}.",
        "Ask for the style in the kohya form, which needs no patterns.",
    )
