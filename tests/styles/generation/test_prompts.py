"""Prompts, and the small pictures of latents."""

from pathlib import Path

import pytest
import torch
from diffusers.configuration_utils import FrozenDict

from styles.bases.base import Base, open_base
from styles.bases.latent_preview import SD_FACTORS, LatentPreview, fit_preview, known_preview
from styles.errors import PromptError
from styles.generation.prompts import cut_words
from styles.storage.home import Home
from tests.styles.painting import prompt_states


@pytest.fixture(scope="module")
def base(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Base:
    return open_base(tiny_base, Home(tmp_path_factory.mktemp("home")), device="cpu")


def test_each_text_is_encoded_by_itself(base: Base) -> None:
    states = prompt_states(base, ["a red cat", "", "a red cat"])
    assert states.shape == (3, 40, 256) and not states.requires_grad
    assert torch.equal(states[0], states[2]) and not torch.equal(states[0], states[1])
    torch.testing.assert_close(prompt_states(base, [""])[0], states[1])


def test_what_the_limit_cuts_is_given_in_the_artists_own_words(base: Base) -> None:
    assert cut_words(base, "a red cat") == ""
    fitting = " ".join(["red"] * 38)
    assert cut_words(base, fitting) == ""
    assert cut_words(base, fitting + " Blue,  Fish") == "Blue,  Fish"
    torch.testing.assert_close(
        prompt_states(base, [fitting]), prompt_states(base, [fitting + " Blue,  Fish"])
    )
    assert cut_words(base, "日本" * 40) != ""
    with pytest.raises(PromptError, match="characters"):
        prompt_states(base, ["x" * 100_000])


def test_the_map_is_found_where_decoding_is_linear() -> None:
    class Linear(torch.nn.Module):
        """A VAE whose decoder is a linear map and an enlargement by 4."""

        config = FrozenDict({"latent_channels": 4, "scaling_factor": 0.5})
        use_tiling, tile_latent_min_size = False, 64

        def __init__(self) -> None:
            super().__init__()
            self.factors = torch.nn.Parameter(
                torch.randn(4, 3, generator=torch.Generator().manual_seed(1)) * 0.05
            )

        def decode(self, latents: torch.Tensor) -> object:
            small = torch.einsum("bchw,cd->bdhw", latents, self.factors) + 0.1
            return type("Sample", (), {"sample": torch.nn.functional.interpolate(small, scale_factor=4.0)})

    vae = Linear()
    found = fit_preview(vae, 4)
    torch.testing.assert_close(found.factors, vae.factors.detach() / 0.5, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.bias, torch.full((3,), 0.1), atol=1e-4, rtol=1e-4)
    assert torch.equal(LatentPreview.from_json(found.to_json()).factors, found.factors)
    pixels = found.pixels(torch.full((2, 4, 5, 6), float("nan")))
    assert pixels.shape == (2, 5, 6, 3) and pixels.dtype == torch.uint8


def test_the_known_map_is_only_for_its_own_latents(base: Base) -> None:
    published = {"latent_channels": 4, "scaling_factor": 0.18215, "block_out_channels": [128, 256, 512, 512]}
    known = known_preview(published)
    assert known is not None and torch.equal(known.factors, torch.tensor(SD_FACTORS))
    assert known_preview(published | {"latents_mean": [0.0] * 4, "latents_std": [1.0] * 4}) is None
    assert known_preview(published | {"scaling_factor": 0.5}) is None
    # As diffusers' documentation shows the colours of Stable Diffusion XL (api/pipelines, "Display intermediate images").
    xl = known_preview(published | {"scaling_factor": 0.13025})
    assert xl is not None
    latents = torch.tensor([0.5, -0.25, 1.0, 0.75]).view(1, 4, 1, 1)
    red = 60 * 0.5 - 60 * -0.25 + 25 * 1.0 - 70 * 0.75 + 150
    green = 60 * 0.5 - 5 * -0.25 + 15 * 1.0 - 50 * 0.75 + 140
    blue = 60 * 0.5 + 10 * -0.25 - 5 * 1.0 - 35 * 0.75 + 130
    assert (xl.pixels(latents).flatten().float() - torch.tensor([red, green, blue])).abs().max() <= 1
    assert known_preview(base.vae.config) is None
