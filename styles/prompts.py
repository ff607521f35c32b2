"""Prompts: into the text encoder's states, and what its length leaves out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from styles.base import Base
from styles.errors import PromptError

LONGEST = 20_000  # characters; far beyond what any text encoder reads


@torch.no_grad()
def encode_prompts(base: Base, texts: Sequence[str]) -> Tensor:
    """Return the text encoder's states of each text: (batch, tokens, width) in the base's dtype.

    What is beyond the token limit is left out, see `cut_words`. Raises PromptError for a text that is far too long.
    """
    for text in texts:
        check_prompt(text)
    tokenizer, encoder = base.tokenizers[0], base.text_encoders[0]
    tokens = tokenizer(
        list(texts),
        padding="max_length",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    )
    masked = getattr(encoder.config, "use_attention_mask", None)
    mask = tokens.attention_mask.to(base.device) if masked else None
    return encoder(tokens.input_ids.to(base.device), attention_mask=mask)[0]


def cut_words(base: Base, text: str) -> str:
    """Return the end of the text that the token limit cuts off, empty where all of it is read."""
    check_prompt(text)
    tokenizer = base.tokenizers[0]
    tokens = tokenizer(text, truncation=False, return_offsets_mapping=True, verbose=False)
    limit = tokenizer.model_max_length
    if len(tokens.input_ids) <= limit:
        return ""
    start = tokens.offset_mapping[limit - 1][0]  # the last place goes to the end token
    return text[start:].strip()


def check_prompt(text: str) -> None:
    """Raise PromptError for a text that is no prompt."""
    if len(text) > LONGEST:
        raise PromptError(
            f"The prompt has {len(text)} characters.", f"At most {LONGEST} are read; shorten it."
        )
