"""Prompts are taken apart as A1111 takes them apart, however they are written."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest

from styles.errors import PromptError
from styles.generation.prompt_syntax import WEAKER, WeightedText, escaped, literal, parse_prompt


def read(prompt: str) -> list[list[tuple[str, float]]]:
    """The sections of a prompt, each as pairs of text and weight."""
    return [
        [(part.text, pytest.approx(part.weight)) for part in section]
        for section in parse_prompt(prompt).sections
    ]


@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        ("", []),
        ("a red cat, :) x:y 1.2", [("a red cat, :) x:y 1.2", 1)]),
        ("a (red) cat", [("a ", 1), ("red", 1.1), (" cat", 1)]),
        ("a [red] cat", [("a ", 1), ("red", 1 / 1.1), (" cat", 1)]),
        ("a (red:1.4) cat", [("a ", 1), ("red", 1.4), (" cat", 1)]),
        ("(red: 0.5 )(blue:-1)(x:.5)", [("red", 0.5), ("blue", -1), ("x", 0.5)]),
        # A decimal comma is a point; where more stands there, it is none.
        ("(red:1,2) (blue: 0,5 )", [("red", 1.2), (" ", 1), ("blue", 0.5)]),
        ("(x:1,2,3)", [("x:1,2,3", 1.1)]),
        ("(a (red:1.5) cat)", [("a ", 1.1), ("red", 1.65), (" cat", 1.1)]),
        ("((red)) [[blue]]", [("red", 1.21), (" ", 1), ("blue", 1 / 1.21)]),
        # What has one weight is one text.
        ("(red)(cat) \\(x\\)", [("redcat", 1.1), (" (x)", 1)]),
        # Not closed: up to the end. Not opened: the sign itself, its number too.
        ("a (red (cat", [("a ", 1), ("red ", 1.1), ("cat", 1.21)]),
        ("a red) cat] x:1.2)", [("a red) cat] x:1.2)", 1)]),
        # Brackets of two kinds may cross.
        ("(a [b) c]", [("a ", 1.1), ("b", 1), (" c", WEAKER)]),
        # A weight belongs to round brackets alone.
        ("[red:1.2)", [("red:1.2)", WEAKER)]),
        ("\\(a\\) \\[b\\] \\\\ \\c", [("(a) [b] \\ c", 1)]),
        ("smile \\(art\\), (cat \\(x\\):1.2)", [("smile (art), ", 1), ("cat (x)", 1.2)]),
        ("((((", []),
        ("a () b", [("a  b", 1)]),
    ],
)
def test_weights_and_escapes(prompt: str, parts: list[tuple[str, float]]) -> None:
    assert read(prompt) == [parts]


def test_break_begins_a_section_within_brackets_as_well() -> None:
    assert read("a cat \n BREAK  on a boat") == [[("a cat", 1)], [("on a boat", 1)]]
    assert read("(a BREAK b) c") == [[("a", 1.1)], [("b", 1.1), (" c", 1)]]
    assert read("BREAK BREAK") == [[("", 1)], [("", 1)], []]
    assert read("break BREAKS _BREAK") == [[("break BREAKS _BREAK", 1)]]


def naive(prompt: str) -> list[tuple[str, float]]:
    """Each letter with its weight, by the meaning of the signs alone: on closing, all since the opening is multiplied."""
    letters: list[list[Any]] = []
    opened: dict[str, list[int]] = {"(": [], "[": []}

    def multiply(kind: str, factor: float) -> None:
        for letter in letters[opened[kind].pop() :]:
            letter[1] *= factor

    at = 0
    while at < len(prompt):
        weight = re.compile(r":\s*([+-]?[.\d]+)\s*\)").match(prompt, at)
        if prompt[at] == "\\":
            if prompt[at + 1 : at + 2] in [*"\\()[]"]:
                at += 1
                letters.append([prompt[at], 1.0])
        elif prompt[at] in opened:
            opened[prompt[at]].append(len(letters))
        elif weight and opened["("]:
            multiply("(", float(weight[1]))
            at = weight.end() - 1
        elif prompt[at] == ")" and opened["("]:
            multiply("(", 1.1)
        elif prompt[at] == "]" and opened["["]:
            multiply("[", 1 / 1.1)
        else:
            letters.append([prompt[at], 1.0])
        at += 1
    for kind, factor in (("(", 1.1), ("[", 1 / 1.1)):
        while opened[kind]:
            multiply(kind, factor)
    return [(letter, pytest.approx(weight)) for letter, weight in letters]


def test_any_nest_of_signs_is_what_they_mean_one_by_one() -> None:
    dice = random.Random(5)
    signs = ["(", ")", "[", "]", ":1.2)", ":0.5)", "\\", "\\(", "\\]", "a", "b ", ", ", ":", "\\\\", "x"]
    for _ in range(400):
        prompt = "".join(dice.choices(signs, k=dice.randrange(30)))
        (section,) = parse_prompt(prompt).sections
        assert [(letter, part.weight) for part in section for letter in part.text] == naive(prompt), prompt


def test_each_letter_tells_where_it_stands_and_an_escaped_text_is_that_text() -> None:
    dice = random.Random(7)
    for _ in range(200):
        text = "".join(dice.choices("ab()[]\\:1, ", k=20))
        (section,) = parse_prompt(text).sections
        for part in section:
            assert part.text == "".join(text[place] for place in part.places)
        (section,) = parse_prompt(escaped(text)).sections
        assert section == () or [(part.text, part.weight) for part in section] == [(text, 1)]
    assert literal("(a) BREAK").sections == ((WeightedText("(a) BREAK", 1, tuple(range(9))),),)


@pytest.mark.parametrize(
    ("prompt", "not_read"),
    [
        ("a [cat:dog:0.5] x", ["[cat:dog:0.5]"]),
        ("a [cat: 12] [:dog:.5]", ["[cat: 12]", "[:dog:.5]"]),
        ("[cat|dog|(fish:1.2)]", ["[cat|dog|(fish:1.2)]"]),
        ("[a:[b|c]:0.5] AND d", ["[a:[b|c]:0.5]", "AND"]),
        ("[cat] (dog:1.2) a|b [x:y] \\[a|b\\] ANDY and", []),
    ],
)
def test_what_changes_a_prompt_on_its_way_is_named(prompt: str, not_read: list[str]) -> None:
    assert list(parse_prompt(prompt).not_read) == not_read


@pytest.mark.parametrize(
    ("prompt", "phrase"),
    [
        ("a __colour__ house", "__colour__"), ("a __any/deep*__ house", "__any/deep*__"), ("a {red|blue} house", "{red|blue}"),
        ("a {2$$red|blue} house", "{2$$red|blue}"), ("a {{red}} house", "{red}"), ("1.3::red:: house", "1.3::red::"),
        ("a <wildcard:colour> house", "<wildcard:colour>"), ("embedding:bad-hands, fog", "embedding:bad-hands"),
        ("a red++ house", "++"), ("a (red)1.3 house", "1.3"), ('("a", "b").blend(0.5, 0.5)', ").blend("), ("a house --ar 16:9", "--ar 16:9"),
        ("a house ADDCOL a tree", "ADDCOL"), ("a [cat:dog:0.5] AND b", "AND"),
    ],
)  # fmt: skip
def test_signs_of_other_programs_are_named(prompt: str, phrase: str) -> None:
    assert phrase in parse_prompt(prompt).not_read


def test_plain_prompts_have_no_signs_of_others() -> None:
    for prompt in (
        "a well-lit house, 3.5mm, c-print",
        "snake_case_word, __",
        "<s1:3f2a9c> a 1.5 m tall tree",
        "a :: b -- c",
        "{",
        "a} b{",
    ):
        assert parse_prompt(prompt).not_read == (), prompt


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("a (word:1e9)", r"“word” has the weight 1e\+09"),
        ("(" * 1000 + "a cat", r"“a cat” has the weight 2.46993e\+41"),
        ("(" * 9000 + "a cat", "“a cat” has the weight inf"),
        ("a (word:-11)", "weight -11"),
        ("((word:9):2)", "weight 18"),
        ("(word:1.2.3)", "“1.2.3” in the prompt is no weight"),
    ],
)
def test_a_weight_far_out_of_range_is_refused_with_its_value(prompt: str, message: str) -> None:
    with pytest.raises(PromptError, match=message) as refused:
        parse_prompt(prompt)
    assert refused.value.hint


def test_a_weight_without_a_word_and_brackets_without_end_do_no_harm() -> None:
    assert read("(:1e9) a") == [[(" a", 1)]]
    assert read("[" * 1000 + "a") == [[("a", 0)]]


@pytest.mark.parametrize(
    "prompt",
    [
        ("(" * 10 + "a" + ")" * 10) * 900, "[a|b]" * 4000, "[" * 9000 + "a]" * 5000, "(a:1)" * 4000, " " * 20_000,
        ":" * 20_000, ": " * 10_000, "BREAK " * 3333, "[" * 5000 + "a:b]" * 3700, ": 1" + " " * 19_000, "\\" * 20_000,
        "__a" * 6000, "{" * 20_000, "1::" * 6000, "<lora:" * 3000, "a+" * 10_000, "--ar " * 4000, ":1," * 6000,
    ],
)  # fmt: skip
def test_the_longest_prompt_is_read_to_its_end(prompt: str) -> None:
    """In a moment: where the time grew with the square of the length, or as a power of it, this would not end."""
    text = "".join(part.text for section in parse_prompt(prompt).sections for part in section)
    assert len(text) <= len(prompt)
