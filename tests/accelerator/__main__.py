"""Train and paint on a pretend accelerator: `python -m tests.accelerator`, in a process of its own."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.accelerator import pretend

FAMILIES = ("starter", "sd1", "sd2", "sdxl")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("painting", "training"))
    parser.add_argument("--report", type=Path, help="a file to write all that was found into, as JSON")
    arguments = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    pretend.install()
    found = []
    print("| family | way | apart | previews apart | waits of a step |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        for one in _found(Path(scratch), arguments.only):
            found.append(asdict(one))
            print(_line(found[-1]), flush=True)
    if arguments.report is not None:
        arguments.report.write_text(json.dumps({"told": _told(), "found": found}), encoding="utf-8")
    return 1 if any(one["error"] for one in found) else 0


def _found(scratch: Path, only: str | None) -> Iterator[Any]:
    from styles.storage.home import Home
    from tests.accelerator import painting, training
    from tests.tiny import tiny_base_folder

    home = Home(scratch / "home").create()
    folders = {
        family: tiny_base_folder(
            scratch / family, family, channels=(16, 32), safety_checker=family == "sd1",
            prediction_type="v_prediction" if family in ("starter", "sd2") else "epsilon",
        )
        for family in FAMILIES
    }  # fmt: skip
    for kind, work in (("painting", painting), ("training", training)):
        if only in (None, kind):
            yield from work.all_found(folders, home, pretend.NAME, _on, FAMILIES)


def _told() -> dict[str, list[str]]:
    """What the device tells of single operations, by their names: whether it is strict at all."""
    import torch

    cpu = torch.arange(4.0)
    with pretend.pretend() as waits:
        there = cpu.to(pretend.NAME)
        operations: dict[str, Callable[[], object]] = {
            "there + there": lambda: there + there,
            "there + a number": lambda: there + torch.tensor(1.0),
            "there + cpu": lambda: there + cpu,
            "cpu @ there": lambda: cpu @ there,
            "cat": lambda: torch.cat([there, cpu]),
            "item": lambda: there[0].item(),
            "bool": lambda: bool(there[1]),
            "equal": lambda: torch.equal(there, there),
            "mask": lambda: there[there > 1],
            "nonzero": lambda: there.nonzero(),
            "index on the CPU": lambda: there[torch.tensor([0])],
            "list as an index": lambda: there[[0, 1]],
            "to the CPU": lambda: there.cpu(),
            "to the device": lambda: cpu.to(pretend.NAME),
            "to the device, not waited for": lambda: cpu.to(pretend.NAME, non_blocking=True),
            "copied in place": lambda: there.copy_(cpu),
            "made there": lambda: torch.tensor([1.0], device=pretend.NAME),
        }
        told: dict[str, list[str]] = {}
        for name, operation in operations.items():
            waits.take()
            try:
                operation()
                told[name] = sorted({kind for kind, *_ in waits.take()})
            except pretend.MixedDevices:
                told[name] = ["refused"]
    return told


def _on(device: str) -> AbstractContextManager[Any]:
    kind, _, card = device.partition(":")
    return pretend.pretend(int(card or 0)) if kind == pretend.NAME else contextlib.nullcontext()


def _line(found: dict[str, Any]) -> str:
    apart = ["" if found[name] is None else f"{found[name]:.3g}" for name in ("apart", "pictures_apart")]
    return (
        f"| {found['family']} | {found['way']} | {' | '.join(apart)} | {found['error'] or found['steps']} |"
    )


if __name__ == "__main__":
    sys.exit(main())
