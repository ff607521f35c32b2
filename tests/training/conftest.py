"""A few small artworks and jobs on tiny bases."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from training.job import Job
from training.plan import TrainingPlan, plan_for

# Small numbers: what the tests ask does not depend on how long a run is.
SMALL: dict[str, Any] = {
    "rank": 2,
    "batch": 2,
    "steps": 6,
    "report_every": 2,
    "checkpoint_every": 2,
    "preview_every": 3,
    "preview_steps": 2,
    "preview_prompts": ("a red house",),
    "learning_rate": 1e-2,
    "flip": False,
    "opposite_every": 3,
}


def picture(width: int = 72, height: int = 64, seed: int = 0) -> Image.Image:
    """Random coloured blocks."""
    blocks = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize((width, height), Image.Resampling.NEAREST)


@pytest.fixture(scope="session")
def artworks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of four artworks, one of them wide, one with a caption."""
    folder = tmp_path_factory.mktemp("artworks")
    for number in range(3):
        picture(seed=number).save(folder / f"{number}.png")
    picture(128, 64, seed=3).save(folder / "wide.png")
    (folder / "1.txt").write_text("a blue boat", encoding="utf-8")
    return folder


def small_plan(base: Path, family: str = "starter", **overrides: Any) -> TrainingPlan:
    """A plan of a few steps."""
    values = {"name": "blocks", "base": str(base), "trigger": "blocks", **SMALL, **overrides}
    return plan_for("quick", family, 4, **values)


@pytest.fixture
def make_job(tmp_path: Path, artworks: Path) -> Callable[..., Job]:
    """Make a job of a few steps on a base folder, in a home of the test's own."""

    def make(base: Path, family: str = "starter", **overrides: Any) -> Job:
        return Job.create(tmp_path / "home" / "jobs", small_plan(base, family, **overrides), [artworks])

    return make
