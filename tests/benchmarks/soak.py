"""What a window that is used for long takes: memory, handles, threads and temporary files.

python -m tests.benchmarks.soak --minutes 20

The real window over a fresh home, and one client beside it. First more pages come than sessions are kept. Then, for so
many minutes, rounds of paintings of the starter with changing mixes, counts and sizes, imports, exports and deletions
of styles, and more pages. Looked at whenever all is answered: what it took after two minutes, and at all later looks.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import os
import random
import re
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil
from gradio_client import Client
from safetensors.torch import load_file, save_file

from app.window.server.sessions import SESSIONS
from styles.library.library import BUNDLED
from tests.app.conftest import Served, window_over

PATIENCE_SECONDS = 300.0  # with an answer, on a machine that is busy
WARM_UP_SECONDS = 120.0
VISITS_AT_FIRST = SESSIONS + 50
CONFIG = re.compile(r"window\.gradio_config = (\{.*?\});</script>", re.DOTALL)
SIZES_PX = (128, 64, 96, 160)
COUNTS = (1, 2, 4)
MEMORY = "memory, MB"
LAST = 5  # looks of which the median counts
# What is looked at, and how many times what it was in the first two minutes it may be.
GOALS = {MEMORY: 1.05, "handles": 1.0, "threads": 1.0, "temporary files": 1.0}

Look = tuple[float, dict[str, float]]


@dataclass(frozen=True)
class Visitor:
    """Somebody who opens pages of a window, each of which is a session of its own."""

    served: Served

    def come(self, session: str) -> None:
        """Do what a page does while it loads: ask for itself, and for all that it fills its rooms with."""
        with closing(self._connection()) as connection:
            page = self._asked(connection, "GET", "/")
            config = json.loads(CONFIG.search(page)[1])  # type: ignore[index]
            values = {block["id"]: block["props"].get("value") for block in config["components"]}
            events = [
                event for event in config["dependencies"] if "load" in (kind for _, kind in event["targets"])
            ]
            for event in events:
                data = [values.get(block) for block in event["inputs"]]
                about = {"fn_index": event["id"], "session_hash": session, "data": data}
                self._asked(connection, "POST", "/gradio_api/queue/join", json.dumps(about))
            answers = self._asked(connection, "GET", f"/gradio_api/queue/data?session_hash={session}")
            assert answers.count('"process_completed"') == answers.count('"success":true') == len(events), (
                answers
            )

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(urlsplit(self.served.site).netloc, timeout=PATIENCE_SECONDS)

    def _asked(self, connection: http.client.HTTPConnection, method: str, path: str, body: str = "") -> str:
        headers = self.served.headers | {"Content-Type": "application/json"}
        connection.request(method, path, body or None, headers)
        answer = connection.getresponse()
        text = answer.read().decode("utf-8")
        assert answer.status == 200, text
        return text


def rounds(client: Client, visitor: Visitor, folder: Path) -> Iterator[None]:
    """Use the window without end; yields whenever all is answered."""
    ask, drawn = client.predict, random.Random(1)
    tensors = load_file(next(BUNDLED.glob("*.safetensors")))
    bundled = [style["name"] for style in ask(api_name="/styles")]
    imported: list[str] = []
    for number in itertools.count(1):
        file = folder / f"style {number}.safetensors"
        save_file({name: value * (1 + number / 500) for name, value in tensors.items()}, file)
        imported += [style["name"] for style in ask(path=str(file), api_name="/import_style")["styles"]]
        file.unlink()
        yield
        for _ in range(3):
            names = drawn.sample(bundled + imported, drawn.randint(0, min(4, len(bundled + imported))))
            ask(
                prompt=drawn.choice(["a red house in a meadow", "a boat", "a cat under a tree, at night"]),
                weights={name: round(drawn.uniform(0.2, 0.8), 2) for name in names},
                seed=number, count=drawn.choice(COUNTS), steps=drawn.choice([1, 2, 3]),
                width=drawn.choice(SIZES_PX), height=drawn.choice(SIZES_PX), api_name="/create",
            )  # fmt: skip
            yield
        ask(
            name=imported[-1],
            folder=str(folder / "out"),
            form=drawn.choice(["file", "hub"]),
            api_name="/export_style",
        )
        shutil.rmtree(folder / "out")
        if len(imported) > 3:
            ask(name=imported.pop(0), api_name="/delete_style")
        visitor.come(f"round{number}")
        yield


def look(server: psutil.Process, temporary: Path, home: Path) -> dict[str, float]:
    """What the window takes now."""
    left = [*temporary.rglob("*"), *home.rglob(".*.part*")]
    return {
        # Resident: unlike its proportional share it does not depend on who else has the same libraries open.
        MEMORY: server.memory_info().rss / 1e6,
        "handles": server.num_handles() if os.name == "nt" else server.num_fds(),
        "threads": server.num_threads(),
        "temporary files": len(left),
    }


def measure(minutes: float) -> tuple[list[Look], int]:
    """All looks with their seconds since the first pages had come, and how many pictures were painted."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        temporary, home, files = (Path(scratch) / name for name in ("temporary", "home", "files"))
        temporary.mkdir()
        files.mkdir()
        os.environ |= dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary))  # the window's
        with window_over(home) as url:
            served, looks = Served(url, home), []
            server = psutil.Process(json.loads((home / "running.json").read_text(encoding="utf-8"))["pid"])
            visitor = Visitor(served)
            patient = {"timeout": PATIENCE_SECONDS}
            client = Client(
                served.site, headers=served.headers, verbose=False, download_files=False, httpx_kwargs=patient
            )
            for number in range(VISITS_AT_FIRST):
                visitor.come(f"first{number}")
            using, start = rounds(client, visitor, files), time.monotonic()
            while time.monotonic() - start < 60 * minutes:
                next(using)
                looks.append((time.monotonic() - start, look(server, temporary, home)))
            client.close()
        return looks, len(list((home / "pictures").rglob("*.png")))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--looks", type=Path, help="a file for all looks, as JSON")
    arguments = parser.parse_args()
    looks, pictures = measure(arguments.minutes)
    if arguments.looks:
        arguments.looks.write_text(json.dumps(looks), encoding="utf-8")
    before = [value for seconds, value in looks if seconds <= WARM_UP_SECONDS]
    after = [value for seconds, value in looks if seconds > WARM_UP_SECONDS]
    print(f"{pictures} pictures, {len(looks)} looks")
    print(
        "| taken | after two minutes | at the end | highest since | times | to reach |\n|---|---|---|---|---|---|"
    )
    for name, goal in GOALS.items():
        # Threads and connections come and go within a round: only more than ever before is a growth.
        first = statistics.median(value[name] for value in before[-LAST:])
        first = first if name == MEMORY else max(value[name] for value in before)
        end = statistics.median(value[name] for value in after[-LAST:])
        highest = max(value[name] for value in after)
        times = highest / first if first else 1.0 + highest
        met = "met" if times <= goal else "missed"
        print(f"| {name} | {first:.0f} | {end:.0f} | {highest:.0f} | {times:.2f} | {goal:.2f}, {met} |")


if __name__ == "__main__":
    main()
