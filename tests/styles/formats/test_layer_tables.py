"""The sizes that we say each family has are those of the real networks."""

from __future__ import annotations

import pytest
import torch

from styles.families import FAMILIES
from styles.formats.layer_tables import (
    LayerSize,
    families_with,
    is_layer,
    kernel_of,
    layer_size,
)
from tests.styles.families import layers


def real_sizes(family: str) -> dict[tuple[str, str], LayerSize]:
    found = {}
    for name, module in layers(family).items():
        if isinstance(module, torch.nn.Conv2d):
            found[name] = LayerSize(module.in_channels, module.out_channels, module.kernel_size[0])
        else:
            found[name] = LayerSize(module.in_features, module.out_features)
    return found


@pytest.fixture(scope="module")
def sizes() -> dict[str, dict[tuple[str, str], LayerSize]]:
    return {family: real_sizes(family) for family in FAMILIES}


def test_every_layer_has_its_size_and_no_family_has_another_ones(sizes: dict) -> None:
    every = {name for found in sizes.values() for name in found}
    assert len(sizes["sd1"]) > 300 and len(sizes["sdxl"]) > 900
    for family, found in sizes.items():
        for network, path in every:
            assert is_layer(network, path)
            assert layer_size(FAMILIES[family], network, path) == found.get((network, path)), (
                family,
                network,
                path,
            )
        for (network, path), size in found.items():
            if network == "unet":
                assert kernel_of(path) == size.kernel


def families_of(found: dict, mark: str, told: bool = True) -> set[str]:
    return families_with(((n, p, size) for (n, p), size in found.items() if mark in f"{n}.{p}"), told)


def test_what_layers_prove(sizes: dict) -> None:
    for family, found in sizes.items():
        assert families_of(found, "") == {family}
        assert families_of(found, "attn2") == {family}
    assert families_of(sizes["sd1"], "attn1") == families_of(sizes["sd2"], "attn1") == {"sd1", "sd2"}
    assert families_of(sizes["sdxl"], "attn1") == {"sdxl"} == families_of(sizes["sdxl"], "resnets")
    assert families_of(sizes["sd1"], "resnets") == {"sd1", "sd2"}
    assert families_of(sizes["starter"], "conv") == {"starter"}
    assert families_of(sizes["sd1"], "te.") == {"sd1"} and families_of(sizes["sd1"], "te.", False) == {
        "sd1",
        "sdxl",
    }
    assert families_of(sizes["sd2"], "te.") == {"sd2"} and families_of(sizes["sdxl"], "te2.") == {"sdxl"}
    assert families_of(sizes["sdxl"], "conv_in") == {"sd1", "sd2", "sdxl"}
    assert families_of({("unet", "conv_in"): LayerSize(9, 320, 3)}, "") == set()


def test_no_other_name_is_a_layer() -> None:
    for path in (
        "",
        "down_blocks",
        "to_q",
        "conv",
        "down_blocks.0",
        "down_blocks.0.attentions.0.to_q",
        "mid_block.conv",
    ):
        assert not is_layer("unet", path) and not is_layer("te", path)
    assert not is_layer("unet", "text_projection") and not is_layer("te", "conv_in")
    for path in (
        "down_blocks.9.resnets.0.conv1",
        "mid_block.0.resnets.0.conv1",
        "mid_block.resnets.2.conv1",
        "down_blocks.resnets.0.conv1",
        "down_blocks.0.upsamplers.0.conv",
        "mid_block.downsamplers.0.conv",
        "mid_block.attentions.1.proj_in",
    ):
        assert all(layer_size(FAMILIES[family], "unet", path) is None for family in FAMILIES), path
