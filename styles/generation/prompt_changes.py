"""What changes in a prompt while it is painted, as A1111 writes it.

    [a:b:0.5]  [a:b:8]    a up to that share of the steps, or up to that step, then b
    [a:0.5]    [a::0.5]   nothing and then a; a and then nothing
    [a|b|c]               each in turn, a step each

They may stand within each other and within other brackets. A second pass goes on counting: what has a share is over by
then. Painting over a picture counts the steps of the whole run, of which the first are left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

# What is escaped and words of styles, `<s1:3f2a9c>`, stay as they are.
SIGN = re.compile(r"\\.|<[^<>()\[\]|]{0,100}>|[()\[\]:|]", re.DOTALL)
OPENING = {")": "(", "]": "["}
NUMBER = re.compile(r"\s*(\d+\.?\d*|\.\d+)\s*")


@dataclass
class _Bracket:
    """An open bracket, or the prompt itself: what stands between its signs, and these."""

    opening: str
    between: list[list[str]] = field(default_factory=lambda: [[]])
    signs: list[str] = field(default_factory=list)

    @property
    def texts(self) -> list[str]:
        return ["".join(parts) for parts in self.between]

    @property
    def written(self) -> str:
        """All of it as it is written, up to here."""
        first, *others = self.texts
        return self.opening + first + "".join(map("".join, zip(self.signs, others, strict=True)))


def prompt_at(prompt: str, step: int, steps: int, earlier: int = 0) -> str:
    """Return what a prompt says at step 1..`steps`, without what changes; `earlier` are the steps of a first pass."""
    if "[" not in prompt:
        return prompt
    stack, done = [_Bracket("")], 0
    for match in SIGN.finditer(prompt):
        stack[-1].between[-1].append(prompt[done : match.start()])
        sign, done = match[0], match.end()
        if sign in "([":
            stack.append(_Bracket(sign))
        elif sign in ":|":
            stack[-1].signs.append(sign)
            stack[-1].between.append([])
        elif OPENING.get(sign) == stack[-1].opening:
            bracket = stack.pop()
            chosen = _chosen(bracket, step, steps, earlier) if sign == "]" else None
            stack[-1].between[-1].append(bracket.written + sign if chosen is None else chosen)
        else:
            stack[-1].between[-1].append(sign)
    stack[-1].between[-1].append(prompt[done:])
    return "".join(bracket.written for bracket in stack)


def _chosen(bracket: _Bracket, step: int, steps: int, earlier: int) -> str | None:
    """Return what square brackets say at a step; None where they change nothing."""
    texts = bracket.texts
    if bracket.signs and set(bracket.signs) == {"|"}:
        return texts[(step - 1) % len(texts)]
    number = NUMBER.fullmatch(texts[-1])
    if number is None or bracket.signs not in ([":"], [":", ":"]):
        return None
    # A share has a point, as in A1111: 1 is the first step, 1.0 all of them.
    if "." in number[1]:
        last = int((float(number[1]) - bool(earlier)) * steps)
    else:
        last = int(number[1]) - earlier
    before, after = texts[:-1] if len(texts) == 3 else ("", texts[0])
    return before if step <= last else after
