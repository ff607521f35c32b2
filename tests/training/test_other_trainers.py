"""Settings of kohya_ss, sd-scripts and OneTrainer: what is taken over, and that all the rest is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from styles.errors import BadInput
from styles.storage.names import clean_text
from training.other_trainers.reader import read_settings, settings_in
from training.other_trainers.settings import OtherSettings

KOHYA: dict[str, Any] = {
    "LoRA_type": "Standard", "pretrained_model_name_or_path": "starter", "train_data_dir": "D:/img", "reg_data_dir": "D:/reg",
    "output_dir": "D:/out", "output_name": "ink", "network_dim": 16, "network_alpha": 8, "learning_rate": 0.0001,
    "unet_lr": 0.0002, "text_encoder_lr": 5e-05, "lr_scheduler": "constant", "lr_warmup": 10, "train_batch_size": 2,
    "epoch": 3, "max_train_steps": "", "mixed_precision": "bf16", "seed": "1234", "max_resolution": "512,512",
    "optimizer": "AdamW8bit", "optimizer_args": "weight_decay=0.1 betas=.9,.99", "clip_skip": "2", "noise_offset": 0,
    "min_snr_gamma": 0, "caption_extension": ".caption", "flip_aug": True, "shuffle_caption": True, "keep_tokens": "1",
    "sample_prompts": "a red house --n blurry --s 5 --d 3 --w 512\n# no\na boat", "sample_every_n_steps": 20,
    "xformers": "xformers", "max_grad_norm": 1, "gradient_checkpointing": False, "conv_dim": 4, "a_new_one": "yes",
}  # fmt: skip
CONFIG = """
[model_arguments]
pretrained_model_name_or_path = "starter"
v2 = false
[additional_network_arguments]
network_dim = 32
network_alpha = 16
network_module = "networks.lora"
[optimizer_arguments]
optimizer_type = "Prodigy"
learning_rate = 1.0
lr_scheduler = "cosine_with_restarts"
lr_warmup_steps = 50
optimizer_args = ["weight_decay=0.01", "decouple=True"]
[training_arguments]
max_train_epochs = 5
max_train_steps = 9999
train_batch_size = 4
clip_skip = 2
sample_prompts = "prompts.txt"
"""
DATASET = """
[general]
caption_extension = ".tags"
shuffle_caption = true
[[datasets]]
resolution = 640
batch_size = 3
  [[datasets.subsets]]
  image_dir = "a"
  class_tokens = "sks style"
  num_repeats = 4
  [[datasets.subsets]]
  image_dir = "r"
  is_reg = true
"""
ONETRAINER: dict[str, Any] = {
    "__version": 9, "training_method": "LORA", "model_type": "STABLE_DIFFUSION_15", "base_model_name": "starter",
    "lora_rank": 24, "lora_alpha": 12.0, "learning_rate": 0.0003, "learning_rate_scheduler": "COSINE",
    "learning_rate_warmup_steps": 30.0, "epochs": 10, "batch_size": 2, "gradient_accumulation_steps": 2, "resolution": "768",
    "unet": {"train": True, "learning_rate": None}, "text_encoder": {"train": True}, "gradient_checkpointing": "ON",
    "optimizer": {"optimizer": "ADAMW_8BIT", "weight_decay": 0.02, "beta1": 0.9}, "loss_weight_fn": "MIN_SNR_GAMMA",
    "loss_weight_strength": 4.0, "masked_training": True, "unmasked_weight": 0.2, "offset_noise_weight": 0.0357,
    "ema": "GPU", "workspace_dir": "w", "layer_filter_preset": "attn-mlp", "clip_grad_norm": 1.0, "text_encoder_layer_skip": 1,
    "concepts": [{"path": "C:/a", "balancing": 2.0, "enabled": True}, {"path": "C:/off", "enabled": False}],
    "samples": [{"prompt": "a cat", "negative_prompt": "dark", "seed": 5, "diffusion_steps": 25, "enabled": True}],
}  # fmt: skip


def left_out(other: OtherSettings) -> set[str]:
    return {str(line.values["setting"]) if "setting" in line.values else str(line) for line in other.left_out}


def test_kohyas_settings_are_taken_over_and_the_rest_is_named() -> None:
    other = settings_in(json.dumps(KOHYA), Path("x.json"))
    settings = other.settings(shown=31)
    assert other.program == "kohya_ss" and other.base == "starter" and other.name == "ink"
    assert other.caption_ending == ".caption"
    expected = {
        "rank": 16, "alpha": 8.0, "learning_rate": 0.0002, "batch": 2, "steps": 3 * 16, "seed": 1234, "resolution_px": 512,
        "optimizer": "adamw8bit", "weight_decay": 0.1, "clip_skip": 2, "noise_offset": 0.0, "min_snr_gamma": 0.0,
        "flip": True, "preview_prompts": ("a red house", "a boat"), "preview_negative": "blurry", "preview_steps": 5,
        "preview_seed": 3, "preview_every": 20, "warmup_fraction": 0.1, "final_rate_fraction": 1.0, "grad_clip": 1.0,
        "gradient_checkpointing": False, "layers": "transformer",
    }  # fmt: skip
    assert {name: getattr(settings, name) for name in expected} == expected
    assert left_out(other) == {
        "reg_data_dir", "text_encoder_lr", "learning_rate", "optimizer_args", "shuffle_caption", "keep_tokens",
        "sample_prompts", "conv_dim", "a_new_one",
    }  # fmt: skip
    assert {"output_dir", "mixed_precision", "xformers"} == set(other.without_effect)


def test_no_setting_that_says_anything_is_dropped() -> None:
    """Each is taken over, named as left out, or named as without effect."""
    other = settings_in(json.dumps(KOHYA), Path("x.json"))
    said = " ".join(other.lines())
    silent = {name for name, value in KOHYA.items() if value not in ("", 0, False) and name not in said}
    taken = {
        "LoRA_type", "pretrained_model_name_or_path", "output_name", "network_dim", "network_alpha", "unet_lr",
        "lr_scheduler", "lr_warmup", "train_batch_size", "epoch", "seed", "max_resolution", "optimizer", "clip_skip",
        "caption_extension", "flip_aug", "sample_every_n_steps", "max_grad_norm", "train_data_dir",
    }  # fmt: skip
    assert silent <= taken
    assert "D:/img" in said


def test_sd_scripts_config_is_read_from_its_sections_and_prompts_from_their_file(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(CONFIG, encoding="utf-8")
    (tmp_path / "prompts.txt").write_text("# samples\na hill --n dark --l 7\n", encoding="utf-8")
    other = read_settings(tmp_path / "config.toml")
    settings = other.settings(shown=10)
    assert other.program == "sd-scripts"
    # Epochs stand over steps there.
    assert settings.steps == 5 * 3 and settings.warmup_fraction == 0.5
    assert (settings.rank, settings.alpha, settings.batch) == (32, 16.0, 4)
    assert settings.learning_rate is None, "Prodigy's rate has another meaning"
    assert settings.preview_prompts == ("a hill",) and settings.preview_negative == "dark"
    assert left_out(other) == {
        "optimizer", "learning_rate", "lr_scheduler", "optimizer_args", "sample_prompts", "max_train_steps",
    }  # fmt: skip
    # What a page sends may name no other file of this machine.
    there = settings_in(CONFIG.replace("prompts.txt", str(tmp_path / "prompts.txt")), Path("config.toml"))
    assert "preview_prompts" not in there.numbers and "sample_prompts" in left_out(there)


def test_a_dataset_config_says_resolution_batch_and_repeats() -> None:
    other = settings_in(DATASET, Path("dataset.toml"))
    assert other.caption_ending == ".tags" and other.repeats == 4 and other.folders == ["a"]
    assert other.numbers == {"resolution_px": 640, "batch": 3}
    assert left_out(other) == {"subsets class_tokens", "shuffle_caption", "is_reg"}


def test_onetrainers_settings_are_taken_over_and_the_rest_is_named() -> None:
    other = settings_in(json.dumps(ONETRAINER), Path("x.json"))
    settings = other.settings(shown=10)
    assert other.program == "OneTrainer" and other.base == "starter" and other.folders == ["C:/a"]
    expected = {
        "rank": 24, "alpha": 12.0, "learning_rate": 0.0003, "batch": 2, "gradient_accumulation": 2, "steps": 10 * 5,
        "resolution_px": 768, "optimizer": "adamw8bit", "weight_decay": 0.02, "min_snr_gamma": 4.0, "unmasked_weight": 0.2,
        "noise_offset": 0.0357, "clip_skip": 2, "preview_prompts": ("a cat",), "preview_negative": "dark",
        "preview_steps": 25, "preview_seed": 5, "gradient_checkpointing": True, "layers": "transformer",
    }  # fmt: skip
    assert {name: getattr(settings, name) for name in expected} == expected
    assert left_out(other) == {"ema", "text_encoder.train"}
    unmasked = settings_in(json.dumps(ONETRAINER | {"masked_training": False}), Path("x.json"))
    assert unmasked.numbers["unmasked_weight"] == 1.0
    tuned = settings_in(json.dumps(ONETRAINER | {"training_method": "FINE_TUNE"}), Path("x.json"))
    assert "training_method" in left_out(tuned) and "training_method" not in tuned.without_effect


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", "{"),
        ("a.json", "[1]"),
        ("a.json", '{"prompt": "a house"}'),
        ("a.toml", "x = "),
        ("a.toml", "[tool]\nx = 1"),
        ("a.json", "[" * 100_000),
    ],
)
def test_any_other_file_is_refused(name: str, text: str) -> None:
    with pytest.raises(BadInput, match=r"a\.(json|toml)"):
        settings_in(text, Path(name))


@pytest.mark.parametrize("odd", [None, [], {}, "x", -1, 1e999, True, [[1]], {"a": 1}, "9" * 400, 10**400])
def test_odd_values_are_named_or_passed_over(odd: Any) -> None:
    for whole in (KOHYA, ONETRAINER):
        for name in whole:
            if name not in ("training_method", "network_dim", "pretrained_model_name_or_path"):
                settings_in(json.dumps(whole | {name: odd}), Path("x.json")).settings(10)


def test_reported_files_are_read(tmp_path: Path) -> None:
    """Paths in GBK and cp1251 (kohya_ss 2331, 2334), both lengths (2379), sections in sections (Easy Training Scripts)."""
    for encoding, name in (("gbk", "训练/图片"), ("cp1251", "Модели/стиль")):
        file = tmp_path / f"{encoding}.toml"
        file.write_bytes(f'train_data_dir = "D:/{name}"\nnetwork_dim = 4\n'.encode(encoding))
        assert read_settings(file).folders == [f"D:/{name}"]
    both = settings_in(json.dumps(KOHYA | {"max_train_steps": 1600, "epoch": 10}), Path("x.json"))
    assert both.settings(5).steps == 1600 and "epoch" in left_out(both)
    nested = """
[general_args.args]
pretrained_model_name_or_path = "starter"
max_train_epochs = 2
[general_args.dataset_args]
[network_args.args]
network_dim = 7
[optimizer_args.args]
unet_lr = 0.0005
optimizer_type = "AdamW8bit"
[optimizer_args.args.optimizer_args]
weight_decay = 0.1
"""
    easy = settings_in(nested, Path("easy.toml"))
    assert easy.base == "starter" and easy.epochs == 2 and easy.numbers["rank"] == 7
    assert easy.numbers["learning_rate"] == 0.0005 and easy.numbers["weight_decay"] == 0.1
    windows = settings_in(DATASET.replace('"a"', r'"Z:\\LoRA-Train"'), Path("d.toml"))
    assert windows.folders == [r"Z:\LoRA-Train"]
    # kohya_ss 2379: what its form writes where nothing was chosen is no loss.
    usual = {"loss_type": "l2", "huber_c": 0.1, "max_timestep": 1000, "lr_scheduler_power": 1}
    assert not set(usual) & left_out(settings_in(json.dumps(KOHYA | usual), Path("x.json")))
    assert "loss_type" in left_out(settings_in(json.dumps(KOHYA | {"loss_type": "huber"}), Path("x.json")))
    # kohya_ss 2315: an older version wrote numbers as texts.
    texts = settings_in(
        json.dumps(KOHYA | {"gradient_accumulation_steps": "2", "network_dim": "8"}), Path("x.json")
    )
    assert texts.numbers["gradient_accumulation"] == 2 and texts.numbers["rank"] == 8
    lokr = settings_in(
        json.dumps(KOHYA | {"LoRA_type": "LyCORIS/LoKr", "optimizer": "Prodigy"}), Path("x.json")
    )
    assert {"LoRA_type", "optimizer", "unet_lr"} <= left_out(lokr) and "learning_rate" not in lokr.numbers


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_train_steps", "nan"), ("max_train_steps", -5), ("max_train_epochs", 2.5), ("learning_rate", "nan"),
        ("seed", "abc"), ("lr_warmup", "x"), ("text_encoder_lr", [1e-5, 1e-5]), ("num_repeats", 7),
        ("sample_prompts", ["a"]), ("caption_extension", ["a"]), ("output_name", ["x"]), ("lr_scheduler", 3),
    ],
)  # fmt: skip
def test_what_cannot_be_read_of_kohya_is_named(name: str, value: object) -> None:
    found = settings_in(json.dumps({**KOHYA, name: value}), Path("a.json"))
    assert any(name in str(line) and clean_text(str(value), 120) in str(line) for line in found.left_out)
    assert found.settings(shown=4)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", "many"), ("learning_rate", "fast"), ("samples", {"prompt": "a"}), ("concepts", "a"),
        ("sample_after", 2.5), ("base_model_name", ["a"]), ("learning_rate_warmup_steps", "x"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_of_onetrainer_is_named(name: str, value: object) -> None:
    plain = {"lora_rank": 8, "epochs": 2, "training_method": "LORA", "sample_after_unit": "STEP"}
    found = settings_in(json.dumps({**plain, name: value}), Path("a.json"))
    assert any(name in str(line) and clean_text(str(value), 120) in str(line) for line in found.left_out)


@pytest.mark.parametrize(
    ("given", "alpha"), [({}, 1.0), ({"network_alpha": 0}, 16.0), ({"network_alpha": 8}, 8.0)]
)
def test_alpha_is_what_sd_scripts_takes(given: dict[str, Any], alpha: float) -> None:
    """Reported with it left out: github.com/KohakuBlueleaf/LyCORIS/issues/28, kohya_ss/issues/3240."""
    plain = {
        "network_dim": 16,
        "learning_rate": "0.0001",
        "max_resolution": "768,768",
        "stop_text_encoder_training": 0,
    }
    numbers = settings_in(json.dumps(plain | given), Path("a.json")).numbers
    assert numbers["alpha"] == alpha and numbers["resolution_px"] == 768 and numbers["learning_rate"] == 1e-4


def test_epochs_stand_over_steps_beside_empty_lists() -> None:
    """Reported in github.com/ThereforeGames/blora_for_kohya/issues/4."""
    text = "network_dim = 64\nnetwork_args = []\noptimizer_args = []\nlr_scheduler_args = []\nepoch = 1\nmax_train_epochs = 30\nmax_train_steps = 100\ntrain_batch_size = 2"
    found = settings_in(text, Path("a.toml"))
    assert found.settings(shown=10).steps == 150
    assert [str(line) for line in found.left_out] == [
        "Not taken over: max_train_steps = 100.",
        "Not taken over: epoch = 1.",
    ]
