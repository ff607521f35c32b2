"""Scale, shift and precision of a VAE, and that nothing else touches them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from styles.bases.files.part_configs import has_scale
from styles.bases.vae import decode, encode, in_fp32

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def vae(tiny_base: Path) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL.from_pretrained(tiny_base, subfolder="vae").eval()


def test_latents_are_shifted_and_scaled_on_the_way_in_and_back_on_the_way_out(vae: Any) -> None:
    pixels = torch.rand(2, 3, 16, 16) * 2 - 1
    with torch.no_grad():
        raw = vae.encode(pixels).latent_dist
        painted = vae.decode(raw.mean).sample
    vae.register_to_config(scaling_factor=0.3611, shift_factor=0.1159)  # as the VAE of Flux has them
    mean, std = encode(vae, pixels)
    assert torch.equal(mean, (raw.mean - 0.1159) * 0.3611) and torch.equal(std, raw.std * 0.3611)
    assert torch.allclose(decode(vae, mean), painted, atol=1e-5)


def test_the_latents_own_mean_and_deviation_are_honoured_as_diffusers_does(tiny_sdxl: Path) -> None:
    from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline

    pipeline = StableDiffusionXLPipeline.from_pretrained(tiny_sdxl, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.watermark = None
    mean, std = [-1.6574, 1.886, -1.383, 2.5155], [8.4927, 5.9022, 6.5498, 5.2299]  # Playground 2.5's
    pipeline.vae.register_to_config(latents_mean=mean, latents_std=std, scaling_factor=0.5)
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    said = {"prompt": "a cat", "width": 32, "height": 32, "num_inference_steps": 1, "latents": latents}
    ours = decode(pipeline.vae, pipeline(**said, output_type="latent").images)
    theirs = pipeline(**said, output_type="pt").images
    torch.testing.assert_close((ours / 2 + 0.5).clamp(0, 1), theirs, atol=1e-5, rtol=0)

    from_picture = StableDiffusionXLImg2ImgPipeline.from_pipe(pipeline)
    pixels = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    drawn = from_picture.prepare_latents(
        pixels,
        None,
        1,
        1,
        torch.float32,
        torch.device("cpu"),
        torch.Generator().manual_seed(2),
        add_noise=False,
    )
    mean_of_ours, std_of_ours = encode(pipeline.vae, pixels)
    noise = torch.randn(drawn.shape, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(mean_of_ours + std_of_ours * noise, drawn, atol=1e-5, rtol=1e-5)


def test_half_precision_that_overflows_is_done_again_in_fp32(vae: Any) -> None:
    with torch.no_grad():
        vae.decoder.conv_out.weight.mul_(1e5)
        vae.encoder.conv_in.weight.mul_(1e5)
    latents, pixels = torch.randn(1, 4, 4, 4), torch.rand(1, 3, 16, 16)
    half = vae.half()
    weights = {name: weight.clone() for name, weight in half.state_dict().items()}
    with in_fp32(half) as whole:
        whole_result = decode(whole, latents), encode(whole, pixels)[0]
    assert torch.equal(decode(half, latents), whole_result[0])
    assert torch.equal(encode(half, pixels)[0], whole_result[1])
    assert all(torch.equal(weight, weights[name]) for name, weight in half.state_dict().items())


@contextmanager
def room_for(vae: Any, latents: int) -> Iterator[list[int]]:
    """Let the VAE run out of memory on more than so many latents on a side; lends the pictures of each of its calls."""
    sizes: list[int] = []

    def check(side: int) -> Any:
        def look(module: Any, inputs: Any) -> None:
            sizes.append(len(inputs[0]))
            if max(inputs[0].shape[-2:]) > side:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

        return look

    hooks = [
        vae.decoder.register_forward_pre_hook(check(latents)),
        vae.encoder.register_forward_pre_hook(check(latents * 4)),
    ]
    try:
        yield sizes
    finally:
        for hook in hooks:
            hook.remove()


def test_what_memory_has_no_room_for_is_done_in_the_tiles_of_diffusers(vae: Any) -> None:
    latents = torch.randn(2, 4, 20, 28, generator=torch.Generator().manual_seed(0))
    pixels = torch.rand(2, 3, 80, 112, generator=torch.Generator().manual_seed(1)) * 2 - 1
    notes: list[Any] = []
    whole = decode(vae, latents, notes)
    assert notes == []
    vae.enable_tiling()
    tiled, tiled_mean = decode(vae, latents), encode(vae, pixels)[0]
    vae.disable_tiling()
    assert not torch.allclose(tiled, whole, atol=1e-3)
    with room_for(vae, 16) as sizes:
        ours = decode(vae, latents, notes)
        mean, _ = encode(vae, pixels, notes)
    assert sizes[:3] == [2, 1, 1], "together, then alone, then in tiles"
    torch.testing.assert_close(ours, tiled, atol=1e-5, rtol=0)
    torch.testing.assert_close(mean, tiled_mean, atol=1e-5, rtol=0)
    assert len(notes) == 1 and "in tiles" in notes[0]
    assert not vae.use_tiling
    assert torch.equal(decode(vae, latents), whole), "the next one is whole again"
    with room_for(vae, 15), pytest.raises(torch.OutOfMemoryError):
        decode(vae, latents)
    assert not vae.use_tiling


def test_pictures_that_have_no_room_together_are_done_alone_and_whole(vae: Any) -> None:
    latents = torch.randn(3, 4, 20, 20, generator=torch.Generator().manual_seed(0))
    alone = torch.cat([decode(vae, one) for one in latents.split(1)])
    notes: list[Any] = []

    def check(module: Any, inputs: Any) -> None:
        if len(inputs[0]) > 1:
            raise torch.OutOfMemoryError("out of memory")

    hook = vae.decoder.register_forward_pre_hook(check)
    assert torch.equal(decode(vae, latents, notes), alone) and notes == []
    hook.remove()


def test_a_scale_that_is_no_number_is_told(vae: Any) -> None:
    assert has_scale(vae.config)
    fits = {"scaling_factor": 1.0, "latent_channels": 4, "latents_mean": [0.0] * 4, "latents_std": [1.0] * 4}
    assert has_scale(fits)
    for odd in (
        {"scaling_factor": "large", "latents_mean": None},
        {"scaling_factor": 0},
        {"shift_factor": float("nan"), "latents_std": None},
        {"latents_std": [1.0, 1.0, 0.0, 1.0]},
        {"latents_std": [1.0] * 3},
        {"latents_mean": [0.0, float("inf"), 0.0, 0.0]},
        {"latents_mean": "none"},
        {"latents_mean": {"a": 1}},
    ):
        assert not has_scale(fits | odd), odd


def test_nothing_else_calls_a_vae_or_a_unet() -> None:
    """Scale, shift, guidance and rescale would drift apart otherwise. `training/starter` makes both and is left out."""
    call = re.compile(r"vae\.(?:encode|decode)\(|(?<!def )\bunet\(\s*\w|\bscaling_factor\b(?!\"\])")
    calling = {
        file.relative_to(ROOT).as_posix()
        for folder in ("styles", "training", "app")
        for file in (ROOT / folder).rglob("*.py")
        if "starter" not in file.parts and call.search(file.read_text(encoding="utf-8"))
    }
    assert calling == {f"styles/bases/{name}.py" for name in ("vae", "prediction", "files/part_configs")}
