"""What goes wrong, in a real browser: told to whom it concerns, in the same words everywhere, and no longer than it is so."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.train.draft import Draft
from styles.bases.shelf import BaseShelf
from styles.storage.home import Home
from tests.app.browsing import PATIENCE_MS
from tests.app.conftest import Served

pytestmark = pytest.mark.browser
KEEPING_PATIENCE_SECONDS = 300


@pytest.fixture
def another_page(browser: Any, served: Served) -> Iterator[Callable[[], Any]]:
    """The window in one more browser, which knows nothing of the others."""
    contexts = []

    def open_page() -> Any:
        contexts.append(browser.new_context(viewport={"width": 1280, "height": 1000}))
        contexts[-1].set_default_timeout(PATIENCE_MS)
        page = contexts[-1].new_page()
        page.goto(served.url)
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture
def gone(served: Served, tiny_base: Path, tmp_path: Path) -> Iterator[Path]:
    """The folder of a base in use that has been moved away; the window's own base is in use again afterwards."""
    shelf = BaseShelf(Home(served.home))
    before, folder = shelf.in_use, tmp_path / "Wanderer"
    shutil.copytree(tiny_base, folder)
    shelf.use(shelf.add(folder).name)
    folder.rename(tmp_path / "elsewhere")
    yield folder
    shelf.use(before)
    shelf.remove("Wanderer")


def test_a_base_that_has_gone_is_called_so_in_every_room(
    served: Served, gone: Path, another_page: Callable[[], Any]
) -> None:
    from playwright.sync_api import expect

    page, other = another_page(), another_page()
    told = f"There is nothing any more at {gone}, where a base lay."
    notice = page.locator("#problems")
    for room in ("Train", "Create", "Library", "Settings"):
        page.get_by_role("tab", name=room).click()
        expect(notice).to_contain_text(told)
    card = page.locator(".base-card", has_text="Wanderer")
    expect(card).to_contain_text("chosen, but gone")
    expect(card).to_contain_text(told)
    expect(page.locator(".pill", has_text="in use")).to_have_count(0)

    # A mistake in a field is told, and the field keeps it, to be mended.
    field = page.get_by_label("A file, a folder, or a Hub id")
    field.fill(str(gone / "nothing-here"))
    field.press("Enter")
    page.get_by_text("is neither a folder nor a file here, nor a Hub id").wait_for()
    expect(field).to_have_value(str(gone / "nothing-here"))
    assert field.evaluate(
        "field => { const box = field.getBoundingClientRect();"
        " return document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2) === field; }"
    ), "nothing lies over it"
    expect(page.locator('[data-testid="status-tracker"] .error').locator("visible=true")).to_have_count(0)

    # Whoever paints is told the same, and nobody else.
    for one in (page, other):
        one.get_by_role("tab", name="Create").click()
        one.get_by_role("button", name="Create Ctrl").wait_for()
    page.get_by_role("button", name="Create Ctrl").click()
    stage = page.locator("#create-stage")
    expect(stage.get_by_role("alert")).to_contain_text(told)
    for _ in range(2):  # it looks again, twice: the first answer may have been on its way
        with other.expect_response("**/news"):
            pass
    expect(other.locator("#create-stage").get_by_role("alert")).to_be_hidden()
    expect(other.get_by_text("Not painted.")).to_have_count(0)

    # Once it is mended, nothing speaks of it any more, without a reload.
    page.get_by_role("tab", name="Settings").click()
    page.get_by_role("button", name="Use it: tiny").click()
    expect(notice).to_be_hidden()
    page.get_by_role("tab", name="Create").click()
    expect(stage.get_by_role("alert")).to_be_hidden()
    expect(page.get_by_text("Not painted.")).to_have_count(0)


def test_a_size_far_beyond_the_base_is_asked_about_and_stops_at_once(
    served: Served, another_page: Callable[[], Any]
) -> None:
    from playwright.sync_api import expect

    page, before = another_page(), len(list((served.home / "pictures").glob("*.png")))
    page.get_by_role("tab", name="Create").click()
    page.get_by_text("Own size", exact=True).click()
    page.get_by_label("Width in pixels").fill("1536")
    page.get_by_label("Height in pixels").fill("1536")
    page.get_by_label("Height in pixels").press("Tab")
    page.get_by_role("button", name="Create Ctrl").click()
    stage = page.locator("#create-stage")
    expect(stage.get_by_role("alert")).to_contain_text("1536x1536 px are far beyond what “tiny” is made for")
    expect(stage.get_by_role("alert")).to_contain_text("128x128 px is the largest size that suits it.")
    stage.get_by_role("button", name="Paint it all the same").click()
    expect(stage.get_by_role("alert")).to_be_hidden()
    page.wait_for_timeout(3000)  # well into the first step, which takes minutes
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("Stopped. What was finished is kept.")).to_be_visible()
    assert len(list((served.home / "pictures").glob("*.png"))) == before


def test_two_pages_keep_what_each_has_changed_and_find_the_window_again(
    served: Served, another_page: Callable[[], Any]
) -> None:
    from playwright.sync_api import expect

    draft = Draft(Home(served.home))

    def fill(page: Any, label: str, name: str) -> None:
        page.get_by_role("textbox", name=re.compile(f"^{label}")).fill(name)
        until = time.monotonic() + KEEPING_PATIENCE_SECONDS
        while name not in draft.form().values() and time.monotonic() < until:
            page.wait_for_timeout(50)

    page, other = another_page(), another_page()
    for one in (page, other):
        one.locator("#train").get_by_role("button", name="Start").first.click(trial=True)
    fill(page, "Name of the style", "Mine")
    fill(other, "Its trigger word", "theirs")
    assert (draft.form()["name"], draft.form()["trigger"]) == ("Mine", "theirs")

    page.evaluate("window.loaded_before = true")
    page.context.set_offline(True)
    page.get_by_role("tab", name="Library").click()
    page.get_by_text("Connection to the server was lost").wait_for()
    page.context.set_offline(False)
    page.wait_for_function("!window.loaded_before")
    expect(page.get_by_role("textbox", name=re.compile("^Its trigger word"))).to_have_value("theirs")
