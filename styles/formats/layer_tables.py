"""The layers that each family's networks have, and their sizes: what a file's shapes prove.

The sizes follow from a few numbers of each architecture (diffusers' UNet2DConditionModel, transformers' CLIP text
models); a test compares them with the real networks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Architecture:
    """The numbers that the layers of a family's UNet and text encoders follow from."""

    channels: tuple[int, ...]  # of each level, from the top
    depth: tuple[int, ...]  # transformer layers of each level's attention; 0 where it has none
    middle: int  # the same of the block in the middle
    resnets: int  # per level on the way down; one more on the way up
    words: int  # width of the text states that cross-attention reads
    encoders: dict[str, tuple[int, int, int]]  # network: (width, width of its MLP, layers)
    latents: int = 4  # channels
    added: int = 0  # width of what is embedded beside the time (SDXL)


CLIP_L = (768, 3072, 12)
ARCHITECTURES = {
    "starter": Architecture((64, 128, 192), (2, 2, 1), 1, 1, 256, {"te": (256, 768, 4)}, latents=8),
    "sd1": Architecture((320, 640, 1280, 1280), (1, 1, 1, 0), 1, 2, 768, {"te": CLIP_L}),
    "sd2": Architecture((320, 640, 1280, 1280), (1, 1, 1, 0), 1, 2, 1024, {"te": (1024, 4096, 23)}),
    "sdxl": Architecture(
        (320, 640, 1280), (0, 2, 10), 10, 2, 2048, {"te1": CLIP_L, "te2": (1280, 5120, 32)}, added=2816
    ),
}

TRANSFORMER = (
    r"attentions\.(\d{1,2})\.(proj_in|proj_out|"
    r"transformer_blocks\.(\d{1,2})\.(attn[12]\.to_(?:q|k|v|out\.0)|ff\.net\.(?:0\.proj|2)))"
)
RESNET = r"resnets\.(\d{1,2})\.(conv1|conv2|conv_shortcut|time_emb_proj)"
SAMPLER = r"(?:down|up)samplers\.0\.conv"
BLOCK = re.compile(
    rf"(down_blocks|mid_block|up_blocks)(?:\.(\d{{1,2}}))?\.(?:{TRANSFORMER}|{RESNET}|{SAMPLER})"
)
WHOLE = re.compile(r"conv_in|conv_out|(?:time|add)_embedding\.linear_[12]")
ENCODER = re.compile(
    r"text_model\.encoder\.layers\.(\d{1,2})\.(self_attn\.(?:[qkv]|out)_proj|mlp\.fc[12])|text_projection"
)
BY_3 = re.compile(r"conv_in|conv_out|.*\.(?:conv|conv1|conv2)")


@dataclass(frozen=True)
class LayerSize:
    """What goes into a layer and what comes out; `kernel` is 1 for everything but 3x3 convolutions."""

    inputs: int
    outputs: int
    kernel: int = 1


def is_layer(network: str, path: str) -> bool:
    """Whether a path may name a layer of such a network, in whatever family."""
    if network != "unet":
        return bool(ENCODER.fullmatch(path))
    return bool(WHOLE.fullmatch(path) or BLOCK.fullmatch(path))


def kernel_of(path: str) -> int:
    """Return the kernel size of a UNet's layer: 3 of the convolutions proper, else 1."""
    return 3 if BY_3.fullmatch(path) else 1


def families_with(layers: Iterable[tuple[str, str, LayerSize]], encoders_told: bool) -> set[str]:
    """Return the families that have all these layers, (network, path, size), in just these sizes.

    Where it isn't told which of several text encoders is meant (`encoders_told`), `te` may be either of SDXL's.
    """
    found = set(ARCHITECTURES)
    for network, path, size in layers:
        networks = ("te", "te1", "te2") if network == "te" and not encoders_told else (network,)
        found = {one for one in found if any(layer_size(one, meant, path) == size for meant in networks)}
        if not found:
            break
    return found


def layer_size(family: str, network: str, path: str) -> LayerSize | None:
    """Return the size of a family's layer, None where the family has no such layer."""
    architecture = ARCHITECTURES[family]
    if network != "unet":
        return _encoder_size(architecture, network, path)
    first = architecture.channels[0]
    if WHOLE.fullmatch(path):
        return {
            "conv_in": LayerSize(architecture.latents, first, 3),
            "conv_out": LayerSize(first, architecture.latents, 3),
            "time_embedding.linear_1": LayerSize(first, 4 * first),
            "time_embedding.linear_2": LayerSize(4 * first, 4 * first),
            "add_embedding.linear_1": LayerSize(architecture.added, 4 * first)
            if architecture.added
            else None,
            "add_embedding.linear_2": LayerSize(4 * first, 4 * first) if architecture.added else None,
        }[path]
    found = BLOCK.fullmatch(path)
    return _block_size(architecture, found) if found else None


def _block_size(a: Architecture, found: re.Match[str]) -> LayerSize | None:
    way, number, attention, place, layer, inner, resnet, part = found.groups()
    last, block = len(a.channels) - 1, int(number or 0)
    if way == "mid_block":
        if number is not None or not (attention or resnet) or int(attention or 0) > 0 or int(resnet or 0) > 1:
            return None
        width, depth = a.channels[last], a.middle
        inputs = width
    else:
        if number is None or block > last:
            return None
        down = way == "down_blocks"
        level = block if down else last - block
        width, depth = a.channels[level], a.depth[level]
        if int(attention or resnet or 0) >= a.resnets + (not down):
            return None
        inputs = _resnet_inputs(a, level, int(resnet or 0), down)
    if attention is not None:
        return _transformer_size(width, depth, a.words, place, layer, inner)
    if resnet is not None:
        sizes = {
            "conv1": LayerSize(inputs, width, 3),
            "conv2": LayerSize(width, width, 3),
            "time_emb_proj": LayerSize(4 * a.channels[0], width),
            "conv_shortcut": LayerSize(inputs, width) if inputs != width else None,
        }
        return sizes[part]
    fits = "downsamplers" in found[0] if way == "down_blocks" else "upsamplers" in found[0]
    return LayerSize(width, width, 3) if fits and block < last else None


def _resnet_inputs(a: Architecture, level: int, number: int, down: bool) -> int:
    width = a.channels[level]
    if down:
        return width if number else a.channels[max(level - 1, 0)]
    below = width if number else a.channels[min(level + 1, len(a.channels) - 1)]
    beside = a.channels[max(level - 1, 0)] if number == a.resnets else width  # what the way down left
    return below + beside


def _transformer_size(
    width: int, depth: int, words: int, place: str, layer: str | None, inner: str | None
) -> LayerSize | None:
    if depth == 0 or int(layer or 0) >= depth:
        return None
    if inner is None:  # proj_in, proj_out
        return LayerSize(width, width)
    if inner == "ff.net.0.proj":  # GEGLU: values and gates
        return LayerSize(width, 8 * width)
    if inner == "ff.net.2":
        return LayerSize(4 * width, width)
    return LayerSize(words if inner in ("attn2.to_k", "attn2.to_v") else width, width)


def _encoder_size(a: Architecture, network: str, path: str) -> LayerSize | None:
    found = ENCODER.fullmatch(path)
    if network not in a.encoders or not found:
        return None
    width, inner, layers = a.encoders[network]
    if path == "text_projection":
        return LayerSize(width, width) if network == "te2" else None
    if int(found[1]) >= layers:
        return None
    if found[2] == "mlp.fc1":
        return LayerSize(width, inner)
    return LayerSize(inner, width) if found[2] == "mlp.fc2" else LayerSize(width, width)
