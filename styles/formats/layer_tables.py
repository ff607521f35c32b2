"""The layers that each family's networks have, and their sizes: what a file's shapes prove.

The sizes follow from a few numbers of each architecture (diffusers' UNet2DConditionModel, transformers' CLIP text
models); a test compares them with the real networks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from styles.families import FAMILIES, Family, UNetShape, family_of, family_of_words, own_family

READS_WORDS = (".attn2.to_k", ".attn2.to_v")
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


class CrossAttention:
    """The layers that read the words, as they are come upon in a file: what proves its family."""

    def __init__(self) -> None:
        self.words: set[int] = set()  # widths of the words
        self._widths: dict[str, int] = {}  # of the layers, by their paths

    def add(self, network: str, path: str, inputs: int, outputs: int) -> None:
        """Note a layer that turns the words into keys or values; any other is passed over."""
        if network == "unet" and path.endswith(READS_WORDS):
            self.words.add(inputs)
            self._widths[path.rpartition(".")[0]] = outputs

    def family(self, claimed: str = "") -> str:
        """Return the id of the family that has such layers, empty where none is proven.

        `claimed` is the one that the file names: of a base of somebody's own, of which not all layers may be changed.
        """
        if len(self.words) != 1:
            return ""
        (words,) = self.words
        family, own = family_of_words(words), family_of(claimed)
        if family is not None:
            return family.id
        return own.id if own.is_own and own.has(self._widths, words) else own_family(self._widths, words).id


def is_layer(network: str, path: str) -> bool:
    """Whether a path may name a layer of such a network, in whatever family."""
    if network != "unet":
        return bool(ENCODER.fullmatch(path))
    return bool(WHOLE.fullmatch(path) or BLOCK.fullmatch(path))


def kernel_of(path: str) -> int:
    """Return the kernel size of a UNet's layer: 3 of the convolutions proper, else 1."""
    return 3 if BY_3.fullmatch(path) else 1


def families_with(layers: Iterable[tuple[str, str, LayerSize]], encoders_told: bool) -> set[str]:
    """Return the ids of the families that have all these layers, (network, path, size), in just these sizes.

    Where it isn't told which of several text encoders is meant (`encoders_told`), `te` may be either of SDXL's.
    """
    possible = set(FAMILIES)
    for network, path, size in layers:
        networks = ("te", "te1", "te2") if network == "te" and not encoders_told else (network,)
        possible = {
            one
            for one in possible
            if any(layer_size(FAMILIES[one], meant, path) == size for meant in networks)
        }
        if not possible:
            break
    return possible


def layer_size(family: Family, network: str, path: str) -> LayerSize | None:
    """Return the size of a family's layer, None where the family has no such layer, or only its bases tell."""
    if network != "unet":
        return _encoder_size(family, network, path)
    architecture = family.unet
    if architecture is None:
        return None
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
    match = BLOCK.fullmatch(path)
    return _block_size(architecture, family.words, match) if match else None


def encoder_by_size(family: Family, path: str, size: LayerSize) -> str:
    """Return what styles call the text encoder with a layer of that size, where a file names only one of several."""
    first, *others = family.text_encoders
    fits = (one for one in others if layer_size(family, one.network, path) == size)
    return next(fits, first).network


def _block_size(a: UNetShape, words: int, match: re.Match[str]) -> LayerSize | None:
    way, number, attention, place, layer, inner, resnet, part = match.groups()
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
        return _transformer_size(width, depth, words, place, layer, inner)
    if resnet is not None:
        sizes = {
            "conv1": LayerSize(inputs, width, 3),
            "conv2": LayerSize(width, width, 3),
            "time_emb_proj": LayerSize(4 * a.channels[0], width),
            "conv_shortcut": LayerSize(inputs, width) if inputs != width else None,
        }
        return sizes[part]
    fits = "downsamplers" in match[0] if way == "down_blocks" else "upsamplers" in match[0]
    return LayerSize(width, width, 3) if fits and block < last else None


def _resnet_inputs(a: UNetShape, level: int, number: int, down: bool) -> int:
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


def _encoder_size(family: Family, network: str, path: str) -> LayerSize | None:
    match, encoder = ENCODER.fullmatch(path), family.encoder(network)
    if encoder is None or not match:
        return None
    width, inner = encoder.width, encoder.inner
    if path == "text_projection":
        return LayerSize(width, width) if encoder.projects else None
    if int(match[1]) >= encoder.layers:
        return None
    if match[2] == "mlp.fc1":
        return LayerSize(width, inner)
    return LayerSize(inner, width) if match[2] == "mlp.fc2" else LayerSize(width, width)
