"""Functions that take settings as one dataclass, called with each of them as a parameter of its own.

The command line and the endpoints read a function's signature; here it is made from the declarations.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, get_type_hints

from styles.storage.setting import Declared, settings_of


def spread(
    function: Callable[..., Any], annotation: Callable[[Declared], Any] = lambda one: one.kind
) -> Callable[..., Any]:
    """`function` with the settings of each dataclass that it takes in the place of that parameter.

    `annotation` says what stands at such a parameter.
    """
    signature, hints = inspect.signature(function), get_type_hints(function, include_extras=True)
    parameters, kind = list[inspect.Parameter](), inspect.Parameter.POSITIONAL_OR_KEYWORD
    spread_out: dict[str, tuple[type[Any], dict[str, str]]] = {}  # parameter: (dataclass, {name here: field})
    for name, parameter in signature.parameters.items():
        declared = {key: one for key, one in settings_of(hints[name]).items() if one.setting.own}
        if not declared:
            parameters.append(parameter.replace(annotation=hints[name], kind=kind))
            continue
        spread_out[name] = (hints[name], {one.name: one.field for one in declared.values()})
        parameters += [
            parameter.replace(name=one.name, default=one.default, annotation=annotation(one), kind=kind)
            for one in declared.values()
        ]
    flat = inspect.Signature(parameters, return_annotation=signature.return_annotation)

    @functools.wraps(function)
    def called(*values: Any, **named: Any) -> Any:
        bound = flat.bind(*values, **named)
        bound.apply_defaults()
        given = bound.arguments
        made = {
            name: made_of(**{field: given.pop(public) for public, field in fields.items()})
            for name, (made_of, fields) in spread_out.items()
        }
        return function(**given, **made)

    called.__signature__ = flat  # type: ignore[attr-defined]
    called.__annotations__ = {one.name: one.annotation for one in parameters} | {
        "return": signature.return_annotation
    }
    return called
