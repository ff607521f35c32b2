"""How many raw errors spoiled inputs of each kind find: files, folders, recipes, artworks, jobs, what a home keeps.

    python -m tests.benchmarks.fuzz --minutes 10

Everything is read through the functions that the window and the commands call. A raw error is any exception but our
own, a warning, a crash, a hang, text that could not be shown, and what takes more time or memory than it may. Each is
kept with its input and the command that makes it again. `--record` writes the figures into RESULTS.md.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from tests.conftest import REPOSITORY
from tests.fuzzing.kinds import kinds
from tests.fuzzing.running import MOST_RAW

RESULTS = Path(__file__).with_name("RESULTS.md")
BEGIN, END = "<!-- fuzz -->", "<!-- /fuzz -->"
AT_ONCE = 2  # processes
ENDLESS = 1 << 40


@dataclass
class Found:
    """What became of the inputs of one kind."""

    kind: str
    tried: int = 0
    slowest: float = 0.0  # seconds of the processor
    raw: list[str] = field(default_factory=list)


def tried(kind: str, seed: int, seconds: float, out: Path) -> Found:
    """Try inputs of one kind for so long; a process that crashed or hung is followed by another one."""
    found, first, until = Found(kind), 0, time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0 and len(found.raw) < MOST_RAW:
        numbers = [str(number) for number in (seed, first, ENDLESS, left)]
        done = subprocess.run(
            [sys.executable, "-m", "tests.fuzzing.running", kind, *numbers, str(out)],
            cwd=REPOSITORY,
            env=os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONIOENCODING": "utf-8"},
            capture_output=True,
            encoding="utf-8",
            errors="replace",
        )
        if done.returncode == 0:
            told = json.loads(done.stdout.splitlines()[-1])
            found.tried += told["tried"]
            found.slowest = max(found.slowest, told["slowest"])
            found.raw += told["raw"]
            break
        at = int((out / f"{kind} is at.txt").read_text())
        (out / f"{kind}-{seed}-{at}.txt").write_text(done.stderr, encoding="utf-8")
        found.raw.append(f"{at}: the process ended with {done.returncode}: {done.stderr.strip()[-300:]}")
        found.tried += at + 1 - first
        first = at + 1
    return found


def table(command: str, found: list[Found]) -> str:
    """Return the figures as RESULTS.md shows them."""
    state = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(state, cwd=REPOSITORY, capture_output=True, text=True).stdout.strip() or "-"
    head = "| figure | goal | raw errors | tried | slowest, processor time | date | commit |"
    rows = [
        f"| {one.kind} | 0 | {len(one.raw)} | {one.tried:,} | {one.slowest:.1f} s | {date.today()} | {commit} |"
        for one in found
    ]
    return "\n".join([f"By `{command}`:", "", head, "|---|---|---|---|---|---|---|", *rows])


def record(figures: str) -> None:
    """Put the figures into RESULTS.md in place of the last ones."""
    text = RESULTS.read_text(encoding="utf-8")
    pattern = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
    assert pattern.search(text), f"RESULTS.md has no place for the figures, {BEGIN} ... {END}"
    whole = f"{BEGIN}\n{figures}\n{END}"
    RESULTS.write_text(pattern.sub(lambda _: whole, text), encoding="utf-8")


def main() -> int:
    """Try all kinds for the time that is given, and print the figures; 1 where there is a raw error."""
    names = [kind.name for kind in kinds()]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="in all")
    parser.add_argument("--kinds", nargs="+", choices=names, default=names)
    parser.add_argument(
        "--seed", type=int, default=int(date.today().strftime("%Y%m%d")), help="another day, other inputs"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("fuzz"), help="folder for raw errors, with their inputs"
    )
    parser.add_argument("--record", action="store_true", help="write the figures into RESULTS.md")
    asked = parser.parse_args()
    out = asked.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    each = asked.minutes * 60 * min(AT_ONCE, len(asked.kinds)) / len(asked.kinds)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(lambda kind: tried(kind, asked.seed, each, out), asked.kinds))
    figures = table(f"python -m tests.benchmarks.fuzz --minutes {asked.minutes:g} --seed {asked.seed}", found)
    print(figures)
    for one in found:
        for raw in one.raw:
            print(f"{one.kind} {raw}")
    if asked.record:
        record(figures)
    return int(any(one.raw for one in found))


if __name__ == "__main__":
    sys.exit(main())
