"""Attention in parts: the same numbers and gradients, and only where it is needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from styles.bases import split_attention as splitting
from styles.bases.base import Base, open_base
from styles.bases.split_attention import _InParts, attention_in_parts, split_attention
from styles.bases.vae import decode
from styles.storage.home import Home


@pytest.fixture
def base(tiny_base: Path, tmp_path: Path) -> Base:
    return open_base(tiny_base, Home(tmp_path / "home").create(), device="cpu")


class _Counting(TorchFunctionMode):
    """Lists how many scores each attention computes."""

    def __init__(self) -> None:
        super().__init__()
        self.scores: list[int] = []

    def __torch_function__(self, function: Any, types: Any, arguments: Any = (), settings: Any = None) -> Any:
        if function is F.scaled_dot_product_attention:
            self.scores.append(arguments[0].shape[:-1].numel() * arguments[1].shape[-2])
        return function(*arguments, **(settings or {}))


@pytest.mark.parametrize("mask", [None, (1, 1, 1, 9), (1, 1, 50, 9), (2, 3, 50, 9)])
@pytest.mark.parametrize("most", [1, 600, 2 * 3 * 9 * 7, 2**30])
def test_the_numbers_are_the_same_however_small_the_parts(
    mask: tuple[int, ...] | None, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 3, length, 8) for length in (50, 9, 9))
    given = None if mask is None else torch.randn(mask)
    whole = F.scaled_dot_product_attention(query, key, value, attn_mask=given, scale=0.3)
    monkeypatch.setattr(splitting, "MOST_SCORES", most)
    parts = attention_in_parts(query, key, value, attn_mask=given, scale=0.3)
    assert parts.shape == whole.shape and torch.allclose(parts, whole, atol=1e-6)


def test_a_base_on_a_processor_is_left_as_it_is(base: Base) -> None:
    assert not any(isinstance(getattr(one, "processor", None), _InParts) for one in base.unet.modules())


def test_pictures_and_gradients_are_the_same_in_parts(base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    def gradients(checkpointing: bool) -> torch.Tensor:
        base.unet.train()
        (
            base.unet.enable_gradient_checkpointing
            if checkpointing
            else base.unet.disable_gradient_checkpointing
        )()
        weight = next(value for name, value in base.unet.named_parameters() if "attn1.to_k" in name)
        weight.requires_grad_(True)
        inputs = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0))
        states = torch.ones(2, 5, base.unet.config.cross_attention_dim)
        result = base.unet(inputs, torch.tensor(500), encoder_hidden_states=states).sample.square().mean()
        (gradient,) = torch.autograd.grad(result, weight)
        weight.requires_grad_(False)
        return gradient

    latents = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    ways = (lambda: gradients(False), lambda: gradients(True), lambda: decode(base.vae, latents))
    before = [way() for way in ways]
    split_attention((base.unet, base.vae))
    monkeypatch.setattr(splitting, "MOST_SCORES", 5000)
    with _Counting() as counting:
        for way, whole in zip(ways, before, strict=True):
            assert torch.allclose(way(), whole, rtol=1e-4, atol=1e-6)
    assert counting.scores and max(counting.scores) <= 5000
