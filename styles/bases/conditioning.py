"""What a UNet reads beside noisy latents and the time: text states and, for Stable Diffusion XL, two conditions more.

Those are the pooled states of the prompt and six numbers of a picture's size (arXiv 2307.01952, section 2.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Conditioning:
    """The conditions of a batch. `pooled` and `time_ids` are None for bases that read text states alone."""

    # (B, tokens, width), in the base's dtype
    states: Tensor
    # (B, width), in the base's dtype
    pooled: Tensor | None = None
    # (B, 6) fp32, see `picture_time_ids`
    time_ids: Tensor | None = None

    def __len__(self) -> int:
        return len(self.states)

    def __getitem__(self, rows: Any) -> Conditioning:
        """Return some rows of the batch, by a slice or a tensor of indices."""
        pooled, time_ids = (None if part is None else part[rows] for part in (self.pooled, self.time_ids))
        return Conditioning(self.states[rows], pooled, time_ids)

    @property
    def added(self) -> dict[str, Tensor] | None:
        """What diffusers' UNet takes as `added_cond_kwargs`."""
        if self.pooled is None:
            return None
        assert self.time_ids is not None, "the pictures' size is not said"
        return {"text_embeds": self.pooled, "time_ids": self.time_ids}

    def to(self, device: torch.device, dtype: torch.dtype) -> Conditioning:
        """Return it on a device, with states of a dtype."""
        pooled = None if self.pooled is None else self.pooled.to(device, dtype)
        time_ids = None if self.time_ids is None else self.time_ids.to(device)
        return Conditioning(self.states.to(device, dtype), pooled, time_ids)

    def split(self, rows: int) -> list[Conditioning]:
        """Return it in batches of so many rows."""
        return [self[first : first + rows] for first in range(0, len(self), rows)]

    def sized(self, time_ids: Tensor) -> Conditioning:
        """Return it for pictures of these time ids, (6,) for all or (B, 6); as it is where the base reads none."""
        if self.pooled is None:
            return self
        return replace(self, time_ids=time_ids.to(self.states.device).expand(len(self), 6))

    def sized_as(self, width_px: int, height_px: int) -> Conditioning:
        """Return it for whole pictures of that size."""
        return self.sized(picture_time_ids(width_px, height_px))

    @classmethod
    def cat(cls, parts: Sequence[Conditioning]) -> Conditioning:
        """Return several batches as one."""
        pooled = [part.pooled for part in parts if part.pooled is not None]
        time_ids = [part.time_ids for part in parts if part.time_ids is not None]
        return cls(
            torch.cat([part.states for part in parts]),
            torch.cat(pooled) if pooled else None,
            torch.cat(time_ids) if time_ids else None,
        )


def picture_time_ids(
    width_px: int,
    height_px: int,
    original_px: tuple[int, int] | None = None,
    crop_px: tuple[int, int] = (0, 0),
) -> Tensor:
    """Return (6,) fp32: height and width before scaling, top and left of the crop, height and width of the picture.

    `original_px` is (width, height), that of the picture where it is not given, and `crop_px` (left, top) in the scaled
    original. fp32 in every precision of the base: bf16 holds no whole number above 256 exactly.
    """
    width, height = original_px or (width_px, height_px)
    left, top = crop_px
    return torch.tensor([height, width, top, left, height_px, width_px], dtype=torch.float32)


def empty_conditioning(
    unet: Any, rows: int, tokens: int, device: torch.device, dtype: torch.dtype
) -> Conditioning:
    """Return conditions of zeros in the shapes that a UNet reads, where only its work counts and not its answer."""
    config = unet.config
    states = torch.zeros(rows, tokens, config.cross_attention_dim, device=device, dtype=dtype)
    if not reads_time_ids(unet):
        return Conditioning(states)
    width = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
    pooled = torch.zeros(rows, width, device=device, dtype=dtype)
    return Conditioning(states, pooled).sized(torch.zeros(6))


def reads_time_ids(unet: Any) -> bool:
    """Whether a UNet reads pooled states and time ids, as that of Stable Diffusion XL."""
    return getattr(unet.config, "addition_embed_type", None) == "text_time"


def encode_tokens(
    text_encoders: Sequence[Any],
    ids: Sequence[Tensor],
    masks: Sequence[Tensor | None],
    clip_skip: int = 1,
) -> Conditioning:
    """Return what the text encoders say of tokens, (B, tokens) for each of them.

    A single encoder gives the states of its last layer but `clip_skip` - 1, behind the final norm. Two give those of
    the layer before the last, joined along their width, and the second one its projection of the whole text (arXiv
    2307.01952, section 2.1); `clip_skip` changes nothing there.
    """
    if len(text_encoders) == 1:
        encoder = text_encoders[0]
        if clip_skip == 1:
            return Conditioning(encoder(ids[0], attention_mask=masks[0])[0])
        hidden = encoder(ids[0], attention_mask=masks[0], output_hidden_states=True).hidden_states
        return Conditioning(encoder.final_layer_norm(hidden[-clip_skip]))
    outputs = [
        encoder(tokens, attention_mask=mask, output_hidden_states=True)
        for encoder, tokens, mask in zip(text_encoders, ids, masks, strict=True)
    ]
    states = torch.cat([output.hidden_states[-2] for output in outputs], dim=-1)
    return Conditioning(states, outputs[-1].text_embeds)
