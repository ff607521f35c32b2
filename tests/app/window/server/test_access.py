"""Who can't see well, or has no mouse, comes into every room: axe-core, and the keyboard."""

from __future__ import annotations

from typing import Any

import pytest

from tests.app.browsing import PATIENCE_MS
from tests.app.conftest import Served
from tests.app.screenshots import ROOMS, settle

pytestmark = pytest.mark.browser
STILL_MS = 1000
MORE_PRESSES = 40  # for what Tab comes to besides, and the browser's own
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"], "resultTypes": ["violations"]}
CONTRAST = {"runOnly": {"type": "rule", "values": ["color-contrast"]}, "resultTypes": ["violations"]}
DARKEN = """() => {  // as gradio does where the system is dark
    document.body.classList.add('dark');
    return Promise.all(document.getAnimations().filter(one => one instanceof CSSTransition).map(one => one.finished.catch(() => null)));  // one that is cut short is over, too
}"""
REACHABLE = """() => {
    const kinds = 'button, input, select, textarea, a[href], [role=button], [role=slider], [tabindex]';
    const shown = element => element.checkVisibility({checkOpacity: true, checkVisibilityCSS: true})
        && element.getClientRects().length && !element.closest('[inert], [aria-hidden=true]');
    const one = element => {  // of a group that the arrow keys move in, the one that Tab comes to
        if (element.type === 'radio') return element.checked
            || !document.querySelector(`input[type=radio][name="${element.name}"]:checked`);
        return element.tabIndex >= 0 || element.getAttribute('role') === null;
    };
    return [...document.querySelectorAll(kinds)]
        .filter(element => !element.disabled && element.type !== 'hidden' && element.type !== 'file')
        .filter(element => element.tabIndex >= 0 || ['BUTTON', 'INPUT', 'TEXTAREA', 'A'].includes(element.tagName))
        .filter(shown).filter(one)
        .map((element, place) => { element.dataset.asked = place; return element.outerHTML.slice(0, 160); });
}"""


def test_every_room_is_open_to_all(browser: Any, served: Served) -> None:
    """axe-core finds nothing serious, in the light and in the dark, and the keyboard comes to every control."""
    from axe_playwright_python.sync_playwright import Axe

    page = browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme="light")
    page.set_default_timeout(PATIENCE_MS)
    page.goto(served.url)
    findings, unreached = [], []

    def look(room: str, options: dict[str, Any]) -> None:
        for found in Axe().run(page, options=options).response["violations"]:
            if found["impact"] in ("serious", "critical"):
                nodes = [node["html"][:200] for node in found["nodes"]]
                findings.extend(f"{room}: {found['id']}: {node}" for node in nodes)

    for tabs in ROOMS["en"].values():
        for tab in tabs:
            page.get_by_role("tab", name=tab, exact=True).click()
        settle(page, STILL_MS)
        look(tabs[-1], RULES)
        unreached += [f"{tabs[-1]}: {control}" for control in not_reached(page)]
        page.evaluate(DARKEN)
        look(f"{tabs[-1]}, dark", CONTRAST)
        page.evaluate("document.body.classList.remove('dark')")
    page.close()
    assert not findings, "\n".join(findings)
    assert not unreached, "Tab does not come to:\n" + "\n".join(unreached)


def not_reached(page: Any) -> list[str]:
    """The controls that pressing Tab through the whole page does not come to."""
    controls = page.evaluate(REACHABLE)
    page.evaluate(
        """() => { document.activeElement?.blur(); window.scrollTo(0, 0); window.reached = new Set();
            window.noted ??= document.addEventListener("focusin", event => window.reached.add(event.target.dataset?.asked)) ?? true; }"""
    )
    reached: list[str] = []
    for presses in (len(controls), *[MORE_PRESSES // 4] * 4):
        for _ in range(presses):
            page.keyboard.press("Tab")
        reached = page.evaluate("() => [...window.reached]")
        if {str(place) for place in range(len(controls))} <= set(reached):
            break
    return [control for place, control in enumerate(controls) if str(place) not in reached]
