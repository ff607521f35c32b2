"""kohya_ss's JSON and sd-scripts' TOML (`--config_file`, `--dataset_config`), by the names that they read in 2026."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from styles.storage.file_reading import read_bytes
from training.artworks.encodings import text_of
from training.other_trainers.optimizer import take_optimizer
from training.other_trainers.settings import (
    OtherSettings,
    name_left_out,
    readable,
    take_prompt_texts,
    take_read,
)
from training.other_trainers.values import (
    OFF,
    Reading,
    as_any,
    as_count,
    as_number,
    as_side,
    as_text,
    as_whole,
    as_yes,
)

LARGEST_FILE = 4 << 20  # bytes
# By the names of sd-scripts: the name here, and how its value is read.
KOHYA: dict[str, tuple[str, Reading]] = {
    "network_dim": ("rank", as_whole),
    "network_alpha": ("alpha", as_number),
    "train_batch_size": ("batch", as_whole),
    "batch_size": ("batch", as_whole),
    "gradient_accumulation_steps": ("gradient_accumulation", as_whole),
    "gradient_checkpointing": ("gradient_checkpointing", as_yes),
    "resolution": ("resolution_px", as_side),
    "max_resolution": ("resolution_px", as_side),
    "flip_aug": ("flip", as_yes),
    "clip_skip": ("clip_skip", as_whole),
    "caption_dropout_rate": ("caption_dropout", as_number),
    "noise_offset": ("noise_offset", as_number),
    "min_snr_gamma": ("min_snr_gamma", as_number),
    "max_grad_norm": ("grad_clip", as_number),
    "sample_every_n_steps": ("preview_every", as_whole),
}
# Read one by one below, and in which form.
READ_ELSEWHERE: dict[str, Reading] = {
    **dict.fromkeys(
        (
            "pretrained_model_name_or_path", "output_name", "caption_extension", "sample_prompts", "train_data_dir", "image_dir",
            "optimizer", "optimizer_type", "lr_scheduler", "lr_scheduler_type", "LoRA_type", "network_module",
        ),
        as_text,
    ),
    **dict.fromkeys(("learning_rate", "unet_lr", "text_encoder_lr", "lr_warmup", "lr_warmup_steps"), as_number),
    **dict.fromkeys(("max_train_steps", "max_train_epochs", "epoch"), as_count),
    "seed": as_whole,
    "optimizer_args": as_any,
}  # fmt: skip
# What kohya_ss and OneTrainer write where nothing was chosen, and is so here.
KOHYA_USUAL: dict[str, Any] = {
    "loss_type": "l2", "huber_c": 0.1, "huber_schedule": "snr", "multires_noise_discount": 0.3, "factor": -1,
    "lr_scheduler_num_cycles": 1, "lr_scheduler_power": 1, "max_timestep": 1000, "noise_offset_type": "Original",
    "prior_loss_weight": 1, "LyCORIS_preset": "full", "stop_text_encoder_training_pct": 0,
}  # fmt: skip


def read_kohya(values: Mapping[str, Any], result: OtherSettings, folder: Path | None) -> OtherSettings:
    """Read the settings of all sections together; a file with prompts that they name is read from `folder`."""
    values = readable(result, values, READ_ELSEWHERE)
    for name, value in values.items():
        if name in KOHYA and (name, as_number(value)) != ("network_alpha", 0):
            here, reading = KOHYA[name]
            take_read(result, here, name, value, reading)
        elif name not in READ_ELSEWHERE and value not in OFF:
            name_left_out(result, name, value, KOHYA_USUAL)
    result.base = str(values.get("pretrained_model_name_or_path") or "")
    result.name = str(values.get("output_name") or "")
    result.caption_ending = str(values.get("caption_extension") or "")
    result.folders += [str(values[name]) for name in ("train_data_dir", "image_dir") if values.get(name)]
    _take_length(result, values)
    take_optimizer(result, values)
    if seed := as_whole(values.get("seed")):  # 0 is any
        result.take("seed", "seed", seed)
    kind = str(values.get("LoRA_type") or values.get("network_module") or "Standard")
    if kind not in ("Standard", "networks.lora", "LyCORIS/LoCon") and "networks.lora" not in kind:
        result.leave_out("LoRA_type" if "LoRA_type" in values else "network_module", kind)
    if "network_dim" in values:
        # sd-scripts trains whole transformer blocks, and the text encoder; without an alpha it takes 1, for 0 the rank.
        result.numbers["layers"] = "transformer"
        if "network_alpha" not in values:
            result.numbers["alpha"] = 1.0
        elif as_number(values["network_alpha"]) == 0:
            result.take("alpha", "network_alpha", as_number(values["network_dim"]))
    prompts = str(values.get("sample_prompts") or "")
    if prompts:
        _take_prompts(result, prompts, folder)
    return result


def _take_length(result: OtherSettings, values: Mapping[str, Any]) -> None:
    steps, epoch = as_count(values.get("max_train_steps")), as_count(values.get("epoch"))
    # In sd-scripts epochs stand over steps; `epoch` is kohya_ss's own, which it makes steps of where there are none.
    epochs = as_count(values.get("max_train_epochs")) or (None if steps else epoch)
    result.epochs = epochs
    if steps and not epochs:
        result.take("steps", "max_train_steps", steps)
    elif steps:
        result.leave_out("max_train_steps", steps)
    if epoch and epoch != epochs:
        result.leave_out("epoch", epoch)
    percent, warmup = as_number(values.get("lr_warmup")), as_number(values.get("lr_warmup_steps"))
    if warmup and warmup >= 1:
        result.warmup_steps = int(warmup)
    elif warmup is not None:
        result.take("warmup_fraction", "lr_warmup_steps", warmup)
    elif percent is not None:
        result.take("warmup_fraction", "lr_warmup", percent / 100)


def _take_prompts(result: OtherSettings, prompts: str, folder: Path | None) -> None:
    """Take the prompts of samples, which are lines or the path of a file with lines."""
    if "\n" not in prompts and prompts.lower().endswith((".txt", ".json", ".toml")):
        text = None
        if folder is not None and prompts.lower().endswith(".txt"):
            with suppress(OSError):
                text = text_of(read_bytes(folder / prompts, LARGEST_FILE))
        if text is None:
            result.leave_out("sample_prompts", prompts)
            return
        prompts = text
    lines = [
        line.strip() for line in prompts.splitlines() if line.strip() and not line.strip().startswith("#")
    ]
    read = [_prompt_line(result, line) for line in lines]
    take_prompt_texts(result, [prompt for prompt, _ in read], [negative for _, negative in read])


def _prompt_line(result: OtherSettings, line: str) -> tuple[str, str]:
    """Return the prompt and the negative prompt of a line such as `a house --n blurry --s 28 --d 1`."""
    prompt, *options = re.split(r"\s--(?=[a-z]+ )", f" {line}")
    negative = ""
    for option in options:
        key, _, value = option.partition(" ")
        number = as_whole(value.strip())
        if key == "n":
            negative = value.strip()
        elif key == "s" and number:
            result.take("preview_steps", "sample_prompts --s", number)
        elif key == "d" and number is not None:
            if "preview_seed" not in result.numbers:
                result.take("preview_seed", "sample_prompts --d", number)
        else:
            result.leave_out("sample_prompts", f"--{option.strip()}")
    return prompt.strip(), negative


def read_dataset(values: Mapping[str, Any]) -> OtherSettings:
    """Read sd-scripts' `--dataset_config`: [general], and [[datasets]] with their [[datasets.subsets]]."""
    result, together, repeats = OtherSettings("sd-scripts"), dict[str, Any](), set[int]()
    for where, table in _tables(values):
        for name, value in table.items():
            if name == "num_repeats" and (count := as_count(value)):
                repeats.add(count)
            elif name == "class_tokens":
                result.leave_out(f"{where} class_tokens", value)
            elif name == "image_dir":
                result.folders.append(str(value))
            elif name in together and together[name] != value:
                result.leave_out(f"{where} {name}", value)
            else:
                together[name] = value
    if len(repeats) == 1:
        result.repeats = repeats.pop()
    elif repeats:
        result.leave_out("num_repeats", ", ".join(map(str, sorted(repeats))))
    return read_kohya(together, result, None)


def _tables(values: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    def plain(table: Any) -> dict[str, Any]:
        found = table.items() if isinstance(table, dict) else ()
        return {name: value for name, value in found if name not in ("subsets", "datasets", "general")}

    def listed(table: Any, name: str) -> list[Any]:
        found = table.get(name) if isinstance(table, dict) else None
        return found if isinstance(found, list) else []

    yield "general", plain(values.get("general"))
    yield "", plain(values)
    for dataset in listed(values, "datasets"):
        yield "datasets", plain(dataset)
        for subset in listed(dataset, "subsets"):
            # A subset for regularisation is no picture to learn.
            if isinstance(subset, dict) and subset.get("is_reg"):
                yield "subsets", {"is_reg": subset.get("image_dir", True)}
            else:
                yield "subsets", plain(subset)
