"""Styles that were copied into the folder by hand: they have no id until somebody chooses them."""

from __future__ import annotations

import shutil
from pathlib import Path

from app.create.style_choices import choice, choices
from app.studio import Studio
from styles.mixing.blend import Blend, BlendPart
from styles.storage.home import Home
from tests.styles.library_files import id_of, put


def test_choosing_a_style_makes_its_id(tmp_path: Path) -> None:
    studio = Studio(Home(tmp_path / "home"))
    path = put(studio.home.styles / "ours" / "Ink.safetensors", 1)
    assert [card.id for card in studio.library.search("name:ink")] == [""]
    (offered,) = choices(studio, "name:ink")["styles"]
    chosen = choice(studio, offered["handle"])
    assert chosen["id"] == id_of(path) and chosen["name"] == offered["name"] == "Ink"
    # What the page offers stays the same, but for what is in the mix.
    assert choices(studio, "name:ink") == {"styles": [offered], "more": 0}
    assert choices(studio, "name:ink", without=[chosen["id"]]) == {"styles": [], "more": 0}
    told = choice(studio, "no such style")
    assert (
        told["name"] == "no such style" and "not in your library" in told["missing"] and not told["deleted"]
    )


def test_a_blend_finds_a_style_that_has_not_been_hashed(tmp_path: Path) -> None:
    studio = Studio(Home(tmp_path / "home"))
    path = put(studio.home.styles / "Ink.safetensors", 1)
    blend = Blend((BlendPart(id_of(path), 0.5),))
    studio.blends.save("Mine", blend)
    shutil.rmtree(studio.home.root / "cache")
    again = Studio(studio.home)
    assert again.blends.facts(again.blends.find("Mine"))["missing"] == [id_of(path)]  # a list hashes nothing
    assert again.blends.started("Mine").start == blend
    facts = again.blends.facts(again.blends.find("Mine"))
    assert facts["missing"] == [] and facts["styles"][0]["name"] == "Ink"
