"""Several weights side by side: a strength strip, a map of a blend, each style left out in turn.

All pictures have one seed and go through the base as one batch, so that they differ by the weights alone.
`generate(base, sheet.request, styles)` paints them; `sheet.labels` are theirs, by `PictureDone.index`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from styles.errors import BlendError, RecipeError
from styles.mixing.blend import Blend
from styles.text import Text

if TYPE_CHECKING:
    from styles.generation.request import CreateRequest

STRIP_WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)  # from none to where most styles begin to burn
MOST_WEIGHTS = 25  # of one strip
MOST_A_SIDE = 9  # of a map
NO_NAMES: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Sheet:
    """Pictures to be painted as one batch and laid out row by row, `columns` in each, with a label each."""

    request: CreateRequest
    labels: tuple[str, ...]
    columns: int

    @property
    def rows(self) -> int:
        return math.ceil(len(self.labels) / self.columns)


def strength_strip(
    request: CreateRequest,
    style: str,
    weights: Sequence[float] = STRIP_WEIGHTS,
    names: Mapping[str, str] = NO_NAMES,
) -> Sheet:
    """Return one style at several weights, all else of the request's blend as it is.

    The style is heard even where the blend has it muted. `names` are the styles' by id. Raises BadInput.
    """
    check_strip(weights)
    blend = _only_blend(request)
    blends = tuple(_heard(blend, {style: float(weight)}) for weight in weights)
    labels = tuple(_label({style: float(weight)}, names) for weight in weights)
    return Sheet(_together(request, blends), labels, len(weights))


def blend_map(
    request: CreateRequest,
    styles: Sequence[str],
    columns: int = 3,
    rows: int = 3,
    strongest: float = 1.0,
    names: Mapping[str, str] = NO_NAMES,
) -> Sheet:
    """Return two to four styles over a grid, all else of the request's blend as it is.

    Two styles have an axis each, from 0 to `strongest`: the first grows to the right, the second downwards. Three or
    four stand in the corners (top left, top right, bottom left, bottom right; of three the last corner is none of
    them) and fade towards the others; their weights sum to `strongest`. Raises BadInput.
    """
    check_map(styles, columns, rows)
    blend = _only_blend(request)
    cells = [
        _weights_at(styles, column / (columns - 1), row / (rows - 1), strongest)
        for row in range(rows)
        for column in range(columns)
    ]
    blends = tuple(_heard(blend, cell) for cell in cells)
    return Sheet(_together(request, blends), tuple(_label(cell, names) for cell in cells), columns)


def leave_one_out(request: CreateRequest, names: Mapping[str, str] = NO_NAMES) -> Sheet:
    """Return the request's blend whole, then with each of its sounding styles muted in turn; raises BadInput."""
    blend = _only_blend(request)
    if not blend.sounding:
        raise BlendError("There is no style in the blend to leave out.", "Mix some styles first.")
    ids = [part.style for part in blend.sounding]
    ids.sort(key=lambda style: (_name(style, names).casefold(), style))
    blends = (blend, *(blend.changed(style, muted=True) for style in ids))
    labels = (Text("all"), *(Text("without {style}", style=_name(style, names)) for style in ids))
    return Sheet(_together(request, blends), labels, len(labels))


def check_strip(weights: Sequence[float]) -> None:
    """Raise BlendError for weights that make no strip."""
    if not 2 <= len(weights) <= MOST_WEIGHTS:
        raise BlendError(
            "A strip of {count} weights can't be made.",
            "Give 2 to {most_weights}; 5 to 9 are usual.",
            count=len(weights),
            most_weights=MOST_WEIGHTS,
        )


def check_map(styles: Sequence[str], columns: int, rows: int) -> None:
    """Raise BlendError for styles or a size that make no map."""
    if not 2 <= len(styles) <= 4:
        raise BlendError(
            "A map of {count} styles can't be made.", "Choose two, three or four.", count=len(styles)
        )
    if len(set(styles)) < len(styles):
        raise BlendError("A style is in the map twice.", "Choose different ones.")
    for name, count in ((Text("columns"), columns), (Text("rows"), rows)):
        if not 2 <= count <= MOST_A_SIDE:
            raise BlendError(
                "A map of {count} {name} can't be made.",
                "Choose 2 to {most_a_side}.",
                count=count,
                name=name,
                most_a_side=MOST_A_SIDE,
            )


def _only_blend(request: CreateRequest) -> Blend:
    if len(request.seeds) != 1 or request.only is not None:
        raise RecipeError(
            "A sheet of one seed can't be made for {count} pictures.",
            "Give one seed.",
            count=len(request.seeds),
        )
    if request.weights or len(request.blends) > 1:
        raise BlendError("A sheet needs one blend to vary.", "Give the mix as one blend.")
    return request.blends[0] if request.blends else Blend()


def _together(request: CreateRequest, blends: tuple[Blend, ...]) -> CreateRequest:
    seeds, prompt = request.seeds * len(blends), request.prompts[0]
    return replace(request, prompt=prompt, seeds=seeds, blends=blends, batch=0, together=True)


def _heard(blend: Blend, weights: Mapping[str, float]) -> Blend:
    """Return the blend with these weights, and their styles heard whatever was muted or solo."""
    solo = any(part.solo for part in blend.parts)
    for style, weight in weights.items():
        blend = blend.changed(style, weight=weight, muted=False, solo=solo)
    return blend


def _weights_at(styles: Sequence[str], x: float, y: float, strongest: float) -> dict[str, float]:
    """Return the styles' weights at a place of the map, 0..1 from left to right and from top to bottom."""
    if len(styles) == 2:
        shares = (x, y)
    else:
        shares = ((1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y)  # type: ignore[assignment]
    return {style: strongest * share for style, share in zip(styles, shares, strict=False)}


def _label(weights: Mapping[str, float], names: Mapping[str, str]) -> str:
    return " · ".join(f"{_name(style, names)} {weight:.3g}" for style, weight in weights.items())


def _name(style: str, names: Mapping[str, str]) -> str:
    return names.get(style) or style[:12]
