"""A picture is painted again by its recipe alone, with all that a blend can say and from the kept source."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from app.create.base_session import BaseSession
from app.create.painting import PictureSaved
from app.settings import Settings
from styles.bases.base import open_base
from styles.errors import RecipeError
from styles.generation.img2img import SourcePicture, keep_source
from styles.generation.png_recipe import read_recipe, save_picture
from styles.generation.request import CreateRequest, SecondPass
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
