"""Regular expressions read into trees, without those that have to look back or around."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from styles.errors import StyleFileError
from styles.names import clean_text

DEEPEST, MOST_REPEATS = 20, 1000  # groups in groups, {n}
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


def tree_of(text: str) -> Node:
    """Read a pattern; raises StyleFileError for one that isn't understood."""
    return _Parser(text).tree()


class _Parser:
    """Reads the regular expressions that have no need to look back."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def tree(self) -> Node:
        tree = self._either(0)
        if self.at < len(self.text):
            raise not_understood(self.text)
        return tree

    def _either(self, depth: int) -> Node:
        if depth > DEEPEST:
            raise not_understood(self.text)
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
            raise not_understood(self.text)
        self.at = found.end()
        least, most = {"*": (0, None), "+": (1, None), "?": (0, 1)}.get(found[0], (0, None))
        if found[0][0] == "{":
            least = int(found[1] or 0)
            most = (int(found[3]) if found[3] else None) if found[2] else least
        self._take("?")  # how greedy it is changes nothing about whether there is a match
        if self.at < len(self.text) and self.text[self.at] in "*+?{":
            raise not_understood(self.text)
        if max(least, most or 0) > MOST_REPEATS or (most is not None and most < least):
            raise not_understood(self.text)
        return Repeat(part, least, most)

    def _atom(self, depth: int) -> Node:
        character = self._next()
        if character == "(":
            if self._take("?") and not self._take(":") and not self._named():
                raise not_understood(self.text)
            inner = self._either(depth + 1)
            if not self._take(")"):
                raise not_understood(self.text)
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
            raise not_understood(self.text)
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
                    raise not_understood(self.text)
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
            raise not_understood(self.text)
        return character.__eq__

    def _named(self) -> bool:
        found = re.compile(r"P<\w{1,40}>").match(self.text, self.at)
        self.at = found.end() if found else self.at
        return bool(found)

    def _next(self) -> str:
        if self.at >= len(self.text):
            raise not_understood(self.text)
        self.at += 1
        return self.text[self.at - 1]

    def _take(self, character: str) -> bool:
        if self.text[self.at : self.at + 1] != character:
            return False
        self.at += 1
        return True


def _between(low: str, high: str) -> Callable[[str], bool]:
    return lambda c: low <= c <= high


def not_understood(text: str) -> StyleFileError:
    """Return the refusal of a pattern."""
    return StyleFileError(
        f"Its settings name layers by a pattern that isn't understood: {clean_text(text, 120)}.",
        "Ask for the style in the kohya form, which needs no patterns.",
    )
