"""All that the Train room asks of an artist, as plain values: to an order, and what each number is for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from app.i18n import say
from app.orders import TrainingOrder
from app.train.trainings import suggested_trigger
from styles.errors import BadInput
from styles.storage.setting import Declared, settings_of
from training.plan import TrainingPlan
from training.settings import TrainingSettings

Kind = Literal["whole", "real", "yes or no", "choice", "lines", "text"]
YES_OR_NO = {
    "yes": True,
    "true": True,
    "on": True,
    "1": True,
    "no": False,
    "false": False,
    "off": False,
    "0": False,
}
OFF = ("off", "0", "0.0")
# The numbers of the plan under Advanced, by name, and those names by their part.
NUMBERS = {name: one for name, one in settings_of(TrainingPlan).items() if one.setting.label}
GROUPS = {
    title: tuple(name for name, one in NUMBERS.items() if one.setting.group == title)
    for title in dict.fromkeys(one.setting.group for one in NUMBERS.values())
}


def kind_of(number: Declared) -> Kind:
    """How a number of the plan is typed."""
    kinds = {number.kind, *get_args(number.kind)}
    if number.setting.choices:
        return "choice"
    if get_origin(number.kind) is tuple:
        return "lines"
    if str in kinds:
        return "text"
    return "yes or no" if bool in kinds else "whole" if int in kinds else "real"


# And what the settings then say.
CAN_BE_OFF: dict[str, Any] = {
    name: () if kind_of(one) == "lines" else 0.0
    for name, one in NUMBERS.items()
    if kind_of(one) == "lines" or (kind_of(one) != "choice" and NoneType in get_args(one.kind))
}
# The rest of the plan: asked for above Advanced or on the card, or decided by the base, or without a choice.
ELSEWHERE = (
    "name", "trigger", "preset", "base", "base_family", "continue_from", "author", "licence", "rights",
    "prompt_signs",
)  # fmt: skip
WORDS = ("name", "trigger", "preset", "base", "continue_from", "author", "licence", "rights")
EMPTY: dict[str, Any] = dict.fromkeys((*WORDS, *NUMBERS), "")
FRESH = EMPTY | {"preset": "balanced", "layers": "cross"}


def form_of(kept: Mapping[str, Any]) -> dict[str, Any]:
    """A form as it was kept, whole: what is missing or of another kind is as on a fresh page."""
    return {
        name: kept[name] if type(kept.get(name)) is type(fresh) else fresh for name, fresh in FRESH.items()
    }


def resolution_of(form: Mapping[str, Any]) -> int | None:
    """The resolution in px that a form asks for; None where it says none, or nothing of sense yet."""
    text = str(form["resolution_px"]).strip()
    return int(text) if text.isdecimal() and len(text) < 9 and 64 <= int(text) <= 2048 else None


def trigger_of(form: Mapping[str, Any]) -> str:
    """The trigger word that a form comes to; empty before there is a name."""
    name, trigger = str(form["name"]).strip(), str(form["trigger"]).strip()
    return trigger or (suggested_trigger(name) if name else "")


def order_of(form: Mapping[str, Any], pictures: Sequence[Path]) -> TrainingOrder:
    """The order that a form comes to; raises BadInput for what is no number and for an empty draft."""
    begun = str(form["continue_from"] or "")
    settings = settings_in(form)
    if begun:
        settings = replace(settings, layers=None)  # it has its own
    return TrainingOrder(
        name=form["name"], pictures=tuple(pictures), base=form["base"].strip(), preset=form["preset"],
        trigger=form["trigger"], author=form["author"], licence=form["licence"], rights=form["rights"],
        continue_from=begun, settings=settings,
    )  # fmt: skip


def settings_in(form: Mapping[str, Any]) -> TrainingSettings:
    """What a form sets, without what the preset decides; raises BadInput."""
    numbers = {name: value_of(number, form) for name, number in NUMBERS.items()}
    return TrainingSettings(
        **numbers | {name: none for name, none in CAN_BE_OFF.items() if _is_off(name, form)}
    )


def _is_off(name: str, form: Mapping[str, Any]) -> bool:
    return name in CAN_BE_OFF and str(form[name]).strip().casefold() in OFF


def settings_from(texts: Iterable[str], given: TrainingSettings) -> TrainingSettings:
    """`given` completed by texts like `preview_every=50`; prompts may come one by one. Raises BadInput."""
    form = dict(EMPTY)
    for setting in texts:
        name, _, text = setting.partition("=")
        name, text = name.strip().replace("-", "_"), text.strip()
        if not text or name not in NUMBERS:
            raise BadInput(
                "“{setting}” is nothing that a training can be told.",
                "Write it as NAME=VALUE, such as preview_every=50. The names are {numbers}.",
                setting=setting[:80],
                numbers=", ".join(NUMBERS),
            )
        if kind_of(NUMBERS[name]) == "yes or no" and text.casefold() not in YES_OR_NO:
            raise BadInput("“{setting}” is neither yes nor no.", "Write yes or no.", setting=setting[:80])
        form[name] = f"{form[name]}\n{text}" if kind_of(NUMBERS[name]) == "lines" else text
    more = settings_in(form)
    twice = next((name for name in more.chosen() if getattr(given, name) is not None), None)
    if twice is not None:
        raise BadInput("{name} is given twice.", hint="Give it once.", name=twice)
    return replace(given, **{name: getattr(more, name) for name in more.chosen()})


def value_of(number: Declared, form: Mapping[str, Any]) -> Any:
    """What a form says of one number, None where the preset decides; raises BadInput."""
    given, kind = form[number.field], kind_of(number)
    text = str(given or "").strip()
    if not text or _is_off(number.field, form):
        return None
    if kind == "yes or no":
        return YES_OR_NO[text.casefold()]
    if kind in ("choice", "text"):
        return text
    if kind == "lines":
        return tuple(line.strip() for line in text.splitlines() if line.strip())
    try:
        return int(text) if kind == "whole" else float(text.replace(",", "."))
    except ValueError:
        raise BadInput(
            "{label}: “{text}” is no such number.",
            "Write digits only." if kind == "whole" else "Write it like 512 or 0.5.",
            label=say(number.setting.label),
            text=text[:40],
        ) from None


def shown_of(plan: TrainingPlan, number: Declared) -> str:
    """What the plan of a preset says, in grey where nothing is written."""
    value = getattr(plan, number.field)
    if number.field == "resolution_px" and not value:
        return say("the base's own")
    if kind_of(number) == "lines":
        return "\n".join(value) or "off"
    if kind_of(number) == "text":
        return value or say("none")
    return "off" if value is None else f"{value:g}" if isinstance(value, float) else f"{value}"
