"""Training on distilled bases, whose styles carry fewer layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from styles.bases.base import open_base
from styles.generation.request import CreateRequest
from styles.library.library import Library
from styles.mixing.layer_matching import cross_attention_layers
from tests.styles.distilled import DISTILLED
from tests.styles.painting import loaded_pipeline, paint, pixels
from training.events import Finished
from training.job import Job
from training.loop import train

MakeJob = Callable[..., Job]


# One without a middle block, one with deep ones; that the others paint as diffusers is tested with the bases.
@pytest.mark.parametrize("kind", ["bk-tiny", "ssd-1b"])
def test_a_style_of_a_distilled_base_paints_in_diffusers_as_here(
    kind: str, distilled: dict[str, Path], make_job: MakeJob
) -> None:
    family = DISTILLED[kind][0]
    job = make_job(distilled[kind], family, steps=2, preview_every=0, learning_rate=5e-2)
    base = open_base(distilled[kind], job.home, device="cpu")
    with job.held():
        finished = list(train(job, base=base, device="cpu"))[-1]
    assert isinstance(finished, Finished)
    style = Library(job.home).open("blocks")
    assert len(style.layers) == 4 * cross_attention_layers(base.unet)
    assert style.card.training["base_layers"] == cross_attention_layers(base.unet)

    pipeline = loaded_pipeline(base)
    file = Path(finished.style_path)
    pipeline.load_lora_weights(file.parent, weight_name=file.name, use_safetensors=True)
    theirs = pipeline(
        "a red cat", negative_prompt="a blue house", num_inference_steps=2, guidance_scale=4.0, width=64,
        height=64, generator=torch.Generator().manual_seed(5),
    ).images[0]  # fmt: skip
    request = CreateRequest(
        "a red cat", "a blue house", seeds=(5,), steps=2, guidance=4.0, width_px=64, height_px=64,
        weights=((1.0,),),
    )  # fmt: skip
    ours = pixels(paint(base, request, (style,))[0].image)
    assert abs(ours - pixels(theirs)).max() <= 1
    bare = paint(base, replace(request, weights=()))[0].image
    assert abs(ours - pixels(bare)).max() > 1
