"""Training and painting on a pretend accelerator: the numbers are the CPU's, and nothing waits but what is written here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
# What a painting step waits for, once and on purpose: else Stop and the clock would run ahead of the device.
STEP = "synchronize in styles/generation/batch_sampling.py:_run"
# diffusers' schedulers send what they make on the CPU in copies that wait, right before the step's own wait: the noise of
# those that draw some in each step, so that a seed is the same on every device, and UniPC's small tables.
SCHEDULER = "copy to the device in styles/generation/batch_sampling.py:_run"
COPIES_OF_SCHEDULERS = {"dpm++ 2m sde": 1, "dpm++ sde": 2, "euler a": 1, "lcm": 1, "unipc": 5}
SAMPLERS = {"dpm++ 2m", "dpm++ 2m sde", "dpm++ sde", "ddim", "euler", "euler a", "heun", "unipc", "lcm"}
EACH_FAMILY = {"two styles", "words and layers of text encoders", "memory spared"}
PAINTINGS = {
    "starter": EACH_FAMILY
    | SAMPLERS
    | {
        "no style", "without guidance", "strip", "map", "leave one out", "schedule", "composition and texture", "take turns",
        "average guidance", "prompt that changes", "long prompt", "from a picture", "second pass", "several pictures",
        "VAE that overflows", "VAE that has no room", "UNet that has no room", "effect probe", "two styles in bf16",
        "two styles in fp16", "two styles on a second card", "words and layers of text encoders on a second card",
        "memory spared on a second card", "effect probe on a second card", "four bits in groups, memory spared",
    },
    "sd1": EACH_FAMILY,
    "sd2": EACH_FAMILY,
    "sdxl": EACH_FAMILY,
}  # fmt: skip
TRAININGS = {
    "starter": {
        "previews with opposite and accumulated steps", "a style goes on", "paused and resumed", "bf16", "fp16 with a scaler",
        "trial",
    },
    "sd1": {"checkpointing"},
    "sd2": {"cross and self"},
    "sdxl": {"transformer"},
}  # fmt: skip


NOTHING, COPY, READ, NONZERO = [], ["copy to the device"], ["read"], ["nonzero"]  # type: ignore[var-annotated]
# What the device tells of single operations.
TOLD = {
    "there + there": NOTHING,
    "there + a number": NOTHING,
    "there + cpu": ["refused"],
    "cpu @ there": ["refused"],
    "cat": ["refused"],
    "item": READ,
    "bool": READ,
    "equal": READ,
    "mask": NONZERO,
    "nonzero": NONZERO,
    "index on the CPU": COPY,
    "list as an index": COPY,
    "to the CPU": ["copy to the host"],
    "to the device": COPY,
    "to the device, not waited for": NOTHING,
    "copied in place": COPY,
    "made there": COPY,
}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What was found, by `painting` and `training`, and what the device tells; in a process of its own, which is torch's for good afterwards."""
    found: dict[str, Any] = {}
    file = tmp_path_factory.mktemp("accelerator") / "report.json"
    command = [sys.executable, "-m", "tests.accelerator", "--report", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert file.is_file(), done.stdout + done.stderr
    written = json.loads(file.read_text(encoding="utf-8"))
    everything, found["told"] = written["found"], written["told"]
    for kind, expected in (("painting", PAINTINGS), ("training", TRAININGS)):
        names = {(family, way) for family, ways in expected.items() for way in ways}
        found[kind] = [one for one in everything if (one["family"], one["way"]) in names]
        assert {(one["family"], one["way"]) for one in found[kind]} == names
    assert len(everything) == len(found["painting"]) + len(found["training"])
    return found


def test_the_device_is_strict(report: dict[str, Any]) -> None:
    assert report["told"] == TOLD


@pytest.mark.parametrize("kind", ["painting", "training"])
def test_no_way_mixes_devices_or_fails(kind: str, report: dict[str, Any]) -> None:
    assert {(one["family"], one["way"]): one["error"] for one in report[kind] if one["error"]} == {}


def test_pictures_are_the_processors(report: dict[str, Any]) -> None:
    exact = [one for one in report["painting"] if not one["way"].endswith(("bf16", "fp16"))]
    assert max(one["apart"] for one in exact) <= 1
    assert sum(one["apart"] is None for one in report["painting"]) == 2


def test_a_painting_step_waits_once(report: dict[str, Any]) -> None:
    for one in report["painting"]:
        copies = COPIES_OF_SCHEDULERS.get(one["way"], 0)
        assert one["steps"] or one["way"].startswith("effect probe")
        for step in one["steps"]:
            assert step.pop(STEP) == 1, one
            assert step.pop(SCHEDULER, 0) <= copies and not step, one


def test_styles_and_previews_are_the_processors(report: dict[str, Any]) -> None:
    exact = [one for one in report["training"] if one["apart"] is not None]
    assert len(exact) == len(report["training"]) - 3  # those in half precision, and the trial
    assert max(one["apart"] for one in exact) < 1e-3
    assert max(one["pictures_apart"] or 0 for one in exact) <= 1


def test_no_training_step_waits(report: dict[str, Any]) -> None:
    assert [one for one in report["training"] if one["steps"] != [{}]] == []
