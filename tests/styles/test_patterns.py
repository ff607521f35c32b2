"""Patterns of strangers match as Python's own do, and can't take forever."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from styles.errors import StyleFileError
from styles.patterns import MOST_STEPS, Patterns

PATHS = [
    "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k",
    "mid_block.attentions.0.proj_in",
    "up_blocks.1.resnets.2.conv1",
    "text_model.encoder.layers.11.self_attn.q_proj",
    "conv_in",
]
LIKE_OTHERS_WRITE = [
    "to_k",
    "attn2.to_k",
    r"attn2\.to_k",
    "^mid_block.attentions.0.proj_in",
    "^proj_in",
    r".*attn2\.to_(q|k|v|out\.0)",
    r"(up|down)_blocks\.\d+.*",
    r"resnets\.[0-2]\.conv[12]",
    r"layers\.(1[01]|2)\..*q_proj",
    r"layers\.\d{1,2}\.self_attn\.q_proj",
    r"(?:attn1|conv1)$",
    "(?P<way>up|down)_blocks.*",
    "to.k",
    "o_k",
    ".*",
    "",
    "a?b*",
    "[^t].*",
    r"\w+",
    r"[\w.]+?_in",
    "proj_in|conv1",
    "[a-z_.0-9]*conv1$",
    "mid.{3,20}proj_in",
    ".{5}_in",
    r"[^\d]+",
    "[]x-]?to_k",
    "(a|b|to)_(k|v)+?",
    r"\Aconv_in\Z",
]


def matched(pattern: str, path: str) -> bool:
    """PEFT's own rule (get_pattern_key)."""
    return bool(re.match(rf"(.*\.)?({pattern})$", path))


@pytest.mark.parametrize("pattern", LIKE_OTHERS_WRITE)
def test_matches_what_peft_matches(pattern: str) -> None:
    assert [Patterns([pattern]).first(path) is not None for path in PATHS] == [
        matched(pattern, p) for p in PATHS
    ]


def test_the_first_that_matches_counts_as_in_peft() -> None:
    from peft.utils.other import get_pattern_key

    patterns = ["attn2.to_q", r".*attn2\..*", "to_k", "^conv_in", "proj_in"]
    for path in PATHS:
        theirs = get_pattern_key(patterns, path)
        assert Patterns(patterns).first(path) == (theirs if theirs in patterns else None)


piece = st.sampled_from(["a", "b", ".", r"\.", "_", "1", "[ab]", "[^a]", r"\d", r"\w", "^", "$"])
counted = st.tuples(piece, st.sampled_from(["", "", "*", "+", "?", "{2}", "{1,3}", "*?"])).map("".join)
patterns = st.recursive(
    counted,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.tuples(inner, inner).map(lambda two: f"({two[0]}|{two[1]})*"),
        inner.map(lambda one: f"(?:{one})+"),
    ),
    max_leaves=5,
)


@settings(max_examples=250, deadline=None)
@given(pattern=patterns, path=st.text("ab.1_", max_size=7))
def test_matches_what_python_matches(pattern: str, path: str) -> None:
    try:
        ours = Patterns([pattern])
    except StyleFileError:
        assert re.search(r"[*+?}^$][*+?{]", pattern)  # refused, not misread
        return
    assert (ours.first(path) is not None) == matched(pattern, path)


@pytest.mark.parametrize(
    "pattern",
    [
        "(a",
        "^*",
        "a)",
        "[a",
        "(?=a)",
        r"(a)\1",
        "a**",
        "*",
        "a{2,1}",
        "(?i)a",
        "\\",
        "x" * 401,
        "(" * 30 + ")" * 30,
    ],
)
def test_what_is_not_understood_is_refused(pattern: str) -> None:
    with pytest.raises(StyleFileError, match="isn't understood"):
        Patterns([pattern])


@pytest.mark.parametrize(
    "pattern", ["(a+)+$b", "((((.*)*)*)*)*x", "(.?.?.?.?){60}x", "(a|a)*" * 50, "(.?){400}(.?){400}x"]
)
def test_no_pattern_goes_on_for_ever(pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's own engine would not come back from some of these in a lifetime; here the steps are counted."""
    assert MOST_STEPS <= 2_000_000  # a second or two; a tenth of it shows the same
    monkeypatch.setattr("styles.patterns.MOST_STEPS", MOST_STEPS // 10)
    layers = [f"{'a' * 40}{number}" for number in range(300)]
    found = Patterns([pattern])
    try:
        for layer in layers:
            found.first(layer)
    except StyleFileError as error:
        assert "too long to follow" in error.message
    assert found._steps < MOST_STEPS // 5


def test_very_many_patterns_are_refused() -> None:
    with pytest.raises(StyleFileError, match="4001 patterns"):
        Patterns([f"layer{number}" for number in range(4001)])
