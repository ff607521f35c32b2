"""What a training run has to say of its circumstances."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from styles.text import Text
from training.checkpoint import Checkpoint
from training.events import Warned
from training.step_times import StepTimes

if TYPE_CHECKING:
    import torch

SPILT = Warned(
    Text(
        "Steps have become more than three times as slow: the card's memory is full, or another program uses it."
    ),
    Text("Close other programs that use the card, or pause the training and resume it."),
)
NO_PREVIEW = Warned(
    Text("There was too little free memory for a preview; the training goes on."),
    Text("Close other programs that use the device."),
)


def slowed_down(times: StepTimes, device: torch.device) -> Iterator[Warned]:
    """Say that steps have become much slower where an accelerator's memory may be why; the times have just been read."""
    if times.has_jumped() and device.type != "cpu":
        yield SPILT


def passed_over(damaged: list[int], start: Checkpoint | None) -> Warned:
    """Say of which steps checkpoints were passed over, since they are not as they were saved."""
    steps = ", ".join(map(str, sorted(damaged)))
    if start is None:
        return Warned(
            Text(
                "No checkpoint is as it was saved (of step {steps}): the training begins anew.", steps=steps
            ),
            Text(
                "Look whether the disk is failing, or whether another program changes files in the folder of trainings."
            ),
        )
    return Warned(
        Text(
            "The checkpoint of step {steps} is not as it was saved: going on from step {step}.",
            steps=steps,
            step=start.progress.step,
        ),
        Text(
            "Look whether the disk is failing, or whether another program changes files in the folder of trainings."
        ),
    )


def changed_conditions(before: dict[str, str], now: dict[str, str]) -> Iterator[Warned]:
    """Say what the last bits of a result depend on that is other than when the run began."""
    changed = [
        Text("{name} {before} -> {now}", name=name, before=before.get(name, Text("unknown")), now=now[name])
        for name in now
        if before.get(name) != now[name]
    ]
    if changed:
        yield Warned(
            Text("Going on under other conditions: {changed}.", changed=Text.joined(", ", changed)),
            Text("The style comes out as good, but may differ in its last bits from one without the break."),
        )
