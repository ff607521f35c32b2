"""What styles cost on an accelerator in half precision, counted on the UNet of Stable Diffusion 1.5 at 512 px."""

from __future__ import annotations

import pytest
import torch

from tests.accelerator.counting import meta_unet, unet_config
from tests.accelerator.mixing import MixCounter, StepCounts, meta_style


@pytest.fixture(scope="module")
def counter() -> MixCounter:
    return MixCounter(meta_unet(unet_config("sd1"), torch.float16), 512, torch.float16)


def counts(counter: MixCounter, layers: str, *, merging: bool) -> StepCounts:
    """Four styles of rank 32 over these layers."""
    return counter.count([meta_style(counter.unet, name, 32, layers) for name in "abcd"], merging=merging)


def test_a_merged_mix_costs_what_the_base_alone_does(counter: MixCounter) -> None:
    counted = counts(counter, "all", merging=True)
    assert counted.kernels <= 1.02 and counted.moved <= 1.02
    assert 0.05 < counted.move <= 1.0, "to make the weights anew is less than a step"
    assert counted.merged_bytes == pytest.approx(0.5e9, rel=0.05)


def test_the_ranks_cost_few_kernels(counter: MixCounter) -> None:
    counted = counts(counter, "all", merging=False)
    assert 1.0 < counted.kernels <= 1.3 and 1.0 < counted.moved <= 1.4
    assert counted.move < 0.05 and counted.merged_bytes == 0


def test_the_ranks_of_cross_attention_cost_next_to_nothing(counter: MixCounter) -> None:
    counted = counts(counter, "cross-attention", merging=False)
    assert 1.0 < counted.kernels <= 1.08 and 1.0 < counted.moved <= 1.08
