"""Words that files bring along: whoever wrote them, judged by the header first."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from styles.errors import StyleFileError
from styles.formats.reader import read_card, read_style
from styles.formats.safetensors_header import Header, open_header
from styles.formats.textual_inversion import FLAG, embeddings, family_of_tokens, token_keys, word_file
from styles.library.header_cache import HeaderCache

LAYER = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"


def header(tmp_path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> Header:
    path = tmp_path / "word.safetensors"
    save_file(tensors, path, metadata)
    return open_header(path)


def layer(width: int = 768) -> dict[str, Tensor]:
    return {
        f"{LAYER}.lora_down.weight": torch.ones(2, width),
        f"{LAYER}.lora_up.weight": torch.ones(32, 2),
        f"{LAYER}.alpha": torch.tensor(2.0),
    }


@pytest.mark.parametrize(
    ("tensors", "metadata", "words"),
    [
        ({"<s1>": (768,), "<s2>": (3, 768)}, {"<s1>": FLAG, "<s2>": FLAG}, {"<s1>": 1, "<s2>": 3}),
        ({"bundle_emb.my ink.v2.string_to_param.*": (2, 768)}, {}, {"my ink.v2": 2}),
        (
            {"bundle_emb.ink.v2.clip_g": (2, 1280), "bundle_emb.ink.v2.clip_l": (2, 768)},
            {},
            {"ink.v2": 2},
        ),
    ],
)
def test_words_beside_layers(
    tmp_path: Path, tensors: dict[str, tuple[int, ...]], metadata: dict[str, str], words: dict[str, int]
) -> None:
    values = {key: torch.randn(shape).half() for key, shape in tensors.items()}
    path = tmp_path / "Ink.safetensors"
    two = len(tensors) > len(words)
    save_file(values | layer(2048 if two else 768), path, metadata | {"ss_v2": "False"})
    card, style = read_card(path), read_style(path)
    assert card.tokens == style.card.tokens == tuple(sorted(words))
    assert card.family == ("sdxl" if two else "sd1")
    assert card.layers == {"unet": 1} and len(style.layers) == 1 and card.rank == 2
    assert {word: len(rows) for word, rows in style.embeddings.items()} == words
    if two:  # the first encoder's rows first
        values = {"": torch.cat([values[key] for key in sorted(values, reverse=True)], dim=-1)}
    for rows, value in zip(style.embeddings.values(), values.values(), strict=True):
        assert torch.equal(rows, value.reshape(-1, rows.shape[-1]).float())


@pytest.mark.parametrize(
    ("key", "shape", "word", "family"),
    [
        ("emb_params", (4, 768), "Night ink", "sd1"),
        ("<cat-toy>", (1024,), "<cat-toy>", "sd2"),
        ("sks", (1, 768), "sks", "sd1"),
        ("<v1.5>", (2, 256), "<v1.5>", "starter"),
    ],
)
def test_a_file_of_nothing_but_a_word(
    tmp_path: Path, key: str, shape: tuple[int, ...], word: str, family: str
) -> None:
    path = tmp_path / "Night ink.safetensors"
    save_file({key: torch.ones(shape)}, path)
    card, style = read_card(path), read_style(path)
    assert card.tokens == (word,) and card.family == style.card.family == family
    assert card.layers == {} and card.rank == 0 and not style.layers and not card.problems
    assert style.embeddings[word].shape == (shape[0] if len(shape) == 2 else 1, shape[-1])


def test_like_files_of_words_keep_their_own_names(tmp_path: Path) -> None:
    cards = HeaderCache()
    for word in ("ink", "oil"):
        save_file({"emb_params": torch.ones(2, 768)}, tmp_path / f"{word}.safetensors")
        assert cards.card(tmp_path / f"{word}.safetensors").tokens == (word,)


@pytest.mark.parametrize("word", ["ink", "ss_ink", "sshs_ink", "modelspec.ink", "atelier_card"])
def test_like_files_are_told_apart_by_what_makes_a_tensor_a_word(tmp_path: Path, word: str) -> None:
    cards, path = HeaderCache(), tmp_path / "style.safetensors"
    save_file(layer() | {word: torch.ones(2, 768)}, path, {word: FLAG})
    assert cards.card(path).tokens == read_card(path).tokens == (word,)
    save_file(layer() | {word: torch.ones(2, 768)}, path, {word: "other"})
    for read in (cards.card, read_card):
        assert read(path).tokens == () and f"also holds {word}, which" in read(path).problems[0]


def test_a_file_without_words_has_none(tmp_path: Path) -> None:
    assert token_keys(header(tmp_path, layer()), "x.safetensors") == {}
    bias = {"text_model.encoder.layers.0.bias": torch.zeros(768)}
    assert token_keys(header(tmp_path, bias), "x.safetensors") == {}
    # A flag for a tensor that isn't there, and one for what is none.
    flags = {"<s1>": FLAG, "unet": FLAG, "": FLAG}
    assert token_keys(header(tmp_path, layer(), flags), "x.safetensors") == {}


@pytest.mark.parametrize("vectors", [(), (1,), (3,)])
def test_a_file_of_one_word_for_two_text_encoders(tmp_path: Path, vectors: tuple[int, ...]) -> None:
    path, first, second = (
        tmp_path / "Night ink.safetensors",
        torch.randn(*vectors, 768),
        torch.randn(*vectors, 1280),
    )
    save_file({"clip_l": first, "clip_g": second}, path)
    card, style = read_card(path), read_style(path)
    assert card.tokens == ("Night ink",) and card.family == style.card.family == "sdxl"
    assert card.layers == {} and not card.problems
    assert torch.equal(style.embeddings["Night ink"], torch.cat([first, second], -1).reshape(-1, 2048))


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"clip_g": (1, 1280)}, r"rows for clip_g only.*reads clip_l and clip_g"),
        ({"bundle_emb.ink.clip_g": (1, 1280)}, "ink has rows for clip_g only"),
        ({"clip_l": (1, 768)}, "x has rows for clip_l only"),
        ({"clip_l": (1, 768), "clip_g": (2, 1280)}, r"the shape \[1, 768\] and \[2, 1280\]; a word is 1 to 75"),
        ({"clip_l": (1, 1280), "clip_g": (1, 768)}, r"768 \+ 1280 numbers"),
        ({"bundle_emb.ink.clip_l": (1, 768), "bundle_emb.ink.string_to_param.*": (1, 768)}, "ink has rows for"),
        (
            {f"bundle_emb.{word}.{end}": (1, 768 if end[-1] == "l" else 1280)
             for word in ("ink", "Ink") for end in ("clip_l", "clip_g")},
            "the same in a prompt: Ink, ink",
        ),
        (
            {"bundle_emb.a.clip_l": (1, 768), "bundle_emb.a.clip_g": (1, 1280), "bundle_emb.b.string_to_param.*": (1, 768)},
            "different text encoders",
        ),
    ],
)  # fmt: skip
def test_words_that_two_text_encoders_cannot_read_are_refused(
    tmp_path: Path, tensors: dict[str, tuple[int, ...]], said: str
) -> None:
    with pytest.raises(StyleFileError, match=said):
        token_keys(
            header(tmp_path, {key: torch.ones(shape) for key, shape in tensors.items()}), "x.safetensors"
        )


@pytest.mark.parametrize("shape", [(), (76, 768), (1, 1, 768), (5,), (2, 2048), (768, 1)])
def test_what_is_no_row_of_a_text_encoder_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(StyleFileError, match=r"<s1>.*1 to 75 rows of 256, 768, 1024 or 768 \+ 1280 numbers"):
        token_keys(header(tmp_path, {"<s1>": torch.ones(shape)} | layer(), {"<s1>": FLAG}), "x.safetensors")


@pytest.mark.parametrize("word", ["", " ", "a\nb", "a\0", "x" * 61, "ink\u202e", "<|endoftext|>", " ink"])
def test_a_word_that_nobody_can_type_is_refused(tmp_path: Path, word: str) -> None:
    with pytest.raises(StyleFileError, match="can't be typed") as refused:
        token_keys(header(tmp_path, {word: torch.ones(768)} | layer(), {word: FLAG}), "x.safetensors")
    assert refused.value.message.isprintable()


def test_words_that_are_one_in_a_prompt_are_refused(tmp_path: Path) -> None:
    for one, other in (("<s1>", "<S1>"), ("cat", "<cat>")):
        words = {one: torch.ones(768), other: torch.zeros(768)}
        with pytest.raises(StyleFileError, match="the same in a prompt"):
            token_keys(header(tmp_path, words | layer(), {one: FLAG, other: FLAG}), "x.safetensors")
    many = {f"<s{number}>": torch.ones(768) for number in range(65)}
    with pytest.raises(StyleFileError, match="65 words"):
        token_keys(header(tmp_path, many | layer(), dict.fromkeys(many, FLAG)), "x.safetensors")
    mixed = {"<s1>": torch.ones(768), "<s2>": torch.ones(1024)}
    with pytest.raises(StyleFileError, match="different text encoders"):
        token_keys(header(tmp_path, mixed | layer(), dict.fromkeys(mixed, FLAG)), "x.safetensors")


def test_words_and_layers_for_different_bases_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "Ink.safetensors"
    save_file({"<s1>": torch.ones(1024)} | layer(), path, {"<s1>": FLAG})
    for read in (read_card, read_style):
        with pytest.raises(StyleFileError, match=r"Ink.*words are for Stable Diffusion 2, its layers for"):
            read(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e5])
def test_rows_of_no_use_are_refused(tmp_path: Path, value: float) -> None:
    tensors = {"<s1>": torch.full((2, 768), value)}
    found = header(tmp_path, tensors | layer(), {"<s1>": FLAG})
    tokens = token_keys(found, "x.safetensors")
    assert list(tokens) == ["<s1>"] and family_of_tokens(found, tokens) == "sd1"
    with pytest.raises(StyleFileError, match="damaged"):
        embeddings(tensors, tokens, "x.safetensors")
    with pytest.raises(StyleFileError, match="damaged"):
        read_style(tmp_path / "word.safetensors")


@pytest.mark.parametrize("width", [768, 2048])
def test_a_word_leaves_in_a_file_that_reads_back(tmp_path: Path, width: int) -> None:
    rows = torch.randn(3, width)
    path = tmp_path / "word_1.safetensors"
    path.write_bytes(word_file("<s1>", rows))
    style = read_style(path)
    assert list(style.embeddings) == ["<s1>"] and torch.equal(style.embeddings["<s1>"], rows)
