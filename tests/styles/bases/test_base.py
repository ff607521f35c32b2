"""Opening bases: facts from the files themselves, and refusals that say why."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from styles.bases.base import Base, open_base
from styles.bases.base_settings import BaseSettings
from styles.bases.files.inspection import CONFIGS, inspect_base
from styles.bases.files.weight_files import fingerprint
from styles.bases.shelf import STARTER
from styles.devices.precision import pick_dtype
from styles.errors import BaseError, Cancelled, OfflineError, SettingsError
from styles.storage.home import Home
from tests.styles.original_layout import copy_configs, save_original_layout
from tests.tiny import tiny_base_folder, write_vocabulary


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").create()


@pytest.fixture
def home_with_words(home: Home) -> Home:
    """A home that has the vocabulary single files need."""
    write_vocabulary(home.bases / "clip-tokenizer")
    return home


def same_weights(one: Base, other: Base) -> bool:
    return all(
        torch.equal(a, b)
        for part in ("unet", "vae")
        for (_, a), (_, b) in zip(
            sorted(getattr(one, part).state_dict().items()),
            sorted(getattr(other, part).state_dict().items()),
            strict=True,
        )
    ) and all(
        torch.equal(a, b)
        for a, b in zip(
            one.text_encoders[0].state_dict().values(),
            other.text_encoders[0].state_dict().values(),
            strict=True,
        )
    )


@pytest.mark.parametrize("device", ["cuda:99", "mps", "toaster"])
def test_a_device_that_is_not_here_is_said(device: str, tiny_base: Path, home: Home) -> None:
    if device == "mps" and torch.backends.mps.is_available():
        pytest.skip("this machine has it")
    with pytest.raises(SettingsError, match=r"is no device|This machine has no") as caught:
        open_base(tiny_base, home, device=device)
    assert "auto" in caught.value.hint and "cpu" in caught.value.hint
    with pytest.raises(SettingsError, match="fp8"):
        open_base(tiny_base, home, device="cpu", dtype="fp8")


def test_a_folder_says_what_it_is(tiny_base: Path, tiny_sd1: Path, tiny_sd2: Path, home: Home) -> None:
    facts = [inspect_base(folder) for folder in (tiny_base, tiny_sd1, tiny_sd2)]
    assert [fact.family for fact in facts] == ["starter", "sd1", "sd2"]
    assert [fact.prediction_type for fact in facts] == ["v_prediction", "epsilon", "v_prediction"]
    assert [fact.zero_terminal_snr for fact in facts] == [True, False, False]
    base = open_base(tiny_base, home, device="cpu")
    assert (base.family, base.native_size_px, base.vae_factor, base.latent_channels) == ("starter", 64, 4, 4)
    assert base.dtype == torch.float32 and base.device.type == "cpu"
    assert not any(parameter.requires_grad for parameter in base.unet.parameters())
    assert not base.unet.training


def test_opening_is_stopped_between_the_parts(tiny_base: Path, home: Home) -> None:
    looks = 0

    def counting() -> bool:
        nonlocal looks
        looks += 1
        return False

    open_base(tiny_base, home, device="cpu", cancelled=counting)
    assert looks >= 6
    for last in range(1, looks + 1):
        heard = iter([False] * (last - 1))
        with pytest.raises(Cancelled):
            open_base(tiny_base, home, device="cpu", cancelled=lambda: next(heard, True))  # noqa: B023


def test_the_fingerprint_is_the_base_not_its_file(tmp_path: Path, tiny_sd1: Path) -> None:
    half = tiny_base_folder(tmp_path / "half", "sd1", dtype=torch.float16)
    other = tiny_base_folder(tmp_path / "other", "sd1", seed=1)
    save_original_layout(tiny_sd1, tmp_path / "one.safetensors")
    facts = [inspect_base(path) for path in (tiny_sd1, half, tmp_path / "one.safetensors", other)]
    prints = [fingerprint(fact.unet_files, fact.unet_prefix) for fact in facts]
    assert prints[0] == prints[1] == prints[2] != prints[3]
    changed = tmp_path / "changed.safetensors"
    tensors = load_file(tiny_sd1 / "unet" / "diffusion_pytorch_model.safetensors")
    name = next(name for name in tensors if name.endswith("attn2.to_k.weight"))
    tensors[name] += 0.01
    save_file(tensors, changed)
    assert fingerprint((changed,)) != prints[0]


@pytest.mark.parametrize(("family", "open_clip"), [("sd1", False), ("sd2", True)])
def test_a_single_file_is_the_same_base(
    family: str, open_clip: bool, tmp_path: Path, home_with_words: Home
) -> None:
    folder = tiny_base_folder(
        tmp_path / "folder", family, prediction_type="v_prediction" if open_clip else None
    )
    file = tmp_path / "single file.safetensors"
    save_original_layout(folder, file, open_clip=open_clip)
    configs = copy_configs(folder, tmp_path / "configs")
    answer = "v_prediction" if open_clip else None
    one = open_base(file, home_with_words, device="cpu", config_folder=configs, settings=BaseSettings(answer))
    other = open_base(folder, home_with_words, device="cpu")
    assert same_weights(one, other)
    assert (one.family, one.prediction_type, one.native_size_px) == (family, other.prediction_type, 64)
    assert one.fingerprint == other.fingerprint
    assert one.notes and not other.notes
    assert one.tokenizers[0].pad_token == ("!" if open_clip else "<|endoftext|>")
    assert one.tokenizers[0].model_max_length == 77
    assert one.tokenizers[0]("a red cat").input_ids == other.tokenizers[0]("a red cat").input_ids


def test_a_single_file_without_the_vocabulary_offline(tmp_path: Path, tiny_sd1: Path, home: Home) -> None:
    save_original_layout(tiny_sd1, tmp_path / "one.safetensors")
    with pytest.raises(OfflineError, match=r"vocabulary of CLIP.*vocab\.json"):
        open_base(tmp_path / "one.safetensors", home, config_folder=tiny_sd1)


def test_sd2_files_must_prove_or_be_told_what_they_predict(tmp_path: Path, tiny_sd2: Path) -> None:
    file = tmp_path / "two.safetensors"
    save_original_layout(tiny_sd2, file, open_clip=True)
    with pytest.raises(BaseError, match="doesn't say whether it predicts"):
        inspect_base(file)
    assert inspect_base(file, BaseSettings("v_prediction")).config_folder == CONFIGS / "sd2-v"
    assert inspect_base(file, BaseSettings("v_prediction")).native_size_px == 768
    assert inspect_base(file, BaseSettings("epsilon")).config_folder == CONFIGS / "sd2"
    assert inspect_base(file, BaseSettings("epsilon")).native_size_px == 512
    with pytest.raises(BaseError, match="no prediction type"):
        inspect_base(file, BaseSettings("guess"))

    file.with_suffix(".yaml").write_text('model:\n  params:\n    parameterization: "v"\n')
    assert inspect_base(file).prediction_type == "v_prediction"
    file.with_suffix(".yaml").unlink()

    save_original_layout(
        tiny_sd2, file, open_clip=True, metadata={"modelspec.architecture": "stable-diffusion-v2-768-v"}
    )
    assert inspect_base(file).prediction_type == "v_prediction"
    with pytest.raises(BaseError, match="predicts v_prediction, not epsilon"):
        inspect_base(file, BaseSettings("epsilon"))
    save_original_layout(tiny_sd2, file, open_clip=True, metadata={"modelspec.prediction_type": "epsilon"})
    assert inspect_base(file).prediction_type == "epsilon"

    tensors = load_file(file) | {"v_pred": torch.zeros(0), "ztsnr": torch.zeros(0)}
    save_file(tensors, file)
    facts = inspect_base(file)
    assert (facts.prediction_type, facts.zero_terminal_snr) == ("v_prediction", True)
    assert facts.scheduler_config["rescale_betas_zero_snr"] is True


@pytest.mark.parametrize("suffix", [".ckpt", ".pt", ".bin"])
def test_pickles_are_refused_with_the_reason(suffix: str, tmp_path: Path, home: Home) -> None:
    file = tmp_path / f"model{suffix}"
    file.write_bytes(b"\x80\x04N.")
    with pytest.raises(BaseError, match="run any code"):
        open_base(file, home)
    with pytest.raises(BaseError, match="run any code"):
        open_base(str(tmp_path / f"not there{suffix}"), home)


def test_a_folder_of_pickles_is_refused(tmp_path: Path, tiny_base: Path, home: Home) -> None:
    folder = shutil.copytree(tiny_base, tmp_path / "old")
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(BaseError, match="pickled weights"):
        open_base(folder, home)


def test_damaged_and_foreign_files_are_refused(tmp_path: Path, tiny_sd1: Path, home: Home) -> None:
    whole = tmp_path / "whole.safetensors"
    save_original_layout(tiny_sd1, whole)
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(whole.read_bytes()[:-1000])
    with pytest.raises(BaseError, match="cut off"):
        open_base(cut, home)
    for content in (
        b"",
        b"text",
        b"\xff" * 64,
        (10**6).to_bytes(8, "little") + b"{",
        (2).to_bytes(8, "little") + b"[]",
    ):
        cut.write_bytes(content)
        with pytest.raises(BaseError, match="can't be read as safetensors"):
            open_base(cut, home)
    save_file({"lora_unet_x.lora_down.weight": torch.zeros(1)}, cut)
    with pytest.raises(BaseError, match="is a style, not a base"):
        open_base(cut, home)
    save_file({"double_blocks.0.weight": torch.zeros(1)}, cut)
    with pytest.raises(BaseError, match="no Stable Diffusion UNet"):
        open_base(cut, home)
    unet_only = {name: value for name, value in load_file(whole).items() if name.startswith("model.")}
    save_file(unet_only, cut)
    with pytest.raises(BaseError, match="VAE, text encoder"):
        open_base(cut, home)
    first = "model.diffusion_model.input_blocks.0.0.weight"
    tensors = load_file(whole)
    tensors[first] = torch.zeros(32, 9, 3, 3)
    save_file(tensors, cut)
    with pytest.raises(BaseError, match="inpainting"):
        open_base(cut, home)
    (tmp_path / "notes.txt").write_text("no base")
    with pytest.raises(BaseError, match="is not a base"):
        open_base(tmp_path / "notes.txt", home)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BaseError, match=r"no model_index\.json"):
        open_base(tmp_path / "empty", home)


def test_a_file_lacking_tensors_is_refused(tmp_path: Path, tiny_sd1: Path, home_with_words: Home) -> None:
    file = tmp_path / "holes.safetensors"
    save_original_layout(tiny_sd1, file)
    tensors = load_file(file)
    del tensors["model.diffusion_model.out.2.weight"]
    save_file(tensors, file)
    with pytest.raises(BaseError, match=r"holes|lacks"):
        open_base(file, home_with_words, config_folder=copy_configs(tiny_sd1, tmp_path / "configs"))


def test_a_width_that_the_weights_dont_have_is_refused(tmp_path: Path, tiny_base: Path, home: Home) -> None:
    folder = shutil.copytree(tiny_base, tmp_path / "wide")
    config = json.loads((folder / "unet" / "config.json").read_text())
    (folder / "unet" / "config.json").write_text(json.dumps(config | {"cross_attention_dim": 640}))
    with pytest.raises(BaseError, match="width of 640"):
        open_base(folder, home)


def test_sdxl_has_the_parts_of_the_pipeline_from_a_folder_and_from_a_file(
    tmp_path: Path, tiny_sdxl: Path, home_with_words: Home
) -> None:
    base = open_base(tiny_sdxl, home_with_words, device="cpu")
    assert (base.family, base.prediction_type, base.zeros_for_empty_prompt) == ("sdxl", "epsilon", True)
    assert [encoder.config.hidden_size for encoder in base.text_encoders] == [768, 1280]
    assert [tokenizer.pad_token for tokenizer in base.tokenizers] == ["<|endoftext|>", "!"]
    file = tmp_path / "xl.safetensors"
    save_original_layout(tiny_sdxl, file)
    configs = copy_configs(tiny_sdxl, tmp_path / "configs")
    single = open_base(file, home_with_words, device="cpu", config_folder=configs)
    assert single.fingerprint == base.fingerprint
    assert [tokenizer.pad_token for tokenizer in single.tokenizers] == ["<|endoftext|>", "!"]
    for one, other in zip(
        (single.unet, single.vae, *single.text_encoders),
        (base.unet, base.vae, *base.text_encoders),
        strict=True,
    ):
        states = one.state_dict(), other.state_dict()
        assert states[0].keys() == states[1].keys()
        assert all(torch.equal(states[0][name], value) for name, value in states[1].items())


def test_unknown_bases_name_what_is_here(home: Home) -> None:
    for name in ("no such base", "", "../..x"):
        with pytest.raises(BaseError, match="no base"):
            open_base(name, home)


def test_shipped_configs_have_the_published_sizes() -> None:
    from diffusers import UNet2DConditionModel

    sizes = {"sd1": 859_520_964, "sd2": 865_910_724, "sd2-v": 865_910_724, "sdxl": 2_567_463_684}
    for name, size in sizes.items():
        config = UNet2DConditionModel.load_config(CONFIGS / name / "unet")
        with torch.device("meta"):
            unet = UNet2DConditionModel.from_config(config)
        assert sum(parameter.numel() for parameter in unet.parameters()) == size


def test_shipped_vae_and_text_encoder_configs() -> None:
    from diffusers import AutoencoderKL
    from transformers import CLIPTextConfig, CLIPTextModel

    for name, size in {"sd1": 123_060_480, "sd2": 340_387_840, "sd2-v": 340_387_840}.items():
        with torch.device("meta"):
            vae = AutoencoderKL.from_config(AutoencoderKL.load_config(CONFIGS / name / "vae"))
            text = CLIPTextModel(CLIPTextConfig.from_pretrained(CONFIGS / name / "text_encoder"))
        assert sum(parameter.numel() for parameter in vae.parameters()) == 83_653_863
        assert sum(parameter.numel() for parameter in text.parameters()) == size


def test_half_precision_files_open_and_the_cpu_stays_exact(tmp_path: Path, home: Home) -> None:
    folder = tiny_base_folder(tmp_path / "half", dtype=torch.float16)
    assert open_base(folder, home, device="cpu").unet.dtype == torch.float32
    assert open_base(folder, home, device="cpu", dtype="bf16").unet.dtype == torch.bfloat16
    for name in ("unet", "vae"):
        weights = folder / name / "diffusion_pytorch_model.safetensors"
        weights.rename(weights.with_suffix(".fp16.safetensors"))
    weights = folder / "text_encoder" / "model.safetensors"
    weights.rename(weights.with_suffix(".fp16.safetensors"))
    assert open_base(folder, home, device="cpu").unet.dtype == torch.float32
    assert pick_dtype(torch.device("cpu")) == torch.float32


def test_the_starter_opens(starter: Path, home: Home) -> None:
    base = open_base("starter", home, device="cpu")
    assert (base.name, base.family, base.native_size_px, base.zero_terminal_snr) == (
        "starter",
        "starter",
        128,
        True,
    )
    assert base.folder == STARTER


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("unet", {"layers_per_block": 2**33}),
        ("unet", {"norm_num_groups": 7}),
        ("unet", {"act_fn": "magic"}),
        ("vae", {"scaling_factor": "large"}),
        ("vae", {"block_out_channels": [16, 16, 64]}),
        ("text_encoder", {"hidden_size": 512}),
        ("text_encoder", {"vocab_size": 8}),
        ("tokenizer", {"model_max_length": 4000}),
    ],
)
def test_a_base_whose_parts_are_not_of_one_piece_is_refused(
    tmp_path: Path, tiny_base: Path, home: Home, part: str, change: dict[str, Any]
) -> None:
    folder = tmp_path / "odd"
    shutil.copytree(tiny_base, folder, copy_function=os.link)
    file = folder / part / ("tokenizer_config.json" if part == "tokenizer" else "config.json")
    values = json.loads(file.read_text(encoding="utf-8")) | change
    file.unlink()
    file.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(BaseError) as caught:
        open_base(folder, home, device="cpu")
    assert caught.value.hint
