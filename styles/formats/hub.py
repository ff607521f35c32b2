"""A style as diffusers' own file, `pytorch_lora_weights.safetensors`: what `load_lora_weights` of a Hub folder takes.

Names are those of the modules, below `unet`, `text_encoder` and `text_encoder_2`; ranks and strengths stand in PEFT's
settings in the header (diffusers 0.42, loaders/lora_base.py, `_pack_dict_with_prefix`). Unlike a file with kohya's
names it says each layer's own alpha, and diffusers finds every layer of a UNet in it.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from styles.errors import StyleFileError
from styles.formats.half_precision import fit_for_fp16, fp16
from styles.formats.safetensors_header import split_file
from styles.formats.style import Style, StyleLayer

if TYPE_CHECKING:
    from torch import Tensor

HUB_WEIGHTS = "pytorch_lora_weights.safetensors"
MODELS = {"unet": "unet", "te": "text_encoder", "te1": "text_encoder", "te2": "text_encoder_2"}


def hub_bytes(style: Style, metadata_for: Callable[[str], dict[str, str]]) -> bytes:
    """Return the file of a style's layers, fp16.

    `metadata_for` gives what it says of the style, from the sha256 of its tensor section. Raises StyleFileError for a
    style that can't be written.
    """
    from safetensors.torch import save

    tensors: dict[str, Tensor] = {}
    settings: dict[str, Any] = {}
    for network, model in MODELS.items():
        layers = [fit_for_fp16(layer) for layer in style.layers if layer.network == network]
        for layer in layers:
            tensors[f"{model}.{layer.path}.lora_A.weight"] = fp16(layer.down, layer)
            tensors[f"{model}.{layer.path}.lora_B.weight"] = fp16(layer.up, layer)
        if layers:
            settings |= {f"{model}.{key}": value for key, value in _settings(layers).items()}
    if not tensors:
        raise StyleFileError("A style without layers can't be written.")
    metadata = {"format": "pt", "lora_adapter_metadata": json.dumps(settings, sort_keys=True)}
    sha256 = hashlib.sha256(split_file(save(tensors))[1]).hexdigest()
    return save(tensors, metadata | metadata_for(sha256))


def _settings(layers: Sequence[StyleLayer]) -> dict[str, Any]:
    """PEFT's settings of one network; its patterns match the end of a module's path."""
    rank = Counter(layer.rank for layer in layers).most_common(1)[0][0]
    alpha = Counter(layer.alpha for layer in layers).most_common(1)[0][0]
    # transformers >= 5.6 has CLIPTextModel without this level; without it a path ends alike in all versions.
    paths = {layer.path.removeprefix("text_model."): layer for layer in layers}
    return {
        "r": rank,
        "lora_alpha": alpha,
        "rank_pattern": {path: layer.rank for path, layer in paths.items() if layer.rank != rank},
        "alpha_pattern": {path: layer.alpha for path, layer in paths.items() if layer.alpha != alpha},
        "target_modules": sorted(paths),
        "lora_dropout": 0.0,
        "bias": "none",
        "use_rslora": False,
        "use_dora": False,
    }
