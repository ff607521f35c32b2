"""Names with dots, as diffusers, PEFT, OneTrainer and SimpleTuner write them: which of them other programs look up.

ComfyUI (comfy/lora.py and comfy/weight_adapter/lora.py) and Forge (packages_3rdparty/comfyui_lora_collection/lora.py)
make a table of the open base's layers in several ways of writing, and of each they try several endings. Attention layers
of a UNet stand in it as `processor.to_k` alone, so that they find diffusers' oldest names and not those of today.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

WORDS_LAYER = r"text_model\.encoder\.layers\.\d+\.(?:mlp\.fc[12]|self_attn\.(?:q|k|v|out)_proj)"
INNER = (
    r"(?:proj_in|proj_out"
    r"|transformer_blocks\.\d+\.(?:attn[12]\.processor\.to_(?:q|k|v|out)|ff\.net\.(?:0\.proj|2)))"
)
RESNET = r"resnets\.\d\.(?:conv1|conv2|time_emb_proj|conv_shortcut)"
UNET = (
    r"(?:conv_in|conv_out|(?:time|add)_embedding\.linear_[12]"
    rf"|(?:down|up)_blocks\.\d\.(?:attentions\.\d\.{INNER}|{RESNET})|down_blocks\.\d\.downsamplers\.0\.conv"
    rf"|up_blocks\.\d\.upsamplers\.0\.conv|mid_block\.(?:attentions\.0\.{INNER}|{RESNET}))"
)
ORIGINAL = r"diffusion_model\.(?:input_blocks|middle_block|output_blocks|time_embed|label_emb|out)\..+"
ENDING = (
    r"(?:_lora\.(?:up|down)|\.lora_[AB]|\.lora\.(?:up|down)|\.lora_linear_layer\.(?:up|down)|\.lora_(?:up|down))"
    r"\.weight|\.alpha"
)
NAMED = re.compile(rf"(?P<layer>.+?)(?:{ENDING})")
LYCORIS = re.compile(r"(?P<layer>lycoris_[a-z0-9_]+)\..+")
# The names that are known to be looked up or not; of others nothing is known.
SCHEMES = re.compile(
    r"(?:unet|text_encoder|text_encoder_2|base_model|diffusion_model|text_encoders|down_blocks|mid_block|up_blocks)\.|lycoris_"
)
FORGE_LAYER = re.compile(rf"(?:unet\.)?{UNET}|text_encoder(?:_2)?\.{WORDS_LAYER}|{ORIGINAL}|lycoris_.+")
COMFYUI_LAYER = re.compile(rf"{FORGE_LAYER.pattern}|text_encoders\.clip_[lgh]\..+")


def is_known_scheme(keys: Iterable[str]) -> bool:
    """Whether all names are of a way of writing of which it is known who reads it."""
    return all(SCHEMES.match(key) for key in keys)


def layers_of(keys: Iterable[str]) -> Mapping[str, list[str]]:
    """Return the names of each layer's tensors, by the layer's; what has no known ending is a layer by itself."""
    layers: dict[str, list[str]] = {}
    for key in keys:
        match = LYCORIS.fullmatch(key) or NAMED.fullmatch(key)
        layers.setdefault(match["layer"] if match else key, []).append(key)
    return layers


def has_other_strength(metadata: Mapping[str, str]) -> bool:
    """Whether PEFT's settings in the header tell an alpha that is not the rank, which only diffusers reads there."""
    try:
        values = json.loads(metadata.get("lora_adapter_metadata", "{}"))
    except (ValueError, RecursionError):
        return False
    if not isinstance(values, dict):
        return False
    roots = {key.removesuffix("lora_alpha") for key in values if key.endswith("lora_alpha")}
    return any(_differs(values, root) for root in roots)


def _differs(values: Mapping[str, Any], root: str) -> bool:
    own = (values.get(f"{root}alpha_pattern"), values.get(f"{root}rank_pattern"))
    return values[f"{root}lora_alpha"] != values.get(f"{root}r") or any(own)
