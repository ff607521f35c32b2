"""A style as a PEFT folder: `adapter_config.json` and `adapter_model.safetensors`, one folder for each network.

The UNet's adapter stands in the folder itself, a text encoder's in `text_encoder/` or `text_encoder_2/` below it
(https://huggingface.co/docs/peft/developer_guides/checkpoint). PEFT takes rank and alpha from the configuration;
diffusers' `load_lora_adapter` takes them from the same numbers in the file's own header.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from styles.alphas import fit_for_fp16
from styles.errors import StyleFileError
from styles.style import Style, StyleLayer
from styles.style_writing import fp16

if TYPE_CHECKING:
    from torch import Tensor

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
ROOT = "base_model.model"
FOLDERS = {"unet": "", "te": "text_encoder/", "te1": "text_encoder/", "te2": "text_encoder_2/"}


def peft_files(style: Style, metadata_for: Callable[[str], dict[str, str]]) -> dict[str, bytes]:
    """Return the files of a style's PEFT folder, by their path in it.

    `metadata_for` gives what each file of tensors says of the style, from the sha256 of its tensor section. Raises
    StyleFileError for a style that can't be written.
    """
    files: dict[str, bytes] = {}
    for network, folder in FOLDERS.items():
        layers = [fit_for_fp16(layer) for layer in style.layers if layer.network == network]
        if not layers:
            continue
        config = _config(layers, style.card.base_name)
        tensors = {}
        for layer in layers:
            name = f"{ROOT}.{_module_path(layer)}"
            tensors[f"{name}.lora_A.weight"] = fp16(layer.down, layer)
            tensors[f"{name}.lora_B.weight"] = fp16(layer.up, layer)
        files[folder + WEIGHTS] = _weights(tensors, config, metadata_for)
        files[folder + CONFIG] = (json.dumps(config, indent=2, sort_keys=True) + "\n").encode("utf-8")
    if not files:
        raise StyleFileError("A style without layers can't be written.")
    return files


def _config(layers: Sequence[StyleLayer], base_name: str) -> dict[str, Any]:
    rank = Counter(layer.rank for layer in layers).most_common(1)[0][0]
    alpha = Counter(layer.alpha for layer in layers).most_common(1)[0][0]
    paths = {_module_path(layer): layer for layer in layers}
    return {
        "peft_type": "LORA",
        "task_type": None,
        "base_model_name_or_path": base_name or None,
        "r": rank,
        "lora_alpha": alpha,
        "rank_pattern": {path: layer.rank for path, layer in paths.items() if layer.rank != rank},
        "alpha_pattern": {path: layer.alpha for path, layer in paths.items() if layer.alpha != alpha},
        "target_modules": sorted(paths),
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "use_rslora": False,
        "use_dora": False,
        "init_lora_weights": True,
        "inference_mode": True,
    }


def _weights(
    tensors: dict[str, Tensor], config: dict[str, Any], metadata_for: Callable[[str], dict[str, str]]
) -> bytes:
    from safetensors.torch import save

    plain = save(tensors)
    sha256 = hashlib.sha256(plain[8 + int.from_bytes(plain[:8], "little") :]).hexdigest()
    adapter = {f"{ROOT}.{key}": value for key, value in config.items() if key != "base_model_name_or_path"}
    metadata = {"format": "pt", "lora_adapter_metadata": json.dumps(adapter, sort_keys=True)}
    return save(tensors, metadata | metadata_for(sha256))


def _module_path(layer: StyleLayer) -> str:
    # transformers >= 5.6 has CLIPTextModel without this level, CLIPTextModelWithProjection (te2) with it.
    return layer.path if layer.network in ("unet", "te2") else layer.path.removeprefix("text_model.")
