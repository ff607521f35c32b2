"""What is no base is refused by its name, before anything of it is loaded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from styles.bases.inspection import inspect_base
from styles.errors import BaseError
from tests.tiny import tiny_base_folder

KEY = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"


def changed(folder: Path, file: str, **values: Any) -> None:
    path = folder / file
    config = json.loads(path.read_text()) if path.exists() else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(config | values))


def test_a_width_that_no_family_has_is_a_family_of_its_own(tmp_path: Path) -> None:
    facts = inspect_base(tiny_base_folder(tmp_path / "own", "sd1", words=96, channels=(48, 64)))
    assert facts.family == "own-48-64x96-7"
    changed(facts.path, "unet/config.json", cross_attention_dim=128)
    with pytest.raises(BaseError, match="width of 128, which the weights"):
        inspect_base(facts.path)


@pytest.mark.parametrize(
    ("pipeline", "unet", "says"),
    [
        ("StableDiffusionInpaintPipeline", {"in_channels": 9}, r"9 channels for 4 of the VAE \(inpainting\)"),
        ("StableDiffusionInstructPix2PixPipeline", {"in_channels": 8}, "editing by instructions"),
        ("StableDiffusionUpscalePipeline", {"in_channels": 7}, "enlarging"),
        ("StableDiffusionDepth2ImgPipeline", {"in_channels": 5}, "depth"),
        (
            "StableDiffusionXLImg2ImgPipeline",
            {"cross_attention_dim": 1280},
            "the refiner of Stable Diffusion XL",
        ),
        (
            "TextToVideoSDPipeline",
            {"_class_name": "UNet3DConditionModel"},
            "is a TextToVideoSDPipeline, another",
        ),
    ],
)
def test_folders_of_other_tasks_are_named(
    pipeline: str, unet: dict[str, Any], says: str, tiny_sd1: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_sd1, tmp_path / "base")
    changed(folder, "model_index.json", _class_name=pipeline)
    changed(folder, "unet/config.json", **unet)
    with pytest.raises(BaseError, match=says):
        inspect_base(folder)


def test_folders_of_other_architectures_and_of_parts_are_named(tmp_path: Path) -> None:
    changed(tmp_path / "flux", "model_index.json", _class_name="FluxPipeline")
    with pytest.raises(BaseError, match="is a FluxPipeline, another architecture than Stable Diffusion"):
        inspect_base(tmp_path / "flux")
    changed(tmp_path / "canny", "config.json", _class_name="ControlNetModel")
    with pytest.raises(BaseError, match="is a ControlNetModel alone, which is no base"):
        inspect_base(tmp_path / "canny")
    changed(tmp_path / "odd", "model_index.json", _class_name=["no name"])
    with pytest.raises(BaseError, match=r"unet/config\.json is missing"):
        inspect_base(tmp_path / "odd")


@pytest.mark.parametrize(
    ("key", "shape", "says"),
    [
        (KEY, (64, 1280), "the refiner of Stable Diffusion XL"),
        (KEY, (64, 96), "width of 96, which no known family has"),
        (
            "model.diffusion_model.double_blocks.0.img_attn.qkv.weight",
            (8, 8),
            "no Stable Diffusion UNet: it is FLUX",
        ),
        ("model.diffusion_model.joint_blocks.0.x.weight", (8, 8), "it is Stable Diffusion 3 or FLUX"),
        ("control_model.input_hint_block.0.weight", (8, 8), "it is a ControlNet"),
        ("lora_unet_x.lora_down.weight", (8, 8), "is a style, not a base"),
        ("something.weight", (8, 8), "no Stable Diffusion UNet in the original layout"),
    ],
)
def test_files_of_other_models_are_named(key: str, shape: tuple[int, ...], says: str, tmp_path: Path) -> None:
    save_file({key: torch.zeros(shape)}, tmp_path / "model.safetensors")
    with pytest.raises(BaseError, match=says):
        inspect_base(tmp_path / "model.safetensors")
