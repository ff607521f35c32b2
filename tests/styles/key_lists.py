"""The tensors that other tools write, by name and shape: recorded from their files, as short tables of numbers.

Independent of how Atelier thinks of these names: each list is spelt out from the blocks of its scheme.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Block:
    """A stack of transformer layers: what it is called, its width, and how many layers it has."""

    name: str
    width: int
    depth: int


def _blocks(pattern: str, rows: list[tuple[str, list[int], int, int]]) -> list[Block]:
    return [
        Block(pattern.format(place, number), width, depth)
        for place, numbers, width, depth in rows
        for number in numbers
    ]


# (level, numbers, width, transformer layers); SD1 and SD2 have the same blocks.
SD_DOWN = [("0", [0, 1], 320, 1), ("1", [0, 1], 640, 1), ("2", [0, 1], 1280, 1)]
SD_UP = [("1", [0, 1, 2], 1280, 1), ("2", [0, 1, 2], 640, 1), ("3", [0, 1, 2], 320, 1)]
SD_BLOCKS = [
    *_blocks("down_blocks.{}.attentions.{}", SD_DOWN),
    *_blocks("up_blocks.{}.attentions.{}", SD_UP),
    Block("mid_block.attentions.0", 1280, 1),
]
SDXL_DOWN = [("1", [0, 1], 640, 2), ("2", [0, 1], 1280, 10)]
SDXL_UP = [("0", [0, 1, 2], 1280, 10), ("1", [0, 1, 2], 640, 2)]
SDXL_BLOCKS = [
    *_blocks("down_blocks.{}.attentions.{}", SDXL_DOWN),
    *_blocks("up_blocks.{}.attentions.{}", SDXL_UP),
    Block("mid_block.attentions.0", 1280, 10),
]
# As sd-scripts names the same ones, with the numbers of the original (SGM) UNet.
SDXL_SGM_BLOCKS = [
    *(Block(f"input_blocks.{number}.1", 640, 2) for number in (4, 5)),
    *(Block(f"input_blocks.{number}.1", 1280, 10) for number in (7, 8)),
    Block("middle_block.1", 1280, 10),
    *(Block(f"output_blocks.{number}.1", 1280, 10) for number in (0, 1, 2)),
    *(Block(f"output_blocks.{number}.1", 640, 2) for number in (3, 4, 5)),
]
# SD1's and SD2's in the original names, in the order of SD_BLOCKS.
SD_SGM_BLOCKS = [
    *(
        Block(f"input_blocks.{number}.1", width, 1)
        for number, width in ((1, 320), (2, 320), (4, 640), (5, 640))
    ),
    *(Block(f"input_blocks.{number}.1", 1280, 1) for number in (7, 8)),
    *(Block(f"output_blocks.{number}.1", 1280, 1) for number in (3, 4, 5)),
    *(Block(f"output_blocks.{number}.1", 640, 1) for number in (6, 7, 8)),
    *(Block(f"output_blocks.{number}.1", 320, 1) for number in (9, 10, 11)),
    Block("middle_block.1", 1280, 1),
]
ORIGINAL_BLOCKS = {"sd1": SD_SGM_BLOCKS, "sd2": SD_SGM_BLOCKS, "sdxl": SDXL_SGM_BLOCKS}
BLOCKS = {"sd1": SD_BLOCKS, "sd2": SD_BLOCKS, "sdxl": SDXL_BLOCKS}
WORDS = {"sd1": 768, "sd2": 1024, "sdxl": 2048}
# (width, width of the MLP, layers)
ENCODERS = {
    "sd1": {"te": (768, 3072, 12)},
    "sd2": {"te": (1024, 4096, 23)},
    "sdxl": {"te1": (768, 3072, 12), "te2": (1280, 5120, 32)},
}
Layers = Iterator[tuple[str, int, int]]  # (dotted name, inputs, outputs)


def attention_layers(family: str, blocks: list[Block] | None = None, kinds: str = "12") -> Layers:
    """The attention projections of the blocks; `kinds` are the attentions, 1 for self, 2 for cross."""
    for block in blocks or BLOCKS[family]:
        for layer in range(block.depth):
            for kind in kinds:
                name = f"{block.name}.transformer_blocks.{layer}.attn{kind}"
                words = WORDS[family] if kind == "2" else block.width
                yield f"{name}.to_q", block.width, block.width
                yield f"{name}.to_k", words, block.width
                yield f"{name}.to_v", words, block.width
                yield f"{name}.to_out.0", block.width, block.width


def transformer_layers(family: str, blocks: list[Block] | None = None) -> Layers:
    """What sd-scripts changes by default: attentions, feed-forward and projections."""
    blocks = blocks or BLOCKS[family]
    yield from attention_layers(family, blocks)
    for block in blocks:
        yield f"{block.name}.proj_in", block.width, block.width
        yield f"{block.name}.proj_out", block.width, block.width
        for layer in range(block.depth):
            name = f"{block.name}.transformer_blocks.{layer}.ff.net"
            yield f"{name}.0.proj", block.width, 8 * block.width
            yield f"{name}.2", 4 * block.width, block.width


def encoder_layers(family: str, network: str) -> Layers:
    width, inner, layers = ENCODERS[family][network]
    for layer in range(layers):
        name = f"text_model.encoder.layers.{layer}"
        for side in ("q", "k", "v", "out"):
            yield f"{name}.self_attn.{side}_proj", width, width
        yield f"{name}.mlp.fc1", width, inner
        yield f"{name}.mlp.fc2", inner, width


# (name in diffusers, name in SGM, inputs, outputs, kernel) of SD1's and SDXL's convolutions, a few of each kind.
CONVOLUTIONS = {
    "sd1": [
        ("conv_in", "input_blocks.0.0", 4, 320, 3),
        ("down_blocks.0.resnets.0.conv1", "input_blocks.1.0.in_layers.2", 320, 320, 3),
        ("down_blocks.0.resnets.1.conv2", "input_blocks.2.0.out_layers.3", 320, 320, 3),
        ("down_blocks.0.downsamplers.0.conv", "input_blocks.3.0.op", 320, 320, 3),
        ("down_blocks.1.resnets.0.conv_shortcut", "input_blocks.4.0.skip_connection", 320, 640, 1),
        ("down_blocks.3.resnets.1.time_emb_proj", "input_blocks.11.0.emb_layers.1", 1280, 1280, 1),
        ("mid_block.resnets.1.conv1", "middle_block.2.in_layers.2", 1280, 1280, 3),
        ("up_blocks.0.resnets.2.conv1", "output_blocks.2.0.in_layers.2", 2560, 1280, 3),
        ("up_blocks.0.upsamplers.0.conv", "output_blocks.2.1.conv", 1280, 1280, 3),
        ("up_blocks.1.resnets.2.conv1", "output_blocks.5.0.in_layers.2", 1920, 1280, 3),
        ("up_blocks.1.upsamplers.0.conv", "output_blocks.5.2.conv", 1280, 1280, 3),
        ("up_blocks.3.resnets.0.conv1", "output_blocks.9.0.in_layers.2", 960, 320, 3),
        ("up_blocks.3.resnets.2.conv_shortcut", "output_blocks.11.0.skip_connection", 640, 320, 1),
        ("time_embedding.linear_1", "time_embed.0", 320, 1280, 1),
        ("conv_out", "out.2", 320, 4, 3),
    ],
    "sdxl": [
        ("conv_in", "input_blocks.0.0", 4, 320, 3),
        ("down_blocks.0.resnets.1.conv1", "input_blocks.2.0.in_layers.2", 320, 320, 3),
        ("down_blocks.0.downsamplers.0.conv", "input_blocks.3.0.op", 320, 320, 3),
        ("down_blocks.1.resnets.0.conv_shortcut", "input_blocks.4.0.skip_connection", 320, 640, 1),
        ("mid_block.resnets.0.conv2", "middle_block.0.out_layers.3", 1280, 1280, 3),
        ("up_blocks.0.resnets.2.conv1", "output_blocks.2.0.in_layers.2", 1920, 1280, 3),
        ("up_blocks.0.upsamplers.0.conv", "output_blocks.2.2.conv", 1280, 1280, 3),
        ("up_blocks.2.resnets.0.conv1", "output_blocks.6.0.in_layers.2", 960, 320, 3),
        ("time_embedding.linear_2", "time_embed.2", 1280, 1280, 1),
        ("add_embedding.linear_1", "label_emb.0.0", 2816, 1280, 1),
        ("conv_out", "out.2", 320, 4, 3),
    ],
}
