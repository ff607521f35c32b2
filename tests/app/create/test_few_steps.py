"""What suits a base or a style that was made for few steps: said before painting, taken where nothing was chosen."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from app.create.advice import Advice
from app.create.form import CreateForm, recalled
from app.create.mix_form import MixForm, MixRow
from app.create.painting import Notice, PictureSaved
from app.orders import PictureOrder
from app.studio import Studio
from styles.bases.base import open_base
from styles.bases.shelf import BaseShelf
from styles.generation.png_recipe import read_recipe
from styles.generation.recipe import Recipe
from styles.generation.settings import PictureSettings
from styles.library.library import Library
from styles.mixing.blend import BlendPart
from styles.storage.home import Home
from tests.styles.painting import style_for

STYLE = "sd lcm lora"
SMALL = PictureSettings(seed=1, width_px=32, height_px=32)


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Studio:
    """A studio with a plain base in use, the same as a Turbo, and a style of LCM."""
    folder = tmp_path_factory.mktemp("few-steps")
    home, shelf = Home(folder / "home").create(), BaseShelf(Home(folder / "home"))
    shelf.use(shelf.add(shutil.copytree(tiny_base, folder / "plain")).name)
    shelf.add(shutil.copytree(tiny_base, folder / "sd-turbo"))
    style = style_for(open_base(tiny_base, home, device="cpu"), 1, strength=0.1)
    Library(home).add(replace(style, card=replace(style.card, name=STYLE)))
    return Studio(home)


def mix_of(studio: Studio, weight: float) -> MixForm:
    return MixForm((MixRow(BlendPart(studio.library.find(STYLE).id, weight)),))


def painted(studio: Studio, settings: PictureSettings, **about: object) -> tuple[Recipe, list[str]]:
    events = list(studio.create(PictureOrder("a cat", settings, **about)))  # type: ignore[arg-type]
    recipe = next(read_recipe(event.path) for event in events if isinstance(event, PictureSaved))
    return recipe, [event.text for event in events if isinstance(event, Notice) and "few steps" in event.text]


def test_it_is_said_before_anything_is_painted(studio: Studio) -> None:
    advice = Advice(studio)
    assert advice.tell(MixForm())["hints"] == advice.tell(mix_of(studio, 0.0))["hints"] == []
    (hint,) = advice.tell(mix_of(studio, 1.0))["hints"]
    assert f"“{STYLE}” is made for few steps (LCM)" in hint["words"] and hint["action"] == "suit"
    assert hint["fields"] == {"steps": 6, "guidance": "1.5", "sampler": "lcm", "schedule": ""}
    (hint,) = advice.tell(MixForm(), "sd-turbo")["hints"]
    assert "“sd-turbo” is made for few steps (Turbo)" in hint["words"]
    assert hint["fields"] == {"steps": 4, "guidance": "1", "sampler": "euler", "schedule": "sgm uniform"}
    form = CreateForm.from_json(hint["fields"], as_far_as_possible=False).settings
    assert (form.steps, form.guidance, form.sampler, form.schedule) == (4, 1.0, "euler", "sgm uniform")
    assert advice.tell(MixForm(), "nowhere")["hints"] == []


def test_what_was_left_open_is_taken_and_said(studio: Studio) -> None:
    turbo = replace(SMALL, base="sd-turbo")
    recipe, notices = painted(studio, turbo)
    assert (recipe.sampler, recipe.schedule, recipe.steps) == ("euler", "sgm uniform", 4)
    assert recipe.guidance == 1.0 and len(notices) == 1
    recipe, notices = painted(studio, replace(turbo, sampler="ddim", steps=2, guidance=3.0))
    assert (recipe.sampler, recipe.steps, recipe.guidance) == ("ddim", 2, 3.0) and not notices
    recipe, notices = painted(studio, replace(SMALL, steps=2), weights=((STYLE, 1.0),))
    assert (recipe.sampler, recipe.steps, recipe.guidance) == ("lcm", 2, 1.5)
    assert STYLE in notices[0]
    recipe, notices = painted(studio, replace(SMALL, steps=1), weights=((STYLE, 0.0),))
    assert recipe.sampler == "dpm++ 2m" and not notices


def test_a_picture_that_was_painted_otherwise_comes_back_as_it_was(studio: Studio) -> None:
    recipe, _ = painted(studio, replace(SMALL, base="sd-turbo", sampler="euler", steps=2, guidance=2.0))
    for before in (recipe, replace(recipe, schedule="")):
        order = recalled(studio, before).form.order(studio)
        again, notices = painted(studio, order.settings)
        assert again.sampler == "euler" and again.steps == 2 and again.guidance == 2.0 and not notices
