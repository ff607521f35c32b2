"""The stage of the Create room at several sizes of the window: whatever was painted, nothing lies over anything."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image

from tests.app.browsing import PATIENCE_MS
from tests.app.conftest import Served

pytestmark = pytest.mark.browser
SIZES_PX = [(1280, 720), (1440, 900), (820, 600), (900, 480), (390, 844)]
LANDSCAPE, PORTRAIT, SQUARE = (128, 96), (96, 128), (128, 128)
# How many pictures, their size in pixels, and the columns of a sheet; 0: no sheet.
PAINTED = [(4, LANDSCAPE, 0), (3, PORTRAIT, 0), (16, PORTRAIT, 0), (9, SQUARE, 3), (1, PORTRAIT, 0)]
KEPT = 24
UNBROKEN = "abcdefghij" * 20  # a name without a place to break it
# What can be pressed below the pictures, in both directions: is each in sight and on top once the keyboard is there?
COVERED = """() => {
    const found = [];
    const all = [...document.querySelectorAll('#create .recipe button, #create .recipe a, #create .history button')].filter((one) => one.checkVisibility());
    for (const one of [...all, ...all.slice().reverse()]) {
        one.focus();
        one.scrollIntoView({ block: 'nearest' });
        const box = one.getBoundingClientRect();
        const top = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2);
        if (!one.contains(top)) found.push((one.ariaLabel || one.textContent) + ' lies under ' + (top?.className ?? 'the edge'));
    }
    return [all.length, [...new Set(found)]];
}"""
BOXES = """() => {
    const box = (one) => { const { left, top, right, bottom } = one.getBoundingClientRect(); return [left, top, right, bottom]; };
    return {
        canvas: box(document.querySelector('#create .canvas')),
        pictures: [...document.querySelectorAll('#create .canvas img')].map(box),
        page: [document.documentElement.scrollWidth, innerWidth],
        pane: [document.querySelector('#create .below').scrollWidth, document.querySelector('#create .below').clientWidth],
    };
}"""


class PaintedStage:
    """A page whose server says that pictures were painted, and has kept some."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.serial = 0
        self.canvas: dict[str, Any] = {"number": 0, "state": "blank", "pictures": []}
        page.route("**/component_server/**", self._answer)
        page.route(
            "**/file=*painted*", lambda route: route.fulfill(body=_png(SQUARE), content_type="image/png")
        )

    def show(self, count: int, size_px: tuple[int, int], columns: int) -> None:
        """Have the page show these pictures."""
        self.serial += 1
        data = "data:image/png;base64," + base64.b64encode(_png(size_px)).decode("ascii")
        self.canvas = {
            "number": self.serial, "kind": "asked", "state": "done", "step": 0, "steps": 0, "share": 0, "previews": [],
            "pictures": [{"path": f"/painted/{place}.png", "seed": str(place), "data": data} for place in range(count)],
            "labels": [f"{UNBROKEN[:60]} {place}" for place in range(count)] if columns else [],
            "columns": columns, "notices": [], "problem": "", "crowded": False,
        }  # fmt: skip
        self.page.evaluate("document.dispatchEvent(new CustomEvent('atelier:asked', { detail: {} }))")
        shown = f"document.querySelectorAll('#create .canvas img[src^=\"data:\"]').length === {count}"
        self.page.wait_for_function(shown)

    def _answer(self, route: Any) -> None:
        match json.loads(route.request.post_data).get("fn_name"):
            case "look":
                route.fulfill(json={"serial": self.serial, "canvas": self.canvas})
            case "history":
                kept = [
                    {"name": f"{place}.png", "path": f"/painted/{place}.png", "title": UNBROKEN, "seed": "1",
                     "words": [f"With {UNBROKEN} at 1.", "128 × 96 pixels, 20 steps (dpm++ 2m), guidance 5, seed 1."]}
                    for place in range(KEPT)
                ]  # fmt: skip
                route.fulfill(json={"pictures": kept, "total": KEPT + 1})
            case _:
                route.continue_()


@pytest.fixture
def stage(browser: Any, served: Served) -> Iterator[PaintedStage]:
    """The Create room with such a server."""
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    page.set_default_timeout(PATIENCE_MS)
    stage = PaintedStage(page)
    page.goto(served.url)
    page.get_by_role("tab", name="Create").click()
    page.locator("#create .recipe h3").wait_for()
    yield stage
    page.close()


def test_pictures_lie_over_nothing_that_is_pressed(stage: PaintedStage) -> None:
    for painted in PAINTED:
        stage.show(*painted)
        for width, height in SIZES_PX:
            stage.page.set_viewport_size({"width": width, "height": height})
            where = f"{painted} at {width} x {height}"
            controls, covered = stage.page.evaluate(COVERED)
            for _ in range(50):  # a page that has just been opened still lays itself out
                if not covered:
                    break
                stage.page.wait_for_timeout(100)
                controls, covered = stage.page.evaluate(COVERED)
            assert controls > KEPT + 4 and not covered, f"{where}: {covered}"
            boxes = stage.page.evaluate(BOXES)
            left, top, right, bottom = boxes["canvas"]
            for picture in boxes["pictures"]:
                inside = (
                    left <= picture[0] and top <= picture[1] and picture[2] <= right and picture[3] <= bottom
                )
                assert inside and picture[2] - picture[0] > 20 and picture[3] - picture[1] > 20, (
                    f"{where}: {boxes}"
                )
            assert boxes["page"][0] <= boxes["page"][1] and boxes["pane"][0] <= boxes["pane"][1], (
                f"{where}: {boxes}"
            )


def _png(size_px: tuple[int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size_px, "teal").save(buffer, format="PNG")
    return buffer.getvalue()
