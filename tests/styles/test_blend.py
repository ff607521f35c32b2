"""Blends: order-free, exact through JSON, and only from weights that are numbers."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from styles.blend import Blend, BlendPart
from styles.errors import BlendError

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


@pytest.mark.parametrize("values", [None, 3, [{}], [{"style": "a"}], [{"style": "a", "weight": "x"}], ["a"]])
def test_json_that_is_no_blend_is_refused(values: object) -> None:
    with pytest.raises(BlendError):
        Blend.from_json(values)


def test_a_style_twice_is_refused() -> None:
    with pytest.raises(BlendError, match="twice"):
        Blend((BlendPart("a", 1.0), BlendPart("a", 0.5)))
