"""A settings file of another trainer, as far as it can be had on this machine: for the command line and the form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.orders import TrainingOrder
from app.train.form import CAN_BE_OFF, FRESH, NUMBERS, kind_of
from styles.errors import AtelierError
from styles.storage.home import expanded
from styles.text import Text
from training.artworks.collecting import collect
from training.optimizers import check_optimizer
from training.other_trainers.reader import read_settings
from training.other_trainers.settings import OtherSettings
from training.settings import TrainingSettings

if TYPE_CHECKING:
    from app.studio import Studio


@dataclass(frozen=True)
class TakenOver:
    """What is taken over of a settings file, and what is to be said of it, line by line."""

    settings: TrainingSettings
    base: str
    name: str
    caption_ending: str
    lines: tuple[Text, ...]

    def under(self, given: TrainingSettings) -> TrainingSettings:
        """The settings with what was given beside the file, which counts more."""
        chosen = {name: value for name, value in vars(given).items() if value is not None}
        return replace(self.settings, **chosen)

    def form(self, before: dict[str, Any]) -> dict[str, Any]:
        """A form with the settings written in; what the file doesn't say is the preset's."""
        numbers = {name: FRESH[name] for name in NUMBERS}
        for name in NUMBERS:
            value = getattr(self.settings, name)
            if value is not None:
                numbers[name] = _typed(name, value)
        form = before | numbers
        form["name"] = before["name"] or self.name
        form["base"] = self.base or before["base"]
        return form


def settings_here(
    other: OtherSettings, shown: int, check_base: Callable[[str], None], device: str
) -> TakenOver:
    """Take over what can be had here for `shown` pictures, each counted as often as an epoch shows it.

    `check_base` raises AtelierError for a base that can't be trained on here.
    """
    base = other.base
    if base:
        try:
            check_base(base)
        except AtelierError:
            other.leave_out("base", base)
            base = ""
    try:
        check_optimizer(other.numbers.get("optimizer"), device)
    except AtelierError:
        other.leave_out("optimizer", other.numbers.pop("optimizer"))
    if other.epochs and "steps" not in other.numbers and not shown:
        other.left_out.append(
            Text(
                "Not taken over: {count} epochs, since there are no pictures yet to count. Drop the file once more "
                "when they are here.",
                count=other.epochs,
            )
        )
    lines = list(other.lines())
    settings = other.settings(shown)
    if other.epochs and "steps" not in other.numbers and shown:
        lines.insert(
            1,
            Text(
                "{epochs} epochs of {count} pictures, with repeats, are {steps} steps.",
                epochs=other.epochs,
                count=shown * other.repeats,
                steps=settings.steps,
            ),
        )
    return TakenOver(settings, base, other.name, other.caption_ending, tuple(lines))


def order_like(studio: Studio, order: TrainingOrder, file: Path) -> tuple[TrainingOrder, tuple[Text, ...]]:
    """Complete an order with the settings of another trainer, and what is to be said of them; raises BadInput."""
    other = read_settings(expanded(file).absolute())
    ending = order.caption_ending or other.caption_ending
    pictures = collect([expanded(path).absolute() for path in order.pictures], ending).pictures
    taken = studio.take_over(other, sum(picture.repeats for picture in pictures))
    completed = replace(
        order, settings=taken.under(order.settings), base=order.base or taken.base, caption_ending=ending
    )
    return completed, taken.lines


def _typed(name: str, value: Any) -> str:
    """A number of the plan as one would type it into the form."""
    if name in CAN_BE_OFF and value == CAN_BE_OFF[name]:
        return "off"
    kind = kind_of(NUMBERS[name])
    if kind == "yes or no":
        return "yes" if value else "no"
    if kind == "lines":
        return "\n".join(value)
    return f"{value:g}" if isinstance(value, float) else f"{value}"
