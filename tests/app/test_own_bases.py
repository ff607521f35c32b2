"""A small Stable Diffusion of somebody's own goes the whole way, and its styles fit bases of the same layers alone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from styles.bases.base import Base, open_base
from styles.bases.shelf import BaseShelf
from styles.errors import WrongFamilyError
from styles.formats.reader import read_card
from styles.generation.generate import CreateRequest, PictureDone, generate
from styles.library.export import ExportOrder
from styles.library.library import Library
from styles.mixing.bake import BakePlan, bake
from styles.mixing.blend import Blend, BlendPart
from styles.storage.home import Home
from tests.app.conftest import Served
from tests.styles.making import random_style
from tests.tiny import tiny_base_folder
from training.job import Job
from training.loop import train
from training.plan import plan_for

FAMILY = "own-32-64x96-7"  # two levels, words of 96 numbers, 2 + 1 + 4 layers of cross-attention
NAME = "a Stable Diffusion of somebody's own"


@pytest.fixture(scope="module")
def own_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_base_folder(tmp_path_factory.mktemp("own") / "own", "sd1", words=96)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").create()


def painted(base: Base, styles: Any = (), **options: Any) -> bytes:
    request = CreateRequest("a cat", steps=2, seeds=(3,), **options)
    (picture,) = [event for event in generate(base, request, styles) if isinstance(event, PictureDone)]
    assert picture.recipe.family == FAMILY
    return picture.image.tobytes()


def test_it_trains_paints_mixes_exports_and_imports(
    own_base: Path, artworks: Path, home: Home, tmp_path: Path
) -> None:
    base = open_base(own_base, home, device="cpu")
    assert base.family == FAMILY and base.default_guidance == (7.5, 0.0)
    plan = plan_for(
        "quick", base.family, 3, name="Rings", base=str(own_base), steps=2, learning_rate=1e-2,
        resolution_px=64, preview_every=2, preview_steps=1,
    )  # fmt: skip
    for _ in train(Job.create(home.jobs, plan, [artworks]), base=base):
        pass
    library = Library(home)
    rings = library.open("Rings")
    assert rings.card.family == FAMILY and NAME in rings.card.made_for and not rings.card.problems
    ink = library.open(library.add(random_style(base.unet, "Ink", family=FAMILY)).name)

    alone = painted(base)
    assert painted(base, [rings]) != alone != painted(base, [ink], weights=((0.5,),))
    blend = Blend((BlendPart(rings.id, 0.5), BlendPart(ink.id, 0.5)))
    both = painted(base, [rings, ink], blends=(blend,))
    assert both == painted(base, [ink, rings], blends=(blend,)) and both != alone
    baked = bake(blend, [rings, ink], BakePlan("Both"), base=base)
    assert baked.card.family == FAMILY

    other = Library(Home(tmp_path / "other").create())
    for form in ("file", "hub"):
        exported = library.export("Rings", tmp_path / form, ExportOrder(form))
        opens = {one.tool: one.opens for one in exported.opens}
        assert (opens["A1111"], opens["diffusers"]) == ("no", "yes")
        (weights,) = (tmp_path / form).rglob("*.safetensors")
        (card,) = other.import_files([weights]).styles
        assert card.family == FAMILY
        other.delete(card.id)
    bare = tmp_path / "bare.safetensors"
    save_file(load_file(rings.card.path), bare)  # type: ignore[arg-type]
    assert read_card(bare).family == FAMILY


@pytest.mark.parametrize(
    ("options", "family"),
    [
        ({"words": 96, "channels": (32, 48)}, "own-32-48x96-7"),
        ({"words": 96, "layers": 2}, "own-32-64x96-11"),
        ({"words": 128}, "own-32-64x128-7"),
        ({}, "sd1"),
    ],
)
def test_its_styles_fit_no_other_base(
    options: dict[str, Any], family: str, own_base: Path, home: Home, tmp_path: Path
) -> None:
    style = random_style(open_base(own_base, home, device="cpu").unet, "Ink", family=FAMILY)
    base = open_base(tiny_base_folder(tmp_path / "another", "sd1", **options), home, device="cpu")
    assert base.family == family
    with pytest.raises(WrongFamilyError) as caught:
        generate(base, CreateRequest("a cat"), [style])
    assert FAMILY in caught.value.message and "another" in caught.value.message
    assert (family if options else "Stable Diffusion 1") in caught.value.message


def test_a_style_of_some_of_its_layers_is_taken_by_its_word(own_base: Path, home: Home) -> None:
    unet = open_base(own_base, home, device="cpu").unet
    library = Library(home)
    for marks, shown in (("mid_block", FAMILY), ("down_blocks.1", FAMILY)):
        style = random_style(unet, marks, family=FAMILY, marks=marks)
        assert library.add(style).family == shown
    # Nobody's word that the layers belie.
    assert library.add(random_style(unet, "liar", family="own-48-64x96-7")).family == FAMILY


@pytest.fixture
def window_on_own_base(served: Served, own_base: Path) -> Iterator[Any]:
    shelf = BaseShelf(Home(served.home))
    before = shelf.in_use
    shelf.use(shelf.add(own_base).name)
    yield shelf
    shelf.use(before)
    shelf.remove("own")


def test_the_window_takes_it_too(
    client: Any, window_on_own_base: Any, artworks: Path, own_base: Path, tmp_path: Path
) -> None:
    from gradio_client.exceptions import AppError

    ask, small = client.predict, {"steps": 1, "width": 32, "height": 32, "seed": 4}
    job = ask(name="Own", pictures=[str(artworks)], preset="quick", steps=2, resolution=64, api_name="/train")
    deadline = time.monotonic() + 240
    while job["state"] not in ("finished", "failed") and time.monotonic() < deadline:
        time.sleep(0.5)
        job = next(one for one in ask(api_name="/jobs") if one["id"] == job["id"])
    assert job["state"] == "finished"
    assert ask(name="Own", api_name="/style")["family"] == FAMILY
    made = ask(prompt="a house", weights={"Own": 0.5}, **small, api_name="/create")
    assert Path(made["pictures"][0]).is_file()
    ask(name="Own two", weights={"Own": 0.5}, rank=2, agreed=True, api_name="/bake")
    assert ask(prompt="a house", weights={"Own": 0.5, "Own two": 1}, **small, api_name="/create")["pictures"]
    exported = ask(name="Own", folder=str(tmp_path), api_name="/export_style")["style"]
    ask(name="Own", api_name="/delete_style")
    assert ask(path=exported, api_name="/import_style")["styles"][0]["family"] == FAMILY
    with pytest.raises(AppError, match=r"Rings.*somebody's own"):
        ask(prompt="a house", weights={"Rings": 0.5}, **small, api_name="/create")
    window_on_own_base.use("tiny")
    with pytest.raises(AppError, match=f"Own.*{FAMILY}"):
        ask(prompt="a house", weights={"Own": 0.5}, **small, api_name="/create")
    for name in ("Own", "Own two"):
        ask(name=name, api_name="/delete_style")
