"""Prompts: into the text encoders' states, and what is left out of them.

As A1111 does it: each chunk of a prompt is read alone, between its own marks, and the chunks' states stand one behind
the other; a shorter prompt of the batch has empty chunks behind it. Weights multiply the states. The pooled states of
Stable Diffusion XL are those of the first chunk, without weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from styles.bases.base import Base
from styles.bases.conditioning import Conditioning, encode_tokens
from styles.bases.offload import bring
from styles.bases.working_memory import TEXT_BYTES
from styles.devices.device import sent_to
from styles.errors import PromptError
from styles.generation.prompt_chunks import MARKS, Chunk, ChunkedPrompt, chunk_prompt, reads_chunks
from styles.generation.prompt_syntax import ParsedPrompt, check_prompt, literal, parse_prompt
from styles.mixing.prompt_words import NO_WORDS, Vocabulary, rows_in_place
from styles.text import Text, quoted

LONGEST_QUOTE = 600  # characters of what was left out
# Of the states' deviation: a mean below is chance, and dividing by it would be, too. The starter's has 0.002 of it.
LEAST_MEAN = 0.003


@dataclass(frozen=True)
class PromptReading:
    """How prompts are read: with A1111's signs or letter by letter, and up to which layer of the text encoder.

    `clip_skip` counts as A1111 does, 1 is the last layer. Bases with two text encoders read the layer before the last
    whatever it says.
    """

    signs: bool = True
    clip_skip: int = 1

    def parse(self, text: str) -> ParsedPrompt:
        """Take a prompt apart; raises PromptError."""
        return parse_prompt(text) if self.signs else literal(text)


USUAL = PromptReading()


@torch.no_grad()
def encode_prompts(
    base: Base,
    texts: Sequence[str],
    vocabularies: Sequence[Vocabulary] = (),
    reading: PromptReading = USUAL,
    chunks: int = 1,
) -> Conditioning:
    """Return what the base's text encoders say of each text, in its dtype and without time ids.

    `vocabularies` are the words of styles for each text, none if empty. All have as many chunks as the longest, at
    least `chunks`. An empty text is all zeros where the base was trained so. Raises PromptError for a text that is far
    too long, has a weight out of range or names a word that several styles bring.
    """
    for text in texts:
        check_prompt(text, reading.signs)
    bring(base, *base.text_encoders, work_bytes=TEXT_BYTES)
    vocabularies = vocabularies or [NO_WORDS] * len(texts)
    read: list[list[Sequence[Chunk]]] = [
        [
            chunk_prompt(tokenizer, reading.parse(text), words, number).chunks
            for text, words in zip(texts, vocabularies, strict=True)
        ]
        for number, tokenizer in enumerate(base.tokenizers)
    ]
    count = max(chunks, *(len(prompt) for prompts in read for prompt in prompts))
    parts = [
        _encode_chunk(
            base,
            [[prompt[number] if number < len(prompt) else () for prompt in prompts] for prompts in read],
            reading,
        )
        for number in range(count)
    ]
    states = parts[0].states if count == 1 else torch.cat([part.states for part in parts], dim=1)
    pooled = parts[0].pooled
    if base.zeros_for_empty_prompt:
        for number, text in enumerate(texts):
            if not text.strip():
                states[number] = 0
                if pooled is not None:
                    pooled[number] = 0
    return Conditioning(states, pooled)


def count_chunks(
    base: Base, texts: Iterable[str], words: Vocabulary = NO_WORDS, reading: PromptReading = USUAL
) -> int:
    """Return in how many chunks the longest of some texts is read."""
    return max(len(_chunked(base, text, words, reading).chunks) for text in texts)


def check_length(base: Base, text: str, words: Vocabulary, reading: PromptReading) -> None:
    """Raise PromptError for a text that is too long to be meant, where long ones are read in chunks."""
    read = _chunked(base, text, words, reading)
    if read.cut is not None and len(read.chunks) > 1:
        raise PromptError(
            "The prompt has {tokens} tokens in more than {chunks} chunks.",
            "Up to {chunks} chunks of {room} tokens are read, and BREAK begins a new one; shorten it.",
            tokens=read.tokens,
            chunks=len(read.chunks),
            room=base.tokenizers[0].model_max_length - MARKS,
        )


def cut_words(base: Base, text: str, words: Vocabulary = NO_WORDS, reading: PromptReading = USUAL) -> str:
    """Return the end of the text that the token limit cuts off, empty where all of it is read.

    A word of a style takes as many places as it has rows, and is read whole or not at all.
    """
    read = _chunked(base, text, words, reading)
    if read.cut is None:
        return ""
    cut = text[read.cut :].strip()
    return cut if len(cut) <= LONGEST_QUOTE else cut[: LONGEST_QUOTE - 1] + "…"


def prompt_notes(
    base: Base, name: Text, text: str, words: Vocabulary, reading: PromptReading
) -> Iterator[Text]:
    """Say what of a text, the prompt or the negative prompt, was not read as it may have been meant."""
    cut = cut_words(base, text, words, reading)
    if cut:
        yield Text("The {name} is longer than this base reads; left out: “{cut}”.", name=name, cut=cut)
    parsed = reading.parse(text)
    if len(parsed.sections) > 1 and not reads_chunks(base.tokenizers[0]):
        yield Text("This base reads a single chunk: BREAK changes nothing in the {name}.", name=name)
    if parsed.not_read:
        shown = [quoted(phrase[:LONGEST_QUOTE]) for phrase in parsed.not_read[:3]]
        yield Text(
            "In the {name}, {phrases} is read as plain words.",
            name=name,
            phrases=Text.joined(", ", shown),
        )


def check_clip_skip(base: Base, clip_skip: int) -> None:
    """Raise PromptError where the base's text encoder has no such layer."""
    if len(base.text_encoders) > 1:
        return
    layers = base.text_encoders[0].config.num_hidden_layers
    if clip_skip > layers:
        raise PromptError(
            "Clip skip is {clip_skip}; the text encoder of “{base}” has {layers} layers.",
            "Choose 1 or 2, which are usual.",
            clip_skip=clip_skip,
            base=base.name,
            layers=layers,
        )


def _chunked(base: Base, text: str, words: Vocabulary, reading: PromptReading) -> ChunkedPrompt:
    return chunk_prompt(base.tokenizers[0], reading.parse(text), words)


def _encode_chunk(base: Base, chunks: Sequence[Sequence[Chunk]], reading: PromptReading) -> Conditioning:
    """Encode one chunk of each text, which is given for each text encoder."""
    ids, masks, weights = [], [], []
    with ExitStack() as stack:
        for tokenizer, encoder, some in zip(base.tokenizers, base.text_encoders, chunks, strict=True):
            tokens, mask = _framed(tokenizer, some)
            masked = getattr(encoder.config, "use_attention_mask", None)
            ids.append(sent_to(base.device, tokens))
            masks.append(sent_to(base.device, mask) if masked else None)
            weights.append(_weights(some, tokens.shape[1]))
            rows = [
                (text, 1 + at, place.row[None])
                for text, chunk in enumerate(some)
                for at, place in enumerate(chunk)
                if place.row is not None
            ]
            stack.enter_context(rows_in_place(encoder, rows))
        conditioning = encode_tokens(base.text_encoders, ids, masks, reading.clip_skip)
    if all(bool((of == 1).all()) for of in weights):
        return conditioning
    widths = [encoder.config.hidden_size for encoder in base.text_encoders]
    states = [
        emphasised(some, sent_to(base.device, of))
        for some, of in zip(conditioning.states.split(widths, dim=-1), weights, strict=True)
    ]
    return Conditioning(torch.cat(states, dim=-1), conditioning.pooled)


def emphasised(states: Tensor, weights: Tensor) -> Tensor:
    """Return states (B, tokens, width) multiplied by weights (B, tokens), each text's mean brought back to what it was.

    A1111's default, there called "Original". Each text and each text encoder has a mean of its own; in A1111 a batch
    shares one, so that a picture would depend on its neighbours. States that have next to no mean stay as weighted.
    """
    plain = states.float()
    weighted = plain * weights[..., None]
    deviation, mean = torch.std_mean(plain, (1, 2), keepdim=True)
    now = weighted.mean((1, 2), keepdim=True)
    restored = (mean.abs() >= LEAST_MEAN * deviation) & (now != 0)
    return torch.where(restored, weighted * (mean / now), weighted).to(states)


def _framed(tokenizer: Any, chunks: Sequence[Chunk]) -> tuple[Tensor, Tensor]:
    """Return ids and mask (B, limit) of chunks between the tokenizer's own marks, padded as it pads."""
    first, last = tokenizer("").input_ids
    limit, padding = tokenizer.model_max_length, tokenizer.pad_token_id
    ids = [[first, *(place.token for place in chunk), last] for chunk in chunks]
    mask = [[1] * len(row) + [0] * (limit - len(row)) for row in ids]
    return torch.tensor([row + [padding] * (limit - len(row)) for row in ids]), torch.tensor(mask)


def _weights(chunks: Sequence[Chunk], limit: int) -> Tensor:
    """Return the weights (B, limit) fp32 of chunks; marks and padding have 1."""
    weights = torch.ones(len(chunks), limit)
    for row, chunk in zip(weights, chunks, strict=True):
        row[1 : 1 + len(chunk)] = torch.tensor([place.weight for place in chunk])
    return weights
