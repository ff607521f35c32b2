"""Checkpoints and styles made for few steps: told by their names, opened as such, and what they are painted with."""

import json
import shutil
from pathlib import Path

import pytest
from diffusers import UNet2DConditionModel

from styles.bases.base import open_base
from styles.bases.few_steps import FEW_STEPS, few_steps_of, few_steps_of_style
from styles.bases.files.inspection import inspect_base
from styles.generation.request import CreateRequest, fill_in
from styles.generation.samplers import SAMPLERS
from styles.generation.settings import PassSettings, PictureSettings
from styles.storage.home import Home
from tests.styles.painting import paint


@pytest.mark.parametrize(
    ("name", "way", "steps"),
    [
        ("sdxl_lightning_4step_unet.safetensors", "Lightning", 4),
        ("ByteDance--SDXL-Lightning", "Lightning", 4),
        ("dreamshaperXL_lightningDPMSDE", "Lightning", 4),
        ("sdxl_lightning_8step_lora", "Lightning", 8),
        ("LCM_Dreamshaper_v7", "LCM", 6),
        ("lcm-lora-sdv1-5", "LCM", 6),
        ("LCMScheduler", "LCM", 6),
        ("Hyper-SDXL-8steps-lora", "Hyper-SD", 8),
        ("Hyper-SDXL-12steps-CFG-lora", "Hyper-SD with guidance", 12),
        ("realisticVisionV60B1_v51HyperVAE", "Hyper-SD", 8),
        ("dmd2_sdxl_4step_lora_fp16", "DMD2", 4),
        ("sd_xl_turbo_1.0_fp16", "Turbo", 4),
        ("Hyper-SD15-1step-lora", "Hyper-SD", 8),
        ("sdxl_lightning_1000steps", "Lightning", 4),
        ("hyperrealism", "", 0),
        ("HyperRealistic_v3", "", 0),
        ("v1-5-pruned-emaonly", "", 0),
        ("malcm", "", 0),
        ("PNDMScheduler", "", 0),
        ("", "", 0),
    ],
)
def test_a_checkpoint_is_told_by_its_name(name: str, way: str, steps: int) -> None:
    told = few_steps_of(("", name))
    assert (told.name, told.steps) == (way, steps) if way else told is None
    if told:
        assert told.sampler in SAMPLERS and told.steps <= SAMPLERS[told.sampler].most_steps
        assert told.schedule is None or told.schedule in SAMPLERS[told.sampler].schedules
        assert 1 <= told.guidance <= 2 or "guidance" in told.name
        assert name in told.about(name) and told.sampler in told.about(name)


def test_a_style_must_be_named_after_a_model_as_well() -> None:
    for name in ("lightning in the sky", "Turbo cars", "LCM", ""):
        assert few_steps_of_style((name,)) is None
    for name in ("lcm-lora-sdv1-5", "SDXL Lightning", "turbo 4 steps", "Hyper-SD15-8steps-lora"):
        assert few_steps_of_style(("a name", name)) in {few_steps_of((name,))} - {None}


def test_a_base_is_opened_as_what_it_is(tiny_sd1: Path, tmp_path: Path) -> None:
    home = Home(tmp_path / "home").create()
    plain = open_base(tiny_sd1, home, device="cpu")
    assert plain.few_steps is None and plain.default_guidance == (7.5, 0.0)
    # By the folder's name, and by its scheduler's.
    folders = [shutil.copytree(tiny_sd1, tmp_path / name) for name in ("sd-turbo", "plain")]
    config = folders[1] / "scheduler" / "scheduler_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"_class_name": "LCMScheduler"}))
    for folder, way in zip(folders, ("Turbo", "LCM"), strict=True):
        base = open_base(folder, home, device="cpu")
        assert base.few_steps is not None and base.few_steps == inspect_base(folder).few_steps
        assert base.few_steps.name == way and base.default_guidance == (base.few_steps.guidance, 0.0)
        order = fill_in(base, CreateRequest("a cat"), ())
        assert order.guidance == base.few_steps.guidance


def test_a_unet_that_embeds_its_guidance_is_said_to(tiny_sd1: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_sd1, tmp_path / "whole")
    assert not inspect_base(folder).notes
    config = json.loads((folder / "unet" / "config.json").read_text()) | {"time_cond_proj_dim": 32}
    network = UNet2DConditionModel.from_config(config)
    network.save_pretrained(folder / "unet")
    assert "told the guidance as a number" in inspect_base(folder).notes[0]
    base = open_base(folder, Home(tmp_path / "home").create(), device="cpu")
    assert paint(base, CreateRequest("a cat", steps=1, sampler="lcm", width_px=32, height_px=32))


def test_only_what_was_left_open_is_filled_in() -> None:
    for way in FEW_STEPS:
        suited = PictureSettings(seed=3).suited_to(way)
        assert (suited.sampler, suited.schedule, suited.steps) == (way.sampler, way.schedule, way.steps)
        assert suited.guidance == way.guidance and suited.seed == 3
        assert CreateRequest.of("a cat", suited, PassSettings()).sampler == way.sampler
        chosen = PictureSettings(sampler="ddim", steps=20, guidance=0.0)
        assert chosen.suited_to(way) == chosen
        karras = PictureSettings(schedule="karras").suited_to(way)
        assert (karras.schedule, karras.sampler) == ("karras", way.sampler)
