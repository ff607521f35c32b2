"""The main job without a mouse: from choosing pictures to a mix of two styles and an exported file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from app.create.history import History
from styles.formats.reader import read_card
from styles.storage.home import Home
from tests.app.browsing import PATIENCE_MS
from tests.app.conftest import Served, draw_artworks, empty_draft
from tests.app.screenshots import settle

pytestmark = pytest.mark.browser
MOST_PRESSES = 250
STILL_MS = 800
START_NEAR = """control => {
    const stops = [...document.querySelectorAll('button, input, select, textarea, a[href], [tabindex]')]
        .filter(stop => stop.tabIndex >= 0 && !stop.disabled && stop.checkVisibility({visibilityProperty: true}));
    const place = stops.indexOf(control);
    if (control !== document.activeElement) stops[Math.max(0, place - 3)]?.focus();
}"""


class Hands:
    """What someone at the keyboard does: goes from control to control by Tab, and presses keys."""

    def __init__(self, page: Any) -> None:
        self.page = page

    def reach(self, control: Any) -> Any:
        """Press Tab until the focus is on the control, from a few stops before it; it must be seen there.

        That Tab goes through the whole page is tried by test_access.
        """
        control.wait_for()
        control.evaluate(START_NEAR)
        for _ in range(MOST_PRESSES):
            if control.evaluate("control => control === document.activeElement"):
                return control
            self.page.keyboard.press("Tab")
        raise AssertionError(f"Tab never comes to {control}")

    def press(self, role: str, name: str, key: str = "Enter", **said: Any) -> None:
        """Reach a control and press a key on it."""
        self.reach(self.page.get_by_role(role, name=name, **said))
        self.page.keyboard.press(key)

    def room(self, name: str) -> None:
        """Open a room."""
        self.press("tab", name, exact=True)

    def write(self, label: str, text: str, role: str = "textbox") -> None:
        """Put a text into a field instead of what is in it."""
        self.reach(self.page.get_by_role(role, name=re.compile(f"^{label}")))
        self.page.keyboard.press("ControlOrMeta+a")
        self.page.keyboard.type(text)


def test_the_main_job_needs_no_mouse(browser: Any, served: Served, tmp_path: Path) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 1000}, accept_downloads=True)
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    empty_draft(served.home)
    page.goto(served.url)
    try:
        do_the_main_job(page, served.home, tmp_path)
    finally:
        context.close()


def do_the_main_job(page: Any, home: Path, folder: Path) -> None:
    """Train By hand, mix it with Rings, paint, bake the mix and export it."""
    hands = Hands(page)
    hands.room("Train")
    hands.press("button", "Advanced")  # what is folded out writes its values a little later
    with page.expect_file_chooser() as choosing:
        hands.press("button", "Choose pictures")
    choosing.value.set_files(sorted(draw_artworks(folder / "art").iterdir()))
    page.get_by_text("3 artworks, no caption.").wait_for()
    hands.write("Name of the style", "By hand")
    hands.write("Steps", "4")
    hands.press("tab", "Memory")
    hands.write("Resolution", "64")
    hands.press("button", "Start training")
    page.locator("#train").get_by_role("status").filter(has_text="“By hand” has begun.").wait_for()
    # Until then the card is that of an earlier training.
    card = page.locator(".progress-card", has_text="By hand")
    card.get_by_role("status").filter(has_text="Finished").wait_for()
    # The card of a training that ends is drawn anew, and a key pressed at that moment would be lost.
    settle(page, STILL_MS)
    hands.press("button", "Paint with it")

    page.get_by_role("article", name="By hand").wait_for()
    hands.press("checkbox", "Paint as I move", "Space")
    settle(page, STILL_MS)  # the mix may still be looked up
    for name in page.get_by_role("article").evaluate_all("all => all.map(one => one.ariaLabel)"):
        if name not in ("By hand", "Rings"):  # another test's, for the window is shared
            hands.press("button", f"Take {name} out of the mix")
    if page.get_by_role("article", name="Rings").count():
        hands.press("button", "Mute Rings")  # a style that was just made is first painted with alone
    else:
        hands.write("Add a style", "ring", "combobox")
        page.keyboard.press("Enter")
        page.get_by_role("article", name="Rings").wait_for()
    slider = page.get_by_label("Weight of Rings", exact=True)
    hands.reach(slider)
    page.keyboard.press("Home")
    before = float(slider.input_value())
    page.keyboard.press("ArrowRight")
    assert float(slider.input_value()) > before
    hands.write("Weight of Rings, as a number", "0.4", "spinbutton")
    page.keyboard.press("Enter")
    hands.press("button", "More settings")
    hands.write("number input for Steps", "2", "spinbutton")
    page.keyboard.press("Enter")
    hands.write("Prompt", "a fish painted by hand")  # nobody else's wish: the window is shared
    page.keyboard.press("Control+Enter")
    page.get_by_role("button", name=re.compile("painted by hand$")).first.wait_for()  # among the pictures
    painted, _ = History(Home(home)).page(count=1000)  # other tests' pictures and sheets lie there, too
    recipes = [kept.recipe for kept in painted if kept.recipe]
    (recipe,) = [recipe for recipe in recipes if recipe.prompt.endswith("painted by hand")]
    weights = {recipe.names[part.style]: part.weight for part in recipe.blend.sounding}
    assert (recipe.prompt, weights) == (
        "byhand, rings, a fish painted by hand",
        {"By hand": 1.0, "Rings": 0.4},
    )

    hands.room("Library")
    hands.press("button", "Bake styles into one")
    for name, weight in (("By hand", "0.7"), ("Rings", "0.4")):
        hands.reach(page.get_by_role("combobox", name="Styles to bake"))
        page.get_by_role("option", name=name, exact=True).wait_for()  # the styles are offered
        page.keyboard.type(name)
        page.keyboard.press("Enter")
        hands.write(f"number input for {name}", weight, "spinbutton")
    hands.write("Name of the new style", "By both hands")
    hands.press("button", "Bake", exact=True)
    hands.press("button", "By both hands", exact=True)
    page.get_by_role("heading", name="By both hands", level=2).wait_for()
    with page.expect_download() as download:
        hands.press("button", "Export", exact=True)
    shared = folder / "shared.safetensors"
    download.value.save_as(shared)
    card = read_card(shared)
    assert card.name == "By both hands" and card.bake
    assert {parent.name: parent.weight for parent in card.bake.parents} == {"By hand": 0.7, "Rings": 0.4}
