"""The counting itself: against numbers that follow from shapes, and those of real runs on the CPU."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from styles.bases.working_memory import weight_bytes
from tests.accelerator.counting import META, Counting, as_on_cuda, count_training_step, unet_config
from training.plan import TrainingPlan


def test_kernels_bytes_and_peak_of_two_layers() -> None:
    model = nn.Sequential(nn.Linear(256, 512), nn.ReLU(), nn.Linear(512, 256)).to(META)
    x = torch.empty(1024, 256, device=META)
    with torch.no_grad(), Counting([*model.parameters(), x]) as counted:
        y = model(x).view(-1)
    assert counted.kernels == 3 and y.numel() == 1024 * 256
    weights, wide, narrow = weight_bytes(model), 1024 * 512 * 4, 1024 * 256 * 4
    assert counted.moved_bytes == weights + narrow + wide + 2 * wide + wide + narrow
    # Beside the weights and x: what goes into the activation and what comes out of it.
    assert counted.peak_bytes == weights + narrow + 2 * wide
    assert counted.live_bytes == weights + 2 * narrow


def test_attention_is_one_kernel_and_autocast_casts_a_weight_once() -> None:
    query = torch.empty(1, 8, 4096, 40, device=META, dtype=torch.bfloat16)
    with torch.no_grad(), Counting() as counted, as_on_cuda():
        F.scaled_dot_product_attention(query, query, query)
    assert counted.kernels == 1 and counted.peak_bytes < 3 * query.nbytes, "no 4096 x 4096 scores"
    layer = nn.Linear(64, 64).to(META)
    x = torch.empty(8, 64, device=META, dtype=torch.bfloat16)
    with Counting() as counted, as_on_cuda(torch.bfloat16):
        assert layer(layer(x)).dtype == torch.bfloat16
    assert counted.operations["_to_copy"] == 2, "the weight and its bias"
    assert F.linear is torch._C._nn.linear, "all functions are back"


@pytest.mark.parametrize(
    ("batch", "checkpointing", "gigabytes"), [(1, False, 2.80), (4, False, 5.98), (1, True, 1.99)]
)
def test_a_training_step_of_sd1(batch: int, checkpointing: bool, gigabytes: float) -> None:
    """The figures that the presets were judged by, counted by another tool on fake tensors."""
    plan = TrainingPlan(name="count", base_family="sd1", batch=batch, gradient_checkpointing=checkpointing)
    counted = count_training_step(unet_config("sd1"), plan, 512, torch.bfloat16)
    assert counted.peak_bytes / 1e9 == pytest.approx(gigabytes, rel=0.01)
