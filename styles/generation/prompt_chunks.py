"""A prompt in chunks of tokens: what a text encoder reads at once stands between its two marks.

Chunks are filled as A1111 fills them: each BREAK begins a new one; where one is full within 20 tokens after a comma,
what follows the comma moves to the next. A word of a style is never torn if it fits into a chunk. A text encoder that
reads less than CLIP's 77 tokens was trained on texts that fit into one, and reads only one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from styles.generation.prompt_syntax import ParsedPrompt
from styles.mixing.prompt_words import NO_WORDS, Vocabulary

MARKS = 2  # places that the tokenizer keeps: the first and the last
CLIP_TOKENS = 77
COMMA = ",</w>"
BACKTRACK = 20  # tokens; A1111's `comma_padding_backtrack`
MOST_CHUNKS = 20


@dataclass(frozen=True, eq=False)
class Place:
    """What the text encoder reads at one place: a token of the tokenizer, or a row of a style's word."""

    token: int
    start: int  # character of the prompt
    weight: float = 1.0
    row: Tensor | None = None  # (width,)


Chunk = Sequence[Place]


@dataclass(frozen=True, eq=False)
class ChunkedPrompt:
    """The chunks of a prompt, at least one, and what was left out: from which character on, None where all is read."""

    chunks: tuple[Chunk, ...]
    tokens: int  # of the whole prompt
    cut: int | None = None


def chunk_prompt(
    tokenizer: Any, prompt: ParsedPrompt, words: Vocabulary = NO_WORDS, encoder: int = 0
) -> ChunkedPrompt:
    """Return a prompt in chunks as long as the tokenizer allows, without their marks; `encoder` is its place in the base."""
    room = tokenizer.model_max_length - MARKS
    sections = _sections(tokenizer, prompt, words, encoder)
    units = [unit for section in sections for unit in section]
    tokens = sum(map(len, units))
    if reads_chunks(tokenizer) and not prompt.is_literal:
        chunks = _filled(sections, room, tokenizer.convert_tokens_to_ids(COMMA))
        beyond = next((place.start for chunk in chunks[MOST_CHUNKS:] for place in chunk), None)
        return ChunkedPrompt(tuple(chunks[:MOST_CHUNKS]), tokens, beyond)
    chunk: list[Place] = []
    for unit in units:
        if len(chunk) + len(unit) > room:
            return ChunkedPrompt((chunk,), tokens, unit[0].start)
        chunk += unit
    return ChunkedPrompt((chunk,), tokens)


def reads_chunks(tokenizer: Any) -> bool:
    """Whether its text encoder reads longer prompts in chunks."""
    return int(tokenizer.model_max_length) >= CLIP_TOKENS


def _sections(
    tokenizer: Any, prompt: ParsedPrompt, words: Vocabulary, encoder: int
) -> list[list[list[Place]]]:
    """Return the units of each section, however many: a token, or all rows of a style's word, which stay together."""
    pieces = [
        [(text, start, piece) for text in section for start, piece in words.pieces(text.text)]
        for section in prompt.sections
    ]
    read = _read(
        tokenizer, [piece for section in pieces for _, _, piece in section if isinstance(piece, str)]
    )
    sections: list[list[list[Place]]] = []
    for section in pieces:
        sections.append([])
        for text, start, piece in section:
            if isinstance(piece, str):
                sections[-1] += [
                    [Place(token, text.places[start + offset], text.weight)] for token, offset in next(read)
                ]
            else:
                # Any token will do where a row is laid over.
                at = text.places[start]
                sections[-1].append([Place(0, at, text.weight, row) for row in piece.rows[encoder]])
    return sections


def _read(tokenizer: Any, texts: Sequence[str]) -> Iterator[list[tuple[int, int]]]:
    """Yield the tokens of each text, with the character at which each begins."""
    if not texts:
        return
    tokens = tokenizer(
        list(texts),
        add_special_tokens=False,
        padding=False,
        truncation=False,
        return_offsets_mapping=True,
        verbose=False,
    )
    for ids, offsets in zip(tokens.input_ids, tokens.offset_mapping, strict=True):
        yield [(token, start) for token, (start, _) in zip(ids, offsets, strict=True)]


def _filled(sections: Sequence[Sequence[Sequence[Place]]], room: int, comma: int) -> list[list[Place]]:
    """Fill chunks of `room` places with the units of each section."""
    chunks: list[list[Place]] = [[]]
    last_comma = -1  # in the last chunk
    for number, section in enumerate(sections):
        if number:
            chunks.append([])
            last_comma = -1
        for unit in section:
            chunk = chunks[-1]
            if len(unit) == 1 and unit[0].row is None and unit[0].token == comma:
                last_comma = len(chunk)
            elif len(chunk) == room and last_comma >= 0 and room - last_comma <= BACKTRACK:
                chunks.append(chunk[last_comma + 1 :])
                del chunk[last_comma + 1 :]
                last_comma = -1
            for first in range(0, len(unit), room):
                part = unit[first : first + room]
                if len(chunks[-1]) + len(part) > room:
                    chunks.append([])
                    last_comma = -1
                chunks[-1] += part
    if len(chunks) > 1 and not chunks[-1]:
        chunks.pop()
    return chunks
