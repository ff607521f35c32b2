"""Functions that take settings or options as one dataclass, called with each field as a parameter of its own.

The command line and the endpoints read a function's signature; here it is made from the declarations.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from styles.errors import BadInput
from styles.storage.names import clean_text
from styles.storage.setting import Declared, Setting, settings_of


def spread(
    function: Callable[..., Any], annotation: Callable[[Declared], Any] = lambda one: one.kind
) -> Callable[..., Any]:
    """`function` with the fields of each dataclass that it takes in the place of that parameter.

    `annotation` says what stands at a declared setting; other fields keep their own.
    """
    signature, hints = inspect.signature(function), get_type_hints(function, include_extras=True)
    parameters: list[inspect.Parameter] = []
    spread_out: dict[str, tuple[Any, dict[str, str]]] = {}  # parameter: (dataclass, {name here: field})
    for name, parameter in signature.parameters.items():
        kind = hints[name]
        if not is_dataclass(kind):
            parameters.append(parameter.replace(annotation=kind, kind=parameter.POSITIONAL_OR_KEYWORD))
            continue
        inside = _parameters_of(kind, annotation)
        spread_out[name] = (kind, {one.name: field for field, one in inside.items()})
        parameters += inside.values()
    flat = inspect.Signature(parameters, return_annotation=signature.return_annotation)

    @functools.wraps(function)
    def called(*values: Any, **named: Any) -> Any:
        bound = flat.bind(*values, **named)
        bound.apply_defaults()
        given = bound.arguments
        made = {
            name: kind(**{field: given.pop(public) for public, field in names.items()})
            for name, (kind, names) in spread_out.items()
        }
        return function(**given, **made)

    called.__signature__ = flat  # type: ignore[attr-defined]
    called.__annotations__ = {one.name: one.annotation for one in parameters} | {
        "return": signature.return_annotation
    }
    return called


def _parameters_of(kind: Any, annotation: Callable[[Declared], Any]) -> dict[str, inspect.Parameter]:
    """A parameter for each field of a dataclass, by the field's name."""
    anywhere = inspect.Parameter.POSITIONAL_OR_KEYWORD
    if declared := settings_of(kind):
        return {
            field: inspect.Parameter(one.name, anywhere, default=one.default, annotation=annotation(one))
            for field, one in declared.items()
            if one.setting.own
        }
    hints = get_type_hints(kind, include_extras=True)
    return {
        field.name: inspect.Parameter(
            field.name, anywhere, default=field.default, annotation=hints[field.name]
        )
        for field in fields(kind)
    }


def typed(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, refusing values of other types than it states; raises BadInput. Settings check themselves.

    Of a table the names and values are left to whoever reads it, since a style is named in what is said of them.
    """
    signature, hints = inspect.signature(function), get_type_hints(function)

    @functools.wraps(function)
    def checked(*values: Any, **named: Any) -> Any:
        for name, value in signature.bind(*values, **named).arguments.items():
            _check(name, value, hints.get(name, Any))
        return function(*values, **named)

    return checked


def _check(name: str, value: Any, hint: Any) -> None:
    if is_dataclass(hint):
        if not settings_of(hint):
            inside = get_type_hints(hint)
            for field in fields(hint):
                _check(field.name, getattr(value, field.name), inside[field.name])
    elif not _fits(value, hint):
        raise BadInput(
            "{name} is {value}.", Setting().allowed(hint), name=name, value=clean_text(repr(value), 40)
        )


def _fits(value: Any, hint: Any) -> bool:
    kind, arguments = get_origin(hint) or hint, get_args(hint)
    if kind in (Union, UnionType):
        return any(_fits(value, one) for one in arguments)
    if kind is list:
        return isinstance(value, list) and all(_fits(one, arguments[0]) for one in value)
    if kind in (int, float):
        return isinstance(value, (int, float) if kind is float else int) and not isinstance(value, bool)
    return not isinstance(kind, type) or isinstance(value, NoneType if kind is None else kind)
