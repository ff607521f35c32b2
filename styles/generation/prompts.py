"""Prompts: into the text encoder's states, and what its length leaves out."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from styles.bases.base import Base
from styles.bases.conditioning import Conditioning, encode_tokens
from styles.errors import PromptError
from styles.mixing.prompt_words import NO_WORDS, Vocabulary, rows_in_place

LONGEST = 20_000  # characters; far beyond what any text encoder reads
MARKS = 2  # places that the tokenizer keeps: the first and the last


@torch.no_grad()
def encode_prompts(base: Base, texts: Sequence[str], vocabularies: Sequence[Vocabulary] = ()) -> Conditioning:
    """Return what the base's text encoders say of each text, in its dtype and without time ids.

    `vocabularies` are the words of styles for each text, none if empty. What is beyond the token limit is left out,
    see `cut_words`. An empty text is all zeros where the base was trained so. Raises PromptError for a text that is far too long or names a word that several styles bring.
    """
    for text in texts:
        check_prompt(text)
    with ExitStack() as stack:
        ids, masks = [], []
        for number, (tokenizer, encoder) in enumerate(zip(base.tokenizers, base.text_encoders, strict=True)):
            tokens, mask, rows = _read(tokenizer, number, texts, vocabularies)
            masked = getattr(encoder.config, "use_attention_mask", None)
            ids.append(tokens.to(base.device))
            masks.append(mask.to(base.device) if masked else None)
            stack.enter_context(rows_in_place(encoder, rows))
        conditioning = encode_tokens(base.text_encoders, ids, masks)
    if base.zeros_for_empty_prompt:
        for number, text in enumerate(texts):
            if not text.strip():
                for part in (conditioning.states, conditioning.pooled):
                    if part is not None:
                        part[number] = 0
    return conditioning


def _read(
    tokenizer: Any, encoder: int, texts: Sequence[str], vocabularies: Sequence[Vocabulary]
) -> tuple[Tensor, Tensor, list[tuple[int, int, Tensor]]]:
    """Return ids and mask (batch, tokens), and the rows of words at their (text, place), for one of the encoders."""
    tokens = tokenizer(
        list(texts),
        padding="max_length",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    )
    ids, mask = tokens.input_ids, tokens.attention_mask
    rows: list[tuple[int, int, Tensor]] = []
    for number, (text, words) in enumerate(zip(texts, vocabularies, strict=True) if vocabularies else ()):
        if words.speaks(text):
            places = _places(tokenizer, text, words)
            places = places[: _fitting(places, tokenizer.model_max_length - MARKS)]
            ids[number], mask[number] = _framed(tokenizer, [place.token for place in places])
            rows += [
                (number, 1 + at, place.rows[encoder][None]) for at, place in enumerate(places) if place.rows
            ]
    return ids, mask, rows


def cut_words(base: Base, text: str, words: Vocabulary = NO_WORDS) -> str:
    """Return the end of the text that the token limit cuts off, empty where all of it is read.

    A word of a style takes as many places as it has rows, and is read whole or not at all.
    """
    check_prompt(text)
    tokenizer = base.tokenizers[0]
    places = _places(tokenizer, text, words)
    fitting = _fitting(places, tokenizer.model_max_length - MARKS)
    return text[places[fitting].start :].strip() if fitting < len(places) else ""


def check_prompt(text: str) -> None:
    """Raise PromptError for a text that is no prompt."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise PromptError(
            "The prompt holds something that is no character, at place {place}.",
            "Type it anew.",
            place=error.start + 1,
        ) from error
    if len(text) > LONGEST:
        raise PromptError(
            "The prompt has {count} characters.",
            "At most {longest} are read; shorten it.",
            count=len(text),
            longest=LONGEST,
        )


@dataclass(frozen=True, eq=False)
class _Place:
    """What the text encoders read at one place: a token of the tokenizer, or a row of a style's word."""

    token: int
    start: int  # character of the text
    # One (width,) for each encoder.
    rows: tuple[Tensor, ...] = ()


def _places(tokenizer: Any, text: str, words: Vocabulary) -> list[_Place]:
    """Return all that the text says, however long, without the marks at both ends."""
    places = []
    for start, piece in words.pieces(text):
        if not isinstance(piece, str):
            # Any token will do where a row is laid over.
            places += [_Place(0, start, rows) for rows in zip(*piece.rows, strict=True)]
            continue
        tokens = tokenizer(
            piece, add_special_tokens=False, truncation=False, return_offsets_mapping=True, verbose=False
        )
        places += [
            _Place(token, start + offset)
            for token, (offset, _) in zip(tokens.input_ids, tokens.offset_mapping, strict=True)
        ]
    return places


def _fitting(places: Sequence[_Place], room: int) -> int:
    """Return how many of the places can be read: as many as there is room for, but no word in part."""
    fitting = min(len(places), room)
    while 0 < fitting < len(places) and _same_word(places[fitting - 1], places[fitting]):
        fitting -= 1
    return fitting


def _same_word(one: _Place, other: _Place) -> bool:
    return bool(one.rows and other.rows) and one.start == other.start


def _framed(tokenizer: Any, tokens: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return ids and mask (limit,) of tokens between the tokenizer's own marks, padded as it pads."""
    first, last = tokenizer("").input_ids
    free = tokenizer.model_max_length - MARKS - len(tokens)
    ids = [first, *tokens, last, *[tokenizer.pad_token_id] * free]
    return torch.tensor(ids), torch.tensor([1] * (MARKS + len(tokens)) + [0] * free)
