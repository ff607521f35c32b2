"""The whole way on a small Stable Diffusion XL in a real browser: a style trained, painted with, its recipe restored."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops

from styles.bases.shelf import BaseShelf
from styles.formats.reader import read_card
from styles.generation.png_recipe import read_recipe
from styles.library.library import Library
from styles.storage.home import Home
from tests.app.browsing import PATIENCE_MS
from tests.app.conftest import Served, empty_draft

pytestmark = pytest.mark.browser


@pytest.fixture
def page(browser: Any, served: Served, tiny_sdxl: Path) -> Iterator[Any]:
    """A page of a browser that has kept nothing, over the served window with that base in use; afterwards all is as before."""
    shelf, library = BaseShelf(Home(served.home)), Library(Home(served.home))
    used, styles = shelf.in_use, {card.id for card in library.cards()}
    base = shelf.add(tiny_sdxl).name
    shelf.use(base)
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    empty_draft(served.home)
    page.goto(served.url)
    yield page
    context.close()
    shelf.use(used)
    shelf.remove(base)
    for card in library.cards():
        if card.id not in styles:
            library.delete(library.handle(card))


def test_a_style_of_sdxl_is_trained_painted_with_and_its_recipe_restored(
    page: Any, served: Served, artworks: Path
) -> None:
    from playwright.sync_api import expect

    def field(name: str) -> Any:
        return page.get_by_role("textbox", name=re.compile(f"^{name}"))

    def paint() -> Path:
        """Press Create; the picture of this prompt that comes, by the address of its small one."""
        pictures = (
            page.locator("#create-stage .history li").get_by_role("button", name="a red boat").locator("img")
        )
        before = pictures.count()
        page.get_by_role("button", name="Create Ctrl").click()
        expect(pictures).to_have_count(before + 1)
        address = pictures.first.evaluate("one => decodeURIComponent(one.src)")
        return Path(re.sub(r"^.*?file=", "", str(address)))

    page.get_by_role("tab", name="Train", exact=True).click()
    page.get_by_role("button", name="Advanced").click()
    page.get_by_label("Choose pictures").set_input_files(sorted(artworks.iterdir()))
    page.get_by_text("3 artworks, no caption.").wait_for()
    field("Name of the style").fill("Large")
    field("Steps").fill("2")
    page.get_by_role("tab", name="Previews").click()
    field("Denoising steps").fill("1")
    # What the presets of XL say: the starter's have a batch of 8.
    page.get_by_role("tab", name="Memory").click()
    expect(field("Batch in pictures")).to_have_attribute("placeholder", "4")
    field("Resolution").fill("")
    expect(field("Resolution")).to_have_attribute("placeholder", "the base's own")
    page.get_by_role("button", name="Start training").click()
    page.get_by_text("“Large” has begun.").wait_for()
    page.get_by_role("button", name="Start over").click()
    page.get_by_role("button", name="Undo").wait_for()
    card = page.locator(".progress-card", has_text="Large")  # until then that of an earlier training
    card.get_by_role("status").filter(has_text="Finished").wait_for()
    page.get_by_role("button", name="Paint with it").click()
    style = read_card(served.home / "styles" / "Large.safetensors")
    assert style.family == "sdxl" and style.training["steps"] == 2 and style.thumbnail

    page.get_by_role("article", name="Large").wait_for()
    page.get_by_label("Paint as I move").uncheck()
    page.get_by_role("button", name="More settings").click()
    steps, weight = (
        page.get_by_label("number input for Steps"),
        page.get_by_label("Weight of Large, as a number"),
    )
    for number, value in ((steps, "2"), (weight, "0.75")):
        number.fill(value)
        number.press("Enter")
    page.get_by_label("Prompt", exact=True).fill("a red boat")
    first = paint()
    recipe = read_recipe(first)
    assert recipe.prompt == "large, a red boat" and recipe.guidance == 5.0
    assert [(part.style, part.weight) for part in recipe.blend.parts] == [(style.id, 0.75)]

    page.get_by_label("Prompt", exact=True).fill("something else")
    weight.fill("0")
    weight.press("Enter")
    page.get_by_label("Settings from a picture …").set_input_files(first)
    page.get_by_text("The settings of the picture are set.").wait_for()
    expect(weight).to_have_value("0.75")
    expect(page.get_by_label("Seed", exact=True)).to_have_value(str(recipe.seed))
    again = paint()
    assert again != first and read_recipe(again).blend == recipe.blend
    with Image.open(first) as one, Image.open(again) as other:
        assert ImageChops.difference(one.convert("RGB"), other.convert("RGB")).getbbox() is None
