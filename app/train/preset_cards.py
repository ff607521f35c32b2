"""The three presets as one reads them on their cards: what for, and what they take on this machine."""

from __future__ import annotations

from collections.abc import Sequence

from app.i18n import say, translated, unsaid
from app.train.measuring import Measured
from app.train.preparation import Cost
from app.train.progress import words_for_seconds
from styles.quantization.quantization import quantization_words

PRESETS = (
    ("quick", unsaid("Quick"), unsaid("a first look")),
    ("balanced", unsaid("Balanced"), unsaid("what you usually want")),
    ("thorough", unsaid("Thorough"), unsaid("slow, for artworks full of detail")),
)


def preset_choices(measured: Measured | None = None, costs: Sequence[Cost] = ()) -> list[tuple[str, str]]:
    """(what the card says, in lines; the preset) of each preset."""
    cost_of = {cost.preset: cost for cost in costs}
    return [
        ("\n".join([say(title), say(purpose), _cost(cost_of.get(name), measured)]), name)
        for name, title, purpose in PRESETS
    ]


def _cost(cost: Cost | None, measured: Measured | None) -> str:
    if cost is not None and cost.seconds is not None:
        memory = say(
            "{size} GB on the card" if cost.on_card else "{size} GB of memory",
            size=f"{cost.memory_bytes / 1e9:.1f}",
        )
        return say("about {time}", time=words_for_seconds(cost.seconds)) + "\n" + memory
    if measured is not None and measured.state == "measuring":
        return say("measuring…")
    return say("{steps} steps", steps=cost.plan.steps) if cost else " "


def costs_said(measured: Measured | None) -> str:
    """Where the numbers on the cards come from, or why there are none."""
    if measured is None:
        return say("What each takes is measured on this machine as soon as there are artworks.")
    match measured.state:
        case "measured":
            words = say("Measured on this machine, on one step.")
            return f"{words} {_fitted(measured)}".strip()
        case "measuring":
            return say("One step is tried to see what it takes on this machine. You need not wait for it.")
        case "waiting":
            return say("What each takes is measured once nothing trains or paints.")
        case _:
            return say("What each takes could not be measured: {reason}", reason=translated(measured.problem))


def _fitted(measured: Measured) -> str:
    """How the training was made to fit the memory that is free, and what that costs; empty where it fits as it is."""
    trial = measured.trial
    if trial is None:
        return ""
    words = []
    if trial.quantize:
        words.append(
            say(
                "It fits only with the base {quantization}.",
                quantization=translated(quantization_words(trial.quantize)),
            )
        )
    if trial.batch and trial.gradient_checkpointing:
        words.append(
            say(
                "Tried as it fits what is free: {batch} pictures at a time, with gradient checkpointing, which takes about a third more time.",
                batch=trial.batch,
            )
        )
    elif trial.batch:
        words.append(say("Tried as it fits what is free: {batch} pictures at a time.", batch=trial.batch))
    return " ".join(words)
