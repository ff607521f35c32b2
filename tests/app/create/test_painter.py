"""What the Create room asks of its painter: drafts that nobody keeps, the latest wish first, and a truthful canvas."""

from __future__ import annotations

import io
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from app.create.mix_orders import SheetOrder
from app.create.painter import ASKED, DRAFT, DRAFT_STEPS, LIVE, Canvas, Painter
from app.orders import PictureOrder
from app.studio import Studio
from styles.bases.base import open_base
from styles.bases.shelf import BaseShelf
from styles.errors import Cancelled, JobError
from styles.generation import cost
from styles.generation.png_recipe import read_recipe
from styles.generation.settings import PassSettings, PictureSettings
from styles.storage.home import Home
from tests.styles.painting import style_for
from tests.tiny import tiny_base_folder

PATIENCE_SECONDS = 300
ORDER = PictureOrder("a house", PictureSettings(steps=1, seed=5, width_px=32, height_px=32))


def changed(order: PictureOrder, **settings: Any) -> PictureOrder:
    return replace(order, settings=replace(order.settings, **settings))


LONG = changed(ORDER, steps=1000, seed=6)


@pytest.fixture
def painter(tiny_base: Path, tmp_path: Path) -> Painter:
    """A painter over an empty home whose base is the tiny one."""
    home = Home(tmp_path / "home").create()
    shelf = BaseShelf(home)
    shelf.use(shelf.add(tiny_base).name)
    return Painter(Studio(home))


def ended(painter: Painter, number: int) -> Canvas:
    """The canvas once the painting of that number, or a later one, has ended."""
    return seen(
        painter, lambda canvas: canvas.number >= number and not canvas.going and canvas.state != "stopping"
    )


def seen(painter: Painter, wanted) -> Canvas:  # type: ignore[no-untyped-def]
    """The first canvas that is as wanted."""
    serial, canvas = painter.look(-1)
    while not wanted(canvas):
        before = serial
        serial, canvas = painter.look(serial, PATIENCE_SECONDS)
        assert serial != before, f"nothing happened any more at {canvas}"
    return canvas


def kept(painter: Painter) -> list[Path]:
    return painter.studio.recent_pictures(99)


def test_a_draft_has_few_steps_and_is_kept_nowhere(painter: Painter) -> None:
    canvas = ended(
        painter,
        painter.ask(replace(changed(LONG, count=3), passes=PassSettings(second_pass=2.0)), DRAFT).number,
    )
    assert canvas.state == "done" and canvas.problem == ""
    (picture,) = canvas.pictures
    assert picture.path == "" and picture.data.startswith(b"\x89PNG") and kept(painter) == []
    told = canvas.to_json()
    assert told["pictures"][0]["data"].startswith("data:image/png;base64,") and told["previews"] == []

    canvas = ended(painter, painter.ask(ORDER, LIVE).number)
    assert [Path(one.path) for one in canvas.pictures] == kept(painter)
    assert read_recipe(kept(painter)[0]).steps == ORDER.settings.steps


def test_moving_on_gives_up_the_old_draft_and_the_picture_behind_it(painter: Painter) -> None:
    first = painter.ask(LONG, LIVE)
    seen(painter, lambda canvas: canvas.at is not None)
    painter.ask(LONG, DRAFT)
    last = painter.ask(ORDER, DRAFT)
    canvas = ended(painter, last.number)
    assert last.number == first.number + 2 and canvas.number == last.number and canvas.state == "done"
    assert canvas.pictures[0].seed == ORDER.settings.seed and kept(painter) == []


def test_what_the_artist_asked_for_is_finished_before_a_slider_is_heard(painter: Painter) -> None:
    asked = painter.ask(changed(LONG, steps=40))
    with pytest.raises(JobError, match="Another picture"):
        painter.ask(ORDER)
    assert painter.ask(LONG, DRAFT) == painter.ask(ORDER, LIVE) == painter.look(-1)[1]
    canvas = seen(painter, lambda canvas: canvas.kind == LIVE and not canvas.going)
    assert canvas.number == asked.number + 1
    assert [read_recipe(path).steps for path in kept(painter)] == [1, 40]


def test_a_slow_base_keeps_the_picture_on_the_stage_whatever_a_slider_asks(painter: Painter) -> None:
    ended(painter, painter.ask(changed(ORDER, steps=3, count=2)).number)
    painter.longest_draft_seconds = 1e-9
    assert ended(painter, painter.ask(ORDER, DRAFT).number).state == "done", (
        "two at once are no measure for one"
    )
    asked = painter.ask(changed(LONG, steps=40))
    assert painter.ask(ORDER, LIVE).number == asked.number
    canvas = ended(painter, asked.number)
    for thread in threading.enumerate():
        if thread.name == "painter":
            thread.join(PATIENCE_SECONDS)
    assert painter.look(-1)[1] == canvas
    assert (canvas.number, canvas.state, len(canvas.pictures)) == (asked.number, "done", 1)


def test_stopping_keeps_what_is_finished_and_never_calls_it_a_success(painter: Painter) -> None:
    asked = painter.ask(LONG)
    canvas = seen(painter, lambda canvas: canvas.at is not None)
    told = canvas.to_json()
    assert canvas.kind == ASKED and told["steps"] == 1000 and 0 < told["share"] < 1 and told["previews"]
    painter.stop()
    assert painter.look(-1)[1].state in ("stopping", "stopped"), "it is said at once, whatever the model does"
    canvas = ended(painter, asked.number)
    assert canvas.state == "stopped" and canvas.pictures == () and kept(painter) == []


def test_stop_is_heard_while_the_base_is_somebody_elses_or_is_being_opened(painter: Painter) -> None:
    studio = painter.studio
    with studio.base_session.opened(studio.base_source(""), studio.settings):
        asked = painter.ask(ORDER)
        while not studio.base_session.wanted:
            pass
        painter.stop()
        assert ended(painter, asked.number).state == "stopped"
    with pytest.raises(Cancelled), studio.base_session.opened("starter", studio.settings, lambda: True):
        pass


def test_a_size_that_is_asked_about_is_painted_as_it_was_asked_for_or_smaller(
    painter: Painter, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost, "flop_per_second", lambda base, cancelled: 1e5)
    style = style_for(open_base(tiny_base, painter.studio.home, device="cpu"), 1)
    painter.studio.library.add(replace(style, card=replace(style.card, name="Ink")))
    large = changed(ORDER, width_px=256, height_px=128)
    strip = replace(large, weights=(("Ink", 0.5),), sheet=SheetOrder("strength strip", ("Ink",)))
    canvas = ended(painter, painter.ask(strip).number)
    assert canvas.state == "failed" and canvas.large and canvas.to_json()["large"]
    painter.ask_again(agreed=True)
    canvas = ended(painter, canvas.number + 1)
    assert canvas.state == "done" and canvas.sheet is not None and len(canvas.pictures) == 7

    canvas = ended(painter, painter.ask(large, DRAFT).number)
    assert canvas.state == "done" and not canvas.problem
    with Image.open(io.BytesIO(canvas.pictures[0].data)) as draft:
        assert draft.width == 2 * draft.height and draft.width < 256

    canvas = ended(painter, painter.ask(replace(large, passes=PassSettings(second_pass=2.0))).number)
    order = painter.ask_again(sensible=True)
    canvas = ended(painter, canvas.number + 1)
    assert canvas.state == "done" and (order.settings.width_px, order.settings.height_px) == draft.size
    with Image.open(canvas.pictures[0].path) as picture:
        assert picture.size == draft.size


def test_what_was_agreed_to_stays_so_when_it_is_asked_for_once_more(
    painter: Painter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost, "flop_per_second", lambda base, cancelled: 1e5)
    with monkeypatch.context() as full:
        full.setattr(cost, "room_for", lambda base, model: 1e6)
        large = replace(changed(ORDER, width_px=256, height_px=128), agreed=True)
        canvas = ended(painter, painter.ask(large).number)
    assert canvas.state == "failed" and "of memory" in canvas.problem
    painter.ask_again(pause_training=True)
    assert ended(painter, canvas.number + 1).state == "done"


def test_what_is_stopped_is_in_nobodys_way(painter: Painter) -> None:
    asked = painter.ask(LONG)
    seen(painter, lambda canvas: canvas.at is not None)
    painter.stop()
    after = painter.ask(ORDER)
    assert after.number == asked.number + 1 and ended(painter, after.number).state == "done"


def test_what_goes_wrong_is_told_to_the_page_that_asked(painter: Painter) -> None:
    canvas = ended(painter, painter.ask(changed(ORDER, base="nowhere"), page="mine").number)
    mine, other = canvas.to_json("mine"), canvas.to_json("another")
    assert (mine["state"], "nowhere" in mine["problem"]) == ("failed", True)
    assert (other["state"], other["problem"], other["crowded"]) == ("blank", "", False)

    asked = painter.ask(LONG, page="mine")
    with painter.telling("another"):
        painter.ask(ORDER, page="another")
    canvas = painter.look(-1)[1]
    assert canvas.to_json("mine")["problem"] == ""
    assert "Another picture is being painted" in canvas.to_json("another")["problem"]
    painter.stop()
    canvas = ended(painter, asked.number)
    assert canvas.to_json("another")["problem"] == "", "it is not being painted any more"
    assert canvas.to_json("mine")["state"] == canvas.to_json("another")["state"] == "stopped"


def test_a_painting_that_fails_says_what_happened(painter: Painter) -> None:
    canvas = ended(painter, painter.ask(changed(ORDER, base="nowhere")).number)
    assert canvas.state == "failed" and "nowhere" in canvas.problem and not canvas.crowded
    assert ended(painter, painter.ask(ORDER).number).state == "done"


def test_the_settings_turn_a_safety_checker_off(painter: Painter, tmp_path: Path) -> None:
    folder = str(tiny_base_folder(tmp_path / "checked", "sd1", safety_checker=True))
    studio = painter.studio
    for wanted in (True, False):
        with studio.base_session.opened(folder, replace(studio.settings, safety_checker=wanted)) as base:
            assert (base.safety_checker is not None) is wanted
    assert ended(painter, painter.ask(changed(ORDER, base=folder)).number).state == "done"
    assert read_recipe(kept(painter)[0]).safety_checker


def test_a_base_on_which_a_draft_takes_long_is_left_alone_by_sliders(painter: Painter) -> None:
    painter.longest_draft_seconds = 0.0
    asked = painter.ask(changed(ORDER, steps=DRAFT_STEPS), DRAFT)  # how long a step takes is not known yet
    assert ended(painter, asked.number).state == "done"
    for kind in (DRAFT, LIVE):
        canvas = painter.ask(ORDER, kind)
        assert canvas.state == "resting" and "Press Create" in canvas.notices[0]
    assert ended(painter, painter.ask(ORDER).number).state == "done"
