"""Painting from a picture and finishing at a larger size: equal to the pipeline's, kept, and the same again."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionXLImg2ImgPipeline
from PIL import Image

from styles.bases.base import Base, open_base
from styles.errors import RecipeError
from styles.formats.thumbnail import public_thumbnail
from styles.generation.generate import DenoisingStep, generate
from styles.generation.img2img import (
    SourcePicture,
    encode_source,
    first_step,
    fitted_size,
    keep_source,
    kept_source,
    source_path,
    sources_folder,
)
from styles.generation.png_recipe import parameters_text, png_bytes, read_recipe, save_picture
from styles.generation.request import CreateRequest, SecondPass, request_again
from styles.generation.samplers import DEFAULT_SAMPLER, SAMPLERS, make_scheduler
from styles.library.side_files import thumbnail_of
from styles.mixing.blend import Blend, BlendPart
from styles.storage.home import Home
from tests.styles.painting import apart, paint, pipeline_steps, pixels, style_for


def picture(width: int = 90, height: int = 60, seed: int = 0) -> Image.Image:
    """Soft patches of colour."""
    noise = numpy.random.default_rng(seed).integers(0, 255, (4, 6, 3), dtype=numpy.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


SOURCE = SourcePicture.of(picture())


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("home")).create()


@pytest.fixture(scope="module")
def bases(tiny_base: Path, tiny_sd1: Path, tiny_sdxl: Path, home: Home) -> dict[str, Base]:
    return {
        "starter": open_base(tiny_base, home, device="cpu"),
        "sd1": open_base(tiny_sd1, home, device="cpu"),
        "sdxl": open_base(tiny_sdxl, home, device="cpu"),
    }


def request(**changes: object) -> CreateRequest:
    plain = CreateRequest(
        "a cat", "red", seeds=(3,), steps=4, guidance=4.0, guidance_rescale=0.0, source=SOURCE, strength=0.5,
        width_px=48, height_px=32,
    )  # fmt: skip
    return replace(plain, **changes)  # type: ignore[arg-type]


def pipeline_of(base: Base, sampler: str) -> Any:
    parts = {"vae": base.vae, "unet": base.unet, "scheduler": make_scheduler(base, sampler)}
    for name in ("text_encoder", "tokenizer"):
        for number, part in enumerate(getattr(base, f"{name}s")):
            parts[f"{name}_2" if number else name] = part
    if len(base.text_encoders) > 1:
        pipeline = StableDiffusionXLImg2ImgPipeline(**parts)
    else:
        pipeline = StableDiffusionImg2ImgPipeline(
            **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
        )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.mark.parametrize(
    ("family", "sampler"),
    # With and without zero terminal SNR.
    [
        *((family, sampler) for family in ("starter", "sd1") for sampler in SAMPLERS),
        ("sdxl", DEFAULT_SAMPLER),
    ],
)
def test_equal_to_the_pipeline_from_a_picture(family: str, sampler: str, bases: dict[str, Base]) -> None:
    base = bases[family]
    pipeline = pipeline_of(base, sampler)
    for strength in (0.5, 1.0):
        ours = paint(base, request(strength=strength, sampler=sampler))[0].image
        theirs = pipeline(
            "a cat", image=encode_source(base, SOURCE, 48, 32), negative_prompt="red",
            num_inference_steps=pipeline_steps(pipeline.scheduler, sampler, 4), guidance_scale=4.0, strength=strength, generator=[torch.Generator().manual_seed(3)],
        ).images[0]  # fmt: skip
        assert ours.size == (48, 32) and pixels(ours).std() > 1
        assert abs(pixels(ours) - pixels(theirs)).max() <= 1


def test_strength_goes_from_the_picture_itself_to_nothing_of_it(bases: dict[str, Base]) -> None:
    base = bases["starter"]
    as_it_is, other_seed = paint(base, request(strength=0.0, seeds=(1, 2)))
    assert apart(as_it_is, other_seed) <= 1
    latents = encode_source(base, SOURCE, 48, 32)
    with torch.no_grad():
        decoded = base.vae.decode(latents / base.vae.config.scaling_factor).sample[0]
    decoded = ((decoded.permute(1, 2, 0) * 0.5 + 0.5).clamp(0, 1) * 255).round().numpy()
    assert abs(pixels(as_it_is.image) - decoded).max() <= 1
    # With zero terminal SNR the whole way begins in noise alone, so that nothing of the picture is left.
    from_noise = paint(base, request(source=None))[0]
    whole = paint(base, request(strength=1.0))[0]
    half = paint(base, request(strength=0.5))[0]
    assert apart(whole, from_noise) <= 2 and apart(half, from_noise) > 5 and apart(half, as_it_is) > 5
    steps = [e for e in generate(base, request(strength=0.5)) if isinstance(e, DenoisingStep)]
    assert [event.step for event in steps] == [1, 2] and steps[-1].share == 1


def test_steps_and_sizes_that_suit_the_strength_and_the_picture() -> None:
    assert [first_step(10, strength) for strength in (0, 0.01, 0.29, 0.7, 1)] == [10, 9, 7, 3, 0]
    assert first_step(100, 0.29) == 71
    wide = SourcePicture.of(picture(300, 150))
    assert fitted_size(wide, 512, 8, 0, 0) == (728, 360)
    assert fitted_size(wide, 512, 8, 640, 0) == (640, 320) and fitted_size(wide, 512, 8, 0, 64) == (128, 64)
    assert fitted_size(wide, 512, 8, 64, 64) == (64, 64)
    assert fitted_size(SourcePicture.of(picture(2000, 2)), 64, 8, 0, 0) == (184, 24)


def test_a_picture_covers_the_size_and_is_cut_at_the_middle(bases: dict[str, Base]) -> None:
    base = bases["starter"]
    wide = Image.new("RGB", (96, 32), "black")
    wide.paste((255, 0, 0), (32, 0, 64, 32))
    middle = encode_source(base, SourcePicture.of(Image.new("RGB", (32, 32), (255, 0, 0))), 32, 32)
    assert torch.equal(encode_source(base, SourcePicture.of(wide), 32, 32), middle)
    done = paint(base, CreateRequest("a cat", steps=1, source=SourcePicture.of(wide)))[0]
    assert done.image.size == (112, 40) and (done.recipe.width_px, done.recipe.height_px) == (112, 40)


def test_a_source_is_its_pixels_whatever_file_they_came_in(tmp_path: Path) -> None:
    assert SourcePicture.of(picture()).sha256 == SOURCE.sha256 != SourcePicture.of(picture(seed=1)).sha256
    turned = picture().transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # "rotate 90 degrees to see it upright"
    turned.save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as image:
        assert SourcePicture.of(image).sha256 == SOURCE.sha256
    clear = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    assert SourcePicture.of(clear).image.getpixel((0, 0)) == (255, 255, 255)
    assert SourcePicture.of(Image.new("L", (4, 4), 7)).image.getpixel((0, 0)) == (7, 7, 7)
    assert SourcePicture.of(Image.new("L", (17000, 10))).image.size == (16384, 9)


def test_the_same_picture_again_from_the_kept_source(bases: dict[str, Base], home: Home) -> None:
    base = bases["starter"]
    styles = (style_for(base, 1), style_for(base, 2))
    blend = Blend(
        (BlendPart(styles[0].id, 0.8, ((0, 0), (1, 1))), BlendPart(styles[1].id, 0.5)), "take turns"
    )
    asked = request(
        blends=(blend,),
        seeds=(1, 2),
        sampler="euler a",
        second_pass=SecondPass(1.4, 0.6, 5),
        guidance_rescale=0.5,
    )
    events = list(generate(base, asked, styles))
    steps = [event for event in events if isinstance(event, DenoisingStep)]
    assert [event.step for event in steps] == [1, 2, 3, 4, 5] and {event.steps for event in steps} == {5}
    assert [event.pixels.shape[1:3] for event in steps] == [(8, 12)] * 2 + [(12, 16)] * 3  # (h, w)
    done = paint(base, asked, styles)[1]
    assert done.image.size == (64, 48) and (done.recipe.width_px, done.recipe.height_px) == (48, 32)
    kept = keep_source(SOURCE, home)
    assert kept.parent == sources_folder(home) and keep_source(SOURCE, home) == kept
    path = save_picture(done.image, done.recipe, home.pictures)
    recipe = read_recipe(path)
    assert recipe == done.recipe
    source = kept_source(recipe.source, home)
    again = paint(base, request_again(recipe, source), styles)[0]
    assert png_bytes(again.image, again.recipe) == path.read_bytes()
    assert "Denoising strength: 0.6, Hires upscale: 1.4, Hires steps: 5" in parameters_text(recipe)
    # Another source, none, or one too many is no way to make it again.
    for given in (None, SourcePicture.of(picture(seed=1))):
        with pytest.raises(RecipeError, match="painted from another picture"):
            request_again(recipe, given)
    with pytest.raises(RecipeError, match="from noise alone"):
        request_again(replace(recipe, source=""), source)


def test_a_second_pass_paints_larger_and_much_the_same(bases: dict[str, Base]) -> None:
    base = bases["sd1"]
    plain = paint(base, request(source=None))[0]
    for sampler in SAMPLERS:
        both = paint(base, request(source=None, sampler=sampler, second_pass=SecondPass(2.0, 0.5)))[0]
        assert both.image.size == (96, 64) and pixels(both.image).std() > 1
        assert both.recipe.second_steps == 0 and both.recipe.source == "" and both.recipe.second_scale == 2.0
    again = paint(base, request_again(both.recipe))[0]
    assert again.image.tobytes() == both.image.tobytes()
    assert "second" not in plain.recipe.to_json() and "source" not in plain.recipe.to_json()


def test_both_passes_of_sdxl_tell_their_own_size(bases: dict[str, Base]) -> None:
    base, sizes = bases["sdxl"], []

    def note(unet: Any, inputs: Any, about: dict[str, Any]) -> None:
        sizes.append(about["added_cond_kwargs"]["time_ids"].unique(dim=0).tolist())

    watching = base.unet.register_forward_pre_hook(note, with_kwargs=True)
    (done,) = paint(base, request(source=None, second_pass=SecondPass(2.0, 0.5)))
    watching.remove()
    assert done.image.size == (96, 64)
    assert sizes == [[[32, 48, 0, 0, 32, 48]]] * 4 + [[[64, 96, 0, 0, 64, 96]]] * 2
    again = paint(base, request_again(done.recipe))[0]
    assert again.image.tobytes() == done.image.tobytes()


def test_a_vae_that_overflows_in_half_precision_reads_in_fp32(tiny_base: Path, home: Home) -> None:
    base = open_base(tiny_base, home, device="cpu", dtype="bf16")
    normal = encode_source(base, SOURCE, 48, 32)
    module = base.vae.quant_conv
    forward = module.forward
    module.forward = lambda x: forward(x) * (float("nan") if x.dtype != torch.float32 else 1.0)
    rescued = encode_source(base, SOURCE, 48, 32)
    assert base.vae.dtype == torch.bfloat16 and rescued.dtype == torch.float32
    assert (normal - rescued).abs().max() < 0.1


def test_a_source_that_is_not_here_or_changed_is_said(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with pytest.raises(RecipeError, match="is not here") as raised:
        kept_source(SOURCE.sha256, home)
    assert str(sources_folder(home)) in raised.value.hint
    path = keep_source(SOURCE, home)
    assert kept_source(SOURCE.sha256, home).image.tobytes() == SOURCE.image.tobytes()
    picture(seed=1).save(path)
    with pytest.raises(RecipeError, match="not the same any more"):
        kept_source(SOURCE.sha256, home)
    path.write_bytes(b"no picture")
    with pytest.raises(RecipeError, match="damaged"):
        kept_source(SOURCE.sha256, home)
    for name in ("", "../" + SOURCE.sha256, "x" * 64):
        with pytest.raises(RecipeError, match="no way that can be found"):
            kept_source(name, home)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"strength": -0.1}, "denoising is -0.1"),
        ({"strength": 1.1}, "denoising is 1.1"),
        ({"strength": float("nan")}, "denoising is nan"),
        ({"width_px": 50}, "width of 50 px"),
        ({"width_px": 2400, "height_px": 2400, "second_pass": SecondPass(2.0)}, "4800x4800 px is more"),
    ],
)
def test_bad_requests_are_refused(changes: dict, said: str, bases: dict[str, Base]) -> None:
    with pytest.raises(RecipeError, match=said):
        generate(bases["starter"], request(**changes))


@pytest.mark.parametrize(
    "numbers", [(1.0, 0.5), (4.1, 0.5), (float("nan"), 0.5), (2, 0), (2, 1.1), (2, 0.5, -1), (2, 0.5, 1001)]
)
def test_second_passes_that_can_not_be_done_are_refused(numbers: tuple) -> None:
    with pytest.raises(RecipeError, match=r"second pass|number of steps"):
        SecondPass(*numbers)


@pytest.mark.parametrize("odd", [TypeError, KeyError, RuntimeError, OverflowError, struct.error])
def test_a_decoder_may_raise_anything(
    odd: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path)
    path = source_path("0" * 64, home)
    path.parent.mkdir(parents=True)
    picture().save(path)

    def fail(self: Image.Image) -> None:
        raise odd("of damaged bytes")

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load_prepare", fail)
    with pytest.raises(RecipeError, match="damaged"):
        kept_source("0" * 64, home)
    assert thumbnail_of(path) is None and public_thumbnail(path.read_bytes()) is None
