"""The colours can be read: WCAG 2 contrast, in the light and in the dark."""

from __future__ import annotations

import re

import pytest

from app.window.look import DARK, LIGHT, css


def luminance(colour: str) -> float:
    """Relative luminance, 0 to 1, of a colour like #aabbcc (WCAG 2.2)."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """1 to 21."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_words_and_controls_can_be_told_from_what_is_behind_them(colours: dict[str, str]) -> None:
    for ground in ("page", "surface", "field", "pressed"):
        for words in ("ink", "soft_ink", "accent", "bad", "warn"):
            assert contrast(colours[words], colours[ground]) >= 4.5, f"{words} on {ground}"
    for words, ground in (
        ("on_accent", "accent"), ("on_accent", "accent_strong"), ("ink", "accent_soft"), ("accent", "accent_soft"),
        ("ink", "bad_soft"), ("bad", "bad_soft"), ("ink", "warn_soft"), ("warn", "warn_soft"),
    ):  # fmt: skip
        assert contrast(colours[words], colours[ground]) >= 4.5, f"{words} on {ground}"
    for ground in ("page", "surface", "field"):
        assert contrast(colours["field_line"], colours[ground]) >= 3, f"the edge of a field on {ground}"


def test_gradio_leaves_our_rules_whole() -> None:
    """It puts its own class before every selector between two commas, in @media without leaving the plain one."""
    text = re.sub(r"/\*.*?\*/", "", css(), flags=re.DOTALL)
    selectors = re.sub(r"\{[^{}]*\}", "\n", text).splitlines()
    assert not [one for one in selectors if re.search(r":\w+\([^)]*,", one)]
    for wide in re.findall(r"@media[^{]*\{((?:[^{}]*\{[^{}]*\})*)", text):
        assert ".gradio-container" not in wide, wide
