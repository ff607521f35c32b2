"""What a settings file of another trainer comes to here: the numbers that are taken over, and the lines that are not."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from styles.errors import PlanError
from styles.storage.names import clean_text
from styles.text import Text
from training.other_trainers.values import OFF, Reading
from training.settings import TrainingSettings

MOST_PROMPTS = 8
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
    r"enable_autocast_cache|.*gradient_reduce.*|prefetch_next_batch|model_type)"
)


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


def take_read(result: OtherSettings, here: str, name: str, value: Any, reading: Reading) -> None:
    """Take a value over as `here`, or name it where it can't be read or is out of range."""
    read = reading(value)
    if read is not None:
        result.take(here, name, read)
    elif value not in OFF:
        result.leave_out(name, value)


def readable(
    result: OtherSettings, values: Mapping[str, Any], forms: Mapping[str, Reading]
) -> dict[str, Any]:
    """Return the values without those that can't be read in the form that their name has, which are named."""
    kept = {}
    for name, value in values.items():
        if name in forms and value not in OFF and forms[name](value) is None:
            result.leave_out(name, value)
        else:
            kept[name] = value
    return kept


def name_left_out(result: OtherSettings, name: str, value: Any, usual: Mapping[str, Any]) -> None:
    """Name a setting that this plan doesn't have; `usual` are the values that stand for nothing chosen."""
    if WITHOUT_EFFECT.fullmatch(name) or (name in usual and usual[name] == value):
        result.without_effect.append(clean_text(name, 80))
    else:
        result.leave_out(name, value)


def take_prompt_texts(result: OtherSettings, prompts: list[str], negatives: list[str]) -> None:
    """Take prompts of samples as preview prompts, of which there is one negative for all."""
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
