"""What a real device has to do right: `python -m pytest tests/accelerator/test_device.py --device cuda`.

Without `--device` they run where torch finds an accelerator, and are skipped elsewhere.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from styles.bases.base import Base, open_base
from styles.bases.prediction import predict
from styles.devices.device import device_for
from styles.devices.memory import free_bytes, limit_memory
from styles.errors import is_out_of_memory
from styles.storage.home import Home
from tests.accelerator.painting import compare, ways
from tests.accelerator.training import PLAIN, Way, apart, drawn_artworks, trained
from tests.styles.painting import paint, pixels
from tests.tiny import tiny_base_folder
from training import encode
from training.adapters import adapted
from training.draws import Draw, draw
from training.job import Job
from training.plan import plan_for
from training.trainer import begin

FAMILIES = ("starter", "sd1", "sd2", "sdxl")
# Of 255: a device sums in another order.
LARGEST_DIFFERENCE = 3


@pytest.fixture(scope="module")
def device(request: pytest.FixtureRequest) -> torch.device:
    name = request.config.getoption("--device")
    if not name and not torch.accelerator.is_available():
        pytest.skip("there is no accelerator here, and --device names none")
    return device_for(name or "auto")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("bases")
    return {
        family: tiny_base_folder(
            root / family, family, channels=(16, 32),
            prediction_type="v_prediction" if family in ("starter", "sd2") else "epsilon",
        )
        for family in FAMILIES
    }  # fmt: skip


@pytest.fixture(autouse=True)
def exact() -> Iterator[None]:
    """TF32, which torch takes for convolutions, is off by more than a rounding."""
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=False, allow_tf32=False):
        yield


def home_in(folder: Path) -> Home:
    return Home(folder / "home").create()


@pytest.mark.parametrize("family", FAMILIES)
def test_pictures_are_the_processors(
    family: str, device: torch.device, folders: dict[str, Path], tmp_path: Path
) -> None:
    whole = family == "starter" and device.type != "cpu"
    nothing = contextlib.nullcontext()
    for found in compare(
        folders[family], family, home_in(tmp_path), str(device), lambda _: nothing, whole=whole
    ):
        assert not found.error and (found.apart or 0) <= LARGEST_DIFFERENCE, found


@pytest.mark.parametrize("family", FAMILIES)
def test_a_training_step_has_the_processors_gradients(
    family: str, device: torch.device, folders: dict[str, Path], tmp_path: Path
) -> None:
    home = home_in(tmp_path)
    cpu, there = (
        open_base(folders[family], home, device=place, dtype="fp32") for place in ("cpu", str(device))
    )
    plan = plan_for("quick", family, 3, name="blocks", base=str(cpu.folder), trigger="blocks", **PLAIN)
    job = Job.create(home.jobs, plan, [drawn_artworks(tmp_path)])
    for _ in encode.prepare(cpu, job, plan, lambda: False):
        pass
    drawn = draw(encode.load(job), plan, 0, 0, 1000)
    ours, theirs = (gradients(base, job, drawn) for base in (cpu, there))
    assert ours.keys() == theirs.keys()
    for name, gradient in ours.items():
        assert (theirs[name] - gradient).norm() <= 1e-3 * gradient.norm() + 1e-9, name
    assert any(gradient.norm() > 0 for gradient in ours.values())


def gradients(base: Base, job: Job, drawn: Draw) -> dict[str, Tensor]:
    """Of one step over what was drawn on the CPU; `up` begins at zero, so that those of `down` are zero."""
    moved = {
        field.name: getattr(drawn, field.name).to(base.device)
        for field in fields(Draw)
        if field.name not in ("conditioning", "mask")
    }
    moved["conditioning"] = drawn.conditioning.to(base.device, base.dtype)
    there = Draw(**moved)
    with adapted(base.unet, job.plan) as weights:
        trainer = begin(job, job.plan, base, weights)
        try:
            noisy, target = trainer.objective.noisy(there)
            predicted = predict(trainer.unet, noisy, there.timesteps, there.conditioning)
            trainer.accelerator.backward(trainer.objective.loss(predicted, target, there.timesteps))
            return {name: weight.grad.cpu() for name, weight in weights.items() if weight.grad is not None}
        finally:
            trainer.close()


def test_a_resumed_run_is_the_unbroken_one(
    device: torch.device, folders: dict[str, Path], tmp_path: Path
) -> None:
    base = open_base(folders["starter"], home_in(tmp_path), device=device, dtype="fp32")
    plan: dict[str, Any] = {"steps": 3, "report_every": 1}
    unbroken, resumed = (
        trained(base, home_in(tmp_path / way), drawn_artworks(tmp_path), Way(plan, pauses_at=stop), way)[0]
        for way, stop in (("unbroken", 0), ("resumed", 1))
    )
    assert apart(unbroken, resumed) < 1e-3


def test_the_precision_that_is_chosen_paints_and_trains(
    device: torch.device, folders: dict[str, Path], tmp_path: Path
) -> None:
    home = home_in(tmp_path)
    base, exact = (
        open_base(folders["starter"], home, device=device, dtype=dtype) for dtype in ("auto", "fp32")
    )
    way = ways(base, False)["two styles"]
    one, other = (paint(painted, way.request, way.styles)[0] for painted in (base, exact))
    assert np.abs(pixels(one.image) - pixels(other.image)).mean() < 8
    # Its losses have to be numbers.
    trained(base, home, drawn_artworks(tmp_path), Way({"preview_every": 2}), "auto")


def test_memory_that_is_taken_is_not_free(device: torch.device) -> None:
    before = free_bytes(device)
    if before is None or device.type == "cpu":
        pytest.skip(f"{device} doesn't tell, or is shared with other programs")
    taken = torch.ones(before // 4, dtype=torch.uint8, device=device)
    after = free_bytes(device)
    assert after is not None and before - after > 0.9 * taken.nbytes


def test_what_is_beyond_the_limit_is_refused_in_the_known_way(device: torch.device) -> None:
    if device.type != "cuda":
        pytest.skip(f"{device} has no such limit")
    limit_memory(device)
    try:
        free, _ = torch.accelerator.get_memory_info(device)
        with pytest.raises(Exception) as told:
            torch.ones(free - 50_000_000, dtype=torch.uint8, device=device)
        assert is_out_of_memory(told.value)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)
