"""Blends: order-free, exact through JSON, and only from weights that are numbers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from styles.blend import Blend, BlendPart
from styles.errors import BlendError, UnknownStyleError
from styles.home import Home
from styles.library import Library
from tests.styles.making import random_style, unet_of


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory, tiny_sd1: Path) -> Library:
    library = Library(Home(tmp_path_factory.mktemp("home")), bundled=Path("none"))
    unet = unet_of(tiny_sd1)
    for seed, name in enumerate(("Ink", "a_b-c.d")):
        library.add(random_style(unet, name, seed=seed))
    return library


WEIGHTS = st.dictionaries(st.text(min_size=1), st.floats(-4, 4), max_size=6)


@settings(max_examples=40, deadline=None)
@given(WEIGHTS, st.randoms())
def test_order_means_nothing_and_json_is_exact(weights: dict[str, float], random) -> None:  # type: ignore[no-untyped-def]
    parts = [BlendPart(style, weight) for style, weight in weights.items()]
    blend = Blend(tuple(parts))
    random.shuffle(parts)
    assert Blend(tuple(parts)) == blend and hash(Blend(tuple(parts))) == hash(blend)
    assert Blend.from_json(json.loads(json.dumps(blend.to_json()))) == blend
    assert all(blend.weight_of(style) == weight for style, weight in weights.items())
    assert blend.weight_of("\0 no such style") == 0


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), -float("inf"), 4.1, -100.0])
def test_a_weight_that_is_none_is_refused(weight: float) -> None:
    with pytest.raises(BlendError, match="is not a weight"):
        BlendPart("x", weight)


def test_reads_name_and_weight(library: Library) -> None:
    blend = Blend.parse(["Ink=0.7", "a_b-c.d=-1"], library)
    assert blend.weight_of(library.find("Ink").id) == 0.7
    assert blend.weight_of(library.find("a_b-c.d").id) == -1
    assert Blend.parse(["Ink"], library) == Blend.parse(["Ink=1.0"], library)  # its suggested weight
    assert Blend.parse([], library) == Blend()


@pytest.mark.parametrize(
    "texts", [["Ink=much"], ["Ink="], ["Ink=nan"], ["Ink=inf"], ["Ink=9"], ["Ink=1", "ink=1"]]
)
def test_refuses_what_is_no_blend(library: Library, texts: list[str]) -> None:
    with pytest.raises(BlendError):
        Blend.parse(texts, library)


def test_an_unknown_style_is_told(library: Library) -> None:
    with pytest.raises(UnknownStyleError, match="Did you mean “Ink”"):
        Blend.parse(["Imk=1"], library)


@pytest.mark.parametrize("values", [None, 3, [{}], [{"style": "a"}], [{"style": "a", "weight": "x"}], ["a"]])
def test_json_that_is_no_blend_is_refused(values: object) -> None:
    with pytest.raises(BlendError):
        Blend.from_json(values)


def test_a_style_twice_is_refused() -> None:
    with pytest.raises(BlendError, match="twice"):
        Blend((BlendPart("a", 1.0), BlendPart("a", 0.5)))
