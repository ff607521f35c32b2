"""The window in a real browser: the main job with the mouse, on a tiny base."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from app.settings import Settings
from styles.formats.reader import read_card
from styles.storage.home import Home
from tests.app.browsing import PATIENCE_MS
from tests.app.conftest import Served, draw_artworks, empty_draft
from tests.app.screenshots import settle
from tests.styles.library_files import put_peft
from training.job import jobs_in

pytestmark = pytest.mark.browser


@dataclass(frozen=True)
class Window:
    """An open page and the home behind it."""

    page: Any
    url: str
    home: Path


@pytest.fixture
def window(browser: Any, served: Served) -> Iterator[Window]:
    """A page of a browser that has kept nothing, and no training that is prepared."""
    empty_draft(served.home)
    page = browser.new_page(viewport={"width": 1280, "height": 1000}, accept_downloads=True)
    page.set_default_timeout(PATIENCE_MS)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(served.url)
    yield Window(page, served.url, served.home)
    outside = [ask for ask in asked if not ask.startswith((served.site, "data:", "blob:"))]
    assert not outside, f"the page asked for something from elsewhere: {outside}"
    page.close()


def test_styles_are_trained_one_after_the_other_and_a_reload_loses_nothing(
    window: Window, tmp_path: Path
) -> None:
    from playwright.sync_api import expect

    page = window.page

    def field(name: str) -> Any:
        return page.get_by_role("textbox", name=re.compile(f"^{name}"))

    def said(words: str) -> Any:
        return page.locator("#train").get_by_role("status").filter(has_text=words)

    page.get_by_role("tab", name="Train").click()
    page.get_by_role("button", name="Advanced").click()  # what is folded out writes its values a little later
    files = sorted(draw_artworks(tmp_path / "art").iterdir())
    page.get_by_label("Choose pictures").set_input_files(files)
    page.get_by_text("3 artworks, no caption.").wait_for()
    page.get_by_label("Caption of 0.png").fill("rings on blue")
    field("Name of the style").fill("Mouse made")
    field("Steps").fill("5000")
    page.get_by_role("tab", name="Memory").click()
    field("Resolution").fill("64")
    page.get_by_role("tab", name="Length").click()
    expect(field("Steps")).to_have_value("5000")
    page.get_by_role("button", name="Start training").click()
    page.get_by_role("button", name="Pause").wait_for()

    field("Steps").fill("4")
    field("Name of the style").fill("Mouse second")
    page.get_by_role("button", name="Add to the queue").click()
    page.get_by_role("button", name="Take Mouse second out of the queue").wait_for()

    page.reload()
    expect(field("Name of the style")).to_have_value("Mouse second")
    expect(page.get_by_label("Caption of 0.png")).to_have_value("rings on blue")
    room = page.locator("#train")
    room.get_by_text(re.compile(r"^Step [1-9]\d* of 5000 in all · about .* left")).wait_for()
    room.get_by_role("img", name=re.compile("loss", re.I)).wait_for()
    # Before its first step there is nothing to keep.
    page.get_by_role("button", name="Stop and keep").click()

    # The next one starts by itself.
    said("Finished").wait_for()
    assert (window.home / "styles" / "Mouse made.safetensors").is_file()
    page.get_by_role("button", name="Keep the style of step 2").click()
    said("the style is that of step 2").wait_for()
    assert read_card(window.home / "styles" / "Mouse second.safetensors").training["steps"] == 2
    page.get_by_role("button", name="Paint with it").click()
    expect(page.get_by_role("tab", name="Create")).to_have_attribute("aria-selected", "true")


def find_and_open(page: Any, name: str) -> None:
    """Search the shelf and open a style, once those that were there are no longer about to be replaced."""
    page.get_by_label("Search", exact=True).fill("no such style")
    page.get_by_text("No style matches.", exact=True).wait_for()
    page.get_by_label("Search", exact=True).fill(name)
    page.get_by_role("button", name=name, exact=True).click()
    page.get_by_role("heading", name=name, level=2).wait_for()


def test_a_style_is_exported_deleted_and_restored(window: Window, tmp_path: Path) -> None:
    page, kept = window.page, window.home / "styles" / "Rings.safetensors"
    content = kept.read_bytes()
    page.get_by_role("tab", name="Library").click()
    find_and_open(page, "Rings")
    with page.expect_download() as download:
        page.get_by_role("button", name="Export", exact=True).click()
    shared = tmp_path / "shared.safetensors"
    download.value.save_as(shared)
    assert read_card(shared).id == read_card(kept).id
    page.get_by_text("diffusers: yes.").wait_for()

    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_text("Rings is in the trash.").wait_for()
    assert not kept.exists()
    page.get_by_role("button", name="Undo deleting Rings").click()
    page.get_by_text("Rings is back.").wait_for()
    assert kept.read_bytes() == content

    (tmp_path / "notes.safetensors").write_text("these are no tensors", encoding="utf-8")
    put_peft(tmp_path / "folder" / "Portrait", 1)
    page.get_by_label("Styles to import", exact=True).set_input_files(
        [shared, tmp_path / "notes.safetensors"]
    )
    page.get_by_text("already, as “Rings”").wait_for()
    page.get_by_text("no safetensors file").wait_for()
    page.get_by_label("Folder of styles to import").set_input_files(tmp_path / "folder")
    page.get_by_role("button", name="Import: Portrait").click()
    page.get_by_text("Portrait is in the library.").wait_for()
    assert (window.home / "styles" / "Portrait" / "adapter_config.json").is_file()
    page.get_by_role("button", name="Leave all").click()
    page.get_by_text("already, as “Rings”").wait_for(state="hidden")


def test_where_there_is_no_room_the_rest_is_not_sent(window: Window, tmp_path: Path) -> None:
    page = window.page
    page.get_by_role("tab", name="Library").click()
    sent: list[str] = []
    page.route(
        "**/gradio_api/upload*",
        lambda route: (sent.append(route.request.url), route.fulfill(status=507, body="There is no room.")),
    )
    files = [tmp_path / f"{number}.safetensors" for number in range(4)]
    for file in files:
        file.write_bytes(b"x")
    page.get_by_label("Styles to import", exact=True).set_input_files(files)
    page.get_by_text("There is no room.").wait_for()
    page.get_by_text("Taking in").wait_for(state="hidden")
    assert len(sent) == 1
    page.unroute("**/gradio_api/upload*")


def test_what_is_typed_about_a_style_stays_until_it_is_saved(window: Window) -> None:
    from playwright.sync_api import expect

    page, kept = window.page, window.home / "styles" / "Rings.safetensors"
    page.get_by_role("tab", name="Library").click()
    find_and_open(page, "Rings")
    tags = page.get_by_label("Tags", exact=True)
    tags.fill(" wash ,, ink")
    page.get_by_label("A favourite").check()
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_text("Rings is saved.").wait_for()
    expect(tags).to_have_value("wash, ink")
    assert read_card(kept).tags == ("wash", "ink")


def test_each_folder_s_captions_stay_with_its_own_pictures(window: Window, tmp_path: Path) -> None:
    page, artworks = window.page, window.home / "draft" / "artworks"
    for colour in ("red", "blue"):
        folder = tmp_path / "drawings" / colour
        folder.mkdir(parents=True)
        Image.new("RGB", (80, 80), colour).save(folder / "01.png")
        (folder / "01.txt").write_text(f"all {colour}", encoding="utf-8")
    page.get_by_label("Choose a whole folder").set_input_files(tmp_path / "drawings")
    page.get_by_text("2 artworks, 2 captions.").wait_for()
    captions = {
        Image.open(path).getpixel((0, 0)): path.with_suffix(".txt").read_text(encoding="utf-8").strip()
        for path in artworks.glob("*.png")
    }
    assert captions == {(255, 0, 0): "all red", (0, 0, 255): "all blue"}


def test_the_machine_is_described_and_bad_input_told_on_the_page(window: Window) -> None:
    page = window.page
    page.get_by_role("tab", name="Settings").click()
    page.get_by_role("tab", name="This machine").click()
    page.get_by_text("The computer has").wait_for()
    page.get_by_role("button", name="For those who know ▼").click()
    for device, told, state in (
        ("cuda:7", "no cuda:7", "visible"),
        ("toaster", "The setting device is toaster.", "visible"),
        ("cpu", "no cuda:7", "detached"),
    ):
        page.get_by_label("Device", exact=True).fill(device)
        page.get_by_label("Device", exact=True).press("Enter")
        page.get_by_text(told).first.wait_for(state=state)
    assert Settings.load(Home(window.home)).device == "cpu"


def test_a_training_starts_from_what_was_done_before_it(window: Window, tmp_path: Path) -> None:
    page, jobs = window.page, len(jobs_in(Home(window.home).jobs))
    Image.new("RGB", (80, 80), "green").save(tmp_path / "last.png")
    page.get_by_label("Choose pictures").set_input_files(tmp_path / "last.png")
    page.get_by_role("button", name="Take out last.png").wait_for()
    page.get_by_role("button", name="Start over").click()
    page.get_by_role("button", name="Start training").click()
    page.get_by_role("alert").filter(has_text="There are no artworks to learn from.").wait_for()
    assert len(jobs_in(Home(window.home).jobs)) == jobs


RESTING_SECONDS = 5
MOST_LOOKS = 12
COUNT_CHANGES = """() => { window.changes = 0; new MutationObserver(all => window.changes += all.length).observe(
    document, {subtree: true, childList: true, attributes: true, characterData: true}); }"""


def test_a_page_at_rest_changes_nothing_and_asks_for_next_to_nothing(window: Window) -> None:
    page = window.page
    page.add_init_script(  # before gradio takes hold of them
        "const frame = requestAnimationFrame, clone = structuredClone; window.frames_asked = window.copies = 0;"
        "window.requestAnimationFrame = step => { window.frames_asked += 1; return frame(step); };"
        "window.structuredClone = (...values) => { window.copies += 1; return clone(...values); };"
    )
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    held: list[Any] = []
    page.route("**/run/predict", lambda route: held.append(route))
    page.reload()
    page.get_by_role("button", name="Choose pictures").wait_for()
    page.get_by_role("tab", name="Create", exact=True).click()
    create = page.locator("#create")
    assert create.evaluate("room => getComputedStyle(room).visibility") == "hidden"  # it would be lost
    for route in held:
        route.continue_()
    page.unroute("**/run/predict")
    create.get_by_text("Own size", exact=True).click(trial=True)
    for room in ("Create", "Library", "Settings", "Train"):
        page.get_by_role("tab", name=room, exact=True).click()
    settle(page)
    # Each part that a handler waits for or reads is copied at each step of every handler: there are few of both.
    assert len([ask for ask in asked if "/queue/join" in ask]) <= 40  # 60 when each field asked by itself
    assert page.evaluate("copies") < 50_000  # 200,000 when all that was ever waited for was told of each step
    page.evaluate(COUNT_CHANGES)
    for _ in range(MOST_LOOKS):  # a busy machine may owe an answer still
        asked.clear()
        before = page.evaluate("changes = 0, frames_asked")
        page.wait_for_timeout(1000 * RESTING_SECONDS)
        news = [ask for ask in asked if ask.endswith("/news")]
        # One question of nothing, and the stream of its answer, may follow what was done last.
        if page.evaluate("changes") == 0 and len(asked) - len(news) <= 2:
            break
    assert page.evaluate("changes") == 0 and len(asked) - len(news) <= 2, asked
    assert page.evaluate("frames_asked") - before <= 10, "something draws each frame anew"
    assert len(news) <= 2 * RESTING_SECONDS
