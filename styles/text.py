"""Sentences that keep the template and the values they were made from, so that they can be said in another language.

    problem = Text("{file} has {count} tensors.", file=path.name, count=3)
    problem == "flowers.safetensors has 3 tensors."     # an ordinary string, in English, for whoever logs or writes it
    problem.template, problem.values                    # what only the edge looks at: window, command line, endpoint

A template is a literal in the source, never an f-string: translators get it from there (`tests/app/texts.py`). A value
may be a text itself. Joining or cutting a text makes a plain string of it, which no longer changes its language;
`Text.joined` keeps it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from string import Formatter
from typing import Any, Self

# How a place may write its value. Templates come back from files too, where a width could ask for any memory.
SPEC = re.compile(r",|(\.\d)?[fg%]?")


class Text(str):
    """An English text, with the template and the values that it was made from.

    `plural` is the template for all counts but 1; the place that both have for it is named `count`.
    """

    template: str
    plural: str
    values: dict[str, Any]

    def __new__(cls, template: str, plural: str = "", /, **values: Any) -> Self:
        english = plural if plural and values["count"] != 1 else template
        text = super().__new__(cls, english.format(**values))
        text.template, text.plural, text.values = template, plural, values
        return text

    def __str__(self) -> Self:
        """The text itself, so that the reason of an exception that was raised with a text is still one."""
        return self

    def __getnewargs_ex__(self) -> tuple[tuple[str, str], dict[str, Any]]:
        return (self.template, self.plural), self.values

    @classmethod
    def as_it_is(cls, text: str) -> Text:
        """A string as a text without places, whatever stands in it; a text stays what it is."""
        return text if isinstance(text, Text) else cls(text.replace("{", "{{").replace("}", "}}"))

    @classmethod
    def joined(cls, separator: str, texts: Iterable[str]) -> Text:
        """The texts one after the other, each of which can still change its language."""
        values = {f"text{number}": text for number, text in enumerate(texts, 1)}
        return cls(separator.join(f"{{{name}}}" for name in values), **values)


NO_TEXT = Text("")


def quoted(name: str) -> Text:
    """A name in quotation marks."""
    return Text("“{name}”", name=name)


def either(texts: Iterable[str]) -> str:
    """One of the texts or another."""
    return functools.reduce(lambda some, last: Text("{some} or {last}", some=some, last=last), texts)


def both(texts: Iterable[str]) -> str:
    """One of the texts and another."""
    return functools.reduce(lambda some, last: Text("{some} and {last}", some=some, last=last), texts)


def few(names: Sequence[str], most: int) -> Text:
    """The first `most` of some names, and how many more there are."""
    shown = Text.joined(", ", names[:most])
    more = len(names) - most
    return Text("{names} and {count} more", names=shown, count=more) if more > 0 else shown


def text_to_json(text: str) -> str | dict[str, Any]:
    """What `text_from_json` makes the text from again: a plain string as it is."""
    if not isinstance(text, Text):
        return text
    values = {name: _value_to_json(value) for name, value in text.values.items()}
    return {"text": str.__str__(text), "template": text.template, "plural": text.plural, "values": values}


def text_from_json(said: Any) -> Text:
    """The text that was written; where it is none any more, the English sentence as it is.

    Raises TypeError where not even a sentence is there.
    """
    if isinstance(said, str):
        return Text.as_it_is(said)
    if not isinstance(said, dict) or not isinstance(said.get("text"), str):
        raise TypeError("neither a sentence nor a text with its template")
    english = Text.as_it_is(said["text"])
    try:
        places = Formatter().parse(said["template"] + said["plural"])
        if not all(
            name is None or (name.isidentifier() and SPEC.fullmatch(spec or ""))
            for _, name, spec, _ in places
        ):
            return english
        values = {name: _value_from_json(value) for name, value in said["values"].items()}
        text = Text(said["template"], said["plural"], **values)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return english
    return text if text == english else english


def _value_to_json(value: Any) -> Any:
    if isinstance(value, Text):
        return text_to_json(value)
    # JSON has no numbers that are not finite, and bool is spelt in its own way there.
    finite = type(value) in (int, float) and value - value == 0
    return value if finite else str(value)


def _value_from_json(value: Any) -> Any:
    return text_from_json(value) if isinstance(value, dict) else value
