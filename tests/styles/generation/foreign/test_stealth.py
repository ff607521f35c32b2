"""What NovelAI hides in the alpha channel."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from styles.errors import RecipeError
from styles.generation.foreign.stealth import stealth_texts
from styles.generation.png_recipe import read_recipe
from tests.styles.generation.foreign.test_objects import NOVELAI


def hidden(path: Path, mark: bytes, data: bytes, length: int | None = None) -> Path:
    """A picture whose alpha channel carries data behind a mark."""
    whole = mark + (8 * len(data) if length is None else length).to_bytes(4, "big") + data
    bits = numpy.unpackbits(numpy.frombuffer(whole, numpy.uint8))
    side = 8 * (1 + int(bits.size**0.5) // 8)
    alpha = numpy.full(side * side, 254, numpy.uint8)
    alpha[: bits.size] |= bits
    pixels = numpy.zeros((side, side, 4), numpy.uint8)
    pixels[..., 3] = alpha.reshape(side, side).T
    Image.fromarray(pixels, "RGBA").save(path)
    return path


def test_hidden_settings_are_read_where_the_texts_say_nothing(tmp_path: Path) -> None:
    texts = {"Description": "a red house", "Software": "NovelAI", "Comment": json.dumps(NOVELAI)}
    packed = gzip.compress(json.dumps(texts).encode())
    path = hidden(tmp_path / "x.png", b"stealth_pngcomp", packed)
    recipe = read_recipe(path, pixels=True)
    assert (recipe.prompt, recipe.seed, recipe.width_px, recipe.height_px) == ("a red house", 5, 512, 768)
    with pytest.raises(RecipeError, match="carries no recipe"):
        read_recipe(path)  # as in a list of many
    plain = "a fox\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 9, Size: 64x64"
    path = hidden(tmp_path / "y.png", b"stealth_pnginfo", plain.encode())
    assert read_recipe(path, pixels=True).seed == 9


@given(
    st.sampled_from([b"stealth_pngcomp", b"stealth_pnginfo", b"something_else_"]),
    st.binary(max_size=60),
    st.integers(0, 2**32 - 1),
)
def test_any_bits_do_no_harm(
    tmp_path_factory: pytest.TempPathFactory, mark: bytes, data: bytes, length: int
) -> None:
    folder = tmp_path_factory.getbasetemp()
    for bits in (None, length):
        texts = stealth_texts(hidden(folder / "hidden.png", mark, data, bits))
        assert all(isinstance(text, str) for text in texts.values())
    Image.new("RGB", (4, 4)).save(folder / "plain.png")
    assert stealth_texts(folder / "plain.png") == {} and stealth_texts(folder / "no such.png") == {}
