"""Settings as parameters of a function: what the command line and the endpoints read."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, fields
from typing import Annotated, Any

from app.create.form import CreateForm
from app.signatures import spread
from styles.errors import BadInput
from styles.generation.settings import PassSettings, PictureSettings
from styles.storage.setting import Setting, settings


@dataclass(frozen=True)
class Corner:
    x: Annotated[int, "across"] = 0


@settings(BadInput)
class Size:
    width_px: Annotated[int | None, Setting(name="width")] = None
    scale: float = 1.0


def test_each_setting_is_a_parameter_in_the_place_of_its_class() -> None:
    def draw(name: str, deep: bool = False, *, size: Size, at: Corner, last: str = "") -> tuple[Any, ...]:
        """Draw."""
        return name, deep, size, at, last

    flat = spread(draw)
    assert list(inspect.signature(flat).parameters) == ["name", "deep", "width", "scale", "x", "last"]
    assert flat.__doc__ == "Draw." and flat.__annotations__["scale"] is float
    assert flat("a", True, 64, 2.0, 7, "b") == ("a", True, Size(64, 2.0), Corner(7), "b")
    assert flat(name="a", width=8) == ("a", False, Size(8), Corner(), "")
    assert flat.__annotations__["x"] == Annotated[int, "across"]


def test_a_form_has_all_that_can_be_set() -> None:
    names = {field.name for kind in (PictureSettings, PassSettings) for field in fields(kind)}
    assert names - set(CreateForm().to_json()) == {"quantize", "seed", "count", "width_px", "height_px"}, (
        "the paper's, and what the base says"
    )
