"""The languages: every text has its translation, templates are literals, and what comes from below changes its language."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator

import pytest

from app import i18n
from app.i18n import LANGUAGES, say, say_count, say_error, speak, system_language, translated
from styles.errors import BadInput
from styles.text import Text, text_from_json, text_to_json
from tests.app.texts import (
    DECLARING,
    ERRORS,
    PACKAGES,
    SAYING,
    calls,
    catalogue_file,
    catalogue_of,
    lacking,
    literals,
    modules,
    places,
    texts_in,
    updated,
)

TOLD_APART = {"seconds", "width_px", "height_px"}  # what an error carries besides its texts
OTHER_LANGUAGES = LANGUAGES[1:]


@pytest.fixture
def spanish() -> Iterator[None]:
    """Spanish is spoken during the test."""
    speak("es")
    yield
    speak("en")


@pytest.mark.parametrize("language", OTHER_LANGUAGES)
def test_every_text_has_its_translation(language: str) -> None:
    missing = lacking(language)
    assert not missing, "run python -m tests.app.texts and translate " + json.dumps(
        missing, indent=1, ensure_ascii=False
    )


@pytest.mark.parametrize("language", OTHER_LANGUAGES)
def test_a_catalogue_holds_what_is_said_and_nothing_else(language: str) -> None:
    now, then = ({message.id for message in each} for each in (updated(language), catalogue_of(language)))
    assert now == then, f"run python -m tests.app.texts: {now ^ then}"


@pytest.mark.parametrize("language", OTHER_LANGUAGES)
def test_translations_keep_the_places(language: str) -> None:
    for message in catalogue_of(language):
        if message.id:
            templates = message.id if isinstance(message.id, tuple) else (message.id,)
            expected = set().union(*map(places, templates))
            for spoken in message.string if isinstance(message.string, tuple) else (message.string,):
                assert places(spoken) <= expected, f"{catalogue_file(language)}: {message.id!r}"
                assert message.pluralizable or places(spoken) == expected, f"{message.id!r} -> {spoken!r}"


def test_templates_are_literals() -> None:
    """What is put together beforehand can't be translated; a text from elsewhere is a `Text` by the time it is raised."""
    wrong = [
        f"{file}:{call.lineno}: a template with places, not an f-string or a sum"
        for file, call, name in calls(*PACKAGES)
        for text in texts_in(call, name)
        if isinstance(text, ast.JoinedStr | ast.BinOp)
    ]
    assert not wrong, "\n".join(wrong)


def test_what_an_error_says_by_a_name_is_a_text() -> None:
    """A literal that stands apart from its error is found by no translator unless it is a `Text`."""
    wrong = []
    for file, module in modules(*PACKAGES):
        nodes = list(ast.walk(module))
        literal = {
            target.id
            for node in nodes
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant | ast.JoinedStr)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        wrong += [
            f"{file}:{call.lineno}: {text.id}"
            for call in nodes
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in ERRORS
            for text in texts_in(call, call.func.id)
            if isinstance(text, ast.Name) and text.id in literal
        ]
    assert not wrong, "\n".join(wrong)


def test_each_place_has_its_value_and_each_value_its_place() -> None:
    wrong = []
    for file, call, name in calls(*PACKAGES):
        texts = texts_in(call, name)
        given = {word.arg for word in call.keywords} - {"hint"}
        # `say` without values takes any brace, and a setting's values come when one is refused.
        if not texts or None in given or name in DECLARING or (name in SAYING and not given):
            continue
        given |= {"count"} if name == "say_count" else set()
        named = {place for text in texts for template in literals(text) for place, *_ in places(template)}
        idle = given - named - TOLD_APART if all(map(literals, texts)) else set()
        if named - given or idle:
            wrong.append(f"{file}:{call.lineno}: {named - given or idle}")
    assert not wrong, "\n".join(wrong)


def test_a_text_from_below_changes_its_language_with_all_that_stands_in_it(
    spanish: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    translations = {
        "“{name}” can't be used: {reason}": "«{name}» no se puede usar: {reason}",
        "It has {found} of {all} parts.": "De {all} partes tiene {found}.",
        "Get another one.": "Busca otro.",
    }
    catalogue = i18n.gettext.NullTranslations()
    monkeypatch.setattr(catalogue, "gettext", lambda text: translations.get(text, text))
    monkeypatch.setattr(catalogue, "ngettext", lambda one, many, n: "uno" if n == 1 else "{count} suyos")
    monkeypatch.setattr(i18n, "catalogue", lambda language: catalogue)
    inner = BadInput("It has {found} of {all} parts.", "Get another one.", found=3, all=4)
    error = BadInput(
        "“{name}” can't be used: {reason}", inner.hint, name="Get another one.", reason=inner.message
    )
    assert str(error) == "“Get another one.” can't be used: It has 3 of 4 parts. Get another one."
    assert say_error(error) == "«Get another one.» no se puede usar: De 4 partes tiene 3. Busca otro."
    assert translated(text_from_json(json.loads(json.dumps(text_to_json(error.message))))) == translated(
        error.message
    )
    assert translated("Get another one.") == "Get another one."  # a name is no text of ours
    assert say("Get another one.") == "Busca otro."
    one, two = (Text("one", "{count} of them", count=count) for count in (1, 2))
    assert (translated(one), translated(two), say_count(2, "one", "{count} of them")) == (
        "uno",
        "2 suyos",
        "2 suyos",
    )


def test_a_catalogue_is_compiled_where_it_is_new_or_damaged(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "es" / "LC_MESSAGES"  # type: ignore[operator]
    folder.mkdir(parents=True)
    source, binary = folder / "atelier.po", folder / "atelier.mo"
    monkeypatch.setattr(i18n, "LOCALE", tmp_path)
    read = i18n.catalogue.__wrapped__
    for spoken in ("Crear", "Hacer"):
        source.write_text(
            f'msgid ""\nmsgstr "Content-Type: text/plain; charset=utf-8"\n\nmsgid "Create"\nmsgstr "{spoken}"\n'
        )
        assert read("es").gettext("Create") == spoken
        assert binary.exists() and read("es").gettext("Create") == spoken
        binary.write_bytes(b"damaged")
    assert read("es").gettext("Create") == "Hacer"


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
