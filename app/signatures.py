"""Functions that take settings or options as one dataclass, called with each field as a parameter of its own.

The command line and the endpoints read a function's signature; here it is made from the declarations.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

from styles.storage.setting import Declared, settings_of


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
