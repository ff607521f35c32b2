"""How the UNets of distilled bases are built, beside their families', in diffusers' words.

BK-SDM: https://github.com/Nota-NetsPresso/BK-SDM, src/unet_config (Segmind's small-sd and tiny-sd are built like its
small and tiny). SSD-1B and Segmind-Vega: their unet/config.json on the Hub.
"""

from __future__ import annotations

from typing import Any

BK_BASE: dict[str, Any] = {"layers_per_block": 1}
BK_SMALL: dict[str, Any] = {"layers_per_block": 1, "mid_block_type": None}
BK_TINY: dict[str, Any] = {
    "layers_per_block": 1,
    "mid_block_type": None,
    "block_out_channels": [320, 640, 1280],
    "down_block_types": ["CrossAttnDownBlock2D"] * 3,
    "up_block_types": ["CrossAttnUpBlock2D"] * 3,
}
SSD_1B: dict[str, Any] = {
    "mid_block_type": "UNetMidBlock2D",
    "transformer_layers_per_block": [1, [2, 2], [4, 4]],
    "reverse_transformer_layers_per_block": [[4, 4, 10], [2, 1, 1], 1],
}
VEGA: dict[str, Any] = {
    "mid_block_type": "UNetMidBlock2D",
    "transformer_layers_per_block": [1, [1, 1], [2, 2]],
    "reverse_transformer_layers_per_block": [[2, 2, 2], [1, 1, 1], 1],
}
# (family, structure, parameters of the UNet in millions as published)
DISTILLED = {
    "bk-base": ("sd1", BK_BASE, 580),
    "bk-small": ("sd1", BK_SMALL, 490),
    "bk-tiny": ("sd1", BK_TINY, 330),
    "ssd-1b": ("sdxl", SSD_1B, 1300),
    "vega": ("sdxl", VEGA, 745),
}

SD1_BLOCKS: dict[str, Any] = {
    "block_out_channels": [32, 32, 64, 64],
    "layers_per_block": 2,
    "down_block_types": [*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"],
    "up_block_types": ["UpBlock2D", *["CrossAttnUpBlock2D"] * 3],
}
SDXL_BLOCKS: dict[str, Any] = {
    "block_out_channels": [32, 32, 64],
    "layers_per_block": 2,
    "down_block_types": ["DownBlock2D", *["CrossAttnDownBlock2D"] * 2],
    "up_block_types": [*["CrossAttnUpBlock2D"] * 2, "UpBlock2D"],
    "transformer_layers_per_block": [1, 2, 10],
}
WHOLE = {"sd1": ("sd1", SD1_BLOCKS), "sdxl": ("sdxl", SDXL_BLOCKS)}


def small_structure(kind: str) -> tuple[str, dict[str, Any]]:
    """Return (family, `unet_config` for a tiny base) of a distilled one: its blocks, and small widths."""
    family, structure, _ = DISTILLED[kind]
    blocks = SD1_BLOCKS if family == "sd1" else SDXL_BLOCKS
    structure = blocks | structure
    widths = blocks["block_out_channels"][: len(structure["block_out_channels"])]
    return family, structure | {"block_out_channels": widths}
