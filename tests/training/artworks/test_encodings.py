"""Encodings that are told by the bytes alone."""

from __future__ import annotations

from training.artworks.encodings import decode_all


def test_letters_of_another_script_are_no_western_accents() -> None:
    """In cp1252 these bytes are accented letters too, one behind the other."""
    text = "синий дом на ветке, oil painting of a house by the river, warm light"
    assert decode_all([text.encode("cp1251")])[0].text == text
