"""One declaration for a setting: its type, default, range and unit, and the words in which people meet it.

    @settings(RecipeError)
    class PictureSettings:
        steps: Annotated[int | None, Setting("Steps", low=1, high=1000, usual=20)] = None

Command line, endpoints and forms read it with `settings_of`; pydantic checks type and range on construction, and what
it refuses is raised as an error of ours.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import MISSING, dataclass, fields, replace
from typing import Any, TypeVar, dataclass_transform, get_args, get_type_hints

import pydantic
import pydantic.dataclasses

from styles.errors import AtelierError
from styles.storage.names import clean_text
from styles.text import Text

T = TypeVar("T")
CHECKS = pydantic.ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True)


@dataclass(frozen=True)
class Setting:
    """What is said of a field, inside its Annotated type; texts are English.

    `low` and `high` are the first and last value that can be chosen, `above` one that is too low by a hair.
    """

    label: str = ""
    # One line below it in a form; `option` on the command line, where that says it in other words.
    help: str = ""
    option: str = ""
    # On the command line and among the arguments of an endpoint; empty: the field's own.
    name: str = ""
    # It is an option and an argument of its own there.
    own: bool = True
    unit: str = ""
    low: float | None = None
    above: float | None = None
    high: float | None = None
    multiple_of: int | None = None
    choices: tuple[str, ...] = ()
    # What None comes to: in words, and as a value where it is the same for all.
    unset: str = ""
    usual: Any = None
    # (low, high, step) of a slider; some values to choose from.
    slider: tuple[float, float, float] | None = None
    offered: tuple[float, ...] = ()
    # The part of the advanced settings that it belongs to; empty: it is asked for before them.
    group: str = ""
    # What is said of a {value} that can't be taken; empty: what its class says of any.
    refused: str = ""

    # What pydantic asks an annotation that stands for several.
    __is_annotated_types_grouped_metadata__ = True

    def __iter__(self) -> Iterator[Any]:
        """The range, as pydantic checks it."""
        yield from pydantic.Field(
            ge=self.low, gt=self.above, le=self.high, multiple_of=self.multiple_of
        ).metadata
        if self.choices:
            yield pydantic.AfterValidator(self._chosen)

    def _chosen(self, value: str) -> str:
        if value not in self.choices:
            raise ValueError(f"not one of {self.choices}")
        return value

    def allowed(self, kind: Any, multiple: bool = False) -> Text:
        """What can be given, in a sentence.

        `kind` is the field's type, `multiple`: all but that was right.
        """
        kinds, low, high, above = {*get_args(kind), kind}, self.low, self.high, self.above
        if self.choices:
            return Text("Choose one of: {choices}.", choices=", ".join(self.choices))
        if bool in kinds:
            return Text("It must be true or false.")
        if multiple:
            return Text("It must be a multiple of {multiple_of}.", multiple_of=self.multiple_of)
        if int in kinds and low is not None and high is not None:
            return Text("It is a whole number from {low} to {high}.", low=low, high=high)
        if float in kinds and low is not None and high is not None:
            if self.usual is not None:
                return Text(
                    "It is a number from {low:g} to {high:g}; {usual:g} is usual.",
                    low=low,
                    high=high,
                    usual=self.usual,
                )
            return Text("It is a number from {low:g} to {high:g}.", low=low, high=high)
        if float in kinds and above is not None and high is not None:
            if self.usual is not None:
                return Text(
                    "It is a number above {above:g}, at most {high:g}; {usual:g} is usual.",
                    above=above,
                    high=high,
                    usual=self.usual,
                )
            return Text("It is a number above {above:g}, at most {high:g}.", above=above, high=high)
        if {int, float} & kinds:
            return Text("Give a number.")
        return Text("Give it as text." if str in kinds else "")


@dataclass(frozen=True)
class Declared:
    """A setting of a class: the field's name there, type and default, and what is said of it."""

    field: str
    kind: Any
    default: Any
    setting: Setting

    @property
    def name(self) -> str:
        """What the command line and the endpoints call it."""
        return self.setting.name or self.field


@dataclass_transform(frozen_default=True)
def settings(error: type[AtelierError], refused: str = "") -> Callable[[type[T]], type[T]]:
    """Make a class a frozen dataclass whose fields are checked on construction, also by `dataclasses.replace`.

    A value of another type or out of its range raises `error`, with what its Setting says of it, else with `refused`.
    """

    def decorate(plain: type[T]) -> type[T]:
        kind: Any = pydantic.dataclasses.dataclass(frozen=True, config=CHECKS)(plain)
        checked = kind.__init__

        @functools.wraps(checked)
        def __init__(self: Any, *values: Any, **named: Any) -> None:
            try:
                checked(self, *values, **named)
            except pydantic.ValidationError as problem:
                first = problem.errors(include_url=False)[0]
                place, names = first["loc"][0], list(kind.__pydantic_fields__)
                # A value that was not given by its name is told by its place.
                name = names[place] if isinstance(place, int) and place < len(names) else str(place)
                if name not in kind.__pydantic_fields__ or first["type"] == "missing":
                    raise TypeError(f"{kind.__name__}: {first['msg']}: {name}") from None
                raise _refusal(kind, name, first, error, refused) from None

        kind.__init__ = __init__
        made: type[T] = kind
        return made

    return decorate


def settings_of(kind: Any) -> dict[str, Declared]:
    """The fields of a class that `settings` made, by name and in their order; empty for any other type."""
    return _declared(kind) if hasattr(kind, "__pydantic_fields__") else {}


@functools.cache
def _declared(kind: type[Any]) -> dict[str, Declared]:
    declared, kinds = {}, get_type_hints(kind)
    for field in fields(kind):
        about: Any = kind.__pydantic_fields__[field.name]
        setting = next((one for one in about.metadata if isinstance(one, Setting)), _inside(about.annotation))
        default = None if field.default is MISSING else field.default
        declared[field.name] = Declared(field.name, kinds[field.name], default, setting or Setting())
    return declared


def _inside(annotation: Any) -> Setting | None:
    """The setting in one of the types that a union is made of."""
    for hint in get_args(annotation):
        for one in getattr(hint, "__metadata__", ()):
            if isinstance(one, Setting):
                return one
    return None


def taken_over(settings: T, from_: T, names: frozenset[str]) -> T:
    """`settings` with the fields of these names from others of the same class."""
    changed = {name: getattr(from_, name) for name in settings_of(type(settings)) if name in names}
    return replace(settings, **changed)  # type: ignore[type-var]


def _refusal(
    kind: type[Any], name: str, problem: Any, error: type[AtelierError], refused: str
) -> AtelierError:
    """What is wrong with a value, by what pydantic says of it."""
    declared, value = settings_of(kind)[name], problem["input"]
    setting = declared.setting
    return error(
        setting.refused or refused or "{name} is {value}.",
        setting.allowed(declared.kind, problem["type"] == "multiple_of"),
        name=name,
        value=f"{value:g}" if isinstance(value, float) else clean_text(str(value), 80),
    )
