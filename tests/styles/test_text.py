"""A text reads as its English sentence, and can be made again from its template and its values."""

from __future__ import annotations

import copy
import json
import math
import pickle

import pytest

from styles.errors import BadInput
from styles.text import Text, text_from_json, text_to_json

REASON = Text("it has {share:.1f} of {parts} parts", share=1.25, parts=3)
TEXT = Text("{file} can't be used: {reason}.", file="a {b}.png", reason=REASON)
ONE, SOME = (
    Text("Trained on {count} artwork.", "Trained on {count} artworks.", count=count) for count in (1, 12)
)


def test_a_text_is_its_english_sentence() -> None:
    assert TEXT == "a {b}.png can't be used: it has 1.2 of 3 parts."
    assert (ONE, SOME) == ("Trained on 1 artwork.", "Trained on 12 artworks.")
    assert json.dumps([TEXT]) == f'["{TEXT}"]'
    assert Text.joined(" ", [ONE, "{x}"]) == "Trained on 1 artwork. {x}"
    assert Text.as_it_is("{x}") == "{x}" and Text.as_it_is(TEXT) is TEXT


@pytest.mark.parametrize("text", [TEXT, ONE, SOME, Text.joined(" ", [ONE, SOME])])
def test_a_text_outlives_copies_processes_and_files(text: Text) -> None:
    written = json.loads(json.dumps(text_to_json(text), allow_nan=False))
    for made in (copy.deepcopy(text), pickle.loads(pickle.dumps(text)), text_from_json(written)):
        assert (made, made.template, made.plural) == (text, text.template, text.plural)
        assert made.values == text.values
        assert [type(value) for value in made.values.values()] == [type(v) for v in text.values.values()]


@pytest.mark.parametrize(
    "spoilt",
    [
        "TEXT",
        {"text": "TEXT"},
        {"text": "TEXT", "template": "{x}", "plural": "", "values": {}},
        {"text": "TEXT", "template": "{x.__class__}", "plural": "", "values": {"x": "1"}},
        {"text": "TEXT", "template": "{x:99999999999}", "plural": "", "values": {"x": 1}},
        {"text": "TEXT", "template": "{x:{y}}", "plural": "", "values": {"x": 1, "y": "9999999999"}},
        {"text": "TEXT", "template": "{", "plural": 3, "values": None},
        {"text": "TEXT", "template": "Other words.", "plural": "", "values": {}},
    ],
)
def test_what_is_no_text_any_more_is_shown_in_english(spoilt: object) -> None:
    assert text_from_json(spoilt) == "TEXT" and text_from_json(spoilt).values == {}
    with pytest.raises(TypeError):
        text_from_json({"words": spoilt})


def test_a_number_that_json_has_not_still_reads_the_same() -> None:
    text = Text("The weight is {weight}.", weight=math.nan)
    assert text_from_json(json.loads(json.dumps(text_to_json(text), allow_nan=False))) == text


def test_an_error_keeps_the_values_of_message_and_hint() -> None:
    error = BadInput("{name} is {count}.", "Give {low} to {high}.", name="Rank", count=0, low=1, high=8)
    assert (error.message, error.hint) == ("Rank is 0.", "Give 1 to 8.")
    around = BadInput("{file}: {reason}", error.hint, file="a.png", reason=error.message)
    assert around.message.values["reason"].template == "{name} is {count}."
    assert str(around) == "a.png: Rank is 0. Give 1 to 8."
