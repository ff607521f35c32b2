"""Distilled bases with fewer blocks: twins of random weights with the real structure, and small widths."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from styles.bases.base import open_base
from styles.errors import WrongFamilyError
from styles.generation.request import CreateRequest
from styles.mixing.layer_matching import cross_attention_layers, fitting
from styles.storage.home import Home
from tests.styles.distilled import DISTILLED
from tests.styles.original_layout import copy_configs, save_original_layout
from tests.styles.painting import loaded_pipeline, paint, pixels, style_for
from tests.tiny import write_vocabulary


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("home")).create()


@pytest.mark.parametrize("kind", DISTILLED)
def test_one_opens_as_what_it_is_and_paints_as_the_pipeline(
    kind: str, distilled: dict[str, Path], home: Home
) -> None:
    family, structure, _ = DISTILLED[kind]
    base = open_base(distilled[kind], home, device="cpu")
    assert base.family == family and (base.unet.mid_block is None) == (
        structure.get("mid_block_type", "") is None
    )
    style = style_for(base, 3)
    request = CreateRequest(
        "a red cat", "a blue house", seeds=(5,), steps=2, guidance=4.0, width_px=64, height_px=64
    )
    ours = paint(base, request)[0]
    pipeline = loaded_pipeline(base)
    theirs = pipeline(
        "a red cat", negative_prompt="a blue house", num_inference_steps=2, guidance_scale=4.0, width=64,
        height=64, generator=torch.Generator().manual_seed(5),
    ).images[0]  # fmt: skip
    assert abs(pixels(ours.image) - pixels(theirs)).max() <= 1
    assert abs(pixels(paint(base, request, (style,))[0].image) - pixels(theirs)).max() > 1


@pytest.mark.parametrize("kind", DISTILLED)
def test_from_a_single_file_it_is_the_same(
    kind: str, distilled: dict[str, Path], home: Home, tmp_path: Path
) -> None:
    """With its family's configs beside, as those that Atelier brings along for the real ones."""
    save_original_layout(distilled[kind], tmp_path / "one.safetensors", open_clip=False)
    home_with_words = Home(tmp_path / "home").create()
    write_vocabulary(home_with_words.bases / "clip-tokenizer")
    base = open_base(
        tmp_path / "one.safetensors", home_with_words, device="cpu",
        config_folder=copy_configs(distilled[DISTILLED[kind][0]], tmp_path / "configs"),
    )  # fmt: skip
    folder = open_base(distilled[kind], home, device="cpu")
    weights, others = base.unet.state_dict(), folder.unet.state_dict()
    assert weights.keys() == others.keys()
    assert all(torch.equal(weights[name], value) for name, value in others.items())
    assert base.fingerprint == folder.fingerprint


@pytest.mark.parametrize(
    ("made_on", "open_one", "says"),
    [
        ("bk-base", "bk-base", ""),
        ("bk-base", "sd1", "10 layers of cross-attention, “made on”; the open base “sd1” has 16"),
        ("sd1", "bk-base", "16 layers of cross-attention, “made on”; the open base “bk-base” has 10"),
        ("bk-tiny", "bk-small", r"changes 8 of 18 layers that the open base “bk-small” doesn't have"),
        ("ssd-1b", "sdxl", "“sdxl” has 70, and its blocks stand for others"),
        ("vega", "vega", ""),
        ("vega", "ssd-1b", "is distilled: open a base with the same layers"),
    ],
)
def test_a_style_fits_bases_of_the_same_layers(
    made_on: str, open_one: str, says: str, distilled: dict[str, Path], home: Home
) -> None:
    one, other = (open_base(distilled[kind], home, device="cpu") for kind in (made_on, open_one))
    style = style_for(one, 1)
    training = {"base_layers": cross_attention_layers(one.unet)}
    style = replace(style, card=replace(style.card, training=training, base_name="made on"))
    if not says:
        assert len(fitting(other, style)) == len(style.layers)
        return
    with pytest.raises(WrongFamilyError, match=says):
        fitting(other, style)


def test_a_style_that_says_nothing_of_its_base_is_refused_for_what_is_not_there(
    distilled: dict[str, Path], home: Home
) -> None:
    whole, distilled = (open_base(distilled[kind], home, device="cpu") for kind in ("sd1", "bk-small"))
    with pytest.raises(
        WrongFamilyError, match=r"changes \d+ of 32 layers .*A distilled base has fewer layers"
    ):
        fitting(distilled, style_for(whole, 1))
