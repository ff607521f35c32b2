"""The Create room in a real browser, on a tiny base: drafts, stop, keyboard, reload, a second tab, recipes, bad input."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from styles.bases.base import open_base
from styles.generation.png_recipe import read_recipe
from styles.library.library import Library
from styles.mixing.blend_file import load_blend
from styles.storage.home import Home
from tests.app.browsing import PATIENCE_MS
from tests.app.conftest import Served
from tests.styles.painting import style_for

pytestmark = pytest.mark.browser
DONE = "Done. It is kept among your pictures."


@pytest.fixture
def home(served: Served, tiny_base: Path) -> Iterator[Path]:
    """The window's home with one style more, that is gone afterwards."""
    library = Library(Home(served.home))
    ink = style_for(open_base(tiny_base, Home(served.home), device="cpu"), 1)
    library.add(replace(ink, card=replace(ink.card, name="Ink", trigger="ink")))
    yield served.home
    library.delete("Ink")


@pytest.fixture
def context(browser: Any) -> Iterator[Any]:
    """A browser that keeps nothing of other tests."""
    context = browser.new_context(viewport={"width": 1280, "height": 1000}, accept_downloads=True)
    context.set_default_timeout(PATIENCE_MS)
    context.add_init_script(HELD_FRAMES)
    yield context
    context.close()


# What waits for the next frame by a promise alone waits until the test lets it go on, as on a machine that is busy.
HELD_FRAMES = """{
  const frame = requestAnimationFrame;
  window.held_frames = [];
  window.requestAnimationFrame = step => /native code/.test(step) ? held_frames.push(step) : frame(step);
}"""

# A file dropped on an element; whether the browser would go on to open it.
DROP = """(element, [name, data]) => {
  const carried = new DataTransfer(), bytes = Uint8Array.from(atob(data), (one) => one.charCodeAt(0));
  carried.items.add(new File([bytes], name, { type: "image/png" }));
  return element.dispatchEvent(new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: carried }));
}"""


def opened(context: Any, served: Served) -> Any:
    """A page with the room, once its form has been filled."""
    page = context.new_page()
    page.goto(served.url)
    page.get_by_role("tab", name="Create").click()
    page.get_by_role("button", name="Take Ink out of the mix").wait_for()
    return page


def pictures(home: Path) -> list[Path]:
    """The pictures in the home, the newest first."""
    found = (home / "pictures").glob("*.png")
    return sorted(found, key=lambda path: path.stat().st_mtime_ns, reverse=True)


def test_pictures_are_made_with_what_the_room_shows(context: Any, served: Served, home: Path) -> None:
    from playwright.sync_api import expect

    page, before = opened(context, served), len(pictures(home))
    page.get_by_label("Paint as I move").uncheck()
    page.get_by_role("button", name="More settings").click()
    if not page.get_by_role("article", name="Rings").count():
        page.get_by_role("combobox", name="Add a style").fill("ring")
        page.get_by_role("combobox", name="Add a style").press("Enter")
    for name in page.get_by_role("article").evaluate_all("all => all.map(one => one.ariaLabel)"):
        if name not in ("Rings", "Ink"):
            page.get_by_role("button", name=f"Take {name} out of the mix").click()
    for name, weight in (("Rings", "0.35"), ("Ink", "0.05")):
        page.get_by_label(f"Weight of {name}, as a number").fill(weight)
        page.get_by_label(f"Weight of {name}, as a number").press("Enter")
    page.get_by_role("button", name="ink", exact=True).click()  # its chip: the word stays out of the prompt
    steps = page.get_by_label("number input for Steps")
    expect(steps).to_have_value("20")
    steps.fill("2")
    steps.press("Enter")
    page.get_by_label("Seed", exact=True).fill("42")
    page.get_by_label("Prompt", exact=True).fill("a (fish:1e9)")
    page.get_by_label("Prompt", exact=True).press("Control+Enter")
    expect(page.get_by_role("alert").filter(has_text="has the weight 1e+09")).to_contain_text(
        "from -10 to 10"
    )
    page.get_by_label("Prompt", exact=True).fill("a fish")
    page.get_by_label("Prompt", exact=True).press("Control+Enter")
    page.get_by_text(DONE).wait_for()
    first = pictures(home)[0]
    recipe = read_recipe(first)
    weights = {recipe.names[part.style]: part.weight for part in recipe.blend.parts}
    assert weights == {"Rings": 0.35, "Ink": 0.05} and recipe.prompt == "rings, a fish"
    assert (recipe.steps, recipe.seed, len(pictures(home))) == (2, 42, before + 1)

    # While a slider is held there is a draft, which nobody keeps; let go, it is painted whole, of the same seed.
    page.get_by_label("Paint as I move").check()
    slider = page.get_by_label("Weight of Rings", exact=True).bounding_box()
    page.mouse.move(slider["x"] + slider["width"] * 0.6, slider["y"] + slider["height"] / 2)
    page.mouse.down()
    page.get_by_text("Draft", exact=True).wait_for()
    assert len(pictures(home)) == before + 1
    page.mouse.up()
    page.get_by_text("Draft", exact=True).wait_for(state="hidden")
    page.get_by_text(DONE).wait_for()
    assert len(pictures(home)) == before + 2
    second = read_recipe(pictures(home)[0])
    assert second.seed == 42 and second.steps == 2 and second.blend != recipe.blend

    # The pad shares out among the styles what they have together: by the mouse, and with the keyboard.
    page.get_by_label("Paint as I move").uncheck()

    def weights() -> dict[str, float]:
        return {
            name: float(page.get_by_label(f"Weight of {name}, as a number").input_value())
            for name in ("Rings", "Ink")
        }

    pad = page.get_by_role("slider", name="Blend pad")
    pad.scroll_into_view_if_needed()
    box, first_share = pad.bounding_box(), page.get_by_role("article").first.get_attribute("aria-label")
    other, whole = ({"Rings", "Ink"} - {first_share}).pop(), sum(weights().values())

    def near(share: float) -> dict[str, Any]:
        return pytest.approx({first_share: whole * share, other: whole * (1 - share)}, abs=0.011)

    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    assert weights() == near(0.5)
    page.mouse.move(box["x"] + box["width"], box["y"] + box["height"] / 2, steps=4)
    assert weights() == near(0), "the weights follow while the puck is held"
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.up()
    page.mouse.move(box["x"], box["y"])
    assert weights() == near(0.5), "a puck that was let go stays"
    pad.press("ArrowLeft")
    assert weights() == near(0.55) and "55 %" in pad.get_attribute("aria-valuetext")
    pad.press("ArrowRight")
    pad.press("ArrowRight")
    assert weights() == near(0.45)

    # A blend is kept under a name, taken up again, and shared as a file that can be brought in.
    page.get_by_text("Kept blends").click()
    page.get_by_label("Name of this blend").fill("Dusk")
    page.get_by_label("Name of this blend").press("Enter")
    page.get_by_text("It is kept as “Dusk”.").wait_for()
    pad.press("ArrowLeft")
    page.get_by_role("button", name="Take up the blend Dusk").click()
    page.get_by_text("“Dusk” is the mix now.").wait_for()
    assert weights() == near(0.45)
    with page.expect_download() as download:
        page.get_by_role("button", name="Share the blend Dusk as a file").click()
    shared = home / "shared.json"
    download.value.save_as(shared)
    assert load_blend(shared).blend == load_blend(home / "blends" / "Dusk.json").blend
    page.get_by_label("Bring in the file of a blend").set_input_files(shared)
    page.get_by_role("alert").get_by_text("is here already, as “Dusk”").wait_for()
    page.get_by_role("button", name="Put the blend Dusk into the trash").click()
    page.get_by_text("No blend has been kept yet.").wait_for()
    assert not (home / "blends" / "Dusk.json").exists()

    # What is running can be stopped, and is not called done.
    steps.fill("100")
    steps.press("Enter")
    page.get_by_role("button", name="Create Ctrl").click()
    page.get_by_text("of 100").wait_for()
    page.keyboard.press("Escape")
    page.get_by_text("Stopped. What was finished is kept.").wait_for()
    assert len(pictures(home)) == before + 2 and not page.get_by_text(DONE).is_visible()

    # A reload and a second tab find the form and the pictures.
    page.get_by_label("Prompt", exact=True).fill("a boat")
    page.reload()
    page.get_by_role("tab", name="Create").click()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a boat")
    expect(page.get_by_label("Seed", exact=True)).to_have_value("42")
    other = opened(context, served)
    expect(other.get_by_label("Prompt", exact=True)).to_have_value("a boat")
    other.get_by_role("button", name="rings, a fish").nth(1).click()
    other.get_by_text("Rings at 0.35").wait_for()
    other.get_by_role("button", name="Use these settings").click()
    expect(other.get_by_label("Prompt", exact=True)).to_have_value("a fish")
    expect(other.get_by_label("Weight of Rings, as a number")).to_have_value("0.35")
    other.close()

    # A dropped PNG gives its settings; one that has none says so beside it, as does a number that is none.
    def bring(picture: Path) -> None:
        with page.expect_file_chooser() as choosing:
            page.get_by_role("button", name="Settings from a picture").click()
        choosing.value.set_files(picture)

    bring(first)
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a fish")
    page.get_by_text("The settings of the picture are set.").wait_for()
    page.get_by_label("Prompt", exact=True).fill("something else")
    left = page.get_by_label("Prompt", exact=True).evaluate(
        DROP, [first.name, base64.b64encode(first.read_bytes()).decode()]
    )
    assert left is False, "the page itself does not open what is dropped on it"
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a fish")
    Image.new("RGB", (8, 8)).save(home / "empty.png")
    bring(home / "empty.png")
    page.get_by_role("alert").get_by_text("empty.png carries no recipe").wait_for()
    page.get_by_role("button", name="More settings").click()
    guidance = page.get_by_label("Guidance")
    expect(guidance).to_have_value(f"{recipe.guidance:g}")
    guidance.fill("a lot")
    page.evaluate("held_frames.forEach(step => step())")
    expect(guidance).to_have_value("a lot")
    page.get_by_role("button", name="Create Ctrl").click()
    page.get_by_role("alert").get_by_text("“a lot” is no number").wait_for()
    assert len(pictures(home)) == before + 2
