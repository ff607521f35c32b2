"""Trigger words."""

import pytest

from styles.formats.triggers import holds_trigger, with_trigger


@pytest.mark.parametrize(
    ("text", "trigger", "held"),
    [
        ("an Ink cat", "ink", True),
        ("ink", "ink", True),
        ("a cat (ink), asleep", "ink", True),
        ("a pink cat", "ink", False),
        ("inkwash", "ink", False),
        ("a c++ cat", "c++", True),
        ("a cat.", "c.t", False),
        ("ÉTÉ", "été", True),
        ("", "ink", False),
    ],
)
def test_a_trigger_is_a_word_of_its_own(text: str, trigger: str, held: bool) -> None:
    assert holds_trigger(text, trigger) == held
    assert with_trigger(text, trigger) == (text if held else f"{trigger}, {text}".removesuffix(", "))


def test_no_trigger_changes_nothing() -> None:
    assert with_trigger("a cat", " ") == "a cat"
