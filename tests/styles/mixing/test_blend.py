"""Blends: order-free, exact through JSON, and only from numbers that make sense; what sounds when."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from styles.errors import BlendError
from styles.mixing.blend import MODES, MOST_POINTS, MOST_STYLES, Blend, BlendPart, progress_of

WEIGHTS = st.dictionaries(st.text(min_size=1), st.floats(-4, 4), max_size=6)
SCHEDULES = st.lists(st.tuples(st.floats(0, 1), st.floats(-1, 1)), min_size=1, max_size=5).map(
    lambda points: tuple(sorted(points, key=lambda point: point[0]))
)
PARTS = st.builds(
    BlendPart,
    style=st.text(min_size=1),
    weight=st.floats(-4, 4),
    schedule=st.none() | SCHEDULES,
    composition=st.floats(0, 4),
    texture=st.floats(0, 4),
    muted=st.booleans(),
    solo=st.booleans(),
)
A, B, C = "abc"


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


@settings(max_examples=60, deadline=None)
@given(st.lists(PARTS, max_size=5, unique_by=lambda part: part.style), st.sampled_from(MODES), st.randoms())
def test_all_that_a_blend_says_survives_json(parts: list[BlendPart], mode: str, random) -> None:  # type: ignore[no-untyped-def]
    blend = Blend(tuple(parts), mode)
    random.shuffle(parts)
    assert Blend(tuple(parts), mode) == blend
    assert Blend.from_json(json.loads(json.dumps(blend.to_json(), allow_nan=False))) == blend


def test_json_of_before_schedules_reads_and_is_written_as_it_was() -> None:
    old = [{"style": "a", "weight": 0.1}, {"style": "b", "weight": -1.0}]
    blend = Blend.from_json(old)
    assert blend == Blend((BlendPart("b", -1), BlendPart("a", 0.1)))
    assert json.dumps(blend.to_json()) == json.dumps(old)
    assert json.dumps(Blend((BlendPart("a", 1),)).to_json()) == '[{"style": "a", "weight": 1.0}]'


def test_a_schedule_is_linear_between_its_points_and_level_outside() -> None:
    part = BlendPart(A, 2.0, ((0.2, 0.0), (0.6, 1.0), (0.6, 0.5), (0.8, 0.5)))
    at = [part.weight_at(progress) for progress in (0, 0.2, 0.3, 0.4, 0.59999, 0.6, 0.7, 0.8, 1)]
    assert at == pytest.approx([0, 0, 0.5, 1, 2, 1, 1, 1, 1], abs=1e-3)
    assert BlendPart(A, 0.7).weight_at(0.3) == 0.7
    assert BlendPart(A, 0.7, ((0.5, 1),)).weight_at(0) == 0.7
    assert [progress_of(step, 5) for step in range(5)] == [0, 0.25, 0.5, 0.75, 1]
    assert progress_of(0, 1) == 0


def test_mute_and_solo() -> None:
    blend = Blend((BlendPart(A, 1), BlendPart(B, 0.5), BlendPart(C, 0)))
    ids = (C, B, A)
    assert blend.gains_at(0, ids) == (0, 0.5, 1)
    assert blend.changed(A, muted=True).gains_at(0, ids) == (0, 0.5, 0)
    assert blend.changed(A, solo=True).gains_at(0, ids) == (0, 0, 1)
    assert blend.changed(A, solo=True).changed(B, solo=True).gains_at(0, ids) == (0, 0.5, 1)
    assert blend.changed(A, solo=True, muted=True).gains_at(0, ids) == (0, 0, 0)
    assert blend.changed(A, solo=True).weight_of(B) == 0.5
    assert blend.gains_at(0, ("other",)) == (0,)
    assert blend.changed("d", muted=True).weight_of("d") == 0


def test_taking_turns_has_one_style_on_at_each_step() -> None:
    blend = Blend((BlendPart(A, 1), BlendPart(B, 0.5), BlendPart(C, 0), BlendPart("d", 2)), "take turns")
    rows = [blend.gains_of_step(step, 7, (A, B, C, "d")) for step in range(7)]
    turns = [(1, 0, 0, 0), (0, 0.5, 0, 0), (0, 0, 0, 2)]  # a style without weight has no turn
    assert rows == [*turns, *turns, turns[0]]
    muted = blend.changed(B, muted=True)
    assert [muted.gains_of_step(step, 7, (A, B, "d")) for step in range(2)] == [(1, 0, 0), (0, 0, 2)]
    assert Blend(mode="take turns").gains_of_step(0, 1, (A,)) == (0,)
    summed = Blend(blend.parts)
    assert summed.gains_of_step(3, 7, (A, B)) == (1, 0.5)
    assert (summed.passes, blend.passes) == (1, 1)
    assert Blend(blend.parts, "average guidance").passes == 3 and Blend(mode="average guidance").passes == 1


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), -float("inf"), 4.1, -100.0])
def test_a_weight_that_is_none_is_refused(weight: float) -> None:
    with pytest.raises(BlendError, match="is not a weight"):
        BlendPart("x", weight)


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        (((0.5, 1), (0.2, 1)), "runs backwards: 0.2 comes after 0.5"),
        ((), "0 points"),
        (((0, 1),) * (MOST_POINTS + 1), f"{MOST_POINTS + 1} points"),
        (((-0.1, 1),), "-0.1 is no place"),
        (((1.1, 1),), "1.1 is no place"),
        (((math.nan, 1),), "nan is no place"),
        (((0, math.nan),), "nan is not a weight"),
        (((0, 5),), "5.0 is not a weight"),
        (((0, 3), (1, -2.5)), "takes a weight of 2 to 6"),
        (((0, 1, 2),), "a place and a weight"),
        ((("x", 1),), "a place and a weight"),
        (3, "a place and a weight"),
    ],
)
def test_a_schedule_that_is_none_is_refused(schedule: object, said: str) -> None:
    with pytest.raises(BlendError, match=said):
        BlendPart("x", 2.0, schedule)  # type: ignore[arg-type]


@pytest.mark.parametrize("knob", ["composition", "texture"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -0.1, 4.5])
def test_a_knob_out_of_range_is_refused(knob: str, value: float) -> None:
    with pytest.raises(BlendError, match=f"no setting for a style's {knob}"):
        BlendPart("x", 1.0, **{knob: value})


@pytest.mark.parametrize(
    "values",
    [
        None,
        3,
        [{}],
        [{"style": "a"}],
        [{"style": "a", "weight": "x"}],
        ["a"],
        {"parts": []},
        {"mode": "sum"},
        {"mode": "multiply", "parts": []},
        [{"style": "a", "weight": 1, "schedule": "0@1"}],
        [{"style": "a", "weight": 1, "schedule": [[1, 1], [0, 1]]}],
        [{"style": "a", "weight": 1, "muted": "no"}],
        [{"style": "a", "weight": 1, "solo": 1}],
        [{"style": "a", "weight": 1, "texture": math.inf}],
        [{"style": "a", "weight": 10**400}],
    ],
)
def test_json_that_is_no_blend_is_refused(values: object) -> None:
    with pytest.raises(BlendError):
        Blend.from_json(values)


def test_a_style_twice_too_many_and_a_strange_mode_are_refused() -> None:
    with pytest.raises(BlendError, match="twice"):
        Blend((BlendPart("a", 1.0), BlendPart("a", 0.5)))
    assert len(Blend(tuple(BlendPart(str(number), 1) for number in range(40))).parts) == 40
    with pytest.raises(BlendError, match="too many"):
        Blend(tuple(BlendPart(str(number), 1) for number in range(MOST_STYLES + 1)))
    with pytest.raises(BlendError, match="no way to mix"):
        Blend((), "multiply")
