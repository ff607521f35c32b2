"""How trainings fit the cards that artists have: bytes of a step at its peak, counted and by the formula, and the fits.

    python -m tests.benchmarks.training_memory

Counts on meta tensors in bf16, as on CUDA; no card is needed, and none is measured. About three minutes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from styles.bases.working_memory import weight_bytes
from styles.families import FAMILIES, family_of
from styles.quantization.layers import saved_bytes
from styles.quantization.quantization import NF4, PLAIN, quantization_of
from tests.accelerator.counting import META, count_training_step, meta_unet, quantize_meta, unet_config
from training.fitting import fit, needed_bytes
from training.plan import TrainingPlan, plan_for
from training.step_memory import step_bytes

NATIVE_PX = {"sd1": 512, "sd2": 768, "sdxl": 1024}
CARDS_GB = (4, 6, 8, 12, 16, 24)
# What driver, desktop and context hold of a card (stated, not measured).
HELD_BYTES = 10**9
VAE_FACTOR = 8


@dataclass(frozen=True)
class OnCard:
    """What fitting asks of an open base."""

    unet: Any
    native_size_px: int
    vae_factor: int = VAE_FACTOR
    device: torch.device = META


def on_card(family: str) -> OnCard:
    """A base of a family in bf16, without numbers."""
    return OnCard(meta_unet(unet_config(family), torch.bfloat16), NATIVE_PX[family])


def fitted(base: OnCard, family: str, card_gb: int, quantize: str = PLAIN) -> TrainingPlan | None:
    """The balanced preset as it fits a card, None where it doesn't."""
    plan, quantization = plan_for("balanced", family, 8, name="fit"), quantization_of(quantize)

    def needed(way: TrainingPlan) -> int:
        return needed_bytes(base, way, quantization)  # type: ignore[arg-type]

    return fit(plan, needed, card_gb * 2**30 - HELD_BYTES)


def words(plan: TrainingPlan | None) -> str:
    """A fit in a cell of the table."""
    if plan is None:
        return "refused"
    return f"{plan.batch} x {plan.gradient_accumulation}" + ", checkpointing" * plan.gradient_checkpointing


def fits(base: OnCard, family: str, card_gb: int) -> tuple[str, str]:
    """The fits of a card, in words: with the base as it is, and as NF4."""
    return words(fitted(base, family, card_gb)), words(fitted(base, family, card_gb, NF4))


def main() -> None:
    """Print both tables as they stand in RESULTS.md."""
    print("| figure | goal | counted | by the formula |\n|---|---|---|---|")
    bases = {family: on_card(family) for family in NATIVE_PX}
    for family, base in bases.items():
        plan, side = plan_for("balanced", family, 8, name="count"), base.native_size_px
        for quantize in (PLAIN, NF4):
            unet = base.unet if quantize == PLAIN else quantize_meta(on_card(family).unet, quantize)
            in_four_bits = "" if quantize == PLAIN else f" {quantize}"
            name = f"{family_of(family).name}{in_four_bits}"
            if quantization := quantization_of(quantize):
                formula = weight_bytes(base.unet) - saved_bytes(base.unet, quantization)
                print(
                    f"| {name}, the UNet's weights | stated | {weight_bytes(unet) / 1e9:.2f} GB | {formula / 1e9:.2f} GB |"
                )
            for batch, checkpointing in ((4, False), (1, False), (4, True), (1, True)):
                way = replace(plan, batch=batch, gradient_checkpointing=checkpointing)
                counted = count_training_step(
                    unet_config(family), way, side, torch.bfloat16, quantize
                ).peak_bytes
                formula = step_bytes(unet, way, side, VAE_FACTOR)
                kind = ", checkpointing" * checkpointing
                print(
                    f"| {name}, {side} px, batch {batch}{kind} | within 4 % | {counted / 1e9:.2f} GB | {formula / 1e9:.2f} GB ({formula / counted - 1:+.1%}) |"
                )
    names = " | ".join(f"{FAMILIES[family].name} | as {NF4}" for family in bases)
    print(f"\n| figure | {names} |\n|---|---|---|---|---|---|---|")
    for card_gb in CARDS_GB:
        cells = (cell for family, base in bases.items() for cell in fits(base, family, card_gb))
        print(f"| a card of {card_gb} GB | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
