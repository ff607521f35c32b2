"""A picture is painted again by its recipe alone, with all that a blend can say and from the kept source."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from app.create.base_session import BaseSession
from app.create.painting import Notice, PictureSaved
from app.orders import PictureOrder
from app.settings import Settings
from styles.bases.base import open_base
from styles.errors import RecipeError
from styles.formats.safetensors_header import open_header
from styles.generation.img2img import SourcePicture, keep_source
from styles.generation.png_recipe import read_recipe, save_picture
from styles.generation.recipe import Recipe
from styles.generation.request import CreateRequest, SecondPass
from styles.generation.settings import PictureSettings
from styles.library.library import Library
from styles.mixing.blend import Blend, BlendPart
from styles.quantization import quantization
from styles.quantization.quantization import PLAIN
from styles.storage.home import Home
from tests.styles.painting import paint, style_for


def test_the_easel_paints_the_same_file_again(tiny_base: Path, tmp_path: Path) -> None:
    home = Home(tmp_path / "home").create()
    library = Library(home, tmp_path / "none")
    base = open_base(tiny_base, home, device="cpu")
    cards = [library.add(style_for(base, seed)) for seed in (1, 2)]
    styles = tuple(library.open(card.id) for card in cards)
    parts = (
        BlendPart(cards[0].id, 0.8, ((0, 0), (1, 1))),
        BlendPart(cards[1].id, 0.5, muted=True, texture=0.5),
    )
    source = SourcePicture.of(Image.linear_gradient("L"))
    request = CreateRequest(
        "a cat", steps=3, width_px=32, height_px=32, blends=(Blend(parts, "take turns"),), source=source,
        second_pass=SecondPass(1.5, 0.5),
    )  # fmt: skip
    done = paint(base, request, styles)[0]
    path = save_picture(done.image, done.recipe, home.pictures)

    base_session, settings = BaseSession(home, library), Settings(device="cpu")

    def again() -> list[PictureSaved]:
        events = base_session.paint_again(
            read_recipe(path), str(tiny_base), tmp_path, settings, lambda: False
        )
        return [event for event in events if isinstance(event, PictureSaved)]

    with pytest.raises(RecipeError, match="is not here"):
        again()
    keep_source(source, home)
    assert again()[0].path.read_bytes() == path.read_bytes()


def test_a_picture_of_a_base_in_four_bits_is_painted_over_four_bits_again(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path / "home").create()
    base_session = BaseSession(home, Library(home, tmp_path / "none"))
    base_session.warm(str(tiny_base), Settings(device="cpu"))
    request = CreateRequest("a cat", steps=1, width_px=32, height_px=32)
    paths = []
    for quantize in ("nf4", PLAIN):
        done = paint(open_base(tiny_base, home, device="cpu", quantize=quantize), request)[0]
        paths.append(save_picture(done.image, done.recipe, home.pictures))
    recipes = [read_recipe(path) for path in paths]
    assert [recipe.quantize for recipe in recipes] == ["nf4", PLAIN]
    assert dict(recipes[0].versions)["nf4"].startswith("bitsandbytes-")

    def again(recipe: Recipe) -> tuple[list[str], bytes]:
        events = list(
            base_session.paint_again(recipe, str(tiny_base), tmp_path, Settings(device="cpu"), lambda: False)
        )
        pictures = [event.path.read_bytes() for event in events if isinstance(event, PictureSaved)]
        return [event.text for event in events if isinstance(event, Notice)], pictures[0]

    for recipe, path in zip(recipes, paths, strict=True):
        assert again(recipe) == ([], path.read_bytes())
    # With bitsandbytes gone it is painted on the base as it is, and said to differ.
    monkeypatch.setattr(quantization, "is_bitsandbytes_installed", lambda: False)
    notes, picture = again(recipes[0])
    assert "needs the package bitsandbytes" in notes[0] and "in four bits as NF4" in notes[1]
    assert len(notes) == 2
    assert Image.open(io.BytesIO(picture)).tobytes() == Image.open(paths[1]).tobytes()


def test_a_style_that_was_trained_on_another_layer_of_the_text_encoder_is_named(
    tiny_base: Path, tmp_path: Path
) -> None:
    home = Home(tmp_path / "home").create()
    library = Library(home, tmp_path / "none")
    style = style_for(open_base(tiny_base, home, device="cpu"), 1)
    card = library.add(replace(style, card=replace(style.card, name="Ink", training={"clip_skip": 2})))
    assert card.path is not None
    assert open_header(card.path).metadata["ss_clip_skip"] == "2" and card.training["clip_skip"] == 2

    def notices(weight: float) -> list[str]:
        order = PictureOrder(
            "a cat", PictureSettings(steps=1, width_px=32, height_px=32), weights=(("Ink", weight),)
        )
        events = BaseSession(home, library).paint(
            order, str(tiny_base), home.pictures, Settings(device="cpu"), lambda: False
        )
        return [event.text for event in events if isinstance(event, Notice) and "clip skip" in event.text]

    assert notices(0.5) == ["“Ink” was trained with clip skip 2; it is 1 here."] and notices(0.0) == []
