"""Stable Diffusion XL against diffusers' own pipeline: prompts, latents, a style's file, and what an empty prompt says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from torch import Tensor

from styles.bases.base import Base, open_base
from styles.formats.reader import read_style
from styles.formats.style import Style
from styles.formats.writer import write_style
from styles.generation.batch_sampling import denoise
from styles.generation.prompts import encode_prompts
from styles.generation.request import CreateRequest, fill_in
from styles.generation.samplers import SAMPLERS
from styles.mixing.model_patcher import blended
from styles.storage.home import Home
from tests.styles.painting import loaded_pipeline, paint, pipeline_steps, pixels, style_for
from tests.tiny import tiny_base_folder

SEEDS = (3, 11)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("home")).create()


@pytest.fixture(scope="module")
def bases(tiny_sdxl: Path, home: Home, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Base]:
    velocity = tiny_base_folder(
        tmp_path_factory.mktemp("bases") / "v", "sdxl", prediction_type="v_prediction", zero_terminal_snr=True
    )
    return {
        "epsilon": open_base(tiny_sdxl, home, device="cpu"),
        "v_prediction": open_base(velocity, home, device="cpu"),
    }


def latents_of(base: Base, request: CreateRequest, styles: tuple[Style, ...] = ()) -> Tensor:
    """The latents that our own loop ends with."""
    with blended(base, styles) as mix:
        steps = denoise(
            base, fill_in(base, request, styles), styles, mix, range(len(request.seeds)), None, lambda: False
        )
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]


def painted_by(pipeline: StableDiffusionXLPipeline, steps: int = 4, **about: Any) -> Any:
    return pipeline(
        ["a red cat"] * len(SEEDS),
        num_inference_steps=steps,
        generator=[torch.Generator().manual_seed(seed) for seed in SEEDS],
        width=96,
        height=64,
        **about,
    ).images


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("negative", ["a blue house", None], ids=["negative", "no negative"])
@pytest.mark.parametrize("guidance", [6.0, 1.0])
def test_latents_are_those_of_the_pipeline(
    prediction: str, negative: str | None, guidance: float, bases: dict[str, Base]
) -> None:
    base = bases[prediction]
    request = CreateRequest(
        "a red cat", negative or "", seeds=SEEDS, steps=4, guidance=guidance, guidance_rescale=0.0, width_px=96,
        height_px=64,
    )  # fmt: skip
    about = {} if negative is None else {"negative_prompt": [negative] * len(SEEDS)}
    theirs = painted_by(loaded_pipeline(base), guidance_scale=guidance, output_type="latent", **about)
    assert abs(latents_of(base, request) - theirs).max() <= 1e-4
    assert theirs.std() > 0.1


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_latents_of_every_sampler_are_those_of_the_pipeline(
    prediction: str, sampler: str, bases: dict[str, Base]
) -> None:
    base = bases[prediction]
    request = CreateRequest(
        "a red cat", seeds=SEEDS, steps=4, guidance=3.0, guidance_rescale=0.0, width_px=96, height_px=64,
        sampler=sampler,
    )  # fmt: skip
    pipeline = loaded_pipeline(base, sampler)
    steps = pipeline_steps(pipeline.scheduler, sampler, 4)
    theirs = painted_by(pipeline, steps, guidance_scale=3.0, output_type="latent")
    assert abs(latents_of(base, request) - theirs).max() <= 1e-4
    assert theirs.std() > 0.1


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_a_style_and_its_file_paint_what_they_paint_in_the_pipeline(
    prediction: str, bases: dict[str, Base], tmp_path: Path
) -> None:
    base = bases[prediction]
    write_style(style_for(base, 7), tmp_path / "style.safetensors")
    style = read_style(tmp_path / "style.safetensors")
    request = CreateRequest(
        "a red cat", "a blue house", seeds=SEEDS, steps=4, guidance=6.0, guidance_rescale=0.0, width_px=96,
        height_px=64, weights=((1.0,),),
    )  # fmt: skip
    pipeline = loaded_pipeline(base)
    pipeline.load_lora_weights(tmp_path, weight_name="style.safetensors", use_safetensors=True)
    about = {"guidance_scale": 6.0, "negative_prompt": ["a blue house"] * len(SEEDS)}
    theirs = painted_by(pipeline, **about, output_type="latent")
    ours = latents_of(base, request, (style,))
    assert abs(ours - theirs).max() <= 1e-4
    pictures = painted_by(pipeline, **about)
    for done, picture in zip(paint(base, request, (style,)), pictures, strict=True):
        assert abs(pixels(done.image) - pixels(picture)).max() <= 1
    bare = latents_of(base, CreateRequest("a red cat", "a blue house", seeds=SEEDS, steps=4, guidance=6.0,
        guidance_rescale=0.0, width_px=96, height_px=64))  # fmt: skip
    assert abs(ours - bare).max() > 0.1, "the style is seen"


def test_prompts_say_what_they_say_in_the_pipeline_and_empty_ones_nothing(bases: dict[str, Base]) -> None:
    base = bases["epsilon"]
    states, _, pooled, _ = loaded_pipeline(base).encode_prompt(
        "a red cat in a boat", do_classifier_free_guidance=False
    )
    ours = encode_prompts(base, ["a red cat in a boat", ""])
    torch.testing.assert_close(ours.states[:1], states)
    assert ours.pooled is not None
    torch.testing.assert_close(ours.pooled[:1], pooled)
    assert not ours.states[1].any() and not ours.pooled[1].any()


@pytest.mark.parametrize("said", [None, False])
def test_an_empty_prompt_says_what_the_pipeline_makes_of_the_folder(
    said: bool | None, tiny_sdxl: Path, home: Home, tmp_path: Path
) -> None:
    folder = tmp_path / "base"
    shutil.copytree(tiny_sdxl, folder)
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    index.pop("force_zeros_for_empty_prompt")
    if said is not None:
        index["force_zeros_for_empty_prompt"] = said
    (folder / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
    base = open_base(folder, home, device="cpu")
    _, negative, _, pooled = loaded_pipeline(base).encode_prompt("a red cat")
    ours = encode_prompts(base, [""])
    torch.testing.assert_close(ours.states, negative)
    torch.testing.assert_close(ours.pooled, pooled)
    assert bool(negative.any()) == (said is False)
