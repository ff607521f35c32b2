"""What is settled for a base in the Settings room, in a real browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from styles.bases.base_settings import UNSET, BaseSettings
from styles.bases.shelf import BaseShelf
from styles.storage.home import Home
from tests.app.browsing import PATIENCE_MS
from tests.app.conftest import Served
from tests.tiny import tiny_base_folder

pytestmark = pytest.mark.browser


@pytest.fixture
def shelf(served: Served, tmp_path: Path) -> Iterator[BaseShelf]:
    """The window's list, with one more base whose files say nothing; taken off again afterwards."""
    shelf = BaseShelf(Home(served.home))
    shelf.add(tiny_base_folder(tmp_path / "Heron", "sd1"))
    yield shelf
    shelf.remove("Heron")


def test_a_base_gets_another_vae_and_its_own_again(
    browser: Any, served: Served, shelf: BaseShelf, tiny_base: Path, tmp_path: Path
) -> None:
    from playwright.sync_api import expect

    vae = shutil.copytree(tiny_base / "vae", tmp_path / "bright vae")
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    context.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    page = context.new_page()
    page.goto(served.url)
    page.get_by_role("tab", name="Settings").click()

    def card() -> Any:
        return page.locator(".column", has=page.get_by_role("heading", name="Heron")).last

    def change(path: str) -> None:
        card().get_by_role("button", name="For those who know").click()
        card().get_by_label("Another VAE").fill(path)
        card().get_by_role("button", name="Change").click()

    change(str(tmp_path / "nowhere.safetensors"))
    page.get_by_text("There is nothing any more at").first.wait_for()
    assert shelf.resolve("Heron")[1] == UNSET
    card().get_by_label("Another VAE").fill(str(vae))
    card().get_by_role("button", name="Change").click()
    page.get_by_text("Heron is changed.").wait_for()
    expect(card()).to_contain_text("with the VAE bright vae")
    assert shelf.resolve("Heron")[1] == BaseSettings(vae=vae)
    change("")
    expect(card()).not_to_contain_text("with the VAE")
    assert shelf.resolve("Heron")[1] == UNSET
    context.close()
