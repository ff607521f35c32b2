r"""A prompt as A1111 reads it: weights, escapes and BREAK.

    (word)  [word]  (word:1.2)    times 1.1, divided by 1.1, times 1.2; brackets within brackets multiply
    (word:1,2)                    times 1.2 as well
    \(  \)  \[  \]  \\            the sign itself
    BREAK                         what follows begins a new chunk of tokens

A bracket that is never closed acts up to the end, one that was never opened is the sign itself. Two things differ from
A1111: BREAK within brackets breaks as well (there it becomes a word), and a weight that is no number or far out of
range is an error. What changes on the way, `[a:b:0.5]` and `[a|b]`, is settled before, see `prompt_changes`; what is
left of such signs, AND, and what only other programs read as signs is read as words and named.

Our own code, since compel has a syntax of its own, and sd_embed's weights don't keep the mean of the states.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from styles.errors import PromptError
from styles.text import Text

LONGEST = 20_000  # characters of a prompt; far beyond what any text encoder reads
STRONGER, WEAKER = 1.1, 1 / 1.1
LARGEST_WEIGHT = 10.0  # on both sides of 0; nobody paints with more, and half precision ends soon after
SIGN = re.compile(r"\\[\\()\[\]]?|[()\[\]]|:\s*([+-]?(?:\d*,\d+|[.\d]+(?:[eE][+-]?\d+)?))\s*\)")
BREAK = re.compile(r"\bBREAK\b")
AND = re.compile(r"\bAND\b")
# What other programs read as a sign, and no program here: each stands for a word or a weight there.
OTHERS_SIGNS = re.compile(
    # Wildcards and choices of Dynamic Prompts; strengthening brackets of NovelAI, and its numbers.
    r"__[\w/*.~-]{1,80}?__|\{[^{}]{1,200}\}|-?\d{1,2}(?:\.\d{1,3})?::[^:\n]{1,200}::"
    # SwarmUI's and others' tags; textual inversions as ComfyUI names them.
    r"|<(?:wildcard|random|alternate|fromto|repeat|segment|object|region|preset|embed|embedding|ti|setvar|var|ppp|comment|break|lora|lyco|hypernet)\b[^<>\n]{0,200}>"
    r"|\bembedding:[^\s,()]{1,80}"
    # InvokeAI's weights and conjunctions.
    r"|(?<=[\w)])\+{1,8}(?=[\s,.)]|$)|(?<=[\w)])-{2,8}(?=[\s,.)]|$)|(?<=\))\d?\.\d{1,3}(?=[\s,.)]|$)|\)\.(?:and|blend|swap)\("
    # Midjourney's options; Regional Prompter's parts.
    r"|(?<!\S)--(?:ar|v|niji|stylize|chaos|no|seed|style|iw|weird|tile|quality)\b(?: [\d:.]{1,12})?"
    r"|\bADD(?:COL|ROW|COMM|BASE)\b"
)
NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)")
SHOWN = 40  # characters of what is quoted


@dataclass(frozen=True)
class WeightedText:
    """A part of a prompt that has one weight, without brackets and escapes."""

    text: str
    weight: float
    places: tuple[int, ...]  # of each character, in the prompt


@dataclass(frozen=True)
class ParsedPrompt:
    """What a prompt says: its sections, which BREAK parts, and which signs of A1111 are read as words.

    One that `is_literal` has no signs, and is read as far as one chunk goes, as before there were signs.
    """

    sections: tuple[tuple[WeightedText, ...], ...]
    not_read: tuple[str, ...] = ()
    is_literal: bool = False


@dataclass
class _Run:
    """A piece of the prompt without any sign; None as text is a BREAK."""

    text: str | None
    start: int


@dataclass
class _Bracket:
    """What one opening bracket does to the runs `first` to `end` - 1."""

    opened: int  # character of the prompt
    first: int
    factor: float
    end: float = math.inf


def parse_prompt(prompt: str) -> ParsedPrompt:
    """Take a prompt apart, in a time that grows with its length; raises PromptError for a weight that is none."""
    runs: list[_Run] = []
    brackets: dict[str, list[_Bracket]] = {"(": [], "[": []}
    opened: dict[str, list[_Bracket]] = {"(": [], "[": []}
    not_read: list[tuple[int, int]] = []
    done = last_bar = 0
    for match in SIGN.finditer(prompt):
        sign, number = match[0], match[1]
        runs += _plain(prompt, done, match.start())
        last_bar = max(last_bar, prompt.rfind("|", done, match.start()))
        done = match.end()
        if sign[0] == "\\":
            runs.append(_Run(sign[1:], match.start() + 1))
        elif sign in brackets:
            bracket = _Bracket(match.start(), len(runs), STRONGER if sign == "(" else WEAKER)
            brackets[sign].append(bracket)
            opened[sign].append(bracket)
        elif sign == "]" and opened["["]:
            bracket = opened["["].pop()
            bracket.end = len(runs)
            if last_bar > bracket.opened or _is_schedule(prompt, bracket.opened, match.start()):
                while not_read and not_read[-1][0] > bracket.opened:
                    not_read.pop()
                not_read.append((bracket.opened, match.end()))
        elif sign[-1] == ")" and opened["("]:
            bracket = opened["("].pop()
            bracket.end = len(runs)
            if number is not None:
                bracket.factor = _weight(number, sign)
        else:
            runs.append(_Run(sign, match.start()))
    runs += _plain(prompt, done, len(prompt))
    rounds, squares = (_products(brackets[sign], len(runs)) for sign in "([")
    weights = [stronger * weaker for stronger, weaker in zip(rounds, squares, strict=True)]
    phrases = [prompt[start:end] for start, end in not_read]
    if AND.search(prompt):
        phrases.append("AND")
    phrases += [match[0] for match in OTHERS_SIGNS.finditer(prompt)]
    return ParsedPrompt(tuple(_sections(runs, weights)), tuple(dict.fromkeys(phrases)))


def check_prompt(text: str, signs: bool = True) -> None:
    """Raise PromptError for a text that is no prompt."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise PromptError(
            "The prompt holds something that is no character, at place {place}.",
            "Type it anew.",
            place=error.start + 1,
        ) from error
    if len(text) > LONGEST:
        raise PromptError(
            "The prompt has {count} characters.",
            "At most {longest} are read; shorten it.",
            count=len(text),
            longest=LONGEST,
        )
    if signs:
        parse_prompt(text)


def literal(prompt: str) -> ParsedPrompt:
    """Return a prompt whose every sign is only what it is."""
    return ParsedPrompt(((WeightedText(prompt, 1.0, tuple(range(len(prompt)))),),), is_literal=True)


def escaped(text: str) -> str:
    """Return the prompt that says a text letter by letter; CLIP reads no case, so that BREAK and AND can be words."""
    words = re.sub(r"\b(?:BREAK|AND)\b", lambda word: word[0].lower(), text)
    return re.sub(r"[\\()\[\]]", r"\\\g<0>", words)


def _plain(prompt: str, start: int, end: int) -> Iterator[_Run]:
    """Yield the runs of a stretch that holds no sign; BREAK takes the blanks around it away."""
    for match in BREAK.finditer(prompt, start, end):
        yield _Run(prompt[start : match.start()].rstrip(), start)
        yield _Run(None, match.start())
        start = end - len(prompt[match.end() : end].lstrip())
    if start < end:
        yield _Run(prompt[start:end], start)


def _weight(number: str, sign: str) -> float:
    try:
        return float(number.replace(",", "."))
    except ValueError:
        raise PromptError(
            "“{weight}” in the prompt is no weight.",
            "Write it like (word:1.2).",
            weight=sign[1:-1].strip()[:SHOWN],
        ) from None


def _is_schedule(prompt: str, opened: int, closed: int) -> bool:
    """Whether square brackets end with `:0.5`, as those that change a prompt on its way."""
    colon = prompt.rfind(":", opened, closed)
    return colon > 0 and NUMBER.fullmatch(prompt[colon + 1 : closed].strip()) is not None


def _products(brackets: list[_Bracket], runs: int) -> list[float]:
    """Return the product of the factors that act on each run; brackets of one kind never cross."""
    products, acting, at = [], [(math.inf, 1.0)], 0
    for run in range(runs):
        while acting[-1][0] <= run:
            acting.pop()
        while at < len(brackets) and brackets[at].first <= run:
            if brackets[at].end > run:
                acting.append((brackets[at].end, acting[-1][1] * brackets[at].factor))
            at += 1
        products.append(acting[-1][1])
    return products


def _sections(runs: list[_Run], weights: list[float]) -> Iterator[tuple[WeightedText, ...]]:
    """Yield the sections, runs of one weight joined: the tokenizer then reads them as one text, as A1111 does."""
    joined: list[tuple[float, list[_Run]]] = []
    for run, weight in zip(runs, weights, strict=True):
        if run.text is None:
            yield tuple(_joined(weight, some) for weight, some in joined)
            joined = []
        elif joined and joined[-1][0] == weight:
            joined[-1][1].append(run)
        else:
            joined.append((weight, [run]))
    yield tuple(_joined(weight, some) for weight, some in joined)


def _joined(weight: float, runs: list[_Run]) -> WeightedText:
    text = "".join(run.text or "" for run in runs)
    if text.strip() and not abs(weight) <= LARGEST_WEIGHT:
        raise PromptError(
            "“{words}” has the weight {weight:g} in the prompt.",
            Text(
                "Weights go from -{largest:g} to {largest:g}, and 0.5 to 1.5 is usual; write \\( for a bracket that is meant as one.",
                largest=LARGEST_WEIGHT,
            ),
            words=text.strip()[:SHOWN],
            weight=weight,
        )
    places = (place for run in runs for place in range(run.start, run.start + len(run.text or "")))
    return WeightedText(text, weight, tuple(places))
