"""Attention in parts that Apple's graphics compute right.

Of more than about 2^31 scores (pictures x heads x queries x keys) Metal returns wrong numbers without a word
(ComfyUI issue 14837, pytorch pull request 179592): a training of SD1.5 at 768 px with a batch of 4 has that many.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

# Half of where it goes wrong.
MOST_SCORES = 2**30


def split_attention(models: Iterable[Any]) -> None:
    """Let every attention of these models compute no more than `MOST_SCORES` at once, with or without gradients.

    Within the layer, since gradient checkpointing calls it again from the backward pass.
    """
    from diffusers.models.attention_processor import Attention

    for model in models:
        for module in model.modules():
            if isinstance(module, Attention):
                module.set_processor(_InParts(module.processor))


class _InParts:
    """An attention processor whose scores are never too many."""

    def __init__(self, processor: Any) -> None:
        self.processor = processor

    # diffusers reads from the signature what a processor takes.
    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Any:
        with _Splitting():
            return self.processor(attn, hidden_states, encoder_hidden_states, attention_mask, temb)


class _Splitting(TorchFunctionMode):
    def __torch_function__(
        self,
        function: Any,
        types: Any,
        arguments: Sequence[Any] = (),
        settings: Mapping[str, Any] | None = None,
    ) -> Any:
        if function is F.scaled_dot_product_attention:
            return attention_in_parts(*arguments, **(settings or {}))
        return function(*arguments, **(settings or {}))


def attention_in_parts(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, *rest: Any, **settings: Any
) -> Tensor:
    """Scaled dot-product attention, (B, heads, queries, d), over as many queries at a time as `MOST_SCORES` allows.

    Along queries nothing is summed up, so that the numbers stay the same to rounding.
    """
    scores = math.prod(query.shape[:-1]) * key.shape[-2]
    rows = query.shape[-2] if scores <= MOST_SCORES else max(1, query.shape[-2] * MOST_SCORES // scores)
    masks = [attn_mask] * math.ceil(query.shape[-2] / rows)
    if attn_mask is not None and attn_mask.shape[-2] > 1:
        masks = list(attn_mask.split(rows, dim=-2))
    parts = [
        F.scaled_dot_product_attention(some, key, value, mask, *rest, **settings)
        for some, mask in zip(query.split(rows, dim=-2), masks, strict=True)
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-2)
