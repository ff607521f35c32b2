"""The named endpoints around mixing, as a script on this machine uses them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from styles.generation.png_recipe import read_recipe
from tests.app.mixing import home_for_mixing

SMALL = {"steps": 1, "width": 32, "height": 32, "seed": 4}


@pytest.fixture(scope="module")
def ask(client: Any, tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Iterator[Any]:
    """The window with two styles more, that are gone afterwards."""
    home = home_for_mixing(tmp_path_factory.mktemp("endpoints") / "home", tiny_base)
    for name in ("Ink", "Oil"):
        client.predict(path=str(home / "styles" / f"{name}.safetensors"), api_name="/import_style")
    yield client.predict
    for name in ("Ink", "Oil"):
        client.predict(name=name, api_name="/delete_style")


def test_create_takes_all_that_a_mix_can_say(ask: Any, tmp_path: Path) -> None:
    start = tmp_path / "start.png"
    Image.linear_gradient("L").save(start)
    made = ask(
        prompt="a house", weights={"Oil": 0.5}, schedules={"Ink": [[0, 0], [0.5, 0.8]]},
        composition={"Oil": 0.5}, texture={"Ink": 2}, mode="take turns", image=str(start), denoise=0.5,
        second_pass=1.5, second_denoise=0.4, **SMALL, api_name="/create",
    )  # fmt: skip
    recipe = read_recipe(Path(made["pictures"][0]))
    parts = {recipe.names[part.style]: part for part in recipe.blend.parts}
    assert parts["Ink"].schedule == ((0, 0), (0.5, 0.8)) and parts["Ink"].texture == 2
    assert parts["Oil"].weight == parts["Oil"].composition == 0.5 and recipe.blend.mode == "take turns"
    assert (recipe.source_strength, recipe.second_scale, recipe.second_strength) == (0.5, 1.5, 0.4)


def test_sheets_come_with_labels(ask: Any) -> None:
    picture = {"prompt": "a house", "weights": {"Oil": 0.5}, **SMALL}
    strip = ask(style="Ink", weights=[0, 1], picture=picture, api_name="/strip")
    assert strip["labels"] == ["Ink 0", "Ink 1"] and Path(strip["sheet"]).is_file()
    grid = ask(styles=["Ink", "Oil"], picture=picture, columns=2, rows=2, api_name="/blend_map")
    assert len(grid["pictures"]) == 4 and grid["columns"] == 2
    out = ask(picture=picture | {"blend": ""}, api_name="/leave_one_out")
    assert out["labels"] == ["all", "without Oil"]


def test_a_mix_is_judged_baked_and_kept(ask: Any, tmp_path: Path) -> None:
    from gradio_client.exceptions import AppError

    told = ask(weights={"Ink": 1, "Oil": 0.5}, api_name="/conflicts")
    assert sorted(told["pairs"][0]["names"]) == ["Ink", "Oil"] and told["mode"] == "sum"
    told = ask(weights={"Ink": None}, api_name="/strength")
    assert told["styles"][0]["strength_at_1"] > 0 and told["total"] > 0
    card = ask(name="Both", weights={"Ink": 0.5, "Oil": 0.5}, rank=2, api_name="/bake")
    assert card["bake"]["method"] == "squeezed" and card["rank"] == 2
    ask(name="Both", api_name="/delete_style")
    ask(name="Ink", changes={"licence": "no derivatives"}, api_name="/edit_style")
    with pytest.raises(AppError, match="agreed=True"):
        ask(name="Both", weights={"Ink": 0.5}, rank=2, api_name="/bake")
    ask(name="Both", weights={"Ink": 0.5}, rank=2, agreed=True, api_name="/bake")
    ask(name="Both", api_name="/delete_style")

    file = ask(name="Dusk", weights={"Ink": 0.7}, mute=["Ink"], api_name="/blends_save")
    assert Path(file).is_file()
    exported = ask(name="Dusk", folder=str(tmp_path), api_name="/blends_export")
    assert Path(ask(name="Dusk", api_name="/blends_delete")).is_file()
    assert ask(api_name="/blends_list") == []
    assert ask(file=exported, api_name="/blends_import")["missing"] == []
    assert ask(name="dusk", api_name="/blends_show")["styles"][0]["muted"] is True
    ask(name="Pair", weights={"Ink": 1, "Oil": 0.5}, mode="take turns", api_name="/blends_save")
    turns, added = (ask(blend="Pair", mode=mode, api_name="/strength")["total"] for mode in (None, "sum"))
    assert 0 < turns < added  # each step hears only one of them
    assert len(ask(blend="Pair", mode="average guidance", api_name="/conflicts")["pairs"]) == 1
    ask(name="Pair", api_name="/blends_delete")
    with pytest.raises(AppError, match="no blend"):
        ask(name="Nothing", api_name="/blends_show")
    ask(name="Dusk", api_name="/blends_delete")


def test_a_bad_mix_is_told_with_its_text(ask: Any) -> None:
    from gradio_client.exceptions import AppError

    for picture, says in (
        ({"weights": {"Ink": 1}}, "no prompt"),
        ({"prompt": "x", "wieghts": {"Ink": 1}}, "wieghts"),
        ({"prompt": "x", "weights": {"Ink": "lots"}}, "lots"),
        ({"prompt": "x", "weights": {"Ink": 1}, "schedules": {"Ink": [[0, 1]]}}, "schedule"),
        ({"prompt": "x", "schedules": {"Ink": [[1, 1], [0, 1]]}}, "backwards"),
    ):
        with pytest.raises(AppError, match=says):
            ask(picture=picture, api_name="/leave_one_out")
