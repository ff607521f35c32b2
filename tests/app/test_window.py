"""The window in a real browser: the main job with the mouse, on a tiny base."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from styles.pictures import read_recipe
from styles.style_file import read_card
from tests.app.conftest import Served, draw_artworks

pytestmark = pytest.mark.browser
PATIENCE_MS = 300_000
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--disable-default-apps", "--no-first-run",
]  # fmt: skip


@dataclass(frozen=True)
class Window:
    """An open page and the home behind it."""

    page: Any
    url: str
    home: Path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """The system's Chromium; without one this is a skip, and in CI a failure."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome", "msedge")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("CI needs a browser: .ci/run installs Chromium")
        pytest.skip("no Chromium or Chrome on this machine: the window was not tested")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def window(browser: Any, served: Served) -> Iterator[Window]:
    """One page for all flows."""
    page = browser.new_page(viewport={"width": 1280, "height": 1000}, accept_downloads=True)
    page.set_default_timeout(PATIENCE_MS)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(served.url)
    yield Window(page, served.url, served.home)
    outside = [ask for ask in asked if not ask.startswith((served.url, "data:", "blob:"))]
    assert not outside, f"the page asked for something from elsewhere: {outside}"
    page.close()


def test_a_style_is_trained_and_a_reload_finds_the_running_training(window: Window, tmp_path: Path) -> None:
    page = window.page
    page.get_by_role("tab", name="Train").click()
    files = sorted(draw_artworks(tmp_path / "art").iterdir())
    page.locator("input[type=file]").first.set_input_files(files)
    page.get_by_text("3 artworks.").wait_for()
    page.get_by_label("Name of the style").fill("Mouse made")
    page.get_by_role("button", name="Advanced").click()
    # Whole names only: before the accordion's fields are there, the loss plot's name alone holds the word.
    page.get_by_label("Steps", exact=True).fill("5000")
    page.get_by_label("Resolution in pixels").fill("64")
    page.get_by_role("button", name="Start training").click()
    page.get_by_text("Mouse made: Training").wait_for()

    page.reload()
    page.get_by_text("Mouse made: Training").wait_for()
    page.get_by_role("button", name="Stop and keep").click()
    page.get_by_text("Mouse made: Stopped, the style is kept").wait_for()
    assert (window.home / "styles" / "Mouse made.safetensors").is_file()


def test_a_picture_is_painted_with_the_weight_of_the_slider(window: Window) -> None:
    from playwright.sync_api import expect

    page = window.page
    page.get_by_role("tab", name="Create").click()
    page.get_by_label("number input for Rings").fill("0.35")
    page.get_by_label("number input for Rings").press("Enter")
    page.get_by_role("button", name="More").click()
    page.get_by_label("Seed", exact=True).fill("42")
    steps = page.get_by_label("number input for Steps")
    expect(steps).to_have_value("20", timeout=PATIENCE_MS)  # an accordion just opened still writes its values
    steps.fill("2")
    steps.press("Enter")
    expect(page.get_by_label("range slider for Steps")).to_have_value("2", timeout=PATIENCE_MS)
    page.get_by_role("button", name="Create", exact=True).click()
    page.get_by_text("Seed 42: saved as").wait_for()
    (picture,) = (window.home / "pictures").glob("*42.png")
    recipe = read_recipe(picture)
    weights = {recipe.names[part.style]: part.weight for part in recipe.blend.parts}
    assert weights["Rings"] == 0.35 and recipe.steps == 2 and recipe.seed == 42

    prompt = page.get_by_label("Prompt", exact=True)
    prompt.fill("something else")
    page.locator("input[type=file][accept*='.png']").set_input_files(picture)
    expect(prompt).to_have_value(recipe.prompt, timeout=PATIENCE_MS)


def test_a_style_is_exported_deleted_and_restored(window: Window, tmp_path: Path) -> None:
    page, kept = window.page, window.home / "styles" / "Rings.safetensors"
    content = kept.read_bytes()
    page.get_by_role("tab", name="Library").click()
    # First all cards: those of the search would else be clicked while they are being replaced.
    page.get_by_role("heading", name="Mouse made").wait_for()
    page.get_by_label("Search").fill("Rings")
    page.get_by_role("heading", name="Mouse made").wait_for(state="hidden")
    page.get_by_role("heading", name="Rings").wait_for()
    with page.expect_download() as download:
        page.get_by_role("button", name="Export").first.click()
    download.value.save_as(tmp_path / "shared.safetensors")
    assert read_card(tmp_path / "shared.safetensors").id == read_card(kept).id
    page.get_by_text("diffusers: yes.").wait_for()

    page.get_by_role("button", name="Delete").first.click()
    page.get_by_text("Rings is in the trash.").wait_for()
    assert not kept.exists()
    page.get_by_role("button", name="Trash").click()
    page.get_by_role("button", name="Restore").click()
    page.get_by_text("Rings is back.").wait_for()
    assert kept.read_bytes() == content


def test_the_machine_is_described_and_bad_input_told_on_the_page(window: Window) -> None:
    page = window.page
    page.reload()
    page.get_by_role("tab", name="Settings").click()
    page.get_by_role("button", name="Look at the device").click()
    page.get_by_role("cell", name="torch", exact=True).wait_for()
    page.get_by_role("tab", name="Train").click()
    page.get_by_label("Name of the style").fill("Nothing")
    page.get_by_role("button", name="Start training").click()
    page.get_by_text("There are no artworks to learn from.").first.wait_for()
