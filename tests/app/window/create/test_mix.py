"""The mix of the Create room in a real browser, while its styles change elsewhere; and the words of its styles."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from styles.bases.base import Base, open_base
from styles.generation.png_recipe import read_recipe
from styles.library.library import Library
from styles.storage.home import Home
from tests.app.browsing import PATIENCE_MS
from tests.app.conftest import Served
from tests.styles.generation.foreign.pictures import png, with_exif
from tests.styles.painting import style_for

pytestmark = pytest.mark.browser
DONE = "Done. It is kept among your pictures."
LONG = "f" * 64 + "Inkwash" * 12  # a name without a place to break it, that begins as a hash does
WIDER = """() => [...document.querySelectorAll('body *')].filter((one) => one.checkVisibility())
    .filter((one) => one.getBoundingClientRect().right > innerWidth + 1 && !one.closest('svg'))
    .filter((one) => getComputedStyle(one).position !== 'absolute')
    .map((one) => one.outerHTML.slice(0, 120))"""


@pytest.fixture(scope="module")
def base(served: Served, tiny_base: Path) -> Base:
    return open_base(tiny_base, Home(served.home), device="cpu")


@pytest.fixture
def library(served: Served, base: Base) -> Iterator[Library]:
    """The window's styles, with Ink among them; what a test adds is gone afterwards."""
    library = Library(Home(served.home))
    before = {card.id for card in library.cards()}
    for seed, name in ((1, "Ink"), (2, "Other")):
        style = style_for(base, seed)
        library.add(replace(style, card=replace(style.card, name=name, trigger="ink")))
    yield library
    for card in library.cards():
        if card.id not in before:
            library.delete(library.handle(card))


@pytest.fixture
def page(browser: Any, served: Served, library: Library) -> Iterator[Any]:
    """The Create room of a browser that has kept nothing, with Ink and Rings in the mix and nothing painted by itself."""
    context = browser.new_context(viewport={"width": 820, "height": 900})
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.goto(served.url)
    page.get_by_role("tab", name="Create").click()
    page.get_by_role("article").nth(1).wait_for()
    page.get_by_label("Paint as I move").uncheck()
    for name in ("Ink", "Rings"):
        if not page.get_by_role("article", name=name).count():
            add(page, name)
    for name in page.get_by_role("article").evaluate_all("all => all.map(one => one.ariaLabel)"):
        if name not in ("Ink", "Rings"):
            page.get_by_role("button", name=f"Take {name} out of the mix").click()
    page.get_by_role("button", name="More settings").click()
    page.get_by_label("number input for Steps").fill("1")
    page.get_by_label("number input for Steps").press("Enter")
    yield page
    context.close()


def add(page: Any, name: str) -> None:
    """Add a style by the keyboard; again where the page says that it did not work, as when the disk is busy."""
    field, said = page.get_by_role("combobox", name="Add a style"), page.locator("#create-mix .not-added")
    field.fill(name)
    page.get_by_role("option", name=name).first.wait_for()
    for _ in range(3):
        field.press("Enter")
        page.get_by_role("article", name=name).or_(said.filter(has_text=re.compile("."))).first.wait_for()
        if page.get_by_role("article", name=name).count():
            return
    pytest.fail(said.inner_text())


def paint(page: Any, home: Path) -> Any:
    """Press Create; the recipe of the picture that comes."""
    before = set((home / "pictures").glob("[!.]*.png"))
    page.get_by_role("button", name="Create Ctrl").click()
    while not (new := set((home / "pictures").glob("[!.]*.png")) - before):
        page.wait_for_timeout(100)
    page.get_by_text(DONE).wait_for()
    (made,) = new
    return read_recipe(made)


def heavier(page: Any, name: str, weight: str) -> None:
    page.get_by_label(f"Weight of {name}, as a number").fill(weight)
    page.get_by_label(f"Weight of {name}, as a number").press("Enter")


def test_a_style_that_is_unmuted_brings_its_word(page: Any, served: Served) -> None:
    from playwright.sync_api import expect

    chips = page.locator("#create-mix .chips button")
    page.get_by_role("button", name="Mute Ink").click()
    page.get_by_role("button", name="rings", exact=True).click()  # the artist leaves this word out
    assert paint(page, served.home).prompt == page.get_by_label("Prompt", exact=True).input_value()
    page.get_by_role("button", name="Use these settings").click()
    page.get_by_text("The settings of the picture are set.").wait_for()
    page.get_by_role("button", name="Mute Ink").click()
    expect(chips.filter(has_text="ink")).to_have_class("chip")
    expect(chips.filter(has_text="rings")).to_have_class("chip off")
    assert paint(page, served.home).prompt.startswith("ink, ")


def test_a_style_that_was_not_added_is_told_and_asked_for_again(page: Any) -> None:
    from playwright.sync_api import expect

    field = page.get_by_role("combobox", name="Add a style")
    page.route(
        "**/component_server/",
        lambda route: (
            route.abort() if route.request.post_data_json["fn_name"] == "style" else route.continue_()
        ),
    )
    field.fill("Other")
    page.get_by_role("option", name="Other").first.wait_for()
    field.press("Enter")
    page.get_by_role("status").filter(has_text="Atelier does not answer").first.wait_for()
    expect(field).to_have_value("Other")
    page.unroute("**/component_server/")
    field.press("Enter")
    page.get_by_role("button", name="Take Other out of the mix").click()
    expect(page.locator("#create-mix .not-added")).to_be_empty()


def test_a_style_that_goes_and_comes_back_is_followed(page: Any, served: Served, library: Library) -> None:
    from playwright.sync_api import expect

    ink, rings = library.find("Ink"), library.find("Rings")
    ink_card = page.get_by_role("article", name="Ink")
    heavier(page, "Ink", "0.35")

    # Deleted elsewhere, it is named, left out of the picture with a word, and offered back.
    library.delete("Ink")
    heavier(page, "Rings", "0.5")
    ink_card.get_by_text("This style is in the trash").wait_for()
    assert ink.id[:20] not in page.locator("#create-mix").inner_text()
    assert page.get_by_role("button", name="ink", exact=True).count() == 0, (
        "its word is not in front of the prompt"
    )
    recipe = paint(page, served.home)
    page.get_by_text("“Ink” is not in your library: the picture is without it.").wait_for()
    assert [part.style for part in recipe.blend.parts] == [rings.id]
    ink_card.get_by_role("button", name="Restore Ink from the trash").click()
    expect(page.get_by_label("Weight of Ink, as a number")).to_have_value("0.35")
    assert library.find("Ink").id == ink.id

    # Another version takes its name, as when another checkpoint is kept: the mix goes on with it.
    library.delete("Ink")
    library.rename("Other", "Ink")
    page.get_by_role("tab", name="Library").click()
    page.get_by_role("tab", name="Create").click()
    ink_card.get_by_text("is here in another version").wait_for()
    expect(page.get_by_label("Weight of Ink, as a number")).to_have_value("0.35")
    weights = {part.style: part.weight for part in paint(page, served.home).blend.parts}
    assert weights == {rings.id: 0.5, library.find("Ink").id: 0.35}

    # Under a name that is as long as a file's may be, here and deleted, nothing runs over the page; nor after a reload.
    file = library.find("Ink").path
    assert file is not None
    file.rename(file.with_stem(LONG))  # by hand, since Atelier itself keeps names shorter
    page.reload()
    page.get_by_role("tab", name="Create").click()
    page.get_by_label(f"Weight of {LONG}, as a number").wait_for()
    assert page.evaluate(WIDER) == []
    page.get_by_role("tab", name="Library").click()
    page.locator("#shelf").get_by_text(LONG).first.wait_for()
    assert page.evaluate(WIDER) == []
    library.delete(LONG)
    page.get_by_role("tab", name="Create").click()
    page.get_by_role("article", name=LONG).get_by_text("This style is in the trash").wait_for()
    assert page.evaluate(WIDER) == []
    page.get_by_role("article", name=LONG).get_by_role("button", name="Take").click()
    expect(page.get_by_role("article")).to_have_count(1)


def test_what_suits_a_style_of_few_steps_is_one_click_away(page: Any, library: Library, base: Base) -> None:
    from playwright.sync_api import expect

    style = style_for(base, 7)
    library.add(replace(style, card=replace(style.card, name="sd lcm lora")))
    add(page, "sd lcm lora")
    hint = page.locator("#create-mix .advice p", has_text="few steps (LCM)")
    steps = page.get_by_label("number input for Steps")
    if not steps.is_visible():
        page.get_by_role("button", name="More settings").click()
    hint.get_by_role("button", name="Use these").click()
    expect(hint).to_have_count(0)
    expect(steps).to_have_value("6")
    expect(page.get_by_label("Guidance")).to_have_value("1.5")
    expect(page.get_by_label("Sampler", exact=True)).to_have_value("lcm")
    steps.fill("2")
    steps.press("Enter")
    expect(hint).to_have_count(1)
    recipe = paint(page, library.home.root)
    assert (recipe.sampler, recipe.steps, recipe.guidance) == ("lcm", 2, 1.5)


def test_a_pasted_tag_moves_its_slider_and_a_jpeg_of_a1111_gives_its_settings(
    page: Any, served: Served, tmp_path: Path
) -> None:
    from playwright.sync_api import expect

    prompt, said = page.get_by_label("Prompt", exact=True), page.locator("#create-stage .state")
    page.get_by_role("button", name="Take Ink out of the mix").click()
    prompt.fill("")
    prompt.focus()
    page.keyboard.insert_text("a boat, <lora:Rings:0,35>, <lyco:ink> <lora:gone:1>")
    expect(prompt).to_have_value("a boat")
    expect(page.get_by_label("Weight of Rings, as a number")).to_have_value("0.35")
    expect(page.get_by_label("Weight of Ink, as a number")).to_have_value("1")
    expect(said).to_contain_text("“gone” is not in your library")
    assert paint(page, served.home).prompt.endswith("a boat")
    settings = (
        "Steps: 1, Sampler: Euler a, CFG scale: 3, Seed: 77, Size: 64x96, VAE: other.pt, Version: v1.10.1"
    )
    theirs = tmp_path / "theirs.jpg"
    theirs.write_bytes(
        with_exif(
            b"UNICODE\0" + f"a fox <lora:Ink:0.4>\nNegative prompt: fog\n{settings}".encode("utf-16-be")
        )
    )
    with page.expect_file_chooser() as choosing:
        page.get_by_role("button", name="Settings from a picture").click()
    choosing.value.set_files(theirs)
    expect(prompt).to_have_value("a fox")
    expect(page.get_by_label("Seed", exact=True)).to_have_value("77")
    expect(page.get_by_label("Weight of Ink, as a number")).to_have_value("0.4")
    expect(page.get_by_role("article", name="Rings")).to_have_count(0)
    expect(said).to_contain_text("“VAE: other.pt”")
    # Only a prompt: size and seed stay.
    with page.expect_file_chooser() as choosing:
        page.get_by_role("button", name="Settings from a picture").click()
    choosing.value.set_files(png(tmp_path / "theirs.png", parameters="an elk"))
    expect(prompt).to_have_value("an elk")
    expect(page.get_by_label("Seed", exact=True)).to_have_value("77")
    expect(page.get_by_label("Width")).to_have_value("64")
    expect(said).to_contain_text("The prompt of the picture is set. Only a prompt was found")
