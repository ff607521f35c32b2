"""Settings files of other trainers: what this plan has of them, and each line that it doesn't have.

kohya_ss's JSON, sd-scripts' TOML (`--config_file` and `--dataset_config`) and OneTrainer's JSON, by the names that these
programs read in 2026.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from styles.errors import BadInput, PlanError
from styles.storage.file_reading import json_of, read_bytes, why
from styles.storage.names import clean_text
from styles.text import Text
from training.artworks.encodings import text_of
from training.settings import TrainingSettings

LARGEST_FILE = 4 << 20  # bytes
MOST_PROMPTS = 8
OFF: tuple[Any, ...] = ("", "0", "0.0", "none", "None", "NONE", "OFF", 0, False, None, [], {})


@dataclass
class OtherSettings:
    """What a settings file of another trainer comes to here."""

    program: str
    # Of `TrainingSettings`, by name.
    numbers: dict[str, Any] = field(default_factory=dict)
    base: str = ""
    name: str = ""
    caption_ending: str = ""
    # Folders of pictures that the file names.
    folders: list[str] = field(default_factory=list)
    # What the length comes from, where it is not said in steps.
    epochs: int | None = None
    repeats: int = 1
    warmup_steps: int | None = None
    # Line by line what is not taken over, and what changes no style.
    left_out: list[Text] = field(default_factory=list)
    without_effect: list[str] = field(default_factory=list)

    def settings(self, shown: int) -> TrainingSettings:
        """Return the settings for a training of so many pictures, each counted as often as it is shown in an epoch.

        Raises PlanError for a number that is out of range.
        """
        numbers = dict(self.numbers)
        if "steps" not in numbers and self.epochs:
            at_once = numbers.get("batch", 1) * numbers.get("gradient_accumulation", 1)
            numbers["steps"] = self.epochs * math.ceil(shown * self.repeats / at_once)
        if self.warmup_steps and numbers.get("steps"):
            numbers["warmup_fraction"] = min(0.5, self.warmup_steps / numbers["steps"])
        return TrainingSettings(**numbers)

    def lines(self) -> list[Text]:
        """What is to be said of it: where it is from, and what is not taken over."""
        lines = [Text("Settings of {program} were read.", program=self.program), *self.left_out]
        if self.folders:
            names = ", ".join(clean_text(folder, 120) for folder in dict.fromkeys(self.folders))
            lines.append(
                Text("The pictures are those that are given here, not those in {names}.", names=names)
            )
        if self.without_effect:
            names = ", ".join(self.without_effect)
            lines.append(Text("Without effect on the style, and not needed here: {names}.", names=names))
        return lines

    def leave_out(self, name: str, value: object) -> None:
        """Name a setting that is not taken over."""
        self.left_out.append(
            Text(
                "Not taken over: {setting} = {value}.",
                setting=clean_text(name, 80),
                value=clean_text(str(value), 120),
            )
        )

    def take(self, name: str, setting: str, value: Any) -> None:
        """Take a number over, or name it where it is out of this plan's range."""
        try:
            TrainingSettings(**{name: value})
        except (PlanError, TypeError):
            self.leave_out(setting, value)
        else:
            self.numbers[name] = value


def read_settings(path: Path) -> OtherSettings:
    """Read a settings file of another trainer; raises BadInput for anything else."""
    try:
        text = text_of(read_bytes(path, LARGEST_FILE))
    except OSError as error:
        raise BadInput(
            "{file} can't be read: {reason}.", hint="Check the path.", file=path.name, reason=why(error)
        ) from error
    return settings_in(text, path, path.parent)


def settings_in(text: str, path: Path, folder: Path | None = None) -> OtherSettings:
    """Read the text of a settings file, of which `path` says the name; raises BadInput.

    A file with prompts that it names is read from `folder`; without one, no other file is.
    """
    try:
        values = tomllib.loads(text) if path.suffix.lower() == ".toml" else json_of(text)
    except (ValueError, RecursionError) as error:
        raise BadInput(
            "{file} is no settings file: {reason}.",
            hint="Give the .json of kohya_ss or OneTrainer, or the .toml of sd-scripts.",
            file=path.name,
            reason=clean_text(str(error), 120),
        ) from error
    if isinstance(values, dict):
        if "datasets" in values or set(values) == {"general"}:
            return _dataset(values)
        if "training_method" in values or "base_model_name" in values or "lora_rank" in values:
            return _onetrainer(values)
        flat = _flat(values)
        if {"network_dim", "pretrained_model_name_or_path", "train_batch_size", "optimizer_type"} & set(flat):
            program = "sd-scripts" if path.suffix.lower() == ".toml" else "kohya_ss"
            return _kohya(flat, OtherSettings(program), folder)
    raise BadInput(
        "{file} is no settings file of kohya_ss, sd-scripts or OneTrainer.",
        hint="Give the .json of kohya_ss or OneTrainer, or the .toml of sd-scripts.",
        file=path.name,
    )


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of all sections together, as sd-scripts reads them.

    LoRA_Easy_Training_Scripts puts each section's into an `args` of its own.
    """
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            inside = value.get("args")
            flat |= {key: one for key, one in value.items() if key != "args"}
            flat |= inside if isinstance(inside, dict) else {}
        else:
            flat[name] = value
    return flat


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and not isinstance(value, bool) else None


def _whole(value: Any) -> int | None:
    number = _number(value)
    return int(number) if number is not None and number == int(number) else None


def _count(value: Any) -> int | None:
    """Return a whole number above 0; None for anything else."""
    number = _whole(value)
    return number if number is not None and number > 0 else None


def _yes(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _side(value: Any) -> int | None:
    """Return the side in px of a resolution such as 512, "512" or "512,512"; None for one that is no square."""
    parts = value if isinstance(value, list) else re.split(r"[,x]", str(value))
    sides = {_whole(part) for part in parts}
    return sides.pop() if len(sides) == 1 else None


Reading = Callable[[Any], Any]
# By the names of sd-scripts: the name here, and how its value is read.
KOHYA: dict[str, tuple[str, Reading]] = {
    "network_dim": ("rank", _whole),
    "network_alpha": ("alpha", _number),
    "train_batch_size": ("batch", _whole),
    "batch_size": ("batch", _whole),
    "gradient_accumulation_steps": ("gradient_accumulation", _whole),
    "gradient_checkpointing": ("gradient_checkpointing", _yes),
    "resolution": ("resolution_px", _side),
    "max_resolution": ("resolution_px", _side),
    "flip_aug": ("flip", _yes),
    "clip_skip": ("clip_skip", _whole),
    "caption_dropout_rate": ("caption_dropout", _number),
    "noise_offset": ("noise_offset", _number),
    "min_snr_gamma": ("min_snr_gamma", _number),
    "max_grad_norm": ("grad_clip", _number),
    "sample_every_n_steps": ("preview_every", _whole),
}
OPTIMIZER_NAMES = {"adamw": "adamw", "adamw8bit": "adamw8bit", "pagedadamw": "paged_adamw"}
OWN_RATE = (
    "prodigy",
    "dadapt",
    "adafactor",
    "schedulefree",
    "came",
)  # optimizers with rates of another meaning
READ_ELSEWHERE = frozenset(
    (
        "pretrained_model_name_or_path", "output_name", "learning_rate", "unet_lr", "text_encoder_lr", "max_train_steps",
        "max_train_epochs", "epoch", "optimizer", "optimizer_type", "optimizer_args", "lr_scheduler", "lr_scheduler_type",
        "lr_warmup", "lr_warmup_steps", "seed", "sample_prompts", "caption_extension", "train_data_dir", "LoRA_type",
        "network_module", "image_dir", "num_repeats",
    )
)  # fmt: skip
# What concerns files, logs, speed and precision, or is read from the base itself.
WITHOUT_EFFECT = re.compile(
    r"(output_dir|logging_dir|log_.*|wandb.*|huggingface_.*|save_.*|mixed_precision|full_fp16|full_bf16|xformers|sdpa|"
    r"mem_eff_attn|cache_.*|max_data_loader_n_workers|persistent_data_loader_workers|num_cpu_threads_per_process|"
    r"num_processes|num_machines|gpu_ids|multi_gpu|main_process_port|dynamo_.*|extra_accelerate_launch_args|"
    r"lowram|highvram|no_half_vae|vae_batch_size|no_metadata|metadata_.*|training_comment|max_token_length|"
    r"enable_bucket|model_list|sdxl|v2|v_parameterization|network_train_unet_only|dataset_config|config_file|"
    r"workspace_dir|cache_dir|debug.*|tensorboard.*|.*_dtype|.*device.*|.*caching.*|output_model_.*|backup_.*|"
    r"rolling_backup.*|.*offload.*|samples_to_tensorboard|sample_image_format|.*_format|secrets|cloud|optimizer_defaults|"
    r"__version|clear_cache_before_training|include_train_config|prevent_overwrites|continue_last_backup|only_cache|"
    r"attention_mechanism|aspect_ratio_bucketing|concept_file_name|sample_definition_file_name|compile|"
    r"enable_autocast_cache|.*gradient_reduce.*|prefetch_next_batch|model_type|training_method)"
)


# What kohya_ss and OneTrainer write where nothing was chosen, and is so here.
KOHYA_USUAL: dict[str, Any] = {
    "loss_type": "l2", "huber_c": 0.1, "huber_schedule": "snr", "multires_noise_discount": 0.3, "factor": -1,
    "lr_scheduler_num_cycles": 1, "lr_scheduler_power": 1, "max_timestep": 1000, "noise_offset_type": "Original",
    "prior_loss_weight": 1, "LyCORIS_preset": "full", "stop_text_encoder_training_pct": 0,
}  # fmt: skip


def _kohya(values: Mapping[str, Any], result: OtherSettings, folder: Path | None) -> OtherSettings:
    for name, value in values.items():
        if name in KOHYA:
            here, reading = KOHYA[name]
            _take_read(result, here, name, value, reading)
        elif name not in READ_ELSEWHERE and value not in OFF:
            _name_left_out(result, name, value, KOHYA_USUAL)
    result.base = str(values.get("pretrained_model_name_or_path") or "")
    result.name = str(values.get("output_name") or "")
    result.caption_ending = str(values.get("caption_extension") or "")
    result.folders += [str(values[name]) for name in ("train_data_dir", "image_dir") if values.get(name)]
    _take_length(result, values)
    _take_optimizer(result, values)
    if seed := _whole(values.get("seed")):  # 0 is any
        result.take("seed", "seed", seed)
    kind = str(values.get("LoRA_type") or values.get("network_module") or "Standard")
    if kind not in ("Standard", "networks.lora", "LyCORIS/LoCon") and "networks.lora" not in kind:
        result.leave_out("LoRA_type" if "LoRA_type" in values else "network_module", kind)
    if "network_dim" in values:
        # sd-scripts trains whole transformer blocks, and the text encoder.
        result.numbers["layers"] = "transformer"
    prompts = str(values.get("sample_prompts") or "")
    if prompts:
        _take_prompts(result, prompts, folder)
    return result


def _take_read(result: OtherSettings, here: str, name: str, value: Any, reading: Reading) -> None:
    read = reading(value)
    if read is not None:
        # A clipping of 0 is none, which isn't there.
        result.take(here, name, read)
    elif value not in OFF:
        result.leave_out(name, value)


def _name_left_out(result: OtherSettings, name: str, value: Any, usual: Mapping[str, Any]) -> None:
    if WITHOUT_EFFECT.fullmatch(name) or (name in usual and usual[name] == value):
        result.without_effect.append(clean_text(name, 80))
    else:
        result.leave_out(name, value)


def _take_length(result: OtherSettings, values: Mapping[str, Any]) -> None:
    steps, epoch = _count(values.get("max_train_steps")), _count(values.get("epoch"))
    # In sd-scripts epochs stand over steps; `epoch` is kohya_ss's own, which it makes steps of where there are none.
    epochs = _count(values.get("max_train_epochs")) or (None if steps else epoch)
    result.epochs = epochs
    if steps and not epochs:
        result.take("steps", "max_train_steps", steps)
    elif steps:
        result.leave_out("max_train_steps", steps)
    if epoch and epoch != epochs:
        result.leave_out("epoch", epoch)
    percent, warmup = _number(values.get("lr_warmup")), _number(values.get("lr_warmup_steps"))
    if warmup and warmup >= 1:
        result.warmup_steps = int(warmup)
    elif warmup is not None:
        result.take("warmup_fraction", "lr_warmup_steps", warmup)
    elif percent is not None:
        result.take("warmup_fraction", "lr_warmup", percent / 100)


def _take_optimizer(result: OtherSettings, values: Mapping[str, Any]) -> None:
    given = str(values.get("optimizer_type") or values.get("optimizer") or "")
    name = OPTIMIZER_NAMES.get(given.casefold())
    if name is not None:
        result.take("optimizer", "optimizer", name)
    elif given:  # without one it is AdamW there, too
        result.leave_out("optimizer", given)
    unet, rate = _number(values.get("unet_lr")), _number(values.get("learning_rate"))
    setting, chosen = ("unet_lr", unet) if unet else ("learning_rate", rate)
    if unet and rate and unet != rate:
        result.leave_out("learning_rate", values["learning_rate"])
    if chosen:
        if any(kind in given.casefold() for kind in OWN_RATE):
            result.leave_out(setting, chosen)
        else:
            result.take("learning_rate", setting, chosen)
    if _number(values.get("text_encoder_lr")):
        result.leave_out("text_encoder_lr", values["text_encoder_lr"])
    given_args = values.get("optimizer_args") or []
    if isinstance(given_args, dict):
        given_args = [f"{name}={value}" for name, value in given_args.items()]
    for part in given_args if isinstance(given_args, list) else re.findall(r"\S+=\S+", str(given_args)):
        key, _, value = str(part).partition("=")
        if key.strip() == "weight_decay" and (decay := _number(value.strip())) is not None:
            result.take("weight_decay", "weight_decay", decay)
        else:
            result.leave_out("optimizer_args", part)
    _take_schedule(result, str(values.get("lr_scheduler") or values.get("lr_scheduler_type") or ""))


def _take_schedule(result: OtherSettings, name: str) -> None:
    kind = name.casefold()
    if kind in ("constant", "constant_with_warmup"):
        result.numbers["final_rate_fraction"] = 1.0
        if kind == "constant":
            result.numbers["warmup_fraction"] = result.numbers.get("warmup_fraction", 0.0)
    elif kind == "cosine":
        result.numbers["final_rate_fraction"] = 0.0
    elif kind:
        result.leave_out("lr_scheduler", name)


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
    _put_prompts(result, [prompt for prompt, _ in read], [negative for _, negative in read])


def _prompt_line(result: OtherSettings, line: str) -> tuple[str, str]:
    """Return the prompt and the negative prompt of a line such as `a house --n blurry --s 28 --d 1`."""
    prompt, *options = re.split(r"\s--(?=[a-z]+ )", f" {line}")
    negative = ""
    for option in options:
        key, _, value = option.partition(" ")
        number = _whole(value.strip())
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


def _put_prompts(result: OtherSettings, prompts: list[str], negatives: list[str]) -> None:
    given = [prompt for prompt in prompts if prompt]
    if given:
        result.take("preview_prompts", "sample_prompts", tuple(given[:MOST_PROMPTS]))
    for prompt in given[MOST_PROMPTS:]:
        result.leave_out("sample_prompts", prompt)
    different = list(dict.fromkeys(negative for negative in negatives if negative))
    if different:
        result.take("preview_negative", "sample_prompts --n", different[0])
    for negative in different[1:]:
        result.leave_out("sample_prompts --n", negative)


def _dataset(values: Mapping[str, Any]) -> OtherSettings:
    """Read sd-scripts' `--dataset_config`: [general], and [[datasets]] with their [[datasets.subsets]]."""
    result, together, repeats = OtherSettings("sd-scripts"), dict[str, Any](), set[int]()
    for where, table in _tables(values):
        for name, value in table.items():
            if name == "num_repeats":
                repeats.add(_count(value) or 1)
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
    return _kohya(together, result, None)


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


ONETRAINER: dict[str, tuple[str, Reading]] = {
    "lora_rank": ("rank", _whole),
    "lora_alpha": ("alpha", _number),
    "batch_size": ("batch", _whole),
    "gradient_accumulation_steps": ("gradient_accumulation", _whole),
    "resolution": ("resolution_px", _side),
    "offset_noise_weight": ("noise_offset", _number),
    "clip_grad_norm": ("grad_clip", _number),
    "unmasked_weight": ("unmasked_weight", _number),
    "learning_rate_min_factor": ("final_rate_fraction", _number),
}
# Parts of models that OneTrainer writes down whether a model has them or not.
ONETRAINER_PARTS = re.compile(
    r"prior|transformer|unconditional_transformer|text_encoder(_[234])?|vae|effnet_encoder|decoder.*|unet|embedding|"
    r"additional_embeddings|quantization|lokr_.*|oft_.*|dora_oft"
)
ONETRAINER_USUAL: dict[str, Any] = {
    "peft_type": "LORA", "mse_strength": 1.0, "vb_loss_strength": 1.0,
    "ema_decay": 0.999, "ema_update_step_interval": 5, "huber_delta": 1.0, "max_noising_strength": 1.0,
    "timestep_distribution": "UNIFORM", "timestep_shift": 1.0, "learning_rate_cycles": 1.0, "validate_after": 1,
    "validate_after_unit": "EPOCH", "frames": "25", "lora_decompose_norm_epsilon": True, "masked_training": True,
    "unmasked_probability": 0.0, "loss_weight_strength": 5.0, "non_ema_sampling": True, "save_every_unit": "NEVER",
    "bundle_additional_embeddings": True, "text_encoder_sequence_length": 512, "text_encoder_2_sequence_length": 77,
}  # fmt: skip
ONETRAINER_ELSEWHERE = frozenset(
    (
        "base_model_name", "epochs", "learning_rate", "learning_rate_warmup_steps", "learning_rate_scheduler", "optimizer",
        "samples", "concepts", "gradient_checkpointing", "loss_weight_fn", "loss_weight_strength", "sample_after",
        "sample_after_unit", "text_encoder_layer_skip", "save_filename_prefix", "layer_filter_preset",
    )
)  # fmt: skip


def _onetrainer(values: Mapping[str, Any]) -> OtherSettings:
    result = OtherSettings("OneTrainer")
    for name, value in values.items():
        if name in ONETRAINER:
            here, reading = ONETRAINER[name]
            _take_read(result, here, name, value, reading)
        elif ONETRAINER_PARTS.fullmatch(name) or name in ONETRAINER_ELSEWHERE:
            continue
        elif value not in OFF:
            _name_left_out(result, name, value, ONETRAINER_USUAL)
    method = values.get("training_method", "LORA")
    if method != "LORA":
        result.leave_out("training_method", method)
    result.base = str(values.get("base_model_name") or "")
    result.epochs = _count(values.get("epochs"))
    warmup = _number(values.get("learning_rate_warmup_steps"))
    if warmup is not None and warmup <= 1:
        result.take("warmup_fraction", "learning_rate_warmup_steps", warmup)
    elif warmup:
        result.warmup_steps = int(warmup)
    part = values.get("unet")
    unet = part if isinstance(part, dict) else {}
    given = values.get("optimizer")
    optimizer = given if isinstance(given, dict) else {"optimizer": given}
    names = {"ADAMW": "AdamW", "ADAMW_8BIT": "AdamW8bit"}
    kind = str(optimizer.get("optimizer") or "ADAMW")
    read = {
        "optimizer": names.get(kind, kind),
        "unet_lr": unet.get("learning_rate"),
        "learning_rate": values.get("learning_rate"),
        "lr_scheduler": values.get("learning_rate_scheduler"),
    }
    if _number(optimizer.get("weight_decay")) is not None:
        read["optimizer_args"] = [f"weight_decay={optimizer['weight_decay']}"]
    before = result.numbers.get("final_rate_fraction")
    _take_optimizer(result, read)
    if before is not None and str(read["lr_scheduler"]).casefold() == "cosine":
        result.numbers["final_rate_fraction"] = before
    if unet.get("train") is False:
        result.leave_out("unet.train", False)
    for encoder in ("text_encoder", "text_encoder_2"):
        about = values.get(encoder)
        if isinstance(about, dict) and about.get("train"):
            result.leave_out(f"{encoder}.train", True)
    layers = {"attn-only": "cross+self", "attn-mlp": "transformer", "full": "transformer"}
    preset = str(values.get("layer_filter_preset") or "full")
    result.numbers["layers"] = layers.get(preset, "transformer")
    if preset != "attn-mlp" and preset != "attn-only":
        result.leave_out("layer_filter_preset", preset)
    checkpointing = unet.get("gradient_checkpointing", values.get("gradient_checkpointing"))
    if checkpointing is not None:
        on = checkpointing not in (False, "OFF")
        result.take("gradient_checkpointing", "gradient_checkpointing", on)
    weighing = values.get("loss_weight_fn", "CONSTANT")
    if weighing == "MIN_SNR_GAMMA":
        result.take("min_snr_gamma", "loss_weight_strength", _number(values.get("loss_weight_strength", 5.0)))
    elif weighing == "CONSTANT":
        result.numbers["min_snr_gamma"] = 0.0
    else:
        result.leave_out("loss_weight_fn", weighing)
    if values.get("masked_training") is False:
        result.numbers["unmasked_weight"] = 1.0
    if skip := _whole(values.get("text_encoder_layer_skip")):
        result.take("clip_skip", "text_encoder_layer_skip", skip + 1)
    if values.get("sample_after_unit") == "STEP":
        result.take("preview_every", "sample_after", _whole(values.get("sample_after")))
    elif values.get("sample_after_unit") not in (None, "NEVER"):
        result.leave_out("sample_after", f"{values.get('sample_after')} {values['sample_after_unit']}")
    _take_concepts(result, values.get("concepts"))
    _take_samples(result, values.get("samples"))
    return result


def _take_concepts(result: OtherSettings, concepts: Any) -> None:
    used = [one for one in concepts if isinstance(one, dict)] if isinstance(concepts, list) else []
    used = [one for one in used if one.get("enabled", True)]
    result.folders += [str(one["path"]) for one in used if one.get("path")]
    repeats = {_number(one.get("balancing", one.get("repeats", 1.0))) or 1.0 for one in used}
    whole = _count(next(iter(repeats))) if len(repeats) == 1 else None
    if whole:
        result.repeats = whole
    elif repeats:
        result.leave_out("concepts.balancing", ", ".join(f"{count:g}" for count in sorted(repeats)))


def _take_samples(result: OtherSettings, samples: Any) -> None:
    used = [one for one in samples if isinstance(one, dict)] if isinstance(samples, list) else []
    used = [one for one in used if one.get("enabled", True) and one.get("prompt")]
    if not used:
        return
    _put_prompts(
        result,
        [str(one["prompt"]) for one in used],
        [str(one.get("negative_prompt") or "") for one in used],
    )
    if steps := _whole(used[0].get("diffusion_steps")):
        result.take("preview_steps", "samples.diffusion_steps", steps)
    if (seed := _whole(used[0].get("seed"))) is not None and not used[0].get("random_seed"):
        result.take("preview_seed", "samples.seed", seed)
