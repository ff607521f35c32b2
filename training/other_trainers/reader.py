"""Which program a settings file is of: kohya_ss's JSON, sd-scripts' TOML or OneTrainer's JSON."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from styles.errors import BadInput
from styles.storage.file_reading import json_of, read_bytes, why
from styles.storage.names import clean_text
from training.artworks.encodings import text_of
from training.other_trainers.kohya import LARGEST_FILE, read_dataset, read_kohya
from training.other_trainers.onetrainer import read_onetrainer
from training.other_trainers.settings import OtherSettings


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
            return read_dataset(values)
        if "training_method" in values or "base_model_name" in values or "lora_rank" in values:
            return read_onetrainer(values)
        flat = _flat(values)
        if {"network_dim", "pretrained_model_name_or_path", "train_batch_size", "optimizer_type"} & set(flat):
            program = "sd-scripts" if path.suffix.lower() == ".toml" else "kohya_ss"
            return read_kohya(flat, OtherSettings(program), folder)
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
