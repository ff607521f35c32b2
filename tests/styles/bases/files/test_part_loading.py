"""What libraries raise while a base is opened is told in our own words."""

from __future__ import annotations

import pytest
import torch

from styles.bases.files.part_loading import loading_errors
from styles.errors import BaseError, Cancelled, OutOfMemory


@pytest.mark.parametrize(("device", "memory"), [("cpu", "the computer's memory"), ("cuda:1", "of cuda:1")])
def test_full_memory_is_told_of_the_device_and_anything_else_as_a_base_that_can_not_be_opened(
    device: str, memory: str
) -> None:
    where = torch.device(device)
    with (
        pytest.raises(OutOfMemory, match=f"^a.safetensors does not fit into .*{memory}"),
        loading_errors("a.safetensors", where),
    ):
        raise MemoryError
    with (
        pytest.raises(BaseError, match=r"can't be opened as a base \(weight is odd\)"),
        loading_errors("a.safetensors", where),
    ):
        raise RuntimeError("weight is odd")
    with pytest.raises(BaseError, match=r"\(KeyError\)|\('unet'\)"), loading_errors("a.safetensors", where):
        raise KeyError("unet")
    with pytest.raises(Cancelled), loading_errors("a.safetensors", where):
        raise Cancelled("Stopped.")
