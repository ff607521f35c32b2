"""Pictures for a style's page on the Hub: with the prompt of their recipe, and nothing else that they tell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from PIL import Image

from app.library.card_pictures import example_picture
from styles.errors import BadInput
from styles.generation.png_recipe import save_picture
from styles.generation.recipe import Recipe
from tests.app.conftest import Atelier
from tests.styles.library_files import library_at, put


def test_a_picture_shows_its_prompt_on_the_page(tmp_path: Path, atelier: Callable[[Path], Atelier]) -> None:
    painted = save_picture(Image.new("RGB", (64, 64), "teal"), Recipe("a cat, SECRET: no", seed=7), tmp_path)
    plain = tmp_path / "plain.jpg"
    Image.new("RGB", (64, 64), "red").save(plain)
    assert [example_picture(path).prompt for path in (painted, plain)] == ["a cat, SECRET: no", ""]
    library = library_at(tmp_path / "home")
    put(library.folder / "Ink.safetensors", 1, {"modelspec.trigger_phrase": "inkwash"})
    run = atelier(tmp_path / "home")
    options = ("--form", "hub", "--picture", painted, "--picture", plain, "--json")
    folder = Path(run("styles", "export", "Ink", tmp_path / "out", *options).json["style"])
    widget = ModelCard.load(folder / "README.md").data.to_dict()["widget"]
    assert [one["text"] for one in widget] == ["a cat, SECRET: no", "inkwash"]
    for one in widget:
        data = (folder / one["output"]["url"]).read_bytes()
        assert data.startswith(b"\x89PNG") and b"SECRET" not in data


@pytest.mark.parametrize("name", ["none.png", "no picture.png"])
def test_what_is_no_picture_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "no picture.png").write_text("no picture")
    with pytest.raises(BadInput, match=name):
        example_picture(tmp_path / name)
