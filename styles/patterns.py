"""Regular expressions of strangers, matched within bounded time.

PEFT's settings name layers by regular expressions. Python's own engine goes back and forth and can take years over a
pattern that was made for it, so here a pattern is a tree (`pattern_trees.py`) and all its ways are followed at once:
each place of the text is looked at once for each part of the pattern, and the work of a whole file is counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from styles.errors import StyleFileError
from styles.pattern_trees import Char, Edge, Either, Node, Sequence, not_understood, tree_of

LONGEST, MOST = 400, 4000  # characters, patterns
MOST_STEPS = 2_000_000  # for all patterns and layers of a file: seconds at worst
FIXED = re.compile(r"\^?(?:\w|\.|\\\.)+")


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
        self._trees = {text: tree_of(text) for fixed, text in self._patterns if fixed is None}
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
        raise not_understood(text)
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
