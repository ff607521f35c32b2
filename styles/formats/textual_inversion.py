"""Words that a file brings along for prompts: textual inversion (arXiv 2208.01618), read from it.

A word is a few rows for the text encoder's table of words, where a prompt names it. Such rows come
- beside the layers of a style: flagged `<embed>` in the metadata, as the first LoRA for Stable Diffusion wrote them
  (https://github.com/cloneofsimo/lora), or named `bundle_emb.<word>.string_to_param.*` (OneTrainer; A1111 reads them);
- alone: one tensor under the word itself (diffusers), or `emb_params`, where the file's name is the word (A1111).

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

if TYPE_CHECKING:
    from torch import Tensor

FLAG = "<embed>"
BUNDLED = re.compile(r"bundle_emb\.(.+)\.string_to_param\.\*", re.DOTALL)
BUNDLED_FOR_TWO = re.compile(r"bundle_emb\..+\.clip_[lg]", re.DOTALL)
ALONE = "emb_params"
ALONE_FOR_TWO = {"clip_l", "clip_g"}
MOST_VECTORS = 75  # of one word: CLIP reads 77 places, of which the first and the last are marks
# Of a row, with the family whose only text encoder has such.
WIDTHS = {one.words: one.id for one in FAMILIES.values() if len(one.text_encoders) == 1}
LARGEST_NUMBER = 1e4  # CLIP's own rows stay below 1; beyond this half precision would overflow
MARKS = {"<|startoftext|>", "<|endoftext|>"}  # CLIP's own


def token_keys(header: Header, name: str) -> dict[str, str]:
    """Return the tensor of each word that the file called `name` brings along, by word; empty for nearly all files.

    Raises StyleFileError for words that can't be used: for SDXL's two text encoders, of another shape than a text
    encoder's rows, or with a name that can't be typed or is there twice.
    """
    keys, metadata = set(header.tensors), header.metadata
    for_two = keys if keys <= ALONE_FOR_TWO else {key for key in keys if BUNDLED_FOR_TWO.fullmatch(key)}
    if for_two:
        raise StyleFileError(
            "it brings words for the two text encoders of Stable Diffusion XL ({for_two}), which can't be used yet.",
            "Ask for the style without them.",
            for_two=clean_text(min(for_two), 120),
        )
    tokens: list[tuple[str, str]] = []
    for key in sorted(keys):
        bundled = BUNDLED.fullmatch(key)
        if bundled:
            tokens.append((bundled[1], key))
        elif metadata.get(key) == FLAG:
            tokens.append((key, key))
    if not tokens and keys == {ALONE}:
        tokens = [(clean_text(PurePath(name).stem, LONGEST_TAG), ALONE)]
    elif not tokens and all(_is_word_alone(key, header) for key in keys):
        tokens = [(key, key) for key in sorted(keys)]
    if not tokens:
        return {}
    _check_names([word for word, _ in tokens])
    for word, key in tokens:
        _check_shape(header, word, key)
    if len({header.tensors[key].shape[-1] for _, key in tokens}) > 1:
        raise StyleFileError("it brings words for different text encoders.", "Get the file again.")
    return dict(sorted(tokens))


def words_among(keys: Iterable[str]) -> list[str]:
    """Return the words that tensors of a file of ours are named after."""
    others = [key for key in keys if not key.startswith(("lora_", "base_model."))]
    return [match[1] if (match := BUNDLED.fullmatch(key)) else key for key in others]


def family_of_tokens(header: Header, tokens: Mapping[str, str]) -> str:
    """Return the family whose text encoder has rows as wide as the words', empty without words."""
    return next((WIDTHS[header.tensors[key].shape[-1]] for key in tokens.values()), "")


def embeddings(tensors: Mapping[str, Tensor], tokens: Mapping[str, str], name: str) -> dict[str, Tensor]:
    """Return the rows of each word, (vectors, width) in fp32; raises StyleFileError for what are no numbers."""
    import torch

    rows = {}
    for word, key in tokens.items():
        rows[word] = tensors[key].reshape(-1, tensors[key].shape[-1]).to(torch.float32)
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
    return {f"bundle_emb.{word}.string_to_param.*": _short(rows) for word, rows in words.items()}


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

    return save({word: _short(rows)} if _may_stand_alone(word) else bundled({word: rows}))


def _short(rows: Tensor) -> Tensor:
    """Rows in fp16 where that loses nothing, else in fp32."""
    import torch

    rows = rows.detach().to("cpu", torch.float32).contiguous()
    half = rows.to(torch.float16)
    return half if torch.equal(half.to(torch.float32), rows) else rows


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
        raise StyleFileError(
            "it brings words that are the same in a prompt: {twice}.",
            "Ask whoever made it for a file with different words.",
            twice=", ".join(sorted(twice)[:4]),
        )


def spelling(word: str) -> str:
    """Return what tells a word from others in a prompt: case and the brackets around it don't."""
    return bare(word).casefold()


def bare(word: str) -> str:
    """Return a word without the brackets that are usually around it."""
    return word[1:-1] if len(word) > 2 and word[0] == "<" and word[-1] == ">" else word


def _check_shape(header: Header, word: str, key: str) -> None:
    shape = header.tensors[key].shape
    vectors = shape[0] if len(shape) == 2 else 1
    if len(shape) not in (1, 2) or not 1 <= vectors <= MOST_VECTORS or shape[-1] not in WIDTHS:
        raise StyleFileError(
            "its word {word} has the shape {shape}; a word is 1 to {most_vectors} rows of {widths} numbers.",
            "It is for another kind of model, or damaged.",
            word=word,
            shape=list(shape),
            most_vectors=MOST_VECTORS,
            widths=_listed(WIDTHS),
        )


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


def _listed(numbers: Iterable[int]) -> str:
    *most, last = [str(number) for number in numbers]
    return f"{', '.join(most)} or {last}"
