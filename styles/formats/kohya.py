"""The names that layers have in style files.

kohya writes `lora_unet_` and the diffusers module path with `.` as `_`, and per layer `.lora_down.weight`,
`.lora_up.weight` and `.alpha` (https://github.com/kohya-ss/sd-scripts, networks/lora.py). A1111, Forge,
ComfyUI, InvokeAI and diffusers read it. sd-scripts itself names SDXL's blocks in the original (SGM) way, which these
programs read as well; a few layers of SDXL only so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from styles.families import Family
from styles.formats.layer_keys import split
from styles.formats.layer_tables import is_layer

PREFIXES = {"unet": "lora_unet_", "te": "lora_te_", "te1": "lora_te1_", "te2": "lora_te2_"}
DOWN, UP, ALPHA = ".lora_down.weight", ".lora_up.weight", ".alpha"
# Others that stand before the same names: those of LyCORIS by itself, with which SimpleTuner trains, and of OneTrainer.
ALIKE = (
    ("lycoris_unet_", "unet"),
    ("lycoris_te_", "te"),
    ("lycoris_", "unet"),
    ("lycoris_", "te"),
    ("lora_", "unet"),
)

# The module names of diffusers' UNet and of CLIP that hold a `_`, so that it can be told from a `.`.
WITH_UNDERSCORE = [
    "down_blocks",
    "mid_block",
    "up_blocks",
    "transformer_blocks",
    "to_q",
    "to_k",
    "to_v",
    "to_out",
    "proj_in",
    "proj_out",
    "conv_in",
    "conv_out",
    "conv_shortcut",
    "time_emb_proj",
    "time_embedding",
    "add_embedding",
    "linear_1",
    "linear_2",
    "text_model",
    "text_projection",
    "self_attn",
    "q_proj",
    "k_proj",
    "v_proj",
    "out_proj",
]
PLAIN = [
    "attentions",
    "resnets",
    "downsamplers",
    "upsamplers",
    "attn1",
    "attn2",
    "ff",
    "net",
    "proj",
    "conv",
    "conv1",
    "conv2",
    "encoder",
    "layers",
    "mlp",
    "fc1",
    "fc2",
]
MODULE = re.compile(rf"({'|'.join(WITH_UNDERSCORE + PLAIN)}|\d{{1,3}})(?:_|$)")

# diffusers takes both layers of the first for one, A1111 looks for the second in a place where SDXL has another.
ONLY_AS_ORIGINAL = ("add_embedding.", "up_blocks.0.upsamplers.")


def kohya_name(network: str, path: str) -> str:
    """Return the kohya name of a layer, without the ending that tells its tensors apart."""
    if network != "unet" and not path.startswith(("text_model.", "text_projection")):
        path = f"text_model.{path}"  # transformers >= 5.6 has CLIPTextModel without this level
    return PREFIXES[network] + path.replace(".", "_")


def written_names(layers: Sequence[tuple[str, str]], family: Family) -> list[str]:
    """Return the names to write a style's layers under, given as (network, path): the blocks' all in one way.

    That of diffusers, unless the family has the original one, too, and a layer is read everywhere only there.
    """
    ours = [kohya_name(network, path) for network, path in layers]
    of_unet = [path for network, path in layers if network == "unet"]
    if not family.original_block_names or not any(path.startswith(ONLY_AS_ORIGINAL) for path in of_unet):
        return ours
    sgm = {path: name for path in of_unet if sgm_path(name := _sgm_name(path)) == path}
    if len(sgm) < len(of_unet):  # a base of other blocks
        return ours
    return [
        PREFIXES["unet"] + sgm[path] if network == "unet" else name
        for (network, path), name in zip(layers, ours, strict=True)
    ]


@lru_cache(maxsize=8192)  # the same few thousand names are in every file
def module_path(name: str) -> tuple[str, str] | None:
    """Return (network, diffusers module path) of a kohya name, None for one that no layer has."""
    for network, prefix in (*PREFIXES.items(), *((network, prefix) for prefix, network in ALIKE)):
        if name.startswith(prefix):
            rest = name.removeprefix(prefix)
            path = (network == "unet" and sgm_path(rest)) or _dotted(rest)
            if is_layer(network, path):
                return network, path
    return None


def layer_names(keys: Iterable[str]) -> dict[str, tuple[str, str, str]]:
    """Return (network, path, part) of the tensors whose names are kohya's; others are not in it."""
    names = {}
    for key in keys:
        both = split(key)
        if both and (place := module_path(both[0])):
            names[key] = (*place, both[1])
    return names


def _dotted(name: str) -> str:
    """Put the dots back into a kohya name; empty where a part of it is unknown."""
    parts, position = [], 0
    while position < len(name):
        match = MODULE.match(name, position)
        if not match:
            return ""
        parts.append(match[1])
        position = match.end()
    return "" if name.endswith("_") else ".".join(parts)


SGM = re.compile(r"(input_blocks|middle_block|output_blocks)_(\d{1,2})(?:_(\d))?(?:_(.+))?")
SGM_WHOLE = {
    "input_blocks_0_0": "conv_in",
    "out_2": "conv_out",
    "time_embed_0": "time_embedding.linear_1",
    "time_embed_2": "time_embedding.linear_2",
    "label_emb_0_0": "add_embedding.linear_1",
    "label_emb_0_2": "add_embedding.linear_2",
}
SGM_RESNET = {
    "in_layers_2": "conv1",
    "out_layers_3": "conv2",
    "emb_layers_1": "time_emb_proj",
    "skip_connection": "conv_shortcut",
}


def sgm_path(name: str) -> str:
    """Return the diffusers path of a name with SGM blocks (two layers in each block); empty for others."""
    if name in SGM_WHOLE:
        return SGM_WHOLE[name]
    match = SGM.fullmatch(name)
    if not match:
        return ""
    part, number, which, rest = match[1], int(match[2]), match[3], match[4] or ""
    if part == "middle_block":  # resnet, transformer, resnet, without a second number
        place = "mid_block.attentions.0" if number == 1 else f"mid_block.resnets.{number // 2}"
        return _within(place, rest, transformer=number == 1)
    if part == "input_blocks":
        block, layer, side = (number - 1) // 3, (number - 1) % 3, "down"
        if rest == "op":
            return f"down_blocks.{block}.downsamplers.0.conv"
    else:
        block, layer, side = number // 3, number % 3, "up"
        if rest == "conv":
            return f"up_blocks.{block}.upsamplers.0.conv"
    kind = "resnets" if which == "0" else "attentions"
    return _within(f"{side}_blocks.{block}.{kind}.{layer}", rest, transformer=which == "1")


SGM_OF_WHOLE = {path: name for name, path in SGM_WHOLE.items()}
SGM_OF_RESNET = {path: name for name, path in SGM_RESNET.items()}
PLACE = re.compile(
    r"(down_blocks|mid_block|up_blocks)(?:\.(\d))?\.(attentions|resnets|(?:down|up)samplers)\.(\d)\.(.+)"
)


def _sgm_name(path: str) -> str:
    """Return the name of a UNet's layer with SGM blocks, as SDXL has them; the reverse of `sgm_path`, empty for others."""
    if path in SGM_OF_WHOLE:
        return SGM_OF_WHOLE[path]
    match = PLACE.fullmatch(path)
    if match is None or int(match[4]) > 1 + (match[1] == "up_blocks"):
        return ""
    way, block, kind, layer, inner = match[1], int(match[2] or 0), match[3], int(match[4]), match[5]
    if kind == "downsamplers":
        return f"input_blocks_{3 * block + 3}_0_op"
    if kind == "upsamplers":  # behind a resnet and a transformer
        return f"output_blocks_{3 * block + 2}_2_conv"
    rest = inner.replace(".", "_") if kind == "attentions" else SGM_OF_RESNET.get(inner, "")
    which = int(kind == "attentions")
    if way == "mid_block":
        return f"middle_block_{1 if which else 2 * layer}_{rest}"
    number = 3 * block + layer + (way == "down_blocks")
    return f"{'input' if way == 'down_blocks' else 'output'}_blocks_{number}_{which}_{rest}"


def _within(place: str, rest: str, transformer: bool) -> str:
    inner = _dotted(rest) if transformer else SGM_RESNET.get(rest, "")
    return f"{place}.{inner}" if inner else ""
