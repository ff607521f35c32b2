"""Patterns of strangers match as Python's own do, and can't take forever."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from styles.errors import StyleFileError
from styles.formats.patterns import MOST_WORK, Patterns, Work
from styles.formats.reader import read_card

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


# Python's own matcher takes exponential time where repetitions are nested: 0.1 s for four signs, 45 for six.
@settings(max_examples=250, deadline=None)
@given(pattern=patterns, path=st.text("ab.1_", max_size=4))
def test_matches_what_python_matches(pattern: str, path: str) -> None:
    try:
        re.compile(pattern)
    except re.error:  # PEFT can't read it either
        return
    try:
        ours = Patterns([pattern])
    except StyleFileError:
        assert re.search(r"[*+?}][*+?{]", pattern)  # refused, not misread
        return
    assert (ours.first(path) is not None) == matched(pattern, path)


@pytest.mark.parametrize(
    "pattern",
    [
        "(a",
        "a)",
        "[a",
        "(?=a)",
        r"(a)\1",
        "a**",
        "*",
        "a{2,1}",
        "\\",
        "x" * 401,
    ],
)
def test_what_is_not_understood_is_refused(pattern: str) -> None:
    with pytest.raises(StyleFileError, match="isn't understood"):
        Patterns([pattern])


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(?<!a)to_k", "before or after"),
        (r"(to)_\1", "refers back"),
        ("(?P<a>to)_(?P=a)", "refers back"),
        ("(.?){900}(.?){900}", "too large"),
        ("(a", "missing )"),
        (r"\pN", "different things"),
        ("a{,3}", "different things"),
    ],
)
def test_a_refusal_names_the_pattern_and_the_true_reason(pattern: str, reason: str) -> None:
    with pytest.raises(StyleFileError) as refused:
        Patterns([pattern])
    assert pattern in refused.value.message and reason in refused.value.message


@pytest.mark.parametrize("pattern", ["(a+)+$b", "((((.*)*)*)*)*x", "(.?.?.?.?){60}x", "(a|a)*" * 50])
def test_no_pattern_goes_on_for_ever(pattern: str) -> None:
    """Python's own engine would not come back from some of these in a lifetime."""
    found = Patterns([pattern])
    assert not any(found.first(f"{'a' * 40}{number}") for number in range(300))
    assert 0 < found.work.steps < MOST_WORK


@pytest.mark.parametrize("made", ["classes", "fixed", "compiling"])
def test_all_patterns_of_a_file_together_are_bounded(made: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST_WORK <= 200_000_000  # half a second; a tenth of it shows the same
    monkeypatch.setattr("styles.formats.patterns.MOST_WORK", MOST_WORK // 10)
    marks = "".join(map(chr, range(0x4E00, 0x4E00 + 370)))
    texts = {
        "classes": [f"[^{marks}]*x{number}" for number in range(1000)],
        "fixed": [f"{'s.' * 40}{number}" for number in range(1000, 5000)],
        "compiling": [f"(.?.?.?.?){{60}}x{number}" for number in range(1000)],
    }
    with pytest.raises(StyleFileError, match="too long to follow"):
        found = Patterns(texts[made])
        for layer in range(1000):
            found.first(f"{'down_blocks.' * 9}{layer}")


def test_a_file_whose_patterns_took_minutes_is_refused_at_once(tmp_path: Path) -> None:
    """Long classes, tested for each character of each layer, were not counted as work."""
    blocks = range(10)
    names = [
        f"mid_block.attentions.0.transformer_blocks.{block}.attn1.to_{part}"
        for block in blocks
        for part in "qkv"
    ]
    tensors = {}
    for name in names:
        tensors[f"base_model.model.{name}.lora_A.weight"] = torch.zeros(1, 1280).half()
        tensors[f"base_model.model.{name}.lora_B.weight"] = torch.zeros(1280, 1).half()
    save_file(tensors, tmp_path / "adapter_model.safetensors", {"format": "pt"})
    marks = "#" * 370
    slow = {f"[^{marks}]*[^{number}]*x": 1 for number in range(3999)}
    config = {"peft_type": "LORA", "r": 1, "lora_alpha": 1, "alpha_pattern": slow, "rank_pattern": slow}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(StyleFileError, match="too long to follow"):
        read_card(tmp_path)


def test_one_pattern_for_each_layer_of_the_largest_base_is_no_hostility() -> None:
    layers = [
        f"down_blocks.{b}.attentions.{a}.transformer_blocks.{n}.attn{k}.to_{p}"
        for b in range(3) for a in range(4) for n in range(10) for k in (1, 2) for p in "qkv"
    ]  # fmt: skip
    work = Work()
    found = Patterns([*layers, r".*attn2\.to_(q|k|v|out\.0)"], work), Patterns(layers, work)
    assert (
        [found[0].first(layer) for layer in layers] == [found[1].first(layer) for layer in layers] == layers
    )


def test_very_many_patterns_are_refused() -> None:
    with pytest.raises(StyleFileError, match="4001 patterns"):
        Patterns([f"layer{number}" for number in range(4001)])
