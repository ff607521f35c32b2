"""A picture is painted again by its recipe alone, with all that a blend can say and from the kept source."""

from __future__ import annotations

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
from styles.generation.request import CreateRequest, SecondPass
from styles.generation.settings import PictureSettings
from styles.library.library import Library
from styles.mixing.blend import Blend, BlendPart
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
