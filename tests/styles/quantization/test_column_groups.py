"""Columns that repeat within groups of inputs."""

from __future__ import annotations

import pytest
import torch

from styles.quantization.column_groups import columns_repeat, expanded_columns, grouped_columns


@pytest.mark.parametrize("size", [1e-9, 1.0, 1e9])
def test_they_are_judged_whatever_the_size_of_their_numbers(size: float) -> None:
    """A file of another program may hold rows that are too small or too large for fp16."""
    loose = (torch.rand(3, 64, generator=torch.Generator().manual_seed(0)) + 0.5) * size
    alike = expanded_columns(grouped_columns(loose, 16), 16)
    assert not columns_repeat(loose, 16)
    assert columns_repeat(alike, 16) and columns_repeat(alike, 8) and not columns_repeat(alike, 32)
    # One row among larger ones.
    mixed = torch.cat((alike / size, loose))
    assert not columns_repeat(mixed, 16)


def test_no_number_is_like_another_and_zeros_are_alike() -> None:
    assert columns_repeat(torch.zeros(2, 32), 16)
    assert not columns_repeat(torch.full((2, 32), torch.nan), 16)
    assert not columns_repeat(torch.full((2, 32), torch.inf), 16)
