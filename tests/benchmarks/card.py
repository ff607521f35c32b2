"""All that a graphics card can say, in at most eight minutes, as one table.

    python -m tests.benchmarks.card
    python -m tests.benchmarks.card --device cuda:1 --only memory blend

In this order: the suite's tests of a device; peak memory of each family beside what is counted without a card; mixing by
ranks and by merged weights; training against diffusers' example loop; compiling. Models have the shapes of Stable
Diffusion and random weights: nothing is downloaded. A stage that fails or takes longer than its time is told in the
table, and the next one follows. Where there is no accelerator the table says so; `--device cpu` goes through all of it
with tiny models, which shows that this command works and nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MOST_SECONDS = 480
# Seconds for each stage, and for a process that starts with it.
STAGES = {"tests": 100, "memory": 110, "blend": 100, "training": 70, "compile": 70}
STARTING_SECONDS = 30
DEVICE_TESTS = "tests/accelerator/test_device.py"
PACKAGES = ("torch", "diffusers", "peft", "accelerate")
Row = dict[str, str]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="auto", help="auto, cpu or a card such as cuda:1")
    parser.add_argument("--only", nargs="+", choices=tuple(STAGES), default=tuple(STAGES))
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.child:
        return _child(arguments.device, arguments.only)
    until = time.monotonic() + MOST_SECONDS
    from styles.devices.cards import card_of
    from styles.devices.device import device_for

    device = device_for(arguments.device)
    absent = device.type == "cpu" and arguments.device == "auto"
    card = "no accelerator here" if absent else str(device)
    if device.type != "cpu":
        about = card_of(device)
        card = f"{about.name}, {about.memory_bytes / 2**30:.1f} GiB ({about.device})"
    print(f"{card}; {platform.system()}, Python {platform.python_version()}, {_versions()}\n")
    print("| stage | figure | seen | beside it | seconds |\n|---|---|---|---|---|")
    stages = [stage for stage in STAGES if stage in arguments.only]
    failed = False
    for row in _absent(stages) if absent else _measured(stages, str(device), until):
        failed = failed or row["figure"] in ("broke off", "stopped")
        cells = (row[name].replace("|", "/") for name in ("stage", "figure", "seen", "beside", "seconds"))
        print(f"| {' | '.join(cells)} |", flush=True)
    return 1 if failed else 0


def _versions() -> str:
    import torch

    driver = torch.version.cuda or torch.version.hip
    built_for = f" for {'CUDA' if torch.version.cuda else 'ROCm'} {driver}" if driver else ""
    return ", ".join(f"{name} {version(name)}" for name in PACKAGES) + built_for


def _row(stage: str, figure: str, seen: str, beside: str = "") -> Row:
    return {"stage": stage, "figure": figure, "seen": seen, "beside": beside}


def _absent(stages: Sequence[str]) -> Iterator[Row]:
    for stage in stages:
        yield _row(stage, "", "not measured: no accelerator here") | {"seconds": ""}


def _measured(stages: Sequence[str], device: str, until: float) -> Iterator[Row]:
    """All rows of the stages, with the seconds that went by before each; `until` is when all have to end (monotonic)."""
    last = time.monotonic()
    others = [stage for stage in stages if stage != "tests"]
    for row in _rows(_device_tests(device) if "tests" in stages else (), others, device, until):
        now = time.monotonic()
        yield row | {"seconds": f"{now - last:.0f}"}
        last = now


def _rows(
    tests: Iterator[Row] | tuple[()], stages: Sequence[str], device: str, until: float
) -> Iterator[Row]:
    yield from tests
    rest = list(stages)
    while rest:
        rest = yield from _in_a_child(rest, device, until)


def _device_tests(device: str) -> Iterator[Row]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "default", DEVICE_TESTS]
    try:
        done = subprocess.run(
            [*command, "--device", device], cwd=ROOT, capture_output=True, text=True, timeout=STAGES["tests"], check=False
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        yield _row("tests", "stopped", f"longer than {STAGES['tests']} s")
        return
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    for line in lines:
        if line.startswith(("FAILED", "ERROR")):
            yield _row("tests", line.split(" ", 1)[1].removeprefix(f"{DEVICE_TESTS}::"), "failed")
    yield _row("tests", "the suite's tests of a device", lines[-1] if lines else done.stderr[-300:])


def _in_a_child(stages: list[str], device: str, until: float) -> Iterator[Row]:
    """Yield the rows of stages, run one after the other in a process; returns those that it didn't come to.

    A stage that takes too long ends with its process: what hangs on a device can't be stopped otherwise.
    """
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", __spec__.name, "--child", "--device", device, "--only", *stages], cwd=ROOT,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    lines: queue.Queue[str | None] = queue.Queue()
    said: list[str] = []
    readers = [
        threading.Thread(
            target=lambda: [*map(lines.put, process.stdout or ()), lines.put(None)], daemon=True
        ),
        threading.Thread(target=lambda: said.extend(process.stderr or ()), daemon=True),
    ]
    for reader in readers:
        reader.start()
    rest = list(stages)
    began = time.monotonic()
    ends_at = min(began + STARTING_SECONDS + STAGES[rest[0]], until)
    try:
        while rest:
            try:
                line = lines.get(timeout=max(0.0, ends_at - time.monotonic()))
            except queue.Empty:
                yield _row(rest[0], "stopped", f"no end after {time.monotonic() - began:.0f} s")
                return rest[1:]
            if line is None:
                process.wait()
                readers[1].join(10)
                reason = " ".join("".join(said).split())[-300:]
                yield _row(rest[0], "broke off", f"its process ended with {process.returncode}: {reason}")
                return rest[1:]
            told = json.loads(line) if line.startswith("{") else {}
            if "done" in told:
                rest = rest[1:]
                began = time.monotonic()
                ends_at = min(began + (STAGES[rest[0]] if rest else 0), until)
            elif told:
                yield told
        return rest
    finally:
        process.kill()
        for reader in readers:  # to the end of what it has written
            reader.join()
        with process:
            pass


def _child(device: str, stages: Sequence[str]) -> int:
    from tests.benchmarks.card_stages import Work, rows_of

    work = Work.on(device, full=device != "cpu")
    for stage in stages:
        for row in rows_of(stage, work):
            print(json.dumps(row))
        print(json.dumps({"done": stage}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
