"""What a UNet takes in each way of keeping it, counted from headers, against the weights that are then in memory."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from styles.bases.base import open_base
from styles.bases.files.inspection import CONFIGS, inspect_base
from styles.bases.files.unet_size import unet_bytes
from styles.bases.working_memory import weight_bytes
from styles.quantization.quantization import OFFERED
from styles.storage.home import Home


@pytest.mark.parametrize("quantize", OFFERED)
def test_it_is_what_the_opened_weights_take(quantize: str, starter: Path, home_folder: Path) -> None:
    unet = open_base("starter", Home(home_folder), device="cpu", dtype="fp32", quantize=quantize).unet
    counted = unet_bytes(inspect_base(starter), quantize, 4)
    # What a layer has once, its table of levels and the numbers of its last block, is not counted.
    assert counted <= weight_bytes(unet) <= counted * 1.01


@pytest.mark.parametrize(("family", "plain_gb", "nf4_gb"), [("sd1", 1.72, 1.32), ("sdxl", 5.13, 1.82)])
def test_real_bases_take_what_is_said_of_them(
    family: str, plain_gb: float, nf4_gb: float, tmp_path: Path
) -> None:
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(
            json.loads((CONFIGS / family / "unet" / "config.json").read_text())
        )
    header = {
        name: {"dtype": "F16", "shape": list(one.shape), "data_offsets": [0, 0]}
        for name, one in unet.state_dict().items()
    }
    text = json.dumps(header).encode()
    file = tmp_path / "unet.safetensors"
    file.write_bytes(struct.pack("<Q", len(text)) + text)
    facts = SimpleNamespace(unet_files=(file,), unet_prefix="")
    for quantize, expected in (("none", plain_gb), ("nf4", nf4_gb)):
        assert unet_bytes(facts, quantize, 2) / 1e9 == pytest.approx(expected, abs=0.015)
