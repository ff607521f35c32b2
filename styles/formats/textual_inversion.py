"""Words that a file brings along for prompts: textual inversion (arXiv 2208.01618), read from it.

A word is a few rows for the table of words of each text encoder, where a prompt names it. Such rows come
- beside the layers of a style: flagged `<embed>` in the metadata, as the first LoRA for Stable Diffusion wrote them
  (https://github.com/cloneofsimo/lora), or named `bundle_emb.<word>.string_to_param.*` (A1111 reads them);
- alone: one tensor under the word itself (diffusers), or `emb_params`, where the file's name is the word (A1111;
  OneTrainer calls it `emp_params`).
For the two text encoders of Stable Diffusion XL there are two tensors, `clip_l` and `clip_g`, in a file whose name is
the word, or behind `bundle_emb.<word>.`; here both are one row, side by side, as the encoders' states are. For
Stable Diffusion 1 and 2 OneTrainer names the only one `clip_l`, too (StableDiffusionLoRASaver).

`prompt_words.py` makes them words of a prompt.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING

from styles.errors import StyleFileError
from styles.families import FAMILIES
from styles.formats.safetensors_header import Header
from styles.formats.style import LONGEST_TAG, MOST_TAGS
from styles.storage.names import clean_text, tag_name
from styles.text import both, either

if TYPE_CHECKING:
    from torch import Tensor

FLAG = "<embed>"
WORD_KEY = "atelier_word"  # metadata of a file of one word for two text encoders, whose tensors don't name it
ALONE = ("emb_params", "emp_params")
FIRST = "clip_l"  # one of two text encoders, or in OneTrainer's files the only one
ONLY = "string_to_param.*"  # a family's only text encoder, in A1111's words
# The names of the text encoders of each family with the widths of their tables; no two families have the same.
TABLES = {
    one.id: {encoder.embedding or ONLY: encoder.width for encoder in one.text_encoders}
    for one in FAMILIES.values()
}
NAMED = {name for table in TABLES.values() for name in table} - {ONLY}
BUNDLED = re.compile(rf"bundle_emb\.(.+)\.({'|'.join(map(re.escape, sorted([ONLY, *NAMED])))})", re.DOTALL)
# Of a row, with the family whose only text encoder has such.
WIDTHS = {table[ONLY]: family for family, table in TABLES.items() if ONLY in table}
MOST_VECTORS = 75  # of one word: CLIP reads 77 places, of which the first and the last are marks
LARGEST_NUMBER = 1e4  # CLIP's own rows stay below 1; beyond this half precision would overflow
MARKS = {"<|startoftext|>", "<|endoftext|>"}  # CLIP's own

Tokens = Mapping[str, Mapping[str, str]]  # the tensors of each word, by the text encoder that they are for


def token_keys(header: Header, name: str) -> dict[str, dict[str, str]]:
    """Return the tensors of each word that the file called `name` brings along; empty for nearly all files.

    Raises StyleFileError for words that can't be used: for one of two text encoders, of another shape than a text
    encoder's rows, or with a name that can't be typed or is there twice.
    """
    metadata = header.metadata
    # Of OneTrainer: what is added to the states that a text encoder makes of the word.
    keys = {key for key in header.tensors if not key.endswith("_out") or key in metadata}
    rows: list[tuple[str, str, str]] = []
    for key in sorted(keys):
        if bundled := BUNDLED.fullmatch(key):
            rows.append((bundled[1], bundled[2], key))
        elif metadata.get(key) == FLAG:
            rows.append((key, ONLY, key))
    if not rows and keys and keys <= {*ALONE, *NAMED}:
        word = metadata.get(WORD_KEY) or clean_text(PurePath(name).stem, LONGEST_TAG)
        rows = [(word, ONLY if key in ALONE else key, key) for key in keys]
    elif not rows and keys and all(_is_word_alone(key, header) for key in keys):
        rows = [(key, ONLY, key) for key in keys]
    tokens: dict[str, dict[str, str]] = {}
    for word, encoder, key in sorted(rows):
        if encoder in tokens.setdefault(word, {}):
            raise _the_same([word])
        tokens[word][encoder] = key
    for word, of in tokens.items():
        if set(of) == {FIRST} and BUNDLED.fullmatch(of[FIRST]) and _width(header, of[FIRST]) in WIDTHS:
            tokens[word] = {ONLY: of[FIRST]}
    _check_names(list(tokens))
    families = {_family_of(header, word, of) for word, of in tokens.items()}
    if len(families) > 1:
        raise StyleFileError("it brings words for different text encoders.", "Get the file again.")
    return tokens


def words_among(keys: Iterable[str], metadata: Mapping[str, str]) -> list[str]:
    """Return the words that tensors of a file of ours are named after, or its metadata where it is one word alone."""
    others = [key for key in keys if not key.startswith(("lora_", "unet.", "text_encoder."))]
    names = [match[1] if (match := BUNDLED.fullmatch(key)) else key for key in others]
    return list(dict.fromkeys(metadata.get(WORD_KEY, name) if name in NAMED else name for name in names))


def family_of_tokens(header: Header, tokens: Tokens) -> str:
    """Return the family whose text encoders have rows as wide as the words', empty without words."""
    return next((_family_of(header, word, of) for word, of in tokens.items()), "")


def embeddings(tensors: Mapping[str, Tensor], tokens: Tokens, name: str) -> dict[str, Tensor]:
    """Return the rows of each word, (vectors, width) in fp32; raises StyleFileError for what are no numbers.

    Those of several text encoders stand side by side, the family's first one first.
    """
    import torch

    rows = {}
    for word, of in tokens.items():
        table = next(table for table in TABLES.values() if table.keys() == of.keys())
        parts = [tensors[of[encoder]] for encoder in table]
        rows[word] = torch.cat([part.reshape(-1, part.shape[-1]).to(torch.float32) for part in parts], dim=-1)
        # NaN is no number below the largest either.
        if not bool((rows[word].abs() <= LARGEST_NUMBER).all()):
            raise StyleFileError(
                "“{name}” is damaged: its word {word} holds values that are no numbers, or far too large.",
                "Get the file again; a training that diverged leaves such files.",
                name=name,
                word=word,
            )
    return rows


def bundled(words: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return words as the tensors that a style file holds beside its layers; rows (vectors, width)."""
    return {
        f"bundle_emb.{word}.{encoder}": part
        for word, rows in words.items()
        for encoder, part in _by_encoder(rows).items()
    }


def word_files(words: Mapping[str, Tensor]) -> dict[str, bytes]:
    """Return files of one word each by their names: diffusers and A1111 read them, the latter by the file's name."""
    files: dict[str, bytes] = {}
    for number, (word, rows) in enumerate(words.items(), 1):
        name = tag_name(bare(word), f"word_{number}")
        if f"{name}.safetensors" in files:
            name = f"{name}_{number}"
        files[f"{name}.safetensors"] = word_file(word, rows)
    return files


def word_file(word: str, rows: Tensor) -> bytes:
    """Return a file of one word, rows (vectors, width)."""
    from safetensors.torch import save

    parts = _by_encoder(rows)
    if ONLY not in parts:
        return save(parts, {WORD_KEY: word})
    return save({word: parts[ONLY]} if _may_stand_alone(word) else bundled({word: rows}))


def _by_encoder(rows: Tensor) -> dict[str, Tensor]:
    """Rows (vectors, width) of each text encoder, in fp16 where that loses nothing, else in fp32."""
    import torch

    rows = rows.detach().to("cpu", torch.float32)
    half = rows.to(torch.float16)
    rows = half if torch.equal(half.to(torch.float32), rows) else rows
    table = next(
        (one for one in TABLES.values() if sum(one.values()) == rows.shape[-1]), {ONLY: rows.shape[-1]}
    )
    parts = rows.split(list(table.values()), dim=-1)
    return {encoder: part.contiguous() for encoder, part in zip(table, parts, strict=True)}


def _check_names(words: list[str]) -> None:
    if len(words) > MOST_TAGS:
        raise StyleFileError(
            "it brings {count} words for prompts, at most {most_tags} are read.",
            count=len(words),
            most_tags=MOST_TAGS,
        )
    for word in words:
        if not word or word != clean_text(word, LONGEST_TAG) or word.casefold() in MARKS:
            shown = clean_text(ascii(word)[1:-1], 120)
            raise StyleFileError(
                "it brings a word that can't be typed in a prompt: “{shown}”.",
                "Ask whoever made it for a file with a plain word.",
                shown=shown,
            )
    twice = [word for word in words if sum(spelling(word) == spelling(other) for other in words) > 1]
    if twice:
        raise _the_same(twice)


def _the_same(words: list[str]) -> StyleFileError:
    return StyleFileError(
        "it brings words that are the same in a prompt: {twice}.",
        "Ask whoever made it for a file with different words.",
        twice=", ".join(sorted(words)[:4]),
    )


def spelling(word: str) -> str:
    """Return what tells a word from others in a prompt: case and the brackets around it don't."""
    return bare(word).casefold()


def bare(word: str) -> str:
    """Return a word without the brackets that are usually around it."""
    return word[1:-1] if len(word) > 2 and word[0] == "<" and word[-1] == ">" else word


def _family_of(header: Header, word: str, tensors: Mapping[str, str]) -> str:
    """Return the family whose text encoders have such rows; raises StyleFileError where none has."""
    shapes = {encoder: header.tensors[key].shape for encoder, key in sorted(tensors.items(), reverse=True)}
    if shapes.keys() - {ONLY} and shapes.keys() != NAMED:
        raise StyleFileError(
            "its word {word} has rows for {encoders} only; a text model of two encoders reads {needed}.",
            "Get the file again, or ask for one with both.",
            word=word,
            encoders=both(shapes),
            needed=both(sorted(NAMED, reverse=True)),
        )
    vectors = {shape[0] if len(shape) == 2 else 1 for shape in shapes.values()}
    widths = {encoder: shape[-1] for encoder, shape in shapes.items() if len(shape) in (1, 2)}
    family = next((family for family, table in TABLES.items() if table == widths), "")
    if family and len(vectors) == 1 and 1 <= min(vectors) <= MOST_VECTORS:
        return family
    *most, last = [" + ".join(map(str, table.values())) for table in TABLES.values()]
    raise StyleFileError(
        "its word {word} has the shape {shape}; a word is 1 to {most_vectors} rows of {widths} numbers.",
        "It is for another kind of model, or damaged.",
        word=word,
        shape=both(str(list(shape)) for shape in shapes.values()),
        most_vectors=MOST_VECTORS,
        widths=either([", ".join(most), last]),
    )


def lone_part(tokens: Tokens) -> bool:
    """Whether any word has rows for one text encoder, which may be the first of two."""
    return any(key.endswith(f".{FIRST}") for of in tokens.values() for key in of.values() if len(of) == 1)


def _width(header: Header, key: str) -> int:
    return header.tensors[key].shape[-1] if header.tensors[key].shape else 0


def _is_word_alone(key: str, header: Header) -> bool:
    """Whether this may be one word of a file of nothing but words: no module's path, and rows of a known width."""
    shape = header.tensors[key].shape
    return (
        _may_stand_alone(key)
        and len(shape) in (1, 2)
        and shape[-1] in WIDTHS
        and len(shape[:-1]) * shape[0] <= MOST_VECTORS
    )


def _may_stand_alone(word: str) -> bool:
    return bare(word) != word or not set(word) & set(".:/")
