"""One declaration: what it checks, and what it says of what it refuses."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from typing import Annotated, Any

import pytest

from styles.errors import BadInput, SettingsError
from styles.generation.settings import PassSettings, PictureSettings
from styles.storage.setting import Setting, settings, settings_of

Side = Annotated[int, Setting("Side", low=8, high=64, multiple_of=8, refused="The side is {value} px.")]


@settings(SettingsError, "The setting {name} is {value}.")
class Some:
    side: Side | None = None
    share: Annotated[float, Setting(above=0, high=1, usual=0.5)] = 0.5
    way: Annotated[str, Setting(choices=("left", "right"))] = "left"
    on: bool = False
    sides: tuple[Side, ...] = ()


@pytest.mark.parametrize(
    ("values", "message", "hint"),
    [
        ({"side": 9}, "The side is 9 px.", "It must be a multiple of 8."),
        ({"side": 0}, "The side is 0 px.", "It is a whole number from 8 to 64."),
        ({"side": True}, "The side is True px.", "It is a whole number from 8 to 64."),
        ({"side": 8.0}, "The side is 8 px.", "It is a whole number from 8 to 64."),
        ({"sides": (8, 128)}, "The side is 128 px.", "It is a whole number from 8 to 64."),
        ({"share": 0.0}, "The setting share is 0.", "It is a number above 0, at most 1; 0.5 is usual."),
        ({"share": float("nan")}, "The setting share is nan.", "It is a number above 0, at most 1; 0.5 is usual."),
        ({"way": "up"}, "The setting way is up.", "Choose one of: left, right."),
        ({"way": 3}, "The setting way is 3.", "Choose one of: left, right."),
        ({"on": 1}, "The setting on is 1.", "It must be true or false."),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_in_words(values: dict[str, Any], message: str, hint: str) -> None:
    for make in (lambda: Some(**values), lambda: replace(Some(), **values)):
        with pytest.raises(SettingsError) as refused:
            make()
        assert (refused.value.message, refused.value.hint) == (message, hint)


def test_what_fits_is_kept_and_stays() -> None:
    some = Some(side=8, share=1, sides=(16, 24))
    assert some == Some(8, 1.0, "left", False, (16, 24)) and hash(some) == hash(replace(some))
    with pytest.raises(FrozenInstanceError):
        some.side = 16  # type: ignore[misc]
    with pytest.raises(TypeError, match="colour"):
        Some(colour="red")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="positional"):
        Some(8, 1.0, "left", False, (), 7)  # type: ignore[call-arg]


def test_a_value_without_its_name_is_refused_by_it() -> None:
    with pytest.raises(SettingsError, match=r"The setting share is 2\."):
        Some(8, 2.0)


def test_declarations_can_be_read() -> None:
    side, share, *_ = settings_of(Some).values()
    assert (side.name, side.kind, side.default, side.setting.label) == ("side", int | None, None, "Side")
    assert (share.setting.usual, settings_of(int)) == (0.5, {})


@pytest.mark.parametrize("kind", [PictureSettings, PassSettings])
def test_each_setting_of_a_picture_has_its_words(kind: type[Any]) -> None:
    for one in settings_of(kind).values():
        setting = one.setting
        assert setting.label and (setting.help or setting.option or setting.choices), one.field
        with pytest.raises(BadInput):
            kind(**{one.field: object()})
