"""A style really learns: a smaller version of tests/benchmarks/learning.py, on one hand that the starter never saw."""

from __future__ import annotations

from pathlib import Path

import pytest

from styles.storage.home import Home
from tests.benchmarks.learning import TRIGGER
from tests.benchmarks.style_exam import BARS, Bench, Prompts, Reference, artworks_of, train_style, untrained
from training.starter.evaluate import PaintPlan

HAND, OTHER = "cyanotype", "ochre dabs"
PICTURES = 12


@pytest.fixture(scope="module")
def bench(starter: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """The starter with its unstyled pictures; no classifier is at hand in the tests."""
    folder = tmp_path_factory.mktemp("learning")
    home = Home(folder / "home")
    home.create()
    return Bench.open(starter, home, Prompts.of(PICTURES), PaintPlan(steps=8), TRIGGER, folder, "cpu")


def test_a_style_closes_the_gap_to_a_new_hand(bench: Bench, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.create()
    reference, other = Reference.of(bench, HAND), Reference.of(bench, OTHER)
    style, _ = train_style(bench, home, artworks_of(HAND, tmp_path), "quick", 0, steps=60, preview_every=0)
    unstyled, half, full, against = (bench.paint(style, weight) for weight in (0.0, 0.5, 1.0, -1.0))

    d0, d_half, d1, d_against = (
        reference.distances(pictures) for pictures in (unstyled, half, full, against)
    )
    closed = reference.closed(d0, d1)
    # Fewer steps and pictures than the benchmark's, so a little less is asked for.
    assert all(closed[part] >= 0.8 * bar for part, bar in BARS.items()), closed
    assert d_against["overall"] > d0["overall"] > d_half["overall"] > d1["overall"]

    # What must not pass: the other hand is not what was learnt, and nothing is learnt without a step.
    astray = other.closed(other.distances(unstyled), other.distances(full))
    assert any(astray[part] < bar for part, bar in BARS.items()), astray
    nothing = reference.closed(d0, reference.distances(bench.paint(untrained(style), 1.0)))
    assert any(nothing[part] < bar for part, bar in BARS.items()), nothing
