"""The blocks of a UNet, read from the names of a single file's tensors, against diffusers' own UNets."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from styles.bases.files.inspection import CONFIGS
from styles.bases.files.unet_structure import unet_config_of_file
from styles.errors import BaseError
from tests.styles.distilled import DISTILLED
from tests.styles.original_layout import unet_name


def unet_of(config: dict[str, Any]) -> Any:
    """A UNet without its weights."""
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        return UNet2DConditionModel.from_config(config)


def usual(family: str) -> dict[str, Any]:
    config = json.loads((CONFIGS / family / "unet" / "config.json").read_text(encoding="utf-8"))
    assert isinstance(config, dict)
    return config


def entries(unet: Any) -> dict[str, Any]:
    """What the header of a single file says of it."""
    tensors = unet.state_dict()
    return {
        unet_name(name, unet.config.layers_per_block, tensors): {"shape": list(tensor.shape)}
        for name, tensor in tensors.items()
    }


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_a_whole_one_is_built_as_its_family(family: str) -> None:
    assert unet_config_of_file(entries(unet_of(usual(family))), usual(family), "x") == usual(family)


@pytest.mark.parametrize("kind", DISTILLED)
def test_a_distilled_one_is_built_as_it_is(kind: str) -> None:
    family, structure, millions = DISTILLED[kind]
    unet = unet_of(usual(family) | structure)
    assert sum(one.numel() for one in unet.parameters()) == pytest.approx(millions * 1e6, rel=0.03)
    config = unet_config_of_file(entries(unet), usual(family), "x")
    assert config != usual(family)
    again = unet_of(config)
    assert {name: tensor.shape for name, tensor in again.state_dict().items()} == {
        name: tensor.shape for name, tensor in unet.state_dict().items()
    }
    heads = [[module.heads for module in one.modules() if hasattr(module, "heads")] for one in (unet, again)]
    assert heads[0] == heads[1]


def test_heads_stay_as_wide_in_fewer_levels() -> None:
    tiny = usual("sd2") | DISTILLED["bk-tiny"][1] | {"attention_head_dim": [5, 10, 20]}  # BK-SDM-v2-Tiny
    assert unet_config_of_file(entries(unet_of(tiny)), usual("sd2"), "x")["attention_head_dim"] == [5, 10, 20]


@pytest.mark.parametrize(
    "missing",
    [
        ("input_blocks.4.0.",),  # one resnet fewer in one level
        ("input_blocks.4.1.",),  # one attention fewer in one level
        ("middle_block.2.",),
        ("output_blocks.",),
        ("input_blocks.", "output_blocks."),
    ],
)
def test_what_diffusers_can_not_build_is_refused(missing: tuple[str, ...]) -> None:
    tensors = {
        name: entry for name, entry in entries(unet_of(usual("sdxl"))).items() if not name.startswith(missing)
    }
    with pytest.raises(BaseError, match=r"can't be opened from a single file.*folder in diffusers layout"):
        unet_config_of_file(tensors, usual("sdxl"), "x")
