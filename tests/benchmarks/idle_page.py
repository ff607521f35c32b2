"""What an idle page costs, and how long the rooms let an artist wait when they are used first.

python -m tests.benchmarks.idle_page --times 3

The real window over a fresh home, in the system's Chromium. Every room is used once; then, for each of them, the page
is left alone for half a minute. What the browser takes with an empty page is stated beside it, and is included.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from tests.app.browsing import PATIENCE_MS, open_browser
from tests.app.conftest import window_over

ROOMS = ("Create", "Library", "Settings", "Train")
CALM_SECONDS, IDLE_SECONDS, FIRST_SECONDS = 15, 30, 25
LONG_TASKS = """window.held = 0; new PerformanceObserver(list => {
    for (const task of list.getEntries()) window.held += task.duration;
}).observe({type: 'longtask', buffered: true});"""
CHANGES = """() => { window.changes = 0; window.watching ??= new MutationObserver(all => window.changes += all.length);
    window.watching.observe(document, {subtree: true, childList: true, attributes: true, characterData: true}); }"""
DRAWN = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


def browser_processes() -> list[psutil.Process]:
    return [one for one in psutil.Process().children(recursive=True) if "chrom" in one.name()]


def cpu_seconds(processes: list[psutil.Process]) -> float:
    return sum(sum(one.cpu_times()[:2]) for one in processes)


def share(processes: list[psutil.Process], seconds: float, page: Any) -> float:
    """The share of one core, in per cent, that they take for so long."""
    before, start = cpu_seconds(processes), time.perf_counter()
    page.wait_for_timeout(1000 * seconds)
    return 100 * (cpu_seconds(processes) - before) / (time.perf_counter() - start)


def first_uses(page: Any, url: str) -> dict[str, float]:
    """The seconds to a room that can be used, and from each room's first click to its being drawn; main thread held."""
    found, start = {}, time.perf_counter()
    page.goto(url, wait_until="commit")
    page.get_by_role("button", name="Choose pictures").wait_for()
    found["the page, to a room that can be used, s"] = time.perf_counter() - start
    for room in ROOMS:
        clicked = time.perf_counter()
        page.get_by_role("tab", name=room, exact=True).click()
        page.evaluate(DRAWN)
        found[f"the first use of {room}, s"] = time.perf_counter() - clicked
    page.wait_for_timeout(max(0.0, 1000 * (FIRST_SECONDS - (time.perf_counter() - start))))
    found[f"main thread held in the first {FIRST_SECONDS} s, s"] = page.evaluate("held") / 1000
    return found


def idling(page: Any, server: psutil.Process) -> dict[str, float]:
    """The shares of one core in each room, left alone, and the changes of the document in ten seconds."""
    found = {}
    for room in ROOMS:
        page.get_by_role("tab", name=room, exact=True).click()
        page.wait_for_timeout(1000 * CALM_SECONDS)
        page.evaluate(CHANGES)
        before = cpu_seconds([server])
        found[f"{room}, idle: browser, % of a core"] = share(browser_processes(), IDLE_SECONDS, page)
        found[f"{room}, idle: server, % of a core"] = 100 * (cpu_seconds([server]) - before) / IDLE_SECONDS
        found[f"{room}, idle: changes in ten seconds"] = page.evaluate("changes") * 10 / IDLE_SECONDS
    return found


def measure(times: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for _ in range(times):
        with tempfile.TemporaryDirectory() as folder, open_browser() as browser:
            home = Path(folder) / "home"
            with window_over(home) as url:
                running = json.loads((home / "running.json").read_text(encoding="utf-8"))
                page = browser.new_page(viewport={"width": 1280, "height": 800})
                page.set_default_timeout(PATIENCE_MS)
                page.wait_for_timeout(5000)
                row = {"the browser with an empty page, % of a core": share(browser_processes(), 15, page)}
                page.add_init_script(LONG_TASKS)
                row |= first_uses(page, url) | idling(page, psutil.Process(running["pid"]))
                for name, value in row.items():
                    found.setdefault(name, []).append(value)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--times", type=int, default=3, help="that a window is opened and left alone")
    print("| figure | median | of |\n|---|---|---|")
    for name, values in measure(parser.parse_args().times).items():
        print(f"| {name} | {statistics.median(values):.2f} | {', '.join(f'{one:.2f}' for one in values)} |")


if __name__ == "__main__":
    main()
