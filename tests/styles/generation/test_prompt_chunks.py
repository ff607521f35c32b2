"""Prompts in chunks with weights: A1111's states, by its formula written here."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

from styles.bases.base import Base, open_base
from styles.errors import PromptError
from styles.formats.style import Style, StyleCard
from styles.generation.prompt_chunks import BACKTRACK, MOST_CHUNKS, chunk_prompt
from styles.generation.prompt_syntax import literal, parse_prompt
from styles.generation.prompts import PromptReading, cut_words, emphasised, encode_prompts
from styles.generation.request import CreateRequest, fill_in, request_again
from styles.mixing.blend import Blend, BlendPart
from styles.mixing.prompt_words import NO_WORDS, Vocabulary, vocabulary
from styles.storage.home import Home
from tests.styles.painting import apart, paint, pipeline_of, pixels, style_for
from tests.tiny import tiny_tokenizer

LONG = ", ".join(["a red cat in the house", "a blue fish on the boat", "the moon"] * 9)  # three chunks
WORD = "a1b2c3" + "0" * 58


@pytest.fixture(scope="module")
def bases(
    tiny_base: Path, tiny_sd1: Path, tiny_sd2: Path, tiny_sdxl: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Base]:
    home = Home(tmp_path_factory.mktemp("home"))
    folders = {"starter": tiny_base, "sd1": tiny_sd1, "sd2": tiny_sd2, "sdxl": tiny_sdxl}
    opened = {family: open_base(folder, home, device="cpu") for family, folder in folders.items()}
    for one in opened.values():
        for encoder in one.text_encoders:
            with_mean(encoder)
    return opened


def with_mean(encoder: Any) -> Any:
    """The same text encoder with states of a mean; one that has learnt nothing has none to be restored."""
    with torch.no_grad():
        encoder.get_input_embeddings().weight += 0.02
        getattr(encoder, "text_model", encoder).final_layer_norm.bias += 0.2
    return encoder


@pytest.fixture(scope="module")
def base(bases: dict[str, Base]) -> Base:
    return bases["sd1"]


def words_in(prompt: str, words: Vocabulary = NO_WORDS) -> list[str]:
    """The tokens of each chunk of a prompt, a row of a style's word as *, as CLIP's tokenizer has them at 77."""
    tokenizer = tiny_tokenizer(77)
    chunks = chunk_prompt(tokenizer, parse_prompt(prompt), words).chunks
    return [
        "".join(
            "*" if place.row is not None else tokenizer.convert_ids_to_tokens(place.token) for place in chunk
        ).replace("</w>", " ")
        for chunk in chunks
    ]


def test_a_chunk_has_75_tokens_and_break_begins_another() -> None:
    assert words_in("") == [""] and words_in("cat") == ["cat "]
    assert words_in("red " * 75) == ["red " * 75]
    assert words_in("red " * 76) == ["red " * 75, "red "]
    assert words_in("cat BREAK fish") == ["cat ", "fish "]
    assert words_in("cat BREAK") == ["cat "] and words_in("BREAK cat") == ["", "cat "]
    assert words_in("red " * 75 + "BREAK cat") == ["red " * 75, "cat "]
    assert words_in("red " * 80 + "BREAK (cat:1.3)") == ["red " * 75, "red " * 5, "cat "]


@pytest.mark.parametrize("behind", [1, 5, BACKTRACK - 1, BACKTRACK])
def test_what_stands_shortly_behind_a_comma_moves_to_the_next_chunk(behind: int) -> None:
    head = "red " * (75 - behind - 1) + ", " + "cat " * behind
    assert words_in(head) == [head]
    moves = behind + 1 <= BACKTRACK
    expected = [head.removesuffix("cat " * behind), "cat " * behind + "fish "]
    assert words_in(head + "fish") == (expected if moves else [head, "fish "])


def test_a_comma_at_the_end_of_a_chunk_moves_nothing() -> None:
    full = "red " * 74 + ", "
    assert words_in(full + "cat") == [full, "cat "]
    # One that no longer fits begins the next, as in A1111.
    assert words_in("red , " + "red " * 73 + ", cat") == ["red , " + "red " * 73, ", cat "]


def test_a_word_of_a_style_is_not_torn(base: Base) -> None:
    words = {"<s1>": torch.randn(40, 768), "<s2>": torch.randn(80, 768)}
    added = vocabulary(base, [(WORD, Style(StyleCard("Ink", "sd1", 0, id=WORD), (), words))])
    assert words_in("red " * 35 + "<s1>", added) == ["red " * 35 + "*" * 40]
    assert words_in("red " * 36 + "(<s1>:1.2) cat", added) == ["red " * 36, "*" * 40 + "cat "]
    assert words_in("<s1><s1>", added) == ["*" * 40] * 2
    # One that fits into no chunk has to be.
    assert words_in("cat <s2>", added) == ["cat ", "*" * 75, "*" * 5]


def test_chunks_hold_all_that_was_written_in_its_order() -> None:
    dice, tokenizer = random.Random(3), tiny_tokenizer(77)
    for _ in range(20):
        text = "".join(dice.choice(["cat", ",", "xyz", "日", "(red:1.2)", "fish"]) + " " for _ in range(150))
        plain = text.replace("(red:1.2)", "red")
        read = chunk_prompt(tokenizer, parse_prompt(text))
        tokens = [place.token for chunk in read.chunks for place in chunk]
        assert tokens == tokenizer(plain, add_special_tokens=False, truncation=False, verbose=False).input_ids
        assert all(len(chunk) <= 75 for chunk in read.chunks) and read.tokens == len(tokens)
        starts = [place.start for chunk in read.chunks for place in chunk]
        assert starts == sorted(starts)


def a1111(
    encoder: Any, tokenizer: Any, chunks: list[list[tuple[str, float]]], skip: int = 0, final: bool = True
) -> Tensor:
    """States (1, tokens, width): each chunk alone, times its weights, with the mean that it had without them.

    `skip` layers of the encoder are left out, and its `final` norm is not.
    """
    states = []
    for chunk in chunks:
        ids, weights = [tokenizer.bos_token_id], [1.0]
        for text, weight in chunk:
            tokens = tokenizer(text, add_special_tokens=False).input_ids
            ids += tokens
            weights += [weight] * len(tokens)
        ids.append(tokenizer.eos_token_id)
        ids += [tokenizer.pad_token_id] * (77 - len(ids))
        weights += [1.0] * (77 - len(weights))
        with torch.no_grad():
            hidden = encoder(torch.tensor([ids]), output_hidden_states=True).hidden_states[-1 - skip]
            z = encoder.final_layer_norm(hidden) if final else hidden
        weighted = z * torch.tensor(weights)[None, :, None]
        states.append(weighted * (z.mean() / weighted.mean()))
    return torch.cat(states, dim=1)


PROMPT = "(a red cat:1.3) in [the house] BREAK ((the moon)) \\(red\\), fish"
CHUNKS = [
    [("a red cat", 1.3), (" in ", 1.0), ("the house", 1 / 1.1)],
    [("the moon", 1.21), (" (red), fish", 1.0)],
]


@pytest.mark.parametrize("family", ["sd1", "sd2"])
def test_states_are_those_of_a1111(family: str, bases: dict[str, Base]) -> None:
    base = bases[family]
    encoder, tokenizer = base.text_encoders[0], base.tokenizers[0]
    theirs = a1111(encoder, tokenizer, CHUNKS)
    torch.testing.assert_close(encode_prompts(base, [PROMPT]).states, theirs, atol=1e-6, rtol=1e-6)
    # A shorter prompt beside it has an empty chunk behind it.
    both = encode_prompts(base, ["a cat", PROMPT]).states
    torch.testing.assert_close(both[1:], theirs, atol=1e-5, rtol=1e-5)
    alone = a1111(encoder, tokenizer, [[("a cat", 1.0)], []])
    torch.testing.assert_close(both[:1], alone, atol=1e-5, rtol=1e-5)


def test_both_encoders_of_sdxl_are_weighted_alone_and_the_first_chunk_is_pooled(
    bases: dict[str, Base],
) -> None:
    base = bases["sdxl"]
    ours = encode_prompts(base, [PROMPT])
    theirs = [
        a1111(getattr(encoder, "text_model", encoder), tokenizer, CHUNKS, skip=1, final=False)
        for encoder, tokenizer in zip(base.text_encoders, base.tokenizers, strict=True)
    ]
    torch.testing.assert_close(ours.states, torch.cat(theirs, dim=-1), atol=1e-6, rtol=1e-6)
    first = encode_prompts(base, ["a red cat in the house"])
    assert ours.pooled is not None and torch.equal(ours.pooled, first.pooled)
    zeros = replace(base, zeros_for_empty_prompt=True)
    empty = encode_prompts(zeros, ["", PROMPT])
    assert empty.pooled is not None and not empty.states[0].any() and not empty.pooled[0].any()
    assert empty.states.shape[1] == 2 * 77 and empty.states[1].any()


@pytest.mark.parametrize("family", ["starter", "sd1", "sd2"])
def test_a_plain_prompt_of_one_chunk_is_what_it_was_to_the_bit(family: str, bases: dict[str, Base]) -> None:
    base = bases[family]
    encoder, tokenizer = base.text_encoders[0], base.tokenizers[0]
    limit = {"padding": "max_length", "max_length": tokenizer.model_max_length, "truncation": True}
    for text in ("", "a red cat", " A  RED\ncat, 日本: <x> a|b ", "red " * (tokenizer.model_max_length - 2)):
        with torch.no_grad():
            before = encoder(tokenizer(text, return_tensors="pt", **limit).input_ids)[0]
        assert torch.equal(encode_prompts(base, [text]).states, before)
    # Without signs each bracket is a letter, and what is beyond the limit is left out.
    for text in ("a (red) cat:1.2) [x BREAK y \\(", "red (" * 90):
        with torch.no_grad():
            before = encoder(tokenizer(text, return_tensors="pt", **limit).input_ids)[0]
        assert torch.equal(encode_prompts(base, [text], reading=PromptReading(signs=False)).states, before)


def test_states_without_a_mean_stay_as_weighted() -> None:
    states = torch.randn(2, 77, 64)
    states[0] -= states[0].mean()
    states[1] += 0.1
    weights = torch.ones(2, 77)
    weights[:, 5:40] = 1.5
    ours = emphasised(states, weights)
    torch.testing.assert_close(ours[0], states[0] * weights[0, :, None])
    torch.testing.assert_close(ours[1].mean(), states[1].mean())
    half = emphasised(states.to(torch.bfloat16), weights)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), ours, atol=0.03, rtol=0.03)


def test_a_words_rows_are_weighted_as_tokens_are(base: Base) -> None:
    words = {"<s1>": torch.randn(3, 768)}
    added = vocabulary(base, [(WORD, Style(StyleCard("Ink", "sd1", 0, id=WORD), (), words))])
    z = encode_prompts(base, ["a <s1> cat"], [added]).states
    weights = torch.ones(77)
    weights[2:5] = 1.4
    weighted = z * weights[:, None]
    theirs = weighted * (z.mean() / weighted.mean())
    for text in ("a (<s1>:1.4) cat", f"a (<S1:{WORD[:6]}>:1.4) cat"):
        ours = encode_prompts(base, [text], [added]).states
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("family", ["sd1", "sd2"])
def test_clip_skip_counts_as_a1111_does(family: str, bases: dict[str, Base]) -> None:
    tiny = bases[family].text_encoders[0].config
    with torch.random.fork_rng():
        torch.manual_seed(4)
        encoder = with_mean(CLIPTextModel(CLIPTextConfig(**tiny.to_dict() | {"num_hidden_layers": 3})).eval())
    base = replace(bases[family], text_encoders=(encoder,))
    for skip in (1, 2, 3):
        ours = encode_prompts(base, [PROMPT], reading=PromptReading(clip_skip=skip)).states
        theirs = a1111(encoder, base.tokenizers[0], CHUNKS, skip=skip - 1)
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)
    with pytest.raises(PromptError, match=r"Clip skip is 4; the text encoder of .* has 3 layers"):
        fill_in(base, CreateRequest("a cat", clip_skip=4), ())


def test_a_long_prompt_paints_as_the_pipeline_with_its_states(base: Base) -> None:
    request = CreateRequest(
        PROMPT, LONG, seeds=(3,), steps=3, guidance=5.0, guidance_rescale=0.0, sampler="ddim", width_px=64,
        height_px=40,
    )  # fmt: skip
    (ours,) = paint(base, request)
    encoder, tokenizer = base.text_encoders[0], base.tokenizers[0]
    negative = encode_prompts(base, [LONG]).states
    assert negative.shape[1] == 3 * 77
    theirs = pipeline_of(base, "ddim")(
        prompt_embeds=a1111(encoder, tokenizer, [*CHUNKS, []]),
        negative_prompt_embeds=negative,
        num_inference_steps=3,
        guidance_scale=5.0,
        generator=torch.Generator().manual_seed(3),
        width=64,
        height=40,
    ).images[0]
    assert abs(pixels(ours.image) - pixels(theirs)).max() <= 1


def test_a_picture_has_the_padding_of_its_own_prompt(base: Base) -> None:
    prompts = ("a cat", "a cat", LONG, "a fish", LONG)
    how: dict[str, Any] = {"negative": "red", "steps": 2, "guidance": 4.0, "width_px": 64, "height_px": 64}
    together = paint(base, CreateRequest(prompts, seeds=(1, 2, 3, 4, 5), batch=5, **how))
    assert [picture.recipe.batch_shape[0] for picture in together] == [2, 2, 1, 1, 1]
    for picture, prompt in zip(together, prompts, strict=True):
        (alone,) = paint(base, CreateRequest(prompt, seeds=(picture.recipe.seed,), **how))
        assert apart(picture, alone) <= 1
    assert [picture.index for picture in together] == [0, 1, 2, 3, 4]


def test_the_starter_reads_one_chunk_with_weights_and_says_so(bases: dict[str, Base]) -> None:
    base = bases["starter"]
    picture = paint(base, CreateRequest("(a red cat:1.3) BREAK a boat", seeds=(1,), steps=1))[0]
    assert picture.notes == ("This base reads a single chunk: BREAK changes nothing in the prompt.",)
    states = encode_prompts(base, ["(a red cat:1.3) BREAK a boat"]).states
    z = encode_prompts(base, ["a red cat a boat"]).states
    weights = torch.ones(40)
    weights[1:4] = 1.3
    weighted = z * weights[:, None]
    torch.testing.assert_close(states, weighted * (z.mean() / weighted.mean()), atol=1e-6, rtol=1e-6)
    assert cut_words(base, "(red:1.2) " * 38 + "\\(Blue\\),  Fish") == "(Blue\\),  Fish"


def test_what_can_not_change_on_the_way_is_said_beside_the_picture(base: Base) -> None:
    request = CreateRequest("[cat:red:fish:0.5] in ([red|blue]:1.2)", "a AND b", seeds=(1,), steps=2)
    (picture,) = paint(base, request)
    assert picture.notes == (
        "In the prompt, “[cat:red:fish:0.5]” is read as plain words.",
        "In the negative prompt, “AND” is read as plain words.",
    )


def test_a_prompt_without_end_is_refused_with_its_length(base: Base) -> None:
    endless = "red " * (75 * MOST_CHUNKS)
    fill_in(base, CreateRequest(endless), ())
    with pytest.raises(PromptError, match="The prompt has 5000 tokens") as refused:
        fill_in(base, CreateRequest("red " * 5000), ())
    assert "20 chunks of 75 tokens" in str(refused.value.hint)
    with pytest.raises(PromptError, match="20001 characters"):
        CreateRequest("x" * 20_001)
    with pytest.raises(PromptError, match=r"weight 1e\+09"):
        CreateRequest("a cat", "(word:1e9)")
    CreateRequest("a cat (word:1e9)", prompt_signs=False)
    assert chunk_prompt(base.tokenizers[0], literal("red " * 5000)).cut == 300


def test_a_style_whose_trigger_is_weighted_paints_with_its_word(base: Base) -> None:
    words = {"<s1>": torch.randn(2, 768) * 3}
    style = Style(StyleCard("Ink", "sd1", 0, id=WORD, tokens=("<s1>",)), (), words)
    how: dict[str, Any] = {"seeds": (5,), "steps": 2, "blends": (Blend((BlendPart(WORD, 1.0),)),)}
    plain, weighted = (
        paint(base, CreateRequest(text, **how), (style,))[0] for text in ("a <s1>", "a (<s1>:1.5)")
    )
    assert apart(plain, weighted) > 1


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_a_long_prompt_is_painted_with_styles_and_again_to_the_bit(
    family: str, bases: dict[str, Base]
) -> None:
    base = bases[family]
    styles = (style_for(base, 3), style_for(base, 4))
    how: dict[str, Any] = {"negative": "red", "steps": 2, "guidance": 4.0, "width_px": 64, "height_px": 64}
    request = CreateRequest((LONG, "a cat"), seeds=(1, 2), weights=((0.7, 0.5),), **how)
    first, _ = paint(base, request, styles)
    (alone,) = paint(base, CreateRequest(LONG, seeds=(1,), weights=((0.7, 0.5),), **how), styles)
    assert apart(first, alone) <= 1
    (again,) = paint(base, request_again(alone.recipe), styles)
    assert apart(again, alone) == 0
    (without,) = paint(base, CreateRequest(LONG, seeds=(1,), weights=((0.0, 0.0),), **how), styles)
    assert apart(without, alone) > 1
