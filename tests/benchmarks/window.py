"""How long the window lets an artist wait: its opening, a click, a draft while a slider moves, a picture.

python -m tests.benchmarks.window --times 7

The real window over a fresh home with the starter and its two ready styles, in the system's Chromium. Clicks and moves
are timed by a clock inside the page, up to the frame that shows the answer; openings and whole pictures from outside.
"""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from tests.app.browsing import PATIENCE_MS, open_browser
from tests.app.conftest import window_over
from tests.benchmarks.pairs import spread_of
from tests.conftest import REPOSITORY

REACH = {
    "the window's command, to its first answer": "6 s",
    "the page, to a room that can be used": "3 s",
    "a click on a room": "0.2 s",
    "a click on Create, to an answer": "0.2 s",
    "a slider's move, to its draft": "2 s",
}
# Resolves once two frames have been drawn: what a promise before it waited for is then to be seen.
DRAWN = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now()))))"
# Clicks, and answers with the milliseconds until `seen` says that there is an answer.
CLICKED = """([button, seen]) => new Promise(done => {
    const start = performance.now(), sees = new Function('button', 'return ' + seen);
    button.click();
    const look = () => sees(button) ? done(performance.now() - start) : requestAnimationFrame(look);
    requestAnimationFrame(look);
})"""
MOVED = """([slider, value]) => new Promise(done => {
    const start = performance.now(), badge = document.querySelector('.stage .badge');
    const before = document.querySelector('.stage .canvas img')?.src;
    slider.value = value;
    slider.dispatchEvent(new Event('input', { bubbles: true }));
    const look = () => !badge.hidden && document.querySelector('.stage .canvas img')?.src !== before
        ? done(performance.now() - start) : requestAnimationFrame(look);
    requestAnimationFrame(look);
})"""


def answering(home: Path) -> float:
    """The seconds from `launch.py` in a set-up Python to the page's first answer."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        str(REPOSITORY / "launch.py"),
        "--no-venv",
        "--no-browser",
        "--home",
        str(home),
    ]
    start = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while process.poll() is None:
            try:
                key = (home / "key.txt").read_text(encoding="ascii")  # made before the page answers
                asked = urllib.request.Request(f"http://127.0.0.1:{port}/", headers={"x-atelier-key": key})
                with urllib.request.urlopen(asked, timeout=PATIENCE_MS / 1000) as page:
                    page.read()
                return time.perf_counter() - start
            except OSError:
                time.sleep(0.02)
        raise AssertionError("the window did not open")
    finally:
        process.terminate()
        process.wait()


def opening(browser: Any, url: str) -> tuple[Any, float]:
    """A page, and the seconds until its Create room can be used."""
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.set_default_timeout(PATIENCE_MS)
    start = time.perf_counter()
    page.goto(url, wait_until="commit")
    page.get_by_role("button", name="Choose pictures").wait_for()
    return page, time.perf_counter() - start


def clicks_on_rooms(page: Any) -> list[float]:
    """The seconds from each click on a room's tab to its being shown."""
    seconds = []
    for room in ("Create", "Library", "Settings", "Train"):
        tab = page.get_by_role("tab", name=room, exact=True).element_handle()
        seconds.append(page.evaluate(CLICKED, [tab, "button.ariaSelected === 'true'"]) / 1000)
        page.evaluate(DRAWN)
    return seconds


def picture(page: Any) -> tuple[float, float]:
    """The seconds from a click on Create to an answer, and to the picture."""
    said = page.get_by_text("Done. It is kept among your pictures.")
    go = page.get_by_role("button", name="Create Ctrl").element_handle()
    start = time.perf_counter()
    answered = page.evaluate(CLICKED, [go, "document.querySelector('.stage .bar').classList.contains('on')"])
    said.wait_for()
    return answered / 1000, time.perf_counter() - start


def draft(page: Any, value: float) -> float:
    """The seconds from a slider's move to the draft of where it stands."""
    slider = page.get_by_label("Weight of cyanotype", exact=True).element_handle()
    return float(page.evaluate(MOVED, [slider, value])) / 1000


def measure(times: int) -> dict[str, list[float]]:
    """Every figure's seconds, in the order they were taken."""
    found: dict[str, list[float]] = {}

    def note(name: str, *seconds: float) -> None:
        found.setdefault(name, []).extend(seconds)

    with tempfile.TemporaryDirectory() as folder, open_browser() as browser:
        for _ in range(3):
            note("the window's command, to its first answer", answering(Path(folder) / "home"))
        with window_over(Path(folder) / "home") as url:
            for turn in range(times):
                page, seconds = opening(browser, url)
                note("the page, to a room that can be used", seconds)
                note("a click on a room", *clicks_on_rooms(page))
                page.get_by_role("tab", name="Create", exact=True).click()
                page.get_by_role("button", name="Take cyanotype out of the mix").wait_for()
                answered, painted = picture(page)
                note("a click on Create, to an answer", answered)
                note("the first picture" if turn == 0 else "a picture of 20 steps, two styles", painted)
                for step in range(3):
                    note("a slider's move, to its draft", draft(page, 0.1 + 0.25 * step + 0.02 * turn))
                page.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--times", type=int, default=7, help="that a page is opened and used")
    found = measure(parser.parse_args().times)
    print("| seconds | median | slowest | of | to reach |\n|---|---|---|---|---|")
    for name, seconds in found.items():
        print(
            f"| {name} | {spread_of(seconds).median:.2f} | {max(seconds):.2f} | {len(seconds)} | {REACH.get(name, '')} |"
        )
    print(json.dumps({name: [round(one, 3) for one in seconds] for name, seconds in found.items()}))


if __name__ == "__main__":
    main()
