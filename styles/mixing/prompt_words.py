"""Words of styles in prompts: textual inversion, for as long as a style is in the mix.

The tokenizer and the text encoder stay as they are. A prompt is cut at the words, what is between them is read by the
tokenizer, and during the one call of the text encoder the words' rows take the places of what its table says there.

What a word is written like:
- as its file says, `<s1>`, in any case (CLIP reads no capitals), in brackets anywhere, else as a word of its own;
- where the base knows a word of that name (a style's `cat`) only in brackets, `<cat>`: a plain word never changes;
- `<s1:3f2a9c>`, with the first four or more characters of the style's id, always; and it must be so where several
  styles of the mix bring the same word, which is said and never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

from torch import Tensor, nn

from styles.errors import PromptError, WrongFamilyError
from styles.families import family_of
from styles.formats.style import Style
from styles.formats.textual_inversion import bare, spelling
from styles.text import Text, either, quoted

SHOWN_ID = 6  # characters of a style's id in a word's long name


class TextParts(Protocol):
    """What the words need of an open base."""

    @property
    def name(self) -> str: ...
    @property
    def family(self) -> str: ...
    @property
    def text_encoders(self) -> Sequence[Any]: ...
    @property
    def tokenizers(self) -> Sequence[Any]: ...


@dataclass(frozen=True, eq=False)
class Word:
    """A word of a style: how it is written, and its rows (vectors, width) for each text encoder of the base."""

    written: str
    long: str  # with the style's id
    style: str  # id
    style_name: str
    rows: tuple[Tensor, ...] = field(repr=False)


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The words that the styles of one picture add to those of the base."""

    words: tuple[Word, ...] = ()

    def pieces(self, text: str) -> Iterator[tuple[int, str | Word]]:
        """Yield what the text is made of, plain text and words, each with the character at which it begins.

        Raises PromptError for a word that several styles bring.
        """
        done = 0
        for match in self._pattern.finditer(text) if self.words else ():
            word = self._word(match[0])
            if word is None:
                continue
            if match.start() > done:
                yield done, text[done : match.start()]
            yield match.start(), word
            done = match.end()
        if done < len(text):
            yield done, text[done:]

    def speaks(self, text: str) -> bool:
        """Whether the text holds a word of a style; raises PromptError for one that several styles bring."""
        return any(isinstance(piece, Word) for _, piece in self.pieces(text))

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        long = {rf"<{re.escape(_name_of(word.long))}:[\w-]{{4,80}}>" for word in self.words}
        short = sorted({word.written for word in self.words}, key=lambda written: (-len(written), written))
        return re.compile("|".join([*sorted(long, reverse=True), *map(_alone, short)]), re.IGNORECASE)

    def _word(self, token: str) -> Word | None:
        same = [word for word in self.words if word.written.casefold() == token.casefold()]
        if not same:
            name, _, style = bare(token).rpartition(":")
            same = [
                word
                for word in self.words
                if _name_of(word.long).casefold() == name.casefold() and word.style.startswith(style.lower())
            ]
        if len(same) < 2:
            return same[0] if same else None
        names = [quoted(word.style_name) for word in same]
        raise PromptError(
            "{word} is a word of {count} styles in this mix: {names}.",
            "Write {words}.",
            word=token,
            count=len(same),
            names=Text.joined(", ", names),
            words=either(
                Text("{word} for {style}", word=word.long, style=of)
                for word, of in zip(same, names, strict=True)
            ),
        )


NO_WORDS = Vocabulary()


def check_words(base: TextParts, styles: Sequence[Style]) -> None:
    """Raise WrongFamilyError unless the base can read the words that the styles bring along."""
    width = sum(_widths(base))
    for style in styles:
        for token, rows in style.embeddings.items():
            if rows.ndim != 2 or rows.shape[-1] != width:
                raise WrongFamilyError(
                    "“{style}” brings the word {token} with {numbers} numbers in a row; the open base “{base}” reads {width}.",
                    "It is a {family}; open a base of {base_family}.",
                    style=style.name,
                    token=token,
                    numbers=rows.shape[-1],
                    base=base.name,
                    width=width,
                    family=style.card.made_for,
                    base_family=family_of(style.card.family).name,
                )


def vocabulary(base: TextParts, styles: Sequence[tuple[str, Style]]) -> Vocabulary:
    """Return the words of some styles, given with the ids by which they are called in the mix; in any order."""
    words = []
    for style_id, style in sorted(styles, key=lambda pair: pair[0]):
        for token, rows in style.embeddings.items():
            long = f"<{bare(token)}:{style_id[:SHOWN_ID]}>"
            written = next((form for form in (token, f"<{bare(token)}>") if not _known(base, form)), long)
            words.append(Word(written, long, style_id, style.name, rows.split(_widths(base), dim=-1)))
    return Vocabulary(tuple(words)) if words else NO_WORDS


@contextmanager
def rows_in_place(encoder: Any, rows: Sequence[tuple[int, int, Tensor]]) -> Iterator[None]:
    """Lay rows (n, width) over what one encoder's table says, each at (text, place), for the time of the block."""

    def lay(module: nn.Module, inputs: Any, states: Tensor) -> Tensor:  # states: (batch, tokens, width)
        states = states.clone()
        for text, place, row in rows:
            states[text, place : place + len(row)] = row.to(states)
        return states

    if not rows:
        yield
        return
    handle = encoder.get_input_embeddings().register_forward_hook(lay)
    try:
        yield
    finally:
        handle.remove()


def _widths(base: TextParts) -> list[int]:
    """The widths of the rows that each text encoder of the base has for a word."""
    return [encoder.get_input_embeddings().embedding_dim for encoder in base.text_encoders]


def _known(base: TextParts, form: str) -> bool:
    """Whether the base's tokenizer reads this as one word of its own."""
    tokenizer = base.tokenizers[0]
    ids = tokenizer(form, add_special_tokens=False, verbose=False).input_ids
    if len(ids) != 1:
        return False
    return ids[0] != tokenizer.unk_token_id or spelling(form) == spelling(str(tokenizer.unk_token))


def _name_of(long: str) -> str:
    return bare(long).rpartition(":")[0]


def _alone(written: str) -> str:
    """The pattern of a word; no letter may touch it where it begins or ends with one."""
    before = r"(?<!\w)" if re.match(r"\w", written) else ""
    after = r"(?!\w)" if re.search(r"\w\Z", written) else ""
    return f"{before}{re.escape(written)}{after}"
