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
        # In the signs that prompts are weighted with.
        ("a cat, (ink:1.2)", "ink", True),
        ("[ink], ((ink))", "ink", True),
        ("a (cat, ink wash:1.3)", "ink wash", True),
        ("(ink\\(x\\):1.1)", "ink", True),
        ("(inkwash:1.2)", "ink", False),
    ],
)
def test_a_trigger_is_a_word_of_its_own(text: str, trigger: str, held: bool) -> None:
    assert holds_trigger(text, trigger) == held
    assert with_trigger(text, trigger) == (text if held else f"{trigger}, {text}".removesuffix(", "))


def test_no_trigger_changes_nothing() -> None:
    assert with_trigger("a cat", " ") == "a cat"
