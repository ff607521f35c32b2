"""Strength: weights from it and back, what is kept, what a mix takes, and what balancing makes of it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from styles.mixing.blend import Blend, BlendPart
from styles.mixing.strength import FULL, MOST, SKETCH, Effect, Effects, balanced, budget
from styles.storage.home import Home

A, B, C = "a" * 64, "b" * 64, "c" * 64


def effect(size: float, direction: int) -> Effect:
    return Effect(size, tuple(size if place == direction else 0.0 for place in range(SKETCH)))


EFFECTS = {A: effect(FULL, 0), B: effect(2 * FULL, 1), C: effect(FULL, 0)}


def test_strength_is_what_makes_styles_equal() -> None:
    weak, strong = effect(FULL / 2, 0), effect(FULL * 3, 1)
    for style in (weak, strong):
        assert style.size * style.weight_for(1.0) == pytest.approx(FULL)
        assert style.strength_of(style.weight_for(0.7)) == pytest.approx(0.7)
    assert weak.weight_for(0.0) == 0.0 and weak.weight_for(-1.0) == -2.0
    assert effect(FULL / 100, 0).weight_for(1.0) == 4.0  # no more than a blend takes
    assert effect(0.0, 0).weight_for(0.5) == 0.5


def test_changes_are_added_with_their_directions() -> None:
    def total(*weights: float, mode: str = "sum") -> float:
        parts = [BlendPart(style, weight) for style, weight in zip((A, B, C), weights, strict=True)]
        return budget(Blend(tuple(parts), mode), EFFECTS).total

    assert total(1, 0, 0) == pytest.approx(1.0) and total(0, 1, 0) == pytest.approx(2.0)
    assert total(1, 0, 1) == pytest.approx(2.0)  # the same way
    assert total(1, 0, -1) == pytest.approx(0.0, abs=1e-12)
    assert total(1, 0.5, 0) == pytest.approx(math.sqrt(2))  # independent
    assert total(1, -1, 1, mode="take turns") == pytest.approx(2.0)
    assert total(1, 1, 1, mode="average guidance") == pytest.approx(math.sqrt(8) / 3)
    assert budget(Blend(), EFFECTS).total == 0.0 and not budget(Blend(), {}).burns


def test_schedules_knobs_and_silence_count() -> None:
    def total(**part: object) -> float:
        return budget(Blend((BlendPart(A, 1.0, **part),)), EFFECTS).total  # type: ignore[arg-type]

    assert total(schedule=((0.0, 0.2), (0.3, 1.5), (1.0, 0.1))) == pytest.approx(1.5)
    assert total(schedule=((0.0, 0.1), (0.3, 2.0), (0.3, 0.1))) == pytest.approx(
        2.0, rel=1e-6
    )  # up to a jump
    assert total(composition=0.5, texture=2.0) == pytest.approx(2.0)
    assert total(muted=True) == 0.0
    # One rises while the other falls: together they are strongest somewhere, never more than at a point of either.
    parts = (
        BlendPart(A, 1.0, schedule=((0.0, 0.0), (1.0, 2.0))),
        BlendPart(C, 1.0, schedule=((0.0, 2.0), (0.5, 1.5), (1.0, 0.0))),
    )
    assert budget(Blend(parts), EFFECTS).total == pytest.approx(2.5)


def test_a_style_that_was_never_measured_counts_as_usual_and_is_named() -> None:
    found = budget(Blend((BlendPart(A, 1.0), BlendPart("d" * 64, -1.0))), EFFECTS)
    assert found.total == pytest.approx(math.sqrt(2)) and found.unknown == ("d" * 64,)


def test_balancing_scales_all_back_by_one_factor() -> None:
    calm = Blend((BlendPart(A, 0.5), BlendPart(B, 0.5)))
    assert balanced(calm, EFFECTS) is calm
    hot = Blend(
        (
            BlendPart(A, 2.0, schedule=((0.0, 2.0), (1.0, 0.0))),
            BlendPart(B, -1.5, texture=1.2),
            BlendPart(C, 1.0, muted=True),
        )
    )
    assert budget(hot, EFFECTS).burns
    cool = balanced(hot, EFFECTS)
    after = budget(cool, EFFECTS)
    assert not after.burns and after.total == pytest.approx(MOST)
    factor = cool.weight_of(A) / hot.weight_of(A)
    assert 0 < factor < 1
    for old, new in zip(hot.parts, cool.parts, strict=True):
        assert new.weight == pytest.approx(old.weight * factor)
        assert (new.schedule, new.texture, new.muted) == (old.schedule, old.texture, old.muted)
    assert balanced(cool, EFFECTS) is cool


def test_what_was_measured_is_kept_by_style_and_base(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    kept = Effects(home)
    assert kept.known("base") == {}
    kept.add("base", {A: effect(0.123456789, 3)})
    kept.add("other", {A: effect(0.5, 0)})
    Effects(home).add("base", {B: effect(0.25, 1)})
    known = Effects(home).known("base")
    assert set(known) == {A, B} and known[A].size == 0.123456789
    assert known[A].sketch == pytest.approx(effect(0.123456789, 3).sketch, rel=1e-4)
    assert Effects(home).known("other")[A].size == 0.5


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "[" * 100_000,
        '{"unit": 2, "effects": []}',
        '{"unit": 1, "effects": {"base": {"a": [1, [1]]}}}',
        '{"unit": 2, "effects": {"base": {"a": [1, [1, 2]], "b": 3, "c": ["x", []], "d": []}}}',
    ],
)
def test_a_damaged_file_is_begun_anew(tmp_path: Path, text: str) -> None:
    home = Home(tmp_path / "home").create()
    kept = Effects(home)
    kept.path.write_text(text, encoding="utf-8")
    assert kept.known("base") == {}
    kept.add("base", {A: effect(0.5, 0)})
    assert kept.known("base")[A].size == 0.5


def test_unwanted_files_do_not_show_as_styles(tmp_path: Path) -> None:
    from styles.library.library import Library

    home = Home(tmp_path / "home").create()
    Effects(home).add("base", {A: effect(0.5, 0)})
    library = Library(home, bundled=tmp_path)
    assert library.cards() == [] and library.unreadable() == []
