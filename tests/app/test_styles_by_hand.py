"""Styles that were copied into the folder by hand: they have no id until somebody chooses them."""

from __future__ import annotations

import shutil
from pathlib import Path

from app.studio import Studio
from app.window.mix import arranged, choices_of, present
from styles.blend import Blend, BlendPart
from styles.home import Home
from tests.styles.library_files import id_of, put


def test_choosing_a_style_makes_its_id(tmp_path: Path) -> None:
    studio = Studio(Home(tmp_path / "home"))
    path = put(studio.home.styles / "ours" / "Ink.safetensors", 1)
    before = studio.library.search("name:ink")
    assert [card.id for card in before] == [""]
    choices = choices_of(studio, before)
    chosen, ids, first, *_ = arranged(studio, [choices[0][1], "no such style"], {}, choices)
    assert ids == [id_of(path)] and chosen["value"] == [choices[0][1]] and chosen["choices"] == choices
    assert first["label"] == "Ink" and first["visible"]
    # What the page offers stays the same, and so does what is chosen.
    assert choices_of(studio, studio.library.search("name:ink")) == choices
    assert present(studio, [choices[0][1], id_of(path)[:12], "Ink"]) == [studio.library.find("Ink")]


def test_a_blend_finds_a_style_that_has_not_been_hashed(tmp_path: Path) -> None:
    studio = Studio(Home(tmp_path / "home"))
    path = put(studio.home.styles / "Ink.safetensors", 1)
    blend = Blend((BlendPart(id_of(path), 0.5),))
    studio.blends.save("Mine", blend)
    shutil.rmtree(studio.home.root / "cache")
    again = Studio(studio.home)
    assert again.blends.facts(again.blends.find("Mine"))["missing"] == [id_of(path)]  # a list hashes nothing
    assert again.blends.usable("Mine") == blend
    facts = again.blends.facts(again.blends.find("Mine"))
    assert facts["missing"] == [] and facts["styles"][0]["name"] == "Ink"
