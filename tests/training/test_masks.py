"""Masks of the loss and repeats, from the folder to the gradient."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from styles.bases.base import Base, open_base
from styles.storage.home import Home
from training.adapters import adapted
from training.checkpoint import latest
from training.draws import draw
from training.encode import Prepared, load, prepare
from training.job import Job
from training.loop import train
from training.result import style_of
from training.trainer import begin

from .conftest import picture, small_plan


@pytest.fixture(scope="module")
def base(tiny_base: Path) -> Base:
    return open_base(tiny_base, Home(tiny_base.parent), device="cpu")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures of 64 x 64 px, the first with a mask that is white in its left third and grey in the rest."""
    for number in range(2):
        picture(64, 64, seed=number).save(tmp_path / f"{number}.png")
    mask = np.full((64, 64), 51, np.uint8)
    mask[:, :21] = 255
    Image.fromarray(mask).save(tmp_path / "0-masklabel.png")
    return tmp_path


def job_of(folder: Path, **overrides: Any) -> Job:
    plan = small_plan(Path("unused"), **overrides)
    return Job.create(folder / "home" / "jobs", plan, [folder])


def prepared(base: Base, job: Job) -> Prepared:
    list(prepare(base, job, job.plan, lambda: False))
    return load(job)


def trained(base: Base, job: Job) -> dict[str, Tensor]:
    with job.held():
        for event in train(job, base=base, device="cpu"):
            job.append(event)
    last = latest(job.folder / "checkpoints")
    assert last is not None
    return last.weights


@pytest.mark.parametrize("flip", [False, True])
def test_a_mask_is_averaged_over_the_areas_of_the_latents(folder: Path, base: Base, flip: bool) -> None:
    (bucket,) = prepared(base, job_of(folder, flip=flip, unmasked_weight=0.0)).buckets
    assert bucket.masks is not None and len(bucket.masks) == len(bucket.mean)
    width = bucket.mean.shape[3]
    edges = np.linspace(0, 64, width + 1)
    left = np.clip((21 - edges[:-1]) / (64 / width), 0, 1)
    expected = torch.tensor(left + (1 - left) * 51 / 255, dtype=torch.float32)
    torch.testing.assert_close(bucket.masks[0, 0], expected.expand(width, -1), atol=0.005, rtol=0)
    if flip:
        torch.testing.assert_close(bucket.masks[1], bucket.masks[0].flip(2))
    # The other picture counts everywhere.
    assert (bucket.masks[-1] == 1).all()


def test_what_a_mask_leaves_out_counts_as_the_plan_says(folder: Path, base: Base) -> None:
    (bucket,) = prepared(base, job_of(folder, unmasked_weight=0.5)).buckets
    assert bucket.masks is not None
    assert float(bucket.masks[0].min()) == 0.5 and float(bucket.masks[0].max()) == 1


def test_the_gradient_is_that_of_the_weighted_loss(folder: Path, base: Base) -> None:
    job = job_of(folder, batch=2, gradient_accumulation=1, opposite_every=0)
    whole = prepared(base, job)
    with adapted(base.unet, job.plan) as weights:
        trainer = begin(job, job.plan, base, weights)
        try:
            drawn = draw(whole, job.plan, 0, 0, trainer.objective.train_timesteps)
            assert drawn.mask is not None and len({float(one.mean()) for one in drawn.mask}) == 2
            noisy, target = trainer.objective.noisy(drawn)
            predicted = trainer._predict(noisy, drawn)
            ours = torch.autograd.grad(
                trainer.objective.loss(predicted, target, drawn.timesteps, drawn.mask),
                list(weights.values()),
                allow_unused=True,
            )
            by_hand: Tensor = torch.zeros(())
            predicted = trainer._predict(noisy, drawn)
            for row in range(2):
                weight = trainer.objective.weights[drawn.timesteps[row]]
                for channel in range(target.shape[1]):
                    error = (predicted[row, channel] - target[row, channel]) ** 2
                    by_hand = by_hand + weight * (error * drawn.mask[row, 0]).sum() / target.numel()
            theirs = torch.autograd.grad(by_hand, list(weights.values()), allow_unused=True)
            plain = torch.autograd.grad(
                trainer.objective.loss(trainer._predict(noisy, drawn), target, drawn.timesteps),
                list(weights.values()),
                allow_unused=True,
            )
        finally:
            trainer.close()
    pairs = [(a, b, c) for a, b, c in zip(ours, theirs, plain, strict=True) if a is not None]
    assert any(float(a.norm()) > 0 for a, _, _ in pairs)
    for a, b, c in pairs:
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-8)
        assert float(a.norm()) == 0 or not torch.allclose(a, c, rtol=1e-3)


def test_a_white_mask_and_the_same_repeats_for_all_train_bit_for_bit_as_none(
    tmp_path: Path, base: Base
) -> None:
    runs = []
    for name in ("plain", "10_white"):
        folder = tmp_path / name
        folder.mkdir()
        for number in range(2):
            picture(64, 64, seed=number).save(folder / f"{number}.png")
            if name != "plain":
                Image.new("L", (64, 64), 255).save(folder / f"{number}-masklabel.png")
        job = job_of(folder, steps=3, opposite_every=2)
        runs.append(trained(base, job))
        state = latest(job.folder / "checkpoints")
        assert state is not None
        assert (style_of(job, state).card.training.get("masked") == 2) == (name != "plain")
    plain, white = runs
    assert plain.keys() == white.keys()
    assert all(torch.equal(plain[name], white[name]) for name in plain)


def test_nothing_is_kept_of_masks_and_repeats_where_there_are_none(folder: Path, base: Base) -> None:
    (folder / "0-masklabel.png").unlink()
    (bucket,) = prepared(base, job_of(folder)).buckets
    assert bucket.masks is None and bucket.rows is None


def test_pictures_of_more_repeats_are_shown_as_much_more_often(tmp_path: Path, base: Base) -> None:
    for name in ("20_often/a.png", "20_often/wide.png", "10_seldom/b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        picture(128 if "wide" in name else 64, 64, seed=len(name)).save(tmp_path / name)
    job = job_of(tmp_path, caption_dropout=0.0, companions=(), batch=1)
    assert sorted(artwork.repeats for artwork in job.artworks()) == [10, 20, 20]
    whole = prepared(base, job)

    def widths(steps: int) -> Iterator[int]:
        for step in range(steps):
            drawn = draw(whole, job.plan, step, 0, 1000)
            yield drawn.latents.shape[3]

    assert sorted(
        len(bucket.mean) if bucket.rows is None else len(bucket.rows) for bucket in whole.buckets
    ) == [2, 3]
    wide = max(bucket.mean.shape[3] for bucket in whole.buckets)
    share = sum(width == wide for width in widths(400)) / 400
    assert 0.33 < share < 0.47  # 2 of 5
