"""A home that an earlier Atelier wrote opens, and goes on: a paused training, a kept blend, a picture with its recipe.

`tests/app/written_home` was written before the modules of `styles` had rooms, over the base that `tiny_base` makes.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from app.create.blends import Blends
from styles.bases.base import Base, open_base
from styles.generation.generate import PictureDone, generate
from styles.generation.png_recipe import read_recipe
from styles.generation.request import request_again
from styles.library.library import Library
from styles.storage.home import Home
from training import checkpoint
from training.events import Finished, Paused, Warned
from training.job import jobs_in
from training.loop import train


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(shutil.copytree(Path(__file__).with_name("written_home"), tmp_path / "home"))


@pytest.fixture(scope="module")
def base(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Base:
    return open_base(tiny_base, Home(tmp_path_factory.mktemp("home")), device="cpu")


def test_a_paused_training_goes_on_from_its_checkpoint(home: Home, base: Base) -> None:
    (job,) = jobs_in(home.jobs)
    before = checkpoint.latest(job.folder / "checkpoints")
    assert job.state() == "paused" and isinstance(job.events()[-1], Paused) and before is not None
    assert before.progress.base_fingerprint == base.fingerprint
    with job.held():
        events = list(train(job, base=base, device="cpu"))
    assert not [event for event in events if isinstance(event, Warned) and "heckpoint" in event.message]
    end = events[-1]
    assert isinstance(end, Finished) and end.step == job.plan.steps > before.progress.step
    after = checkpoint.latest(job.folder / "checkpoints")
    assert after is not None and after.weights.keys() == before.weights.keys()
    assert any(not torch.equal(after.weights[name], before.weights[name]) for name in after.weights)
    assert Library(home).open("Paused").id == end.style_id


def test_a_kept_blend_and_a_picture_name_the_style_that_is_there(home: Home, base: Base) -> None:
    library = Library(home)
    style = library.open("Done")
    kept = Blends(home, library).find("Kept")
    assert [(part.style, part.weight) for part in kept.blend.parts] == [(style.id, 0.7)]
    (picture,) = home.pictures.glob("*.png")
    recipe = read_recipe(picture)
    assert recipe.blend == kept.blend
    assert recipe.base_fingerprint == base.fingerprint
    events = generate(base, request_again(recipe), [style])
    (again,) = [event for event in events if isinstance(event, PictureDone)]
    assert (again.recipe.prompt, again.recipe.seed, again.recipe.blend) == (
        recipe.prompt,
        recipe.seed,
        recipe.blend,
    )
