"""How a UNet is built, by the names and shapes of its tensors in the original layout: distilled ones have fewer blocks.

The original layout (CompVis' openaimodel.py) numbers its blocks through all levels. `input_blocks.0` is the first
convolution; then each level has its resnets at `.0`, with a transformer beside them at `.1`, and a block of its own for
the downsampler. `output_blocks` have one resnet more a level, and the upsampler in the level's last block.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from styles.errors import BaseError

RESNET = "0.in_layers.2.weight"
DOWNSAMPLER, UPSAMPLERS = ("0.op.weight",), ("1.conv.weight", "2.conv.weight")
TRANSFORMER = re.compile(r"(.+)\.1\.transformer_blocks\.(\d{1,3})\.")


def unet_config_of_file(tensors: Mapping[str, Any], usual: Mapping[str, Any], file: str) -> dict[str, Any]:
    """Return the config of a UNet in the original layout: `usual`, its family's, with the blocks that it really has.

    `tensors` are a header's entries, by their names behind `model.diffusion_model.`. Raises BaseError for a structure
    that diffusers' UNet2DConditionModel can't have.
    """
    depths = _depths(tensors)
    down, up = _levels(tensors, "input_blocks", DOWNSAMPLER), _levels(tensors, "output_blocks", UPSAMPLERS)
    resnets, last = len(down[0]), down[-1][:1]
    middle = depths.get("middle_block", 1)
    built: dict[str, Any] = {
        "block_out_channels": [_width(tensors, level) for level in down],
        "layers_per_block": resnets,
        "mid_block_type": _middle_type(tensors),
        "down_block_types": [_block_type(level, depths, "Down") for level in down],
        "up_block_types": [_block_type(level, depths, "Up") for level in up],
        "transformer_layers_per_block": [[depths.get(block, 1) for block in level] for level in down],
        "reverse_transformer_layers_per_block": [[depths.get(block, 1) for block in level] for level in up],
    }
    # diffusers builds the middle by the last level's depth, which has none of its own where it has no attention.
    if last and last[0] not in depths:
        built["transformer_layers_per_block"][-1] = [middle] * resnets
    elif "middle_block" in depths and last and depths[last[0]] != middle:
        built["mid_block_type"] = ""
    lengths = [len(level) for level in (*down, *up)]
    sound = lengths == [resnets] * len(down) + [resnets + 1] * len(down) and resnets > 0
    if not sound or "" in (built["mid_block_type"], *built["down_block_types"], *built["up_block_types"]):
        raise BaseError(
            "{file} has a UNet whose blocks ({down} levels down, {up} up) can't be opened from a single file.",
            "Use this base as a folder in diffusers layout, whose configs say how it is built.",
            file=file,
            down=len(down),
            up=len(up),
        )
    if built == _built_by(usual):
        return dict(usual)
    heads = usual.get("attention_head_dim", 8)
    if isinstance(heads, list):  # each head is as wide in every level
        first = usual["block_out_channels"][0]
        built["attention_head_dim"] = [width * heads[0] // first for width in built["block_out_channels"]]
    return {**usual, **built}


def _built_by(config: Mapping[str, Any]) -> dict[str, Any]:
    """The same words for what a config says in shorter ones."""
    resnets, depth = config["layers_per_block"], config.get("transformer_layers_per_block", 1)
    levels = [depth] * len(config["block_out_channels"]) if isinstance(depth, int) else depth
    return {
        "mid_block_type": "UNetMidBlock2DCrossAttn",
        **{name: config[name] for name in ("block_out_channels", "layers_per_block")},
        **{
            name: config[name]
            for name in ("mid_block_type", "down_block_types", "up_block_types")
            if name in config
        },
        "transformer_layers_per_block": [[one] * resnets for one in levels],
        "reverse_transformer_layers_per_block": [[one] * (resnets + 1) for one in levels[::-1]],
    }


def _levels(tensors: Mapping[str, Any], side: str, samplers: tuple[str, ...]) -> list[list[str]]:
    """The blocks with a resnet by level, in the order of their numbers."""
    levels: list[list[str]] = [[]]
    number = 1 if side == "input_blocks" else 0
    while True:
        block = f"{side}.{number}"
        resnet, sampler = f"{block}.{RESNET}" in tensors, any(f"{block}.{one}" in tensors for one in samplers)
        if not resnet and not sampler:
            return levels
        if resnet:
            levels[-1].append(block)
        if sampler:
            levels.append([])
        number += 1


def _depths(tensors: Mapping[str, Any]) -> dict[str, int]:
    """How many transformer layers each block has, by its name; blocks without attention are left out."""
    depths: dict[str, int] = {}
    for name in tensors:
        if at := TRANSFORMER.match(name):
            depths[at[1]] = max(depths.get(at[1], 0), int(at[2]) + 1)
    return depths


def _width(tensors: Mapping[str, Any], level: list[str]) -> int:
    shape = tensors[f"{level[0]}.{RESNET}"]["shape"] if level else ()
    return int(shape[0]) if shape else 0


def _block_type(level: list[str], depths: Mapping[str, int], way: str) -> str:
    """diffusers' name of a level; empty where some of its resnets have attention and others don't."""
    attended = {block in depths for block in level}
    return "" if len(attended) > 1 else f"{'CrossAttn' if True in attended else ''}{way}Block2D"


def _middle_type(tensors: Mapping[str, Any]) -> str | None:
    """diffusers' name of the middle, None where there is none; empty for one that it doesn't have."""
    parts = {name.split(".")[1] for name in tensors if name.startswith("middle_block.")}
    if not parts:
        return None
    return {("0",): "UNetMidBlock2D", ("0", "1", "2"): "UNetMidBlock2DCrossAttn"}.get(
        tuple(sorted(parts)), ""
    )
