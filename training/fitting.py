"""Whether a training fits into the memory that is free, and how it is made to.

The pictures of a step stay the same: batch times gradient accumulation keeps its product, and the draws don't depend on
how it is split. Smaller batches come first, then gradient checkpointing; a base in four
bits comes last, before it is opened (`training.opening`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from styles.bases.working_memory import MARGIN, weight_bytes
from styles.errors import OutOfMemory, is_out_of_memory
from styles.quantization.layers import saved_bytes
from styles.text import NO_TEXT, Text
from training.events import MemoryFitted
from training.plan import TrainingPlan
from training.step_memory import score_bytes, step_bytes

if TYPE_CHECKING:
    import torch

    from styles.bases.base import Base
    from styles.quantization.quantization import Quantization
    from training.checkpoint import Checkpoint

# Beside a step's tensors and their `MARGIN`, and as much again: cuBLAS's workspaces (32 MiB for each of two threads on
# the cards that take most), latents and captions of 200 artworks in 1024 px (0.6 MB each).
WORKSPACE_BYTES = 400_000_000
# Of the side; what is tried to advise a lower resolution.
LOWER = (7 / 8, 3 / 4, 5 / 8, 1 / 2)


@dataclass(frozen=True)
class UnopenedBase:
    """What fitting asks of a base, by its config: its UNet has no numbers."""

    name: str
    unet: Any
    native_size_px: int
    vae_factor: int
    device: torch.device


def splits(plan: TrainingPlan) -> Iterator[TrainingPlan]:
    """The plan and those whose steps are split to take less memory, in the order in which they are tried."""
    pictures = plan.batch * plan.gradient_accumulation
    batches = [batch for batch in range(plan.batch, 0, -1) if pictures % batch == 0]
    for checkpointing in (False, True)[plan.gradient_checkpointing :]:
        for batch in batches:
            yield replace(
                plan,
                batch=batch,
                gradient_accumulation=pictures // batch,
                gradient_checkpointing=checkpointing,
            )


def fit(plan: TrainingPlan, needed: Callable[[TrainingPlan], int], free: int) -> TrainingPlan | None:
    """Return the first of the splits that needs no more bytes than are free; None where none does."""
    return next((split for split in splits(plan) if needed(split) <= free), None)


def less(plan: TrainingPlan) -> TrainingPlan | None:
    """Return the plan for after a step that ran out of memory: half the batch, then checkpointing; None at the end."""
    if plan.batch == 1:
        return None if plan.gradient_checkpointing else replace(plan, gradient_checkpointing=True)
    return next(split for split in splits(plan) if split.batch <= plan.batch // 2)


def needed_bytes(
    base: Base | UnopenedBase, plan: TrainingPlan, quantization: Quantization | None = None
) -> int:
    """Return what must be free of a device for a step of the plan, the base's UNet included.

    With a quantization as if a base that is kept as it is were in four bits. On a CPU the tensors alone: what has no
    place there has none for certain.
    """
    side = plan.resolution_px or base.native_size_px
    saved = saved_bytes(base.unet, quantization) if quantization else 0
    step = step_bytes(base.unet, plan, side, base.vae_factor) - saved
    if base.device.type == "mps":
        # torch has no attention in one kernel there that gradients go through.
        step += score_bytes(base.unet, plan, side, base.vae_factor)
    if base.device.type == "cpu":
        return step
    weights = weight_bytes(base.unet) - saved
    return int(weights + (step - weights) * MARGIN + WORKSPACE_BYTES)


def fit_to(
    base: Base, plan: TrainingPlan, start: Checkpoint | None, opened: Text = NO_TEXT
) -> tuple[TrainingPlan, MemoryFitted | None]:
    """Return the plan as it fits into the memory that is free, and what there is to say of that.

    A training that goes on keeps the batch that it has if that fits. `opened` says why memory has the base opened in
    another way. Raises OutOfMemory with what was needed.
    """
    from styles.bases.offload import IN_SYSTEM_MEMORY, lies_on
    from styles.devices.memory import free_bytes

    begun = start.progress.split if start else None
    if begun is not None and begun[0] * begun[1] == plan.batch * plan.gradient_accumulation:
        before = replace(
            plan, batch=begun[0], gradient_accumulation=begun[1], gradient_checkpointing=begun[2]
        )
    else:
        before = plan
    free = free_bytes(base.device)
    if free is None:
        return before, _said(base, before, 0, 0, opened) if opened else None
    # The step has the memory that these lie in now: of a card's only the UNet stays, of the computer's the VAE, too.
    there = [base.unet, *base.text_encoders, *([] if base.device.type in IN_SYSTEM_MEMORY else [base.vae])]
    free += weight_bytes(*(model for model in there if lies_on(model, base.device)))

    def needed(split: TrainingPlan) -> int:
        return needed_bytes(base, split)

    chosen = before if needed(before) <= free else fit(plan, needed, free)
    if chosen is None:
        raise no_room(base, plan, free)
    if base.device.type == "cpu" and chosen == before and not opened:
        return chosen, None
    reason = opened or Text(
        "{free:.1f} GB of memory are free, and training as planned needs {needed:.1f} GB.",
        free=free / 1e9,
        needed=needed(before) / 1e9,
    )
    if chosen != before:
        reason = Text.joined(" ", [reason, words_for(chosen)])
    return chosen, _said(
        base, chosen, needed(chosen), free, reason if opened or chosen != before else NO_TEXT
    )


def _said(base: Base, plan: TrainingPlan, needed: int, free: int, reason: Text) -> MemoryFitted:
    """What a training does from here on, and why where it is other than planned."""
    split = plan.batch, plan.gradient_accumulation, plan.gradient_checkpointing
    return MemoryFitted(*split, needed, free, reason, base.quantize)


def fitted_again(base: Base, plan: TrainingPlan, step: int) -> MemoryFitted:
    """What to say where a step has run out of memory, and is taken once more, split so."""
    from styles.devices.memory import free_bytes

    full = Text("The device's memory was full after step {step}; nothing is lost.", step=step)
    free = (free_bytes(base.device) or 0) + weight_bytes(base.unet)
    return _said(base, plan, needed_bytes(base, plan), free, Text.joined(" ", [full, words_for(plan)]))


def has_room(run: Callable[[], object]) -> bool:
    """Run it, and say whether it had the memory; what it held is free by then."""
    try:
        run()
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return False
    return True


def words_for(plan: TrainingPlan) -> Text:
    """How the pictures of a step are gone through, and what that costs."""
    if plan.gradient_checkpointing:
        return Text(
            "A step takes {accumulation} batches of {batch}, with gradient checkpointing: it learns the same, and takes about a third more time.",
            accumulation=plan.gradient_accumulation,
            batch=plan.batch,
        )
    return Text(
        "A step takes {accumulation} batches of {batch}: it learns the same, and takes a little more time.",
        accumulation=plan.gradient_accumulation,
        batch=plan.batch,
    )


def least_bytes(
    base: Base | UnopenedBase, plan: TrainingPlan, quantization: Quantization | None = None
) -> int:
    """Return what the split of a plan needs that takes the least memory."""
    *_, least = splits(plan)
    return needed_bytes(base, least, quantization)


def no_room(
    base: Base | UnopenedBase, plan: TrainingPlan, free: int, quantization: Quantization | None = None
) -> OutOfMemory:
    """What to raise before a training whose every split needs more than is free."""
    side = plan.resolution_px or base.native_size_px
    # As buckets are.
    lower = (round(side * part / 64) * 64 for part in LOWER)
    fits = next(
        (
            px
            for px in lower
            if 64 <= px < side and least_bytes(base, replace(plan, resolution_px=px), quantization) <= free
        ),
        0,
    )
    return OutOfMemory(
        "Training on {base} needs {needed:.1f} GB of memory at the least, and {free:.1f} GB are free.",
        "Close other programs that use the device, or train with {advice}. Nothing is lost.",
        base=base.name,
        needed=least_bytes(base, plan, quantization) / 1e9,
        free=free / 1e9,
        advice=_advice(plan, fits),
    )


def memory_full(plan: TrainingPlan) -> OutOfMemory:
    """What to raise where memory is full in spite of everything."""
    return OutOfMemory(
        "The device's memory is full, even for one picture at a time.",
        "Close other programs that use the device, and resume the training: what was learnt so far is kept. Or train with {advice}.",
        advice=_advice(plan, 0),
    )


def _advice(plan: TrainingPlan, fitting_px: int) -> Text:
    advice = [
        Text("a resolution of {side} px", side=fitting_px) if fitting_px else Text("a smaller resolution")
    ]
    if plan.layers != "cross":
        advice.append(Text("cross-attention layers alone"))
    if plan.rank > 8:
        advice.append(Text("a lower rank"))
    advice.append(Text("a smaller base"))
    return Text.joined(", ", advice)
