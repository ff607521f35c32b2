"""The languages: every text has its Spanish, and what comes from below is recognised."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from app import i18n
from app.i18n import nameless, places, say, say_count, say_error, speak, system_language, translated
from styles.errors import BadInput
from styles.storage.setting import settings_of
from tests.app.texts import lacking
from training.plan import TrainingPlan

# Places that Spanish has no use for, such as “is” or “are”.
ONLY_ENGLISH = {"{} of the {} styles of “{}” {} not in the library: {}{}.": {"3"}}


@pytest.fixture
def spanish() -> Iterator[None]:
    """Spanish is spoken during the test."""
    speak("es")
    yield
    speak("en")


def test_every_text_has_its_spanish() -> None:
    missing = lacking("es")
    assert not missing, "add these to app/i18n/es: " + json.dumps(missing, indent=1, ensure_ascii=False)


def test_every_number_of_a_plan_that_may_be_refused_has_its_spanish() -> None:
    numbers = [name for name, one in settings_of(TrainingPlan).items() if one.setting.label]
    missing = [name for name in [*numbers, "preset"] if f"{name} is {{}}." not in i18n.catalogue("es")]
    assert not missing


def test_translations_keep_the_places_and_agree_where_two_rooms_say_the_same() -> None:
    seen: dict[str, str] = {}
    for file in sorted((i18n.FOLDER / "es").glob("*.json")):
        for text, spoken in json.loads(file.read_text(encoding="utf-8")).items():
            assert seen.setdefault(text, spoken) == spoken, f"{file.name}: {text!r} is said in two ways"
            kept = set(places(text)) - ONLY_ENGLISH.get(text, set())
            assert kept == set(places(spoken)), f"{file.name}: {text!r}"
            letters = re.findall("[a-z]", re.sub("{.*?}", "", text))
            assert len(letters) > 1 or not nameless(text), f"{file.name}: {text!r} would fit nearly all"


def test_a_sentence_from_below_is_recognised_and_its_names_are_left_alone(
    spanish: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {
        "“{}” can't be used: {}": "«{}» no se puede usar: {}",
        "It has {} of {} parts.": "De {1} partes tiene {0}.",
        "Get another one.": "Busca otro.",
        "it has no parts": "no tiene partes",
        "Search here": "Buscar aquí",
        "Imported {count} of {total}.": "Importados {count} de {total}.",
    }
    monkeypatch.setattr(i18n, "catalogue", lambda language: known)
    i18n.patterns.cache_clear()
    try:
        assert translated("“x” can't be used: y: It has 3 of 4 parts.") == (
            "«x» no se puede usar: y: De 4 partes tiene 3."
        )
        nested = "“Search here” can't be used: It has 3 of 4 parts. Get another one."
        assert translated(nested) == "«Search here» no se puede usar: De 4 partes tiene 3. Busca otro."
        assert translated("Get another one. Something unknown. Get another one.") == (
            "Busca otro. Something unknown. Busca otro."
        )
        assert translated("Left out: it has 3 of 4 parts.") == "Left out: it has 3 of 4 parts."
        assert translated("There is no kind: it has no parts.") == "There is no kind: no tiene partes."
        assert say("Imported {count} of {total}.", count=3, total=4) == "Importados 3 de 4."
        assert say_count(1, "One", "{count} of them") == "One"
        error = BadInput("It has 1 of 2 parts.", "Get another one.")
        assert say_error(error) == "De 2 partes tiene 1. Busca otro."
    finally:
        i18n.patterns.cache_clear()


@pytest.mark.parametrize(
    ("environment", "spoken"),
    [
        ({"LANG": "es_MX.UTF-8"}, "es"),
        ({"LANG": "es_ES", "LC_ALL": "C"}, "en"),
        ({"LANGUAGE": "es", "LC_ALL": "en_GB.UTF-8"}, "es"),
        ({"LANG": "eo"}, "en"),
        ({}, "en"),
    ],
)
def test_the_system_says_which_language(environment: dict[str, str], spoken: str) -> None:
    assert system_language(environment, "linux") == spoken
