"""What is no base is refused by its name, before anything of it is loaded."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from styles.bases.base_settings import BaseSettings
from styles.bases.files.inspection import inspect_base
from styles.errors import BaseError
from tests.styles.original_layout import save_original_layout
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
    ("scheduler", "says"),
    [
        ({"_class_name": "EDMDPMSolverMultistepScheduler", "sigma_data": 0.5}, r"\(EDM, as Playground 2\.5"),
        ({"sigma_data": 1.0}, r"\(EDM, as Playground 2\.5"),
        ({"_class_name": "FlowMatchEulerDiscreteScheduler"}, r"\(flow matching\)"),
    ],
)
def test_folders_with_another_kind_of_noise_schedule_are_named(
    scheduler: dict[str, Any], says: str, tiny_sdxl: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_sdxl, tmp_path / "base", copy_function=os.link)
    (folder / "scheduler" / "scheduler_config.json").unlink()
    changed(folder, "scheduler/scheduler_config.json", **scheduler)
    with pytest.raises(BaseError, match=says):
        inspect_base(folder)


@pytest.mark.parametrize(
    ("part", "says"),
    [
        ("text_encoder_2", r"text_encoder_2/config\.json is missing"),
        ("tokenizer_2", "has no tokenizer_2"),
        ("text_encoder", r"text_encoder/config\.json is missing"),
        ("tokenizer", "has no tokenizer"),
    ],
)
def test_a_folder_without_a_text_encoder_or_tokenizer_is_told(
    part: str, says: str, tiny_sdxl: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_sdxl, tmp_path / "base", copy_function=os.link)
    shutil.rmtree(folder / part)
    with pytest.raises(BaseError, match=says):
        inspect_base(folder)


def single_file(folder: Path, path: Path, *without: str, **more: tuple[int, ...]) -> Path:
    """Write a base as one file, without the tensors that begin so, and with others of such shapes."""
    save_original_layout(folder, path)
    tensors = {name: value for name, value in load_file(path).items() if not name.startswith(without or "-")}
    save_file(tensors | {name: torch.zeros(shape) for name, shape in more.items()}, path)
    return path


@pytest.mark.parametrize(
    ("without", "says"),
    [
        (("conditioner.embedders.1.",), r"lacks parts of a base: second text encoder\."),
        (("conditioner.embedders.0.",), r"lacks parts of a base: text encoder\."),
        (("first_stage_model.",), r"lacks parts of a base: VAE\."),
        (("first_stage_model.", "conditioner."), r"base: VAE, text encoder, second text encoder\."),
    ],
)
def test_what_a_single_file_lacks_is_told(
    without: tuple[str, ...], says: str, tiny_sdxl: Path, tmp_path: Path
) -> None:
    with pytest.raises(BaseError, match=says):
        inspect_base(single_file(tiny_sdxl, tmp_path / "xl.safetensors", *without))


@pytest.mark.parametrize("marks", [("edm_mean", "edm_std"), ("edm_vpred.sigma_max", "edm_vpred.sigma_min")])
def test_single_files_with_another_kind_of_noise_schedule_are_named(
    marks: tuple[str, ...], tiny_sdxl: Path, tmp_path: Path
) -> None:
    file = single_file(tiny_sdxl, tmp_path / "xl.safetensors", **dict.fromkeys(marks, (4,)))
    with pytest.raises(
        BaseError, match=r"another kind of noise schedule \(EDM, as Playground 2\.5 and CosXL"
    ):
        inspect_base(file)


def test_single_files_for_inpainting_are_named(tiny_sdxl: Path, tmp_path: Path) -> None:
    first = "model.diffusion_model.input_blocks.0.0.weight"
    file = single_file(tiny_sdxl, tmp_path / "xl.safetensors", first, **{first: (32, 9, 3, 3)})
    with pytest.raises(BaseError, match=r"9 channels for 4 of the VAE \(inpainting\)"):
        inspect_base(file)


@pytest.mark.parametrize(
    ("marks", "metadata", "yaml", "predicts", "zero_snr", "taken"),
    [
        (("v_pred", "ztsnr"), {}, "", "v_prediction", True, False),
        (("v_pred",), {}, "", "v_prediction", False, False),
        ((), {"modelspec.prediction_type": "v"}, "", "v_prediction", False, False),
        ((), {"modelspec.prediction_type": "epsilon"}, "", "epsilon", False, False),
        ((), {}, "model:\n  params:\n    parameterization: 'v'\n", "v_prediction", False, False),
        (
            (),
            {},
            "model:\n  params:\n    parameterization: v\n    zero_terminal_snr: True\n",
            "v_prediction",
            True,
            False,
        ),
        ((), {}, "", "epsilon", False, True),
    ],
)
def test_what_a_single_sdxl_predicts_is_read_from_its_marks(
    marks: tuple[str, ...],
    metadata: dict[str, str],
    yaml: str,
    predicts: str,
    zero_snr: bool,
    taken: bool,
    tiny_sdxl: Path,
    tmp_path: Path,
) -> None:
    file = single_file(tiny_sdxl, tmp_path / "xl.safetensors", **dict.fromkeys(marks, ()))
    save_file(load_file(file), file, metadata)
    if yaml:
        file.with_suffix(".yaml").write_text(yaml)
    facts = inspect_base(file)
    assert (facts.family, facts.prediction_type, facts.zero_terminal_snr) == ("sdxl", predicts, zero_snr)
    assert facts.native_size_px == 1024
    assert any("taken for epsilon" in note for note in facts.notes) == taken


def test_what_no_file_says_is_taken_from_the_artist_and_never_against_proof(
    tiny_sdxl: Path, tmp_path: Path
) -> None:
    silent = single_file(tiny_sdxl, tmp_path / "silent.safetensors")
    said = inspect_base(silent, BaseSettings("v_prediction", True))
    assert (said.prediction_type, said.zero_terminal_snr) == ("v_prediction", True)
    assert said.scheduler_config["rescale_betas_zero_snr"] is True
    assert any("You said" in note for note in said.notes)
    assert inspect_base(silent, BaseSettings("v_prediction")).zero_terminal_snr is False
    with pytest.raises(BaseError, match="predicts epsilon, with which zero terminal SNR can't be"):
        inspect_base(silent, BaseSettings(zero_terminal_snr=True))
    marked = single_file(tiny_sdxl, tmp_path / "marked.safetensors", v_pred=(), ztsnr=())
    for against, says in (
        (BaseSettings("epsilon"), "predicts v_prediction, not"),
        (BaseSettings(None, False), "says itself"),
    ):
        with pytest.raises(BaseError, match=says):
            inspect_base(marked, against)
    with pytest.raises(BaseError, match="says itself"):
        inspect_base(tiny_sdxl, BaseSettings("epsilon", True))


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
        ("model.diffusion_model.joint_blocks.0.x.weight", (8, 8), "it is Stable Diffusion 3"),
        ("control_model.input_hint_block.0.weight", (8, 8), "it is a ControlNet"),
        ("lora_unet_x.lora_down.weight", (8, 8), "is a style, not a base"),
        ("something.weight", (8, 8), "no Stable Diffusion UNet in the original layout"),
    ],
)
def test_files_of_other_models_are_named(key: str, shape: tuple[int, ...], says: str, tmp_path: Path) -> None:
    save_file({key: torch.zeros(shape)}, tmp_path / "model.safetensors")
    with pytest.raises(BaseError, match=says):
        inspect_base(tmp_path / "model.safetensors")
