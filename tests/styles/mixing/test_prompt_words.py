"""Words of styles in prompts: read as the tools that made them read them, and gone without a trace."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from safetensors.torch import load_file
from torch import Tensor, nn

from styles.bases.base import Base, open_base
from styles.errors import Cancelled, PromptError, WrongFamilyError
from styles.formats.style import Style, StyleCard
from styles.formats.textual_inversion import word_file
from styles.generation.generate import PictureDone, generate
from styles.generation.prompts import cut_words, encode_prompts
from styles.generation.request import CreateRequest, fill_in, request_again
from styles.generation.samplers import DEFAULT_SAMPLER
from styles.mixing.blend import Blend, BlendPart
from styles.mixing.prompt_words import NO_WORDS, Vocabulary, Word, vocabulary
from styles.storage.home import Home
from tests.styles.painting import apart, paint, pipeline_of, prompt_states, style_for, wording_style

A, B = "a1b2c3" + "0" * 58, "b7c8d9" + "0" * 58


@pytest.fixture(scope="module")
def bases(
    tiny_base: Path, tiny_sd1: Path, tiny_sd2: Path, tiny_sdxl: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Base]:
    home = Home(tmp_path_factory.mktemp("home"))
    folders = {"starter": tiny_base, "sd1": tiny_sd1, "sd2": tiny_sd2, "sdxl": tiny_sdxl}
    return {family: open_base(folder, home, device="cpu") for family, folder in folders.items()}


@pytest.fixture
def base(bases: dict[str, Base]) -> Iterator[Base]:
    """A base that must be the same afterwards, to the bit."""
    with untouched(bases["sd1"]):
        yield bases["sd1"]


@contextmanager
def untouched(base: Base) -> Iterator[None]:
    encoders = nn.ModuleList(base.text_encoders)
    state = {name: value.clone() for name, value in encoders.state_dict().items()}
    before = prompt_states(base, ["a red cat <s1>"])
    # After the first call, at which transformers itself hooks into layers whose states are asked for.
    modules = {name: dict(vars(module)) for name, module in encoders.named_modules()}
    hooks = {name: dict(module._forward_hooks) for name, module in encoders.named_modules()}
    # With what the last call asked for, padding and truncation.
    backends = [tokenizer.backend_tokenizer.to_str() for tokenizer in base.tokenizers]
    yield
    assert torch.equal(prompt_states(base, ["a red cat <s1>"]), before)
    after = encoders.state_dict()
    assert list(after) == list(state) and all(torch.equal(after[name], state[name]) for name in state)
    for name, module in encoders.named_modules():
        assert vars(module).keys() == modules[name].keys()
        assert dict(module._forward_hooks) == hooks[name] and not module._forward_pre_hooks
    assert [tokenizer.backend_tokenizer.to_str() for tokenizer in base.tokenizers] == backends


def rows(count: int, width: int = 768, seed: int = 0) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def with_words(style_id: str = A, name: str = "Ink", **words: Tensor) -> Style:
    """A style of nothing but words; `s1` is `<s1>`."""
    tokens = {f"<{word}>" if word[0] == "s" else word: value for word, value in words.items()}
    return Style(StyleCard(name, "sd1", 0, id=style_id, tokens=tuple(tokens)), (), tokens)


def words_of(base: Base, *styles: Style) -> Vocabulary:
    return vocabulary(base, [(style.id, style) for style in styles])


def width_of(base: Base) -> int:
    """The width of a word's rows: those for all text encoders side by side."""
    return sum(encoder.config.hidden_size for encoder in base.text_encoders)


def as_they_did(base: Base, words: dict[str, Tensor], text: str) -> Tensor:
    """Encode as the tools of 2022 did: the words added to the tokenizers, the tables of words made longer."""
    tokenizers, encoders = copy.deepcopy(base.tokenizers), copy.deepcopy(base.text_encoders)
    for word, vectors in words.items():
        names = [word, *(f"{word}_{number}" for number in range(1, len(vectors)))]
        parts = vectors.split([encoder.config.hidden_size for encoder in encoders], dim=-1)
        for tokenizer, encoder, part in zip(tokenizers, encoders, parts, strict=True):
            assert tokenizer.add_tokens(names) == len(names)
            encoder.resize_token_embeddings(len(tokenizer), mean_resizing=False)
            with torch.no_grad():
                for name, vector in zip(names, part, strict=True):
                    encoder.get_input_embeddings().weight[tokenizer.convert_tokens_to_ids(name)] = vector
        text = text.replace(word, " ".join(names))
    return prompt_states(replace(base, tokenizers=tokenizers, text_encoders=encoders), [text])


@pytest.mark.parametrize("family", ["starter", "sd1", "sd2", "sdxl"])
@pytest.mark.parametrize(
    "text", ["<s1>", "a red cat in the style of <s1><s2>, on a boat", "  <s2>the moon<s1> blue!", "<s1> <s1>"]
)
def test_a_prompt_is_read_as_the_tools_that_made_the_words_read_it(
    family: str, text: str, bases: dict[str, Base]
) -> None:
    base = bases[family]
    width = width_of(base)
    words = {"<s1>": rows(1, width, 1), "<s2>": rows(3, width, 2)}
    vocabulary_of = vocabulary(base, [(A, Style(StyleCard("Ink", family, 0, id=A), (), words))])
    with untouched(base):
        ours = prompt_states(base, [text, "a red cat"], [vocabulary_of, vocabulary_of])
    torch.testing.assert_close(ours[:1], as_they_did(base, words, text), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours[1:], prompt_states(base, ["a red cat"]), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(ours[:1], prompt_states(base, [text]), atol=1e-3)


def test_a_words_own_file_means_the_same_in_diffusers(bases: dict[str, Base], tmp_path: Path) -> None:
    base = bases["sd1"]
    copies = replace(
        base,
        tokenizers=(copy.deepcopy(base.tokenizers[0]),),
        text_encoders=(copy.deepcopy(base.text_encoders[0]),),
    )
    pipeline = pipeline_of(copies, DEFAULT_SAMPLER)
    words = {"<s1>": rows(1, seed=1), "<s2>": rows(3, seed=2)}
    for number, (word, vectors) in enumerate(words.items()):
        path = tmp_path / f"{number}.safetensors"
        path.write_bytes(word_file(word, vectors))
        pipeline.load_textual_inversion(str(path))
    text = "a cat <s1> in the <s2> style"
    theirs, _ = pipeline.encode_prompt(text, "cpu", 1, False)
    ink = Style(StyleCard("Ink", "sd1", 0, id=A), (), words)
    torch.testing.assert_close(
        prompt_states(base, [text], [words_of(base, ink)]), theirs, atol=1e-5, rtol=1e-5
    )


def test_a_words_own_file_means_the_same_in_diffusers_for_two_text_encoders(
    bases: dict[str, Base], tmp_path: Path
) -> None:
    base = bases["sdxl"]
    pipeline = StableDiffusionXLPipeline.from_pretrained(base.folder, local_files_only=True)
    words = {"<s1>": rows(1, 2048, seed=1), "<s2>": rows(3, 2048, seed=2)}
    for number, (word, vectors) in enumerate(words.items()):
        path = tmp_path / f"{number}.safetensors"
        path.write_bytes(word_file(word, vectors))
        for name, encoder, tokenizer in (
            ("clip_l", pipeline.text_encoder, pipeline.tokenizer),
            ("clip_g", pipeline.text_encoder_2, pipeline.tokenizer_2),
        ):
            state = {word: load_file(path)[name]}
            pipeline.load_textual_inversion(state, text_encoder=encoder, tokenizer=tokenizer)
    text = "a cat <s1> in the <s2> style"
    states, _, pooled, _ = pipeline.encode_prompt(text, do_classifier_free_guidance=False)
    ink = Style(StyleCard("Ink", "sdxl", 0, id=A), (), words)
    with untouched(base):
        ours = encode_prompts(base, [text], [words_of(base, ink)])
    assert ours.pooled is not None
    torch.testing.assert_close(ours.states, states, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours.pooled, pooled, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(ours.pooled, encode_prompts(base, [text]).pooled, atol=1e-3)


def test_prompts_without_words_are_what_they_were_to_the_bit(base: Base) -> None:
    words = words_of(base, with_words(s1=rows(2)))
    for text in ("", "a red cat", "s1", "< s1 >", "日本 <s3>", "red " * 90):
        plain = prompt_states(base, [text])
        assert torch.equal(prompt_states(base, [text], [words]), plain)
        assert torch.equal(prompt_states(base, [text], [NO_WORDS]), plain)


def test_capitals_and_neighbours_of_a_word(base: Base) -> None:
    words = words_of(base, with_words(s1=rows(1), inkish=rows(1), seed=rows(1)))

    def shape(text: str) -> list[str]:
        return [piece if isinstance(piece, str) else "*" for _, piece in words.pieces(text)]

    assert shape("x<S1>y") == ["x", "*", "y"]
    assert shape("Inkish, inkish") == ["*", ", ", "*"]
    assert shape("pinkish inkishly _inkish") == ["pinkish inkishly _inkish"]
    assert shape("<s1:A1B2>") == ["*"] and shape("<s1:a1b2c3>") == ["*"]
    assert shape("<s1:ffff><s2><s1:a1>") == ["<s1:ffff><s2><s1:a1>"]
    assert (
        "".join(piece for _, piece in words.pieces("<s3> a\n b ") if isinstance(piece, str)) == "<s3> a\n b "
    )
    assert NO_WORDS.speaks("<s1>") is False


def test_a_word_that_the_base_knows_keeps_its_meaning(base: Base) -> None:
    style = with_words(cat=rows(1))
    words = words_of(base, style)
    assert torch.equal(prompt_states(base, ["a cat"], [words]), prompt_states(base, ["a cat"]))
    assert words.speaks("a <cat>") and words.speaks("a <CAT:a1b2c3>") and not words.speaks("a cat")
    meant = words_of(base, with_words(zzz=style.embeddings["cat"]))
    torch.testing.assert_close(
        prompt_states(base, ["a <cat>"], [words]), prompt_states(base, ["a zzz"], [meant])
    )


def test_styles_with_the_same_word_are_told_apart_by_their_ids(base: Base) -> None:
    ink, oil = with_words(A, "Ink", s1=rows(1, seed=1)), with_words(B, "Oil", s1=rows(2, seed=2))
    both = words_of(base, ink, oil)
    with pytest.raises(PromptError, match=r"<S1> is a word of 2 styles in this mix: “Ink”, “Oil”") as refused:
        both.speaks("a cat <S1>")
    assert refused.value.hint == "Write <s1:a1b2c3> for “Ink” or <s1:b7c8d9> for “Oil”."
    for style, long in ((ink, "<s1:a1b2c3>"), (oil, "<s1:b7c8d9>")):
        alone = prompt_states(base, ["a <s1> cat"], [words_of(base, style)])
        assert torch.equal(prompt_states(base, [f"a {long} cat"], [both]), alone)
    assert [word.style for word in words_of(base, oil, ink).words] == [A, B]
    both.speaks("a cat")  # only a prompt that says it is unclear


def test_a_word_takes_as_many_places_as_it_has_rows(bases: dict[str, Base]) -> None:
    base = bases["starter"]
    room = 38  # its 40 places, without the marks at both ends
    words = words_of(base, with_words(s1=rows(3, 256), s2=rows(room, 256), s3=rows(1, 256)))
    fits = "red " * (room - 3) + "<s1>"
    assert cut_words(base, fits, words) == ""
    assert cut_words(base, fits + " Blue Fish", words) == "Blue Fish"
    over = "red " * (room - 2) + "<s1> on a boat"
    assert cut_words(base, over, words) == "<s1> on a boat"
    assert torch.equal(prompt_states(base, [over], [words]), prompt_states(base, ["red " * (room - 2)]))
    assert cut_words(base, "<s2>", words) == "" and cut_words(base, "a <s2>", words) == "<s2>"
    assert (
        cut_words(base, "<s3>" * room, words) == "" and cut_words(base, "<s3>" * (room + 1), words) == "<s3>"
    )
    assert cut_words(base, fits) != ""  # without the style it is but letters
    torch.testing.assert_close(
        prompt_states(base, [fits + " blue"], [words]), prompt_states(base, [fits], [words])
    )


def test_after_an_error_nothing_is_left_behind(base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    words = words_of(base, with_words(s1=rows(2)))

    class Broken(RuntimeError):
        pass

    def fail(*args: Any, **kwargs: Any) -> Tensor:
        raise Broken

    with monkeypatch.context() as patch:
        patch.setattr(base.text_encoders[0].final_layer_norm, "forward", fail)
        with pytest.raises(Broken):
            prompt_states(base, ["<s1>"], [words])
    assert not base.text_encoders[0].get_input_embeddings()._forward_hooks


def test_words_for_another_text_encoder_are_refused(base: Base) -> None:
    request = CreateRequest("a cat", seeds=(1,), steps=1)
    wide = with_words(s1=rows(1, 1024))
    with pytest.raises(WrongFamilyError, match=r"1024 numbers in a row.* reads 768"):
        fill_in(base, request, [wide])


def request(prompt: str, *parts: BlendPart, **more: Any) -> CreateRequest:
    values: dict[str, Any] = {"seeds": (5,), "steps": 2, "blends": (Blend(parts),), "safety_checker": False}
    return CreateRequest(prompt, **values | more)


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_a_word_paints_while_its_style_is_heard(family: str, bases: dict[str, Base]) -> None:
    base = bases[family]
    style = with_words(s1=rows(2, width_of(base)) * 3)
    style = replace(style, card=replace(style.card, family=family))
    heard, silent = BlendPart(A, 1.0), BlendPart(A, 0.0)
    (plain,) = paint(base, request("a cat <s1>"))
    (worded,) = paint(base, request("a cat <s1>", heard), (style,))
    assert apart(plain, worded) > 3
    for part in (silent, BlendPart(A, 1.0, muted=True)):
        (off,) = paint(base, request("a cat <s1>", part), (style,))
        assert apart(plain, off) == 0
    (negative,) = paint(base, request("a cat", heard, negative="<s1>"), (style,))
    (other,) = paint(base, request("a cat", silent, negative="<s1>"), (style,))
    assert apart(negative, other) > 3
    again = request_again(worded.recipe)
    (same,) = paint(base, again, (style,))
    assert apart(same, worded) == 0


@pytest.mark.parametrize("also", [False, True])  # with a style that changes the text encoder, too
def test_each_picture_of_a_batch_has_the_words_of_its_own_styles(base: Base, also: bool) -> None:
    ink, oil = with_words(A, "Ink", s1=rows(1, seed=1) * 3), with_words(B, "Oil", s1=rows(2, seed=2) * 3)
    more = (wording_style(base, 3),) if also else (style_for(base, 3, 0.0),)
    third = BlendPart(more[0].id, 1.0)
    blends = (Blend((BlendPart(A, 1.0), third)), Blend((BlendPart(B, 0.5), third)), Blend((third,)))
    styles = (ink, oil, *more)
    together = paint(
        base, request("a cat <s1>", blends=blends, seeds=(5, 5, 5), batch=3, guidance=2.0), styles
    )
    for picture, blend in zip(together, blends, strict=True):
        needed = tuple(style for style in styles if blend.part_of(style.id))
        (alone,) = paint(base, request("a cat <s1>", blends=(blend,), guidance=2.0), needed)
        assert apart(alone, picture) <= 1
    assert apart(together[0], together[1]) > 3 and apart(together[1], together[2]) > 3
    both = request("a cat <s1>", BlendPart(A, 1.0), BlendPart(B, 1.0))
    with pytest.raises(PromptError, match="2 styles in this mix"):
        generate(base, both, styles)
    with pytest.raises(PromptError, match="2 styles in this mix"):
        generate(base, replace(both, prompt="a cat", negative="<s1>"), styles)


def test_what_the_limit_cuts_is_told_with_words_counted(bases: dict[str, Base]) -> None:
    base, words = bases["starter"], {"<s1>": rows(20, 256)}
    style = Style(StyleCard("Ink", "starter", 0, id=A, tokens=tuple(words)), (), words)
    (picture,) = paint(base, request("<s1> a cat " + "<s1>", BlendPart(A, 1.0)), (style,))
    assert picture.notes[0] == "The prompt is longer than this base reads; left out: “<s1>”."


def test_stopping_in_the_midst_leaves_the_base_as_it_was(base: Base) -> None:
    style = with_words(s1=rows(2))
    calls = iter([False, False, True, True, True])
    with pytest.raises(Cancelled):
        for event in generate(
            base, request("<s1>", BlendPart(A, 1.0), steps=9), (style,), cancelled=lambda: next(calls, True)
        ):
            assert not isinstance(event, PictureDone)


def test_a_base_whose_padding_is_hidden_sees_all_rows_of_a_word(base: Base) -> None:
    encoder = copy.deepcopy(base.text_encoders[0])
    encoder.config.use_attention_mask = True
    masked = replace(base, text_encoders=(encoder,))
    words = {"<s1>": rows(3)}
    style = Style(StyleCard("Ink", "sd1", 0, id=A), (), words)
    ours = prompt_states(masked, ["a <s1>"], [vocabulary(masked, [(A, style)])])
    torch.testing.assert_close(ours, as_they_did(masked, words, "a <s1>"), atol=1e-5, rtol=1e-5)


def test_a_word_is_shown_without_its_rows() -> None:
    assert "tensor" not in repr(Word("<s1>", "<s1:a1b2c3>", A, "Ink", (rows(1),)))
