"""Styles that stay at hand between pictures: never a stale one, and the pictures of a window just opened."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch

from app.create.mix_orders import MixOrder, StyleOrder
from app.create.painting import PictureSaved
from app.create.style_cache import StyleCache
from app.orders import PictureOrder
from app.studio import Studio
from styles.errors import UnknownStyleError
from styles.formats.style import Style, StyleCard, StyleLayer
from styles.generation.effect_probe import effects_key
from styles.generation.settings import PictureSettings
from styles.library.library import Library
from styles.storage.home import Home
from tests.app.mixing import home_for_mixing

TO_K = "mid_block.attentions.0.transformer_blocks.0.attn2.to_k"


def tiny_style(name: str, seed: int) -> Style:
    torch.manual_seed(seed)
    layer = StyleLayer("unet", TO_K, torch.randn(2, 768), torch.randn(1280, 2), 2.0)
    return Style(StyleCard(name, "sd1", 2), (layer,))


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Library:
    monkeypatch.setattr("app.create.style_cache.SETTLED_SECONDS", 0.0)  # a clock as fine as this system's
    library = Library(Home(tmp_path / "home").create(), bundled=tmp_path / "none")
    for seed, name in enumerate(("Ink", "Oil")):
        library.add(tiny_style(name, seed))
    return library


def test_what_was_not_touched_is_not_read_again(library: Library) -> None:
    at_hand, (ink, oil) = StyleCache(library), [card.id for card in library.cards()]
    first = at_hand.open([ink, oil])
    assert [style.name for style in first] == ["Ink", "Oil"]
    assert all(one is other for one, other in zip(at_hand.open([oil, ink]), first[::-1], strict=True))
    assert at_hand.open([oil])[0] is first[1]
    assert at_hand.open([ink])[0] is not first[0], "only those of the last time are kept"


def test_a_file_that_was_written_just_now_is_not_trusted(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.create.style_cache.SETTLED_SECONDS", 60.0)
    at_hand, ink = StyleCache(library), library.find("Ink").id
    assert at_hand.open([ink])[0] is not at_hand.open([ink])[0]


def test_whatever_is_written_is_seen(library: Library) -> None:
    at_hand, ink = StyleCache(library), library.find("Ink")
    assert ink.path is not None
    (old,) = at_hand.open([ink.id])
    library.edit("Ink", author="Mara")  # the header alone: the id is the same
    (edited,) = at_hand.open([ink.id])
    assert edited.card.author == "Mara" and edited.id == old.id and edited.layers is not old.layers
    ink.path.with_suffix(".json").write_text(json.dumps({"activation text": "inky"}), encoding="utf-8")
    assert at_hand.open([ink.id])[0].card.trigger == "inky"

    # Another style in the same place, of the same size, and its time put back.
    before, written = ink.path.stat(), bytearray(ink.path.read_bytes())
    written[-1] ^= 1
    ink.path.write_bytes(written)
    os.utime(ink.path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(UnknownStyleError):
        at_hand.open([ink.id])
    oil = library.find("Oil")
    at_hand.open([oil.id])
    library.delete("Oil")
    with pytest.raises(UnknownStyleError):
        at_hand.open([oil.id])


def test_pictures_come_out_as_in_a_window_just_opened(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(home_for_mixing(tmp_path / "home", tiny_base))
    studio = Studio(home)

    def picture(of: Studio, **weights: float) -> Path:
        styles = tuple(StyleOrder(name, weight) for name, weight in weights.items())
        order = PictureOrder(
            "a cat", PictureSettings(seed=3, steps=2, width_px=32, height_px=32), mix=MixOrder(styles)
        )
        (saved,) = (e for e in of.create(order, tmp_path / "out") if isinstance(e, PictureSaved))
        return saved.path

    monkeypatch.setattr("app.create.style_cache.SETTLED_SECONDS", 0.0)
    mixes = ({"Ink": 0.7, "Anti": 0.2}, {"Oil": 0.5}, {"Anti": 0.4, "Oil": 0.9, "Ink": 1.0})
    last = [picture(studio, **mix) for mix in mixes][-1].read_bytes()
    assert picture(Studio(home), **mixes[-1]).read_bytes() == last
    library = studio.library
    with monkeypatch.context() as patched:
        patched.setattr(library, "open", lambda name: pytest.fail(f"{name} was opened again"))
        assert picture(studio, **mixes[-1]).read_bytes() == last
    library.edit("Ink", trigger="black water")
    saved = picture(studio, Ink=1.0)
    from styles.generation.png_recipe import read_recipe

    assert read_recipe(saved).prompt == "black water, a cat"
    # Where it was opened from, and what its effects are kept under, is known when it is closed again.
    base_session, place, recipe = studio.base_session, str(tiny_base), read_recipe(saved)
    with base_session.opened(place, studio.settings) as base:
        key = effects_key(base)
    assert base_session.source_of(recipe) == place and base_session.effects_key_of(place) == key
    (home.bases / "opened.json").write_text(json.dumps({recipe.base_fingerprint: place}), encoding="utf-8")
    assert base_session.source_of(recipe) == place and base_session.effects_key_of(place) == ""
    base_session.put_away()
    assert studio.base_session.styles.open([]) == []
