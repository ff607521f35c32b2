"""What is known before a training begins: how the base takes pictures, and what a training would take."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from app.orders import TrainingOrder
from app.studio import Studio
from app.train.measuring import Measuring
from app.train.preparation import USUAL_GRID
from styles.errors import PlanError
from styles.storage.home import Home
from training.plan import plan_for
from training.settings import TrainingSettings


def order(artworks: Path, base: Path, **wishes: object) -> TrainingOrder:
    return TrainingOrder("Rings", tuple(sorted(artworks.iterdir())), base=str(base), **wishes)  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_trial_tells_of_all_presets_and_is_made_once(
    tmp_path: Path, artworks: Path, tiny_base: Path
) -> None:
    studio = Studio(Home(tmp_path / "home"))
    wanted = order(artworks, tiny_base)
    measured, costs = studio.preparation.costs(wanted)
    assert measured.state == "measuring" and all(cost.seconds is None for cost in costs)
    while measured.state == "measuring":
        time.sleep(0.5)
        measured, costs = studio.preparation.costs(wanted)
    assert measured.state == "measured", measured.problem
    quick, balanced, thorough = costs
    assert 0 < quick.seconds < balanced.seconds < thorough.seconds  # type: ignore[operator]
    assert quick.memory_bytes > 50e6 and not quick.on_card
    assert not list(studio.home.root.glob(".trial-*"))

    # Another start knows it; and as many steps more or less need no second trial.
    later = Studio(Home(tmp_path / "home"))
    assert (
        later.preparation.costs(order(artworks, tiny_base, settings=TrainingSettings(steps=7)))[0].state
        == "measured"
    )
    studio.close()
    later.close()


def test_beside_a_training_nothing_is_measured_and_a_trial_can_be_ended(
    tmp_path: Path, tiny_base: Path
) -> None:
    measuring = Measuring(Home(tmp_path / "home").create())
    plan = plan_for("balanced", "starter", 3, name="a", base=str(tiny_base))
    assert measuring.ask(plan, "cpu", "auto", busy=True).state == "waiting"
    assert measuring.ask(plan, "cpu", "auto", busy=False).state == "measuring"
    measuring.stop()
    assert measuring._process is None
    assert measuring.ask(plan, "cpu", "auto", busy=True).state == "waiting", "stopped is not failed"


def test_odd_numbers_are_refused_before_anything_is_tried(
    tmp_path: Path, artworks: Path, tiny_base: Path
) -> None:
    studio = Studio(Home(tmp_path / "home"))
    with pytest.raises(PlanError, match="weight_decay"):
        studio.preparation.costs(order(artworks, tiny_base, settings=TrainingSettings(weight_decay=7.0)))
    assert studio.preparation.grid(str(tiny_base)).resolution_px == 64
    assert studio.preparation.grid(str(tmp_path / "nowhere")) == USUAL_GRID
    assert studio.preparation.grid(str(tiny_base), 96).resolution_px == 96
    studio.close()
