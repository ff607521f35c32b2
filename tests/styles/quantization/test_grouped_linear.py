"""Layers whose groups have a scale and an offset each."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some
from torch import nn

from styles.quantization.grouped_linear import MIDDLE, GroupedLinear, packed, unpacked


def random_layer(outputs: int, inputs: int, group: int, dtype: torch.dtype = torch.float32) -> GroupedLinear:
    plain = nn.Linear(inputs, outputs)
    return GroupedLinear(*packed(plain.weight.data, group), plain.bias.data, dtype)


@given(
    some.integers(1, 5),
    some.integers(1, 4),
    some.sampled_from([2, 16, 32]),
    some.sampled_from([0.0, -3.0, 100.0]),
    some.integers(0, 2**31),
)
def test_no_weight_is_further_off_than_half_a_level(
    outputs: int, groups: int, group: int, middle: float, seed: int
) -> None:
    """Also where a group lies far from zero, so that fp16 rounds much of its offset."""
    weight = middle + torch.randn(outputs, groups * group, generator=torch.Generator().manual_seed(seed)) / 8
    levels, scale, offset = packed(weight, group)
    assert levels.dtype == torch.uint8 and levels.shape == (outputs, groups * group // 2)
    assert scale.shape == offset.shape == (outputs, groups)
    error = (unpacked(levels, scale, offset) - weight).abs().unflatten(1, (groups, group)).amax(2)
    # Half a level, what fp16 rounds of a level at the ends, and what fp32 rounds.
    limit = scale.float() * (0.5 + MIDDLE * 2**-11) + (abs(middle) + 1) * 2**-21
    assert bool((error <= limit).all())


def test_a_group_of_one_value_is_kept() -> None:
    weight = torch.full((2, 32), 0.25)
    assert torch.equal(unpacked(*packed(weight, 16)), weight)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_computes_as_a_linear_layer_of_its_weights_and_gives_gradients(dtype: torch.dtype) -> None:
    layer = random_layer(6, 64, 16, dtype)
    plain = nn.Linear(64, 6, dtype=dtype)
    plain.weight.data, plain.bias.data = layer.dequantized(), layer.bias.data
    ours = torch.randn(2, 3, 64, dtype=dtype, requires_grad=True)
    theirs = ours.detach().clone().requires_grad_()
    layer(ours).square().sum().backward()
    plain(theirs).square().sum().backward()
    assert torch.equal(layer(ours), plain(theirs))
    torch.testing.assert_close(ours.grad, theirs.grad)
    assert layer.weight.grad is None and layer.bias.grad is None


def test_it_stays_as_it_is_where_its_model_is_brought_to_another_precision() -> None:
    layer = random_layer(4, 64, 16)
    before = [one.clone() for one in (layer.weight, layer.scale, layer.offset)]
    model = nn.Sequential(layer, nn.Linear(4, 4)).to(torch.bfloat16)
    assert model[1].weight.dtype == torch.bfloat16
    for one, other in zip(before, (layer.weight, layer.scale, layer.offset), strict=True):
        assert one.dtype == other.dtype and torch.equal(one, other)


def test_what_is_kept_for_the_way_back_are_the_packed_weights() -> None:
    layer = random_layer(64, 256, 32)
    kept: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda one: kept.append(one) or one, lambda one: one):
        layer(torch.randn(1, 256, requires_grad=True))
    assert sum(one.nbytes for one in kept) == sum(
        one.nbytes for one in (layer.weight, layer.scale, layer.offset)
    )
