"""The graph of ComfyUI that a picture carries: nodes with a class and inputs, of which links name other nodes.

    {"3": {"class_type": "KSampler", "inputs": {"seed": 5, "model": ["4", 0], "positive": ["6", 0], ...}}, ...}

Read from the sampler back along its links, as far as the nodes are plain ones; what else lies on the way is named.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from styles.errors import RecipeError
from styles.generation.foreign.found import (
    FoundSettings,
    PictureStyle,
    number_from,
    text_from,
    with_plain_squares,
)
from styles.generation.prompt_tags import without_tags
from styles.generation.recipe import Recipe
from styles.storage.names import clean_text
from styles.text import Text

LONGEST_WAY = 200  # links
# What a node that hands a text, a number or a name on keeps it under.
TEXT_INPUTS = (
    "text",
    "value",
    "string",
    "prompt",
    "positive",
    "text_g",
    "wildcard_text",
    "populated_text",
    "text1",
)
NUMBER_INPUTS = ("seed", "noise_seed", "value", "int", "number", "float")
ENCODERS = ("CLIPTextEncode", "CLIPTextEncodeSDXL", "BNK_CLIPTextEncodeAdvanced", "smZ CLIPTextEncode")
CHECKPOINTS = ("ckpt_name", "base_ckpt_name", "unet_name", "model_name")
HARMLESS = ("Reroute", "Note", "CLIPSetLastLayer", "PrimitiveNode")


@dataclass(frozen=True)
class Node:
    """A node of a graph: its class, and its inputs by name."""

    kind: str
    inputs: Mapping[str, Any]


class Graph:
    """The nodes of a graph by their ids."""

    def __init__(self, values: Any) -> None:
        self.nodes: dict[str, Node] = {}
        for key, value in values.items() if isinstance(values, dict) else ():
            if isinstance(value, dict) and isinstance(value.get("inputs"), dict):
                self.nodes[str(key)] = Node(str(value.get("class_type", "")), value["inputs"])

    def linked(self, value: Any) -> Node | None:
        """Return the node that an input is linked to, None for anything else."""
        is_link = isinstance(value, list) and len(value) == 2 and isinstance(value[0], str | int)
        return self.nodes.get(str(value[0])) if is_link else None

    def way(self, node: Node | None, *names: str) -> Iterator[Node]:
        """Yield a node and those before it along the inputs of these names."""
        for _ in range(LONGEST_WAY):
            if node is None:
                return
            yield node
            node = next((one for name in names if (one := self.linked(node.inputs.get(name)))), None)

    def plain(self, value: Any, names: tuple[str, ...]) -> Any:
        """Return an input's value, through nodes that hand on what stands under one of these names."""
        for _ in range(20):
            node = self.linked(value)
            if node is None:
                return None if isinstance(value, list) else value
            value = next((node.inputs[name] for name in names if name in node.inputs), None)
        return None


def read_graph(values: Any) -> Recipe:
    """Read the graph of a picture of ComfyUI; raises RecipeError where it has no sampler that is plain."""
    graph = Graph(values)
    samplers = [node for node in graph.nodes.values() if _is_sampler(node)]
    if not samplers:
        raise not_plain()
    # The first pass is the one that starts from an empty picture.
    first = next((node for node in samplers if _empty_latent(graph, node)), samplers[0])
    found = FoundSettings()
    _take_sampler(graph, found, first)
    _take_model(graph, found, first)
    found.prompt = _text(graph, found, _input(graph, first, "positive"))
    found.negative = _text(graph, found, _input(graph, first, "negative"))
    if not found.prompt and not found.numbers:
        raise not_plain()
    _take_size(graph, found, first)
    if len(samplers) > 1:
        found.left_out.append(f"{len(samplers)} samplers")
    kinds = dict.fromkeys(node.kind for node in graph.nodes.values() if _changes(node.kind))
    found.left_out += kinds
    return found.recipe()


def not_plain() -> RecipeError:
    """What to raise for a graph that can't be read."""
    return RecipeError(
        "The picture carries a workflow of ComfyUI whose settings can't be read: only plain ones can, with a sampler, its texts and LoRA loaders.",
        "Open it in ComfyUI and type prompt and seed by hand.",
    )


def _is_sampler(node: Node) -> bool:
    return (
        "positive" in node.inputs and "sampler" in node.kind.lower()
    ) or node.kind == "SamplerCustomAdvanced"


def _input(graph: Graph, sampler: Node, name: str) -> Node | None:
    """Return the node behind an input of a sampler, or of the guider that it has."""
    guider = graph.linked(sampler.inputs.get("guider"))
    own = graph.linked(sampler.inputs.get(name))
    if own is None and guider is not None:
        own = graph.linked(guider.inputs.get(name))
        if own is None and name == "positive":
            own = graph.linked(guider.inputs.get("conditioning"))
    return own


def _take_sampler(graph: Graph, found: FoundSettings, sampler: Node) -> None:
    further = [
        node
        for name in ("guider", "noise", "sampler", "sigmas")
        if (node := graph.linked(sampler.inputs.get(name)))
    ]
    values = {name: value for node in (*further, sampler) for name, value in node.inputs.items()}
    for name, inputs in (("steps", ("steps",)), ("guidance", ("cfg",)), ("seed", ("seed", "noise_seed"))):
        value = next((values[one] for one in inputs if one in values), None)
        if (number := graph.plain(value, (*inputs, *NUMBER_INPUTS))) is not None:
            found.numbers[name] = number
    found.sampler = text_from(graph.plain(values.get("sampler_name"), ("sampler_name", "sampler")))
    found.schedule = text_from(graph.plain(values.get("scheduler"), ("scheduler",)))
    denoise = number_from(values.get("denoise"), float)
    if denoise is not None and denoise < 1:
        found.left_out.append(f"denoise: {denoise:g}")
    if number_from(values.get("start_at_step"), int):
        found.left_out.append(f"start_at_step: {values['start_at_step']}")


def _take_model(graph: Graph, found: FoundSettings, sampler: Node) -> None:
    """Take the LoRA loaders between sampler and checkpoint, and the checkpoint.

    Where the way does not lead to one, all of the graph are taken: what is not used, ComfyUI leaves out.
    """
    way = list(graph.way(_input(graph, sampler, "model"), "model", "MODEL", "any_01", "*"))
    if not any(node.inputs.get(name) for node in way for name in CHECKPOINTS):
        way = list(graph.nodes.values())
    for node in way:
        found.styles += _styles(graph, node)
        checkpoint = next((one for name in CHECKPOINTS if (one := node.inputs.get(name))), None)
        if checkpoint and not found.base:
            found.base = text_from(graph.plain(checkpoint, CHECKPOINTS))


def _styles(graph: Graph, node: Node) -> Iterator[PictureStyle]:
    """Yield the styles of a node that loads one, or several as the loaders of rgthree and of Efficiency Nodes do."""
    inputs = node.inputs
    if name := text_from(graph.plain(inputs.get("lora_name"), ("lora_name",))):
        yield from _style(name, graph.plain(inputs.get("strength_model", 1.0), NUMBER_INPUTS))
    for key, value in inputs.items():
        number = key.rpartition("_")[2]
        if isinstance(value, dict) and value.get("on", True) and text_from(value.get("lora")):
            yield from _style(value["lora"], value.get("strength", 1.0))
        elif re.fullmatch(r"lora(_name)?_0?\d+", key) and text_from(value):
            weights = (
                inputs.get(f"{one}_{number}") for one in ("strength", "model_str", "model_weight", "lora_wt")
            )
            yield from _style(value, next((one for one in weights if one is not None), 1.0))
    yield from (
        PictureStyle(tag.name, tag.weight)
        for tag in without_tags(text_from(inputs.get("lora_syntax"))).styles
    )


def _style(name: str, weight: Any) -> Iterator[PictureStyle]:
    if name.strip().lower() not in ("", "none") and number_from(weight, float) != 0:
        yield PictureStyle(name, weight)


def _text(graph: Graph, found: FoundSettings, conditioning: Node | None) -> str:
    """Return what a conditioning says in A1111's signs: square brackets mean nothing in ComfyUI."""
    names: tuple[str, ...] = ("positive", "conditioning", "conditioning_1", "conditioning_to", "CONDITIONING")
    if conditioning is not None and conditioning.kind not in ENCODERS:
        # One that has both sides is asked for the first, which a sampler's negative side never comes from.
        names = names if "positive" not in conditioning.inputs else ("conditioning", "positive")
    for node in graph.way(conditioning, *names):
        if node.kind == "ConditioningZeroOut":
            return ""
        value = next(
            (node.inputs[name] for name in TEXT_INPUTS if name in node.inputs and name != "positive"), None
        )
        text = graph.plain(value, TEXT_INPUTS)
        if isinstance(text, str):
            _take_clip(graph, found, node)
            tagged = without_tags(text, unet_first=True)
            found.notes += tagged.notes
            named = {one.name for one in found.styles}
            found.styles += [
                PictureStyle(tag.name, tag.weight) for tag in tagged.styles if tag.name not in named
            ]
            return with_plain_squares(tagged.prompt)
    if conditioning is not None:
        found.notes.append(
            Text(
                "A text of the picture comes from “{node}”, which can't be read.",
                node=clean_text(conditioning.kind, 60),
            )
        )
    return ""


def _take_clip(graph: Graph, found: FoundSettings, encoder: Node) -> None:
    for node in graph.way(graph.linked(encoder.inputs.get("clip")), "clip"):
        layer = number_from(node.inputs.get("stop_at_clip_layer"), int)
        if layer is not None and layer < 0:
            found.numbers.setdefault("clip_skip", -layer)


def _empty_latent(graph: Graph, sampler: Node) -> Node | None:
    """Return the node that a sampler's empty picture comes from."""
    for node in graph.way(
        graph.linked(sampler.inputs.get("latent_image")), "samples", "latent", "latent_image"
    ):
        if _is_sampler(node):
            return None
        if (
            {"width", "height"} <= node.inputs.keys()
            and "image" not in node.inputs
            and "samples" not in node.inputs
        ):
            return node
    return None


def _take_size(graph: Graph, found: FoundSettings, sampler: Node) -> None:
    latent = _empty_latent(graph, sampler)
    if latent is None:
        if "latent_image" in sampler.inputs:
            found.notes.append(Text("The picture was made from another one, which can't be taken over."))
        return
    for name in ("width", "height"):
        value = graph.plain(latent.inputs[name], (name, *NUMBER_INPUTS))
        if value is not None:
            found.numbers[f"{name}_px"] = value


def _changes(kind: str) -> bool:
    """Whether a node of this class does something to the picture that has no place here."""
    words = (
        "ControlNet", "IPAdapter", "VAELoader", "Upscale", "FreeU", "ModelSampling", "Detailer", "HyperTile", "PatchModel",
        "ConditioningSet", "ConditioningCombine", "ConditioningConcat", "ConditioningAverage", "unCLIP", "GLIGEN",
        "RescaleCFG", "DualCLIP", "UNETLoader", "StyleModel", "Guidance", "ModelMerge", "Hypernetwork", "PAG", "Perturbed",
    )  # fmt: skip
    return kind not in HARMLESS and any(word in kind for word in words) and kind != "CFGGuider"
