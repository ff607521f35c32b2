"""The list of bases in the Settings room, in a real browser: no click is lost, and what is settled for a base."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.setup.pip import Say, SetupProblem
from styles.bases.base import open_base
from styles.bases.base_settings import UNSET, BaseSettings
from styles.bases.shelf import BaseShelf
from styles.errors import SettingsError
from styles.library.library import Library
from styles.storage.home import Home
from tests.app.browsing import PATIENCE_MS
from tests.app.conftest import Served
from tests.conftest import REPOSITORY
from tests.styles.mixing.test_group_merge import grouped_styles
from tests.tiny import tiny_base_folder


@pytest.fixture
def shelf(served: Served, tmp_path: Path) -> Iterator[BaseShelf]:
    """The window's list, with two more bases whose files say nothing; afterwards as before."""
    shelf = BaseShelf(Home(served.home))
    used, here = shelf.in_use, {entry.name for entry in shelf.list()}
    heron = tiny_base_folder(tmp_path / "Heron", "sd1")
    shelf.add(heron)
    shelf.add(shutil.copytree(heron, tmp_path / "Egret"))
    shutil.copytree(heron, tmp_path / "Crane")
    yield shelf
    for entry in shelf.list():
        if entry.name not in here:
            shelf.remove(entry.name)
    shelf.use(used)


@pytest.fixture
def page(browser: Any, served: Served, shelf: BaseShelf) -> Iterator[Any]:
    """The Settings room."""

    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.goto(served.url)
    page.get_by_role("tab", name="Settings").click()
    yield page
    context.close()


def test_the_page_is_drawn_once() -> None:
    """A click on what gradio drew anew is lost: it names a function of the drawing before."""
    for file in (REPOSITORY / "app").rglob("*.py"):
        assert not re.search(r"\bgr\.render|gradio import.*render", file.read_text(encoding="utf-8")), file


@pytest.mark.browser
def test_no_click_on_the_list_is_lost(page: Any, shelf: BaseShelf, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    def button(name: str) -> Any:
        return page.get_by_role("button", name=name)

    said = page.locator(".bases-said").first
    # A click that is on its way while the list is drawn anew.
    on_their_way: list[Any] = []

    def hold(route: Any) -> None:
        if on_their_way or '"Heron"' not in route.request.post_data:
            route.continue_()
        else:
            on_their_way.append(route)

    page.route("**/queue/join*", hold)
    with page.expect_request("**/queue/join*"):
        button("Use it: Heron").click()
    page.get_by_label("A file, a folder, or a Hub id").fill(str(tmp_path / "Crane"))
    button("Add").click()
    button("Use it: Crane").wait_for()
    on_their_way[0].continue_()
    expect(said).to_contain_text("Heron is in use now.")
    assert shelf.in_use == "Heron" and "Crane" in {entry.name for entry in shelf.list()}
    # Two at once, before either is answered.
    expect(button("Use it: Heron")).to_have_count(0)
    page.evaluate(
        """() => { for (const name of ["Remove: Egret", "Use it: Crane"])
            document.querySelector(`[aria-label="${name}"]`).click(); }"""
    )
    expect(button("Use it: Heron")).to_have_count(1)
    expect(button("Remove: Egret")).to_have_count(0)
    expect(page.locator(".base-card", has_text="Crane")).to_contain_text("in use")
    assert shelf.in_use == "Crane" and "Egret" not in {entry.name for entry in shelf.list()}

    # By the keyboard; nothing is asked for by the button that then stands where one has pressed.
    button("Use it: Heron").press("Enter")
    expect(page.get_by_role("heading", name="Heron")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(button("Remove: Heron")).to_be_focused()
    # The second click of a double one comes upon the next base.
    button("Remove: Heron").dblclick()
    expect(button("Remove: Heron")).to_have_count(0)
    expect(said).to_contain_text("Heron is off the list.")
    names = {entry.name for entry in shelf.list()}
    assert "Heron" not in names and "Crane" in names


@pytest.mark.browser
def test_a_base_gets_another_vae_and_its_own_again(
    page: Any, shelf: BaseShelf, tiny_base: Path, tmp_path: Path
) -> None:
    from playwright.sync_api import expect

    vae = shutil.copytree(tiny_base / "vae", tmp_path / "bright vae")
    card = page.locator(".base-card", has=page.get_by_role("heading", name="Heron"))

    def change(path: str) -> None:
        card.get_by_text("For those who know").click()
        card.get_by_label("Another VAE").fill(path)
        card.get_by_role("button", name="Change").click()

    change(str(tmp_path / "nowhere.safetensors"))
    page.get_by_text("There is nothing any more at").first.wait_for()
    assert shelf.resolve("Heron")[1] == UNSET
    card.get_by_label("Another VAE").fill(str(vae))
    card.get_by_label("Another VAE").press("Enter")
    page.get_by_text("Heron is changed.").wait_for()
    expect(card).to_contain_text("with the VAE bright vae")
    assert shelf.resolve("Heron")[1] == BaseSettings(vae=vae)
    # What was typed for a base is not said of the one that comes in its place.
    card.get_by_text("For those who know").click()
    expect(card.get_by_label("Another VAE")).to_have_value(str(vae))
    page.get_by_role("button", name="Remove: Heron").click()
    expect(card).to_have_count(0)
    egret = page.locator(".base-card", has=page.get_by_role("heading", name="Egret"))
    egret.get_by_text("For those who know").click()
    expect(egret.get_by_label("Another VAE")).to_have_value("")
    egret.get_by_label("What the base predicts").select_option("epsilon")
    egret.get_by_role("button", name="Change").click()
    page.get_by_text("Egret is changed.").wait_for()
    assert shelf.resolve("Egret")[1] == BaseSettings(prediction_type="epsilon")


@pytest.mark.browser
def test_a_base_is_kept_in_four_bits_by_the_keyboard_alone(page: Any, shelf: BaseShelf) -> None:
    from playwright.sync_api import expect

    card = page.locator(".base-card", has=page.get_by_role("heading", name="Heron"))
    summary = card.get_by_text("In four bits: no")
    summary.press("Enter")
    expect(card.get_by_role("radio", name="As it is")).to_be_checked()
    expect(card.get_by_role("radio", name="NF4")).to_have_accessible_name(re.compile(r"NF4 [\d.]+ (GB|MB)"))
    card.get_by_role("radio", name="As it is").press("ArrowUp")
    expect(card.get_by_role("radio", name="Groups of 64")).to_be_focused()
    page.keyboard.press("Tab")
    expect(card.get_by_role("button", name="Keep it so")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".bases-said").first).to_contain_text("Heron is kept in four bits with groups of 64")
    expect(card).to_contain_text("In four bits: Groups of 64")
    assert shelf.resolve("Heron")[1] == BaseSettings(quantize="qa4-64")


@pytest.mark.browser
def test_a_style_is_merged_into_a_base_and_painted_with(
    page: Any, served: Served, shelf: BaseShelf, tiny_base: Path, tmp_path: Path
) -> None:
    from playwright.sync_api import expect

    home = Home(served.home)
    library = Library(home)
    (style,) = grouped_styles(open_base(tiny_base, home, device="cpu", quantize="qa4-16"), 16, 1)
    style = replace(
        style, card=replace(style.card, name="Wash", training={"quantize": "qa4-16"}, licence="CC-BY-ND-4.0")
    )
    kept = library.add(style)
    page.reload()
    page.get_by_role("tab", name="Settings").click()
    card = page.locator(".base-card", has=page.get_by_role("heading", name="tiny"))
    card.get_by_text("Merge a style into it").click()
    expect(card).to_contain_text("no slider there any more")
    expect(card.get_by_role("checkbox", name="Wash")).to_be_checked()
    card.get_by_label("Weight of Wash").fill("0,5")
    card.get_by_label("Name of the merged base").fill("Washed")
    card.get_by_role("button", name="Merge", exact=True).click()
    page.get_by_text("Tick “Merge it all the same”").first.wait_for()
    card.get_by_label("Merge it all the same").check()
    card.get_by_role("button", name="Merge", exact=True).click()
    expect(page.locator(".bases-said").first).to_contain_text("Washed is added")
    washed = page.locator(".base-card", has=page.get_by_role("heading", name="Washed"))
    expect(washed).to_contain_text("Wash at 0.5")
    expect(washed.locator("details.keeping")).to_have_count(0)
    shelf.use("Washed")
    assert open_base("Washed", home, device="cpu").quantize == "qa4-16"
    library.delete(kept.id)


def test_installing_nf4_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """The installing itself is tested with the first start."""
    from app.window.settings import four_bits

    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    monkeypatch.setattr(four_bits, "is_own_venv", lambda root: False)
    assert "pip install" in four_bits.nf4_to_install(True), "a Python of somebody's own is left as it is"
    monkeypatch.setattr(four_bits, "is_own_venv", lambda root: True)
    assert 'data-do="install"' in four_bits.nf4_to_install(True)
    assert "data-do" not in four_bits.nf4_to_install(False), "another device installs nothing here"
    shares: list[float] = []

    def install(problem: SetupProblem | None) -> str:
        def add(root: Path, say: Say) -> None:
            say("Fetching bitsandbytes (1 of 1) ...")
            say("  bitsandbytes: 40 %")
            if problem:
                raise problem

        monkeypatch.setattr(four_bits, "add_nf4", add)
        return four_bits.install_nf4(lambda share, desc: shares.append(share))

    for kind in ("disk", "network", "hashes", "no wheel", "unusable", ""):
        with pytest.raises(SettingsError, match=r"setup\.log") as told:
            install(SetupProblem("in English", kind))
        assert told.value.hint and "in English" not in told.value.message
    assert shares[:2] == [0, 0.4]
    assert "start it again" in install(None), "it is not found although it was installed"
    monkeypatch.delitem(sys.modules, "bitsandbytes")
    assert "choose it now" in install(None) and four_bits.nf4_to_install(True) == ""
