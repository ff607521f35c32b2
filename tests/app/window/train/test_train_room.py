"""What the Train room asks and shows, without a browser: the form, the cards of artworks and presets, the film."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from app.orders import TrainingOrder
from app.settings import Settings
from app.train.artwork_cards import added_said, artwork_cards, artworks_said, remark_words
from app.train.draft import Added, Draft
from app.train.drawing import film, loss_curve, progress_card, queue_list
from app.train.form import (
    ELSEWHERE,
    FRESH,
    NUMBERS,
    form_of,
    order_of,
    resolution_of,
    settings_from,
    shown_of,
    trigger_of,
)
from app.train.looks import Grid
from app.train.measuring import Measured
from app.train.preparation import Cost, sparing
from app.train.preset_cards import costs_said, preset_choices
from app.train.progress import Progress
from app.train.trainings import Trainings
from styles.errors import BadInput
from styles.storage.home import Home
from styles.storage.setting import settings_of
from training.artworks.picture_checks import Remark
from training.events import Finished, PreviewReady, RolledBack, StepDone
from training.job import Job
from training.plan import TrainingPlan, plan_for
from training.settings import TrainingSettings
from training.trial import Trial

EVIL = '<img src=x onerror="alert(1)">'


@pytest.fixture
def make_job(tmp_path: Path) -> Callable[[str], Job]:
    """Make a job of a name, of one picture, on no base."""
    Image.new("RGB", (80, 80), "teal").save(tmp_path / "one.png")
    trainings = Trainings(Home(tmp_path / "home").create())

    def make(name: str) -> Job:
        order = TrainingOrder(name=name, pictures=(tmp_path / "one.png",))
        return trainings.prepare(order, lambda: ("nowhere", "starter", "none"))

    return make


def asked(**given: Any) -> TrainingOrder:
    return order_of(FRESH | {"name": "Ink"} | given, [Path("one.png")])


def test_every_number_of_the_plan_is_asked_for_in_one_place() -> None:
    assert sorted([*NUMBERS, *ELSEWHERE]) == sorted(field.name for field in fields(TrainingPlan))
    plan = plan_for("balanced", "starter", 8, name="Ink")
    assert all(shown_of(plan, number) for number in NUMBERS.values())


def test_what_can_be_set_is_what_the_plan_has() -> None:
    """Of the same name, range and words."""
    numbers, chosen = settings_of(TrainingPlan), settings_of(TrainingSettings)
    assert set(chosen) == set(NUMBERS)
    same = set(chosen) - {"min_snr_gamma"}
    assert all(chosen[name].setting == numbers[name].setting for name in same)


def test_a_fresh_form_leaves_all_to_the_preset() -> None:
    wanted = asked().settings.chosen()
    plan = plan_for("balanced", "starter", 8, name="Ink", **wanted)
    assert plan == plan_for("balanced", "starter", 8, name="Ink")


def test_what_is_written_goes_into_the_plan() -> None:
    order = asked(
        steps=" 30 ", learning_rate="0,001", flip="yes", min_snr_gamma="off", companions=" Off ",
        preview_prompts="a cat\n\n a boat \n", layers="cross+self", base=" starter ",
    )  # fmt: skip
    plan = plan_for("balanced", "starter", 8, name="Ink", **order.settings.chosen())
    assert (plan.steps, plan.learning_rate, plan.flip, plan.min_snr_gamma) == (30, 0.001, True, None)
    assert plan.companions == () and settings_from(["companions=off"], TrainingSettings()).companions == ()
    assert asked(companions="on a hill\nby a lake").settings.companions == ("on a hill", "by a lake")
    assert (
        plan.preview_prompts == ("a cat", "a boat")
        and plan.layers == "cross+self"
        and order.base == "starter"
    )
    assert asked(flip="no").settings.flip is False and asked().settings.flip is None
    assert asked(continue_from="Rings").settings.layers is None, "a style that goes on has its own"
    for odd in ({"steps": "many"}, {"rank": "8.5"}, {"alpha": "nan?"}):
        with pytest.raises(BadInput, match="no such number"):
            asked(**odd)
    with pytest.raises(BadInput, match="no artworks"):
        order_of(FRESH, [])


def test_a_form_that_was_kept_is_whole_again_whatever_is_in_it() -> None:
    assert form_of({}) == FRESH
    kept = form_of({"name": "Ink", "flip": True, "steps": 7, "unknown": 1})
    assert kept == FRESH | {"name": "Ink"}
    assert (
        trigger_of(kept) == "ink" and trigger_of(FRESH) == "" and trigger_of(kept | {"trigger": "i"}) == "i"
    )
    assert resolution_of(FRESH) is None and resolution_of(FRESH | {"resolution_px": "96"}) == 96
    assert resolution_of(FRESH | {"resolution_px": "9"}) is None
    assert resolution_of(FRESH | {"resolution_px": "9" * 5000}) is None


def test_the_low_memory_mode_recomputes_unless_the_order_says_otherwise() -> None:
    thrifty = Settings(low_memory=True)
    assert sparing(asked(), thrifty).settings.gradient_checkpointing is True
    assert sparing(asked(), Settings()).settings.gradient_checkpointing is None
    decided = replace(asked(), settings=TrainingSettings(gradient_checkpointing=False))
    assert sparing(decided, thrifty).settings.gradient_checkpointing is False


def test_the_cards_of_the_presets_tell_only_what_is_measured() -> None:
    plan = plan_for("balanced", "starter", 8, name="Ink")
    trial = Trial(1, 1, 1, 1, 1, 2_500_000_000, True)
    known = [Cost(preset, plan, 150.0, 2_500_000_000, True) for preset in ("quick", "balanced", "thorough")]
    unknown = [Cost(preset, plan) for preset in ("quick", "balanced", "thorough")]
    ((label, value), *_) = preset_choices(Measured("measured", trial), known)
    assert value == "quick" and "about 2 min" in label and "2.5 GB on the card" in label
    assert "fits" not in costs_said(Measured("measured", trial))
    fitted = replace(trial, batch=2, gradient_checkpointing=True)
    assert "2 pictures at a time" in costs_said(Measured("measured", fitted))
    assert "third more time" in costs_said(Measured("measured", fitted))
    assert all("measuring" in label for label, _ in preset_choices(Measured("measuring"), unknown))
    for measured in (None, Measured("waiting"), Measured("failed", problem="It broke.")):
        assert not any("min" in label or "GB" in label for label, _ in preset_choices(measured, unknown))
    assert "It broke." in costs_said(Measured("failed", problem="It broke."))


def test_artworks_are_drawn_with_their_crop_and_nothing_from_them_becomes_html(tmp_path: Path) -> None:
    draft, grid = Draft(Home(tmp_path).create()), Grid(64, 16)
    for name, size in (("long.png", (600, 80)), ("plain.png", (90, 90))):
        Image.radial_gradient("L").resize(size).convert("RGB").save(tmp_path / name)
    list(draft.add([tmp_path / "long.png", tmp_path / "plain.png"], grid))
    draft.caption("plain.png", EVIL)
    artworks = draft.artworks(grid)
    drawn = artwork_cards(artworks, EVIL, 1)
    assert drawn.count("<li") == 2 and drawn.count('class="crop"') == 1 and "<img src=x" not in drawn
    assert artwork_cards(artworks, "a", 1) != artwork_cards(artworks, "a", 2), (
        "the page must see a difference"
    )
    assert artworks_said(artworks).startswith("2 artworks, 1 caption.")
    told = added_said(Added(known=1, refused=tuple(f"{EVIL} {number}" for number in range(9))))
    assert "<img" not in told and "4 more" in told
    flaws = [
        Remark("small", 1.7),
        Remark("soft"),
        Remark("cut", 0.3, sides=True),
        Remark("cut", 0.3),
        Remark("twin", other=0),
    ]
    words = [remark_words(one, ["a.png"]) for one in flaws]
    assert len(set(words)) == 5 and "1.7" in words[0] and "30 %" in words[2] and "a.png" in words[4]


def test_a_bar_never_goes_back_and_a_request_is_shown_at_once() -> None:
    progress = Progress()
    for event in (StepDone(5, 20, 0.5, 1e-3, 1.0, 3.0), StepDone(10, 20, 0.4, 1e-3, 2.0, 2.0)):
        progress = progress.after(event)
    back = progress.after(RolledBack(10, 5, 0.5, "the loss was no number"))
    assert back.step == 5 and back.share == progress.share == 0.5
    assert 'aria-valuenow="50"' in progress_card(back)
    assert "Pausing" in progress_card(progress, "Ink", "pause") and "left" not in progress_card(
        progress, "", "stop"
    )
    assert EVIL not in progress_card(Progress(phase=EVIL, warnings=(EVIL,)), EVIL)
    assert loss_curve([(1, 0.5)], 10) == "" and "polyline" in loss_curve(progress.losses, 20)


def test_another_checkpoint_that_was_chosen_is_told_and_takes_nothing_away() -> None:
    progress = (
        Progress().after(StepDone(20, 20, 0.4, 1e-3, 2.0, 0.0)).after(Finished(20, "a", "b", "Ink", 2.0))
    )
    chosen = progress.after(Finished(10, "c", "d", "Ink", 2.0))
    assert chosen.finished is not None and chosen.finished.step == 10
    assert chosen.step == 20 and "step 10" in chosen.phase and 'aria-valuenow="100"' in progress_card(chosen)


def test_the_film_offers_what_can_be_kept(make_job: Callable[[str], Job]) -> None:
    job = make_job("Ink")
    previews = []
    for step in (0, 5, 10):
        Image.new("RGB", (64, 64), (step * 20, 90, 90)).save(job.folder / "previews" / f"{step}.png")
        previews.append(PreviewReady(step, (f"previews/{step}.png", "previews/gone.png"), (EVIL, "a boat")))
    running = film(job, previews)
    assert running.count("<figure") == 3 and running.count("<img") == 3 and 'data-do="keep"' not in running
    over = film(job, previews, [5, 10], 10)
    assert over.count('data-do="keep"') == 1 and 'data-step="5"' in over and ">kept<" in over
    assert "no preview" in film(job, previews[:2], [5, 7], 7), "stopped where nothing was painted"
    assert "<img src=x" not in over and film(job, []) == ""


def test_the_queue_is_drawn_with_its_order(make_job: Callable[[str], Job]) -> None:
    jobs = [make_job(name) for name in ("one", "two")]
    drawn = queue_list(jobs, held=True)
    assert drawn.count("<li>") == 2 and drawn.count("disabled") == 2 and "Go on with the queue" in drawn
    assert "release" not in queue_list(jobs, held=False) and queue_list([], held=True) == ""
