"""Which device a base is opened on: what can be had, by what it computes."""

from __future__ import annotations

import torch
from torch import Tensor

from styles.devices.cards import Card, cards, driver_problem, problem_of
from styles.errors import OutOfMemory, SettingsError
from styles.text import Text


def pick_device() -> torch.device:
    """Return the first accelerator that really computes, else the CPU; raises OutOfMemory where a full one would."""
    return _fastest()[0]


def idle_card() -> SettingsError | None:
    """Return what keeps "auto" from an accelerator that this machine has or seems to have; None where nothing does."""
    return _fastest()[1]


def _fastest() -> tuple[torch.device, SettingsError | None]:
    problems, out_of_memory = [], None
    for card in cards():
        try:
            problem = problem_of(torch.device(card.device))
        except OutOfMemory as error:
            out_of_memory = error
            continue
        if problem is None:
            return torch.device(card.device), None
        problems.append(problem)
    if out_of_memory is not None:
        # Not the CPU, many times slower, for what may be over in a moment.
        raise out_of_memory
    return torch.device("cpu"), problems[0] if problems else driver_problem()


def device_for(device: str | torch.device) -> torch.device:
    """Return the device of that name, the fastest one for "auto".

    Raises SettingsError for one that can't be had, OutOfMemory for one that is too full for anything.
    One of several cards is named by its number, cuda:1; without one it is the first.
    """
    if device == "auto":
        return pick_device()
    try:
        chosen = torch.device(device)
    except (RuntimeError, ValueError) as error:
        raise SettingsError("“{device}” is no device.", _choices(cards()), device=device) from error
    if chosen.type == "cpu":
        return torch.device("cpu")
    there = cards()
    same = [one for card in there if (one := torch.device(card.device)).type == chosen.type]
    chosen = next((one for one in same if chosen.index in (None, one.index or 0)), chosen)
    if chosen not in same:
        problem = driver_problem() if chosen.type == "cuda" and not there else None
        raise problem or SettingsError("This machine has no {device}.", _choices(there), device=chosen)
    if problem := problem_of(chosen):
        raise problem
    return chosen


def _choices(there: tuple[Card, ...]) -> Text:
    if not there:
        return Text("There is no graphics card that PyTorch can use: choose auto or cpu.")
    names = Text.joined(", ", [card.words for card in there])
    return Text("Choose auto, cpu or one of the cards: {cards}.", cards=names)


def make_current(device: torch.device) -> None:
    """Let what names no device mean this one, in this thread, where there are several."""
    if device.index is not None and torch.accelerator.device_count() > 1:
        torch.accelerator.set_device_index(device)


def wait_for(device: torch.device) -> None:
    """Wait until an accelerator has done all that it was given; a CPU has when it returns."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def sent_to(device: torch.device, values: Tensor) -> Tensor:
    """Return a few numbers of the CPU on a device, without waiting for what that is doing, where this is safe.

    On MPS a copy that isn't waited for reads the source when it may be gone
    (https://github.com/pytorch/pytorch/issues/189690); others have read it by then.
    """
    return values.to(device, non_blocking=device.type != "mps")
