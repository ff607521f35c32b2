"""The previews of a training, and their negative prompt."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import ImageChops

from styles.bases.base import Base, open_base
from styles.storage.home import Home
from training.encode import load, prepare
from training.job import Job
from training.preview import paint_previews


@pytest.fixture(scope="module")
def base(tiny_base: Path) -> Base:
    return open_base(tiny_base, Home(tiny_base.parent), device="cpu")


def test_the_negative_prompt_of_the_previews_is_what_they_are_guided_from(
    make_job: Callable[..., Job], base: Base
) -> None:
    pictures = []
    for negative in ("", "a blue boat on the sea"):
        job = make_job(Path("unused"), preview_negative=negative)
        list(prepare(base, job, job.plan, lambda: False))
        prepared = load(job)
        same = torch.equal(prepared.preview_negative.states, prepared.captions[:1].states)
        assert same == (not negative)
        pictures += paint_previews(
            base, base.unet, prepared.previews, prepared.preview_negative, job.plan, lambda: False
        )
    assert ImageChops.difference(*pictures).getbbox() is not None
