"""Style files that number their layers: what the first LoRA for Stable Diffusion wrote (2022-23).

`unet:0:up`, `unet:0:down`, `text_encoder:0:up`, ...: the layers inside the classes that the metadata names, counted
in the order in which torch walked the modules (https://github.com/cloneofsimo/lora, lora_diffusion/lora.py). No alpha:
the product is the change itself. So a number means a layer only by the walk of its day, which is written down here and
not asked of today's models: until diffusers 0.14 a transformer block had its feed-forward before the second
attention. In all versions the middle block comes last, and CLIP has keys and values before queries.

The shapes decide: a file is read only if each of its layers has the width that the walk says there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from styles.errors import StyleFileError
from styles.formats.layer_keys import LayerKeys
from styles.formats.safetensors_header import TensorEntry
from styles.storage.names import clean_text
from styles.text import Text, either

NUMBERED = re.compile(r"(unet|text_encoder):(0|[1-9][0-9]{0,3}):(up|down)")
NETWORKS = {"unet": "unet", "text_encoder": "te"}

# Which parts of a transformer block, a residual block and a CLIP layer the classes in the metadata hold.
PARTS_OF_CLASS = {
    "CrossAttention": {"attention"},
    "Attention": {"attention"},  # the same class, as it is called since diffusers 0.15
    "GEGLU": {"geglu"},
    "FeedForward": {"geglu", "out of ff"},
    "BasicTransformerBlock": {"attention", "geglu", "out of ff"},
    "ResnetBlock2D": {"resnet"},
    "CLIPAttention": {"attention"},
    "CLIPMLP": {"mlp"},
    "CLIPEncoderLayer": {"attention", "mlp"},
}
UNET_PARTS = [{"attention", "geglu"}, {"attention"}, {"geglu"}, {"attention", "geglu", "out of ff"}]
UNET_PARTS += [parts | {"resnet"} for parts in UNET_PARTS]  # the "extended" files
TEXT_PARTS = [{"attention"}, {"attention", "mlp"}]

Width = tuple[
    str, ...
]  # the sum of widths that the file shows: ("c0", "c0") is twice that of the first level


@dataclass(frozen=True)
class NumberedLayer:
    """A layer that a walk comes to, and the widths that it has there."""

    path: str
    into: Width
    out: Width
    kernel: tuple[int, int] = (1, 1)


Walk = tuple[NumberedLayer, ...]


def is_numbered(keys: Iterable[str]) -> bool:
    """Whether any of the names is one of a numbered layer."""
    return any(NUMBERED.fullmatch(key) for key in keys)


def layer_keys(tensors: Mapping[str, TensorEntry], metadata: Mapping[str, str]) -> list[LayerKeys]:
    """Find the layer of each number, sorted; raises StyleFileError unless all numbers and shapes are understood.

    `tensors` are the file's without its tokens. Alpha is the rank of each layer, which may differ from layer to layer.
    """
    by_block: dict[str, dict[int, dict[str, str]]] = {}
    for key in sorted(tensors):
        match = NUMBERED.fullmatch(key)
        if not match:
            raise StyleFileError(
                "it numbers its layers, but holds something else, too: {key}.",
                "Get the file again, or ask for it in the kohya form.",
                key=clean_text(key, 120),
            )
        by_block.setdefault(match[1], {}).setdefault(int(match[2]), {})[match[3]] = key
    layers = []
    for network, numbers in sorted(by_block.items()):
        pairs = _pairs(network, numbers)
        walk = _walk_that_fits(network, pairs, tensors, metadata.get(network, ""))
        for place, (down, up) in zip(walk, pairs, strict=True):
            rank = float(tensors[down].shape[0])
            parts = {"down": down, "up": up}
            layers.append(LayerKeys(NETWORKS[network], place.path, parts, told_alpha=rank))
    return sorted(layers, key=lambda layer: (layer.network, layer.path))


def unet_walk(parts: Iterable[str], late: bool = False, convolutions: bool = True) -> Walk:
    """Return the walk over a UNet of Stable Diffusion 1 or 2.

    `late` is the order since diffusers 0.15; without `convolutions` a residual block has only its Linear.
    """
    parts = set(parts)
    places: list[NumberedLayer] = []
    widths = ("c0", "c1", "c2", "c2")
    skips = ["c0"]  # what the way down leaves for the way up
    before = "c0"
    for level, width in enumerate(widths):
        block = f"down_blocks.{level}"
        if level < 3:
            places += _transformers(block, 2, width, parts, late)
        for number in range(2):
            places += _resnet(f"{block}.resnets.{number}", (before,), width, parts, convolutions)
            before = width
            skips.append(width)
        if level < 3:
            skips.append(width)
    for level, width in enumerate(reversed(widths)):
        block = f"up_blocks.{level}"
        if level > 0:
            places += _transformers(block, 3, width, parts, late)
        for number in range(3):
            into = (before, skips.pop())
            places += _resnet(f"{block}.resnets.{number}", into, width, parts, convolutions)
            before = width
    places += _transformers("mid_block", 1, "c2", parts, late)
    for number in range(2):
        places += _resnet(f"mid_block.resnets.{number}", ("c2",), "c2", parts, convolutions)
    return tuple(places)


def text_walk(parts: Iterable[str], layers: int) -> Walk:
    """Return the walk over a CLIP text encoder of so many layers."""
    parts = set(parts)
    places = []
    for number in range(layers):
        layer = f"text_model.encoder.layers.{number}"
        if "attention" in parts:
            for projection in ("k_proj", "v_proj", "q_proj", "out_proj"):
                places.append(NumberedLayer(f"{layer}.self_attn.{projection}", ("width",), ("width",)))
        if "mlp" in parts:
            places.append(NumberedLayer(f"{layer}.mlp.fc1", ("width",), ("inner",)))
            places.append(NumberedLayer(f"{layer}.mlp.fc2", ("inner",), ("width",)))
    return tuple(places)


def _transformers(block: str, count: int, width: str, parts: set[str], late: bool) -> Iterator[NumberedLayer]:
    for number in range(count):
        inside = f"{block}.attentions.{number}.transformer_blocks.0"
        first = _attention(f"{inside}.attn1", width, width) if "attention" in parts else []
        second = _attention(f"{inside}.attn2", width, "words") if "attention" in parts else []
        forward = []
        if "geglu" in parts:
            forward.append(NumberedLayer(f"{inside}.ff.net.0.proj", (width,), (width,) * 8))
        if "out of ff" in parts:
            forward.append(NumberedLayer(f"{inside}.ff.net.2", (width,) * 4, (width,)))
        yield from first
        yield from second + forward if late else forward + second


def _attention(path: str, width: str, words: str) -> list[NumberedLayer]:
    return [
        NumberedLayer(f"{path}.to_q", (width,), (width,)),
        NumberedLayer(f"{path}.to_k", (words,), (width,)),
        NumberedLayer(f"{path}.to_v", (words,), (width,)),
        NumberedLayer(f"{path}.to_out.0", (width,), (width,)),
    ]


def _resnet(
    path: str, into: Width, width: str, parts: set[str], convolutions: bool
) -> Iterator[NumberedLayer]:
    if "resnet" not in parts:
        return
    if convolutions:
        yield NumberedLayer(f"{path}.conv1", into, (width,), (3, 3))
    yield NumberedLayer(f"{path}.time_emb_proj", ("time",), (width,))
    if convolutions:
        yield NumberedLayer(f"{path}.conv2", (width,), (width,), (3, 3))
        if into != (width,):
            yield NumberedLayer(f"{path}.conv_shortcut", into, (width,))


def _pairs(network: str, numbers: dict[int, dict[str, str]]) -> list[tuple[str, str]]:
    """Return the (down, up) names in the order of their numbers, which must be whole."""
    pairs = []
    for number in range(max(numbers) + 1):
        sides = numbers.get(number, {})
        if len(sides) < 2:
            missing = next(side for side in ("up", "down") if side not in sides)
            raise StyleFileError(
                "it is not whole: {network}:{number}:{missing} is missing.",
                "Get the file again.",
                network=network,
                number=number,
                missing=missing,
            )
        pairs.append((sides["down"], sides["up"]))
    return pairs


def _walk_that_fits(
    network: str,
    pairs: list[tuple[str, str]],
    tensors: Mapping[str, TensorEntry],
    class_names: str,
) -> Walk:
    classes = _classes(class_names)
    parts = TEXT_PARTS if network == "text_encoder" else UNET_PARTS
    named = set().union(*(PARTS_OF_CLASS.get(one, set()) for one in classes)) & set().union(*parts)
    walks = list(dict.fromkeys(_walks(network, named, len(pairs))))
    shapes = [(tensors[down].shape, tensors[up].shape) for down, up in pairs]
    misfits = []
    for walk in walks:
        if len(walk) == len(pairs):
            misfit = _first_misfit(walk, shapes)
            if misfit is None:
                return walk
            misfits.append((misfit, walk[misfit].path))
    where: str = network
    if classes:
        where = Text(
            "{network} (inside {classes})", network=network, classes=clean_text(", ".join(classes), 120)
        )
    if not misfits:
        raise StyleFileError(
            "it numbers {count} layers of the {where}, which is no count that the tools of 2022 wrote: they have {counts}.",
            "It may be for another kind of model; ask for it in the kohya form.",
            count=len(pairs),
            where=where,
            counts=_listed({len(walk) for walk in walks}),
        )
    number, path = max(misfits)
    down, up = shapes[number]
    raise StyleFileError(
        "it numbers its layers in an order that is not known: {network}:{number} with down {down} and up {up} can't be {path}.",
        "The file is damaged or for another kind of model; ask for it in the kohya form.",
        network=network,
        number=number,
        down=list(down),
        up=list(up),
        path=path,
    )


def _walks(network: str, named: set[str], count: int) -> Iterator[Walk]:
    """The walks that a file may have taken; of the classes that it names, or any where it names none."""
    if network == "text_encoder":
        for parts in [named] if named else TEXT_PARTS:
            yield text_walk(parts, count // len(text_walk(parts, 1)) or 1)
        return
    for parts in [named] if named else UNET_PARTS:
        for late in (False, True):
            for convolutions in (True, False) if "resnet" in parts else (True,):
                yield unet_walk(parts, late, convolutions)


def _first_misfit(walk: Walk, shapes: list[tuple[tuple[int, ...], tuple[int, ...]]]) -> int | None:
    """Return the first number whose shapes are not what the walk says there, None if all are."""
    widths: dict[str, int] = {}
    for number, (place, (down, up)) in enumerate(zip(walk, shapes, strict=True)):
        if len(down) not in (2, 4) or len(up) not in (2, 4) or (down[2:] or (1, 1)) != place.kernel:
            return number
        for width, size in ((place.into, down[1]), (place.out, up[0])):
            if len(width) == 1:
                widths.setdefault(width[0], size)
            if sum(widths.get(part, 0) for part in width) != size:
                return number
    return None


def _classes(text: str) -> list[str]:
    """Read the list of class names in the metadata; empty where there is none that can be read."""
    try:
        values = json.loads(text) if len(text) < 10_000 else None
    except (ValueError, RecursionError):
        return []
    return [value for value in values if isinstance(value, str)] if isinstance(values, list) else []


def _listed(counts: set[int]) -> str:
    return either(map(str, sorted(counts)))
