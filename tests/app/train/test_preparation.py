"""What is known before a training begins: how the base takes pictures, and what a training would take."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest

from app.orders import TrainingOrder
from app.studio import Studio
from app.train.measuring import RETRY_SECONDS, Measuring
from app.train.preparation import USUAL_GRID
from styles.errors import PlanError
from styles.storage.home import Home
from styles.text import Text, text_to_json
from training.plan import plan_for
from training.settings import TrainingSettings
from training.trial import Trial


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


class Ended:
    """A trial's process that has ended with these words."""

    returncode = 1

    def __init__(self, said: str) -> None:
        self.said = said

    def poll(self) -> int:
        return self.returncode

    def communicate(self) -> tuple[str, str]:
        return self.said, ""

    def kill(self) -> None:
        pass


def test_a_trial_that_failed_is_made_anew_after_a_while(
    tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = json.dumps(
        {"error": text_to_json(Text("There is too little free memory for one step.")), "hint": "Close some."}
    )
    started = []

    def start(*arguments: str) -> Ended:
        started.append(arguments)
        return Ended(full)

    monkeypatch.setattr("app.train.measuring.answering_process", start)
    now = [0.0]
    monkeypatch.setattr("app.train.measuring.time", SimpleNamespace(monotonic=lambda: now[0]))
    measuring = Measuring(Home(tmp_path / "home").create())
    plan = plan_for("balanced", "starter", 3, name="a", base=str(tiny_base))

    def state() -> str:
        return measuring.ask(plan, "cpu", "auto", busy=False).state

    assert [state(), state(), state()] == ["measuring", "failed", "failed"] and len(started) == 1
    assert measuring.ask(plan, "cpu", "auto", busy=False).problem.endswith("for one step. Close some.")
    version = measuring.version()
    now[0] = RETRY_SECONDS
    assert measuring.version() != version, "the page asks again"
    assert [state(), state()] == ["measuring", "failed"] and len(started) == 2
    now[0] = 2 * RETRY_SECONDS
    assert state() == "failed", "the next time later"
    measuring.forget()
    assert state() == "measuring", "the artist asked"
    other = plan_for("balanced", "starter", 3, name="a", base=str(tiny_base), batch=1)
    assert measuring.ask(other, "cpu", "auto", busy=False).state == "measuring", "another plan"


@pytest.mark.parametrize("fitted", [{}, {"batch": 1}, {"quantize": "nf4"}])
def test_what_was_made_to_fit_short_memory_is_not_remembered_for_good(
    fitted: dict[str, object], tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = Trial(5.0, 2.0, 0.5, 2.0, 1.0, 1, True, **fitted)  # type: ignore[arg-type]
    said = json.dumps(asdict(trial))
    monkeypatch.setattr("app.train.measuring.answering_process", lambda *given: Ended(said))
    home, plan = (
        Home(tmp_path / "home").create(),
        plan_for("quick", "starter", 3, name="a", base=str(tiny_base)),
    )
    first, later = Measuring(home), Measuring(home)
    assert [first.ask(plan, "cpu", "auto", busy=False).state for _ in range(2)] == ["measuring", "measured"]
    assert first.ask(plan, "cpu", "auto", busy=False).trial == trial
    assert later.ask(plan, "cpu", "auto", busy=False).state == ("measuring" if fitted else "measured")
    first.forget()
    assert first.ask(plan, "cpu", "auto", busy=False).state == "measuring"


def test_a_trial_begins_once_the_card_is_free(
    tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[str] = []
    free = False

    def make_room() -> bool:
        happened.append("room" if free else "none")
        return free

    def start(*arguments: str) -> Ended:
        happened.append("trial")
        return Ended("")

    monkeypatch.setattr("app.train.measuring.answering_process", start)
    measuring = Measuring(Home(tmp_path / "home").create(), make_room)
    plan = plan_for("balanced", "starter", 3, name="a", base=str(tiny_base))
    assert measuring.ask(plan, "cpu", "auto", busy=False).state == "waiting"
    free = True
    assert measuring.ask(plan, "cpu", "auto", busy=False).state == "measuring"
    assert happened == ["none", "room", "trial"]


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
