"""Every scheme, of every family: the recorded names and shapes lead to the layers that they are of."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import pytest

from styles.errors import StyleFileError
from styles.families import family_of
from styles.formats.layer_inspection import Judged, judge
from styles.formats.layer_tables import LayerSize, layer_size
from styles.formats.safetensors_header import Header, TensorEntry
from tests.styles.key_lists import (
    BLOCKS,
    CONVOLUTIONS,
    ENCODERS,
    SDXL_SGM_BLOCKS,
    attention_layers,
    encoder_layers,
    transformer_layers,
)

RANK = 8
Shapes = dict[str, tuple[int, ...]]
PREFIX = {"unet": "lora_unet_", "te": "lora_te_", "te1": "lora_te1_", "te2": "lora_te2_"}
FAMILIES = ["sd1", "sd2", "sdxl"]
LAYERS = {"sd1": 264, "sd2": 330, "sdxl": 986}  # that sd-scripts changes: 192 + 72, 192 + 138, 722 + 72 + 192


def header(shapes: Shapes, metadata: dict[str, str] | None = None) -> Header:
    return Header(metadata or {}, {key: TensorEntry("F16", shape, 0, 0) for key, shape in shapes.items()}, 0)


def judged(shapes: Shapes) -> Judged:
    return judge(header(shapes), "theirs.safetensors")


def lora(name: str, inputs: int, outputs: int, kernel: int | None = None) -> Shapes:
    """kohya's tensors of one layer; `kernel` makes it a convolution."""
    square = () if kernel is None else (kernel, kernel)
    one = () if kernel is None else (1, 1)
    return {
        f"{name}.lora_down.weight": (RANK, inputs, *square),
        f"{name}.lora_up.weight": (outputs, RANK, *one),
        f"{name}.alpha": (),
    }


def kohya(family: str, sgm: bool = False, encoders: bool = True) -> Shapes:
    """The list of sd-scripts: SD1's projections are 1x1 convolutions, SD2's and SDXL's are linear."""
    shapes: Shapes = {}
    for name, inputs, outputs in transformer_layers(family, SDXL_SGM_BLOCKS if sgm else None):
        square = 1 if family == "sd1" and ".proj_" in name else None
        shapes |= lora("lora_unet_" + name.replace(".", "_"), inputs, outputs, square)
    for network in ENCODERS[family] if encoders else ():
        for name, inputs, outputs in encoder_layers(family, network):
            shapes |= lora(PREFIX[network] + name.replace(".", "_"), inputs, outputs)
    return shapes


def leads_to(found: Judged, family: str) -> None:
    """Each layer is one that the family has, in that very size."""
    for layer, of in zip(found.layers, found.written, strict=True):
        size = layer_size(family_of(family), layer.network, layer.path)
        assert size == LayerSize(of.inputs, of.outputs, of.kernel[0]), layer


def paths(found: Judged, network: str = "unet") -> set[str]:
    return {layer.path for layer in found.layers if layer.network == network}


@pytest.mark.parametrize("family", FAMILIES)
def test_kohya(family: str) -> None:
    found = judged(kohya(family))
    assert (found.family, found.kind, found.rank, len(found.layers)) == (family, "LoRA", RANK, LAYERS[family])
    assert all(layer.alpha for layer in found.layers)
    leads_to(found, family)


def test_sdxl_in_the_names_of_sgm() -> None:
    found = judged(kohya("sdxl", sgm=True))
    assert found.family == "sdxl" and len(found.layers) == 986
    assert paths(found) == paths(judged(kohya("sdxl")))
    leads_to(found, "sdxl")


def test_kohya_names_lead_where_diffusers_converter_leads() -> None:
    from diffusers.loaders.lora_conversion_utils import (
        _convert_non_diffusers_lora_to_diffusers,
        _maybe_map_sgm_blocks_to_diffusers,
    )
    from diffusers.utils.state_dict_utils import convert_unet_state_dict_to_peft

    class Config:
        layers_per_block = 2

    for shapes in (
        kohya("sd1", encoders=False),
        kohya("sd2", encoders=False),
        kohya("sdxl", sgm=True, encoders=False),
    ):
        plain = {key: None for key in shapes if not key.endswith(".alpha")}
        state, _ = _convert_non_diffusers_lora_to_diffusers(
            _maybe_map_sgm_blocks_to_diffusers(plain, Config())
        )
        theirs = {key.removeprefix("unet.") for key in convert_unet_state_dict_to_peft(state)}
        ours = {f"{path}.lora_{side}.weight" for path in paths(judged(shapes)) for side in "AB"}
        assert theirs == ours


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_locon_names_its_convolutions_in_both_ways(family: str) -> None:
    """LyCORIS on sd-scripts: `lora_mid` for some of them (use_tucker)."""
    both = []
    for sgm in (False, True):
        shapes = kohya(family, sgm=sgm and family == "sdxl", encoders=False)
        for number, (name, original, inputs, outputs, kernel) in enumerate(CONVOLUTIONS[family]):
            stem = "lora_unet_" + (original if sgm else name).replace(".", "_")
            linear = "embed" in name or "time_emb" in name
            shapes |= lora(stem, inputs, outputs, None if linear else kernel)
            if number % 2 and kernel == 3:
                shapes[f"{stem}.lora_down.weight"] = (RANK, inputs, 1, 1)
                shapes[f"{stem}.lora_mid.weight"] = (RANK, RANK, 3, 3)
        found = judged(shapes)
        assert found.family == family and found.kind == "LoCon"
        assert {row[0] for row in CONVOLUTIONS[family]} < paths(found)
        leads_to(found, family)
        both.append(paths(found))
    assert both[0] == both[1]


def tool(name: str, inputs: int, outputs: int, kind: str, kernel: int = 1, core: bool = False) -> Shapes:
    """LyCORIS's tensors of one layer, of dim 4 (and factor 8 of a LoKr)."""
    dim, flat = 4, inputs * kernel**2
    square = (kernel, kernel)
    if kind == "LoHa" and core:
        parts: Shapes = {f"hada_w{n}_a": (dim, outputs) for n in (1, 2)}
        parts |= {f"hada_w{n}_b": (dim, inputs) for n in (1, 2)} | {
            f"hada_t{n}": (dim, dim, *square) for n in (1, 2)
        }
    elif kind == "LoHa":
        parts = {f"hada_w{n}_a": (outputs, dim) for n in (1, 2)} | {
            f"hada_w{n}_b": (dim, flat) for n in (1, 2)
        }
    else:
        a, c = math.gcd(8, outputs), math.gcd(8, inputs)
        parts = {"lokr_w1": (a, c)}
        if core:
            parts |= {
                "lokr_w2_a": (dim, outputs // a),
                "lokr_w2_b": (dim, inputs // c),
                "lokr_t2": (dim, dim, *square),
            }
        else:
            parts |= {"lokr_w2_a": (outputs // a, dim), "lokr_w2_b": (dim, flat // c)}
    return {f"{name}.{part}": shape for part, shape in parts.items()} | {f"{name}.alpha": ()}


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
@pytest.mark.parametrize("kind", ["LoHa", "LoKr"])
def test_loha_and_lokr(family: str, kind: str) -> None:
    shapes: Shapes = {}
    sgm = SDXL_SGM_BLOCKS if family == "sdxl" else None
    for name, inputs, outputs in transformer_layers(family, sgm):
        shapes |= tool("lora_unet_" + name.replace(".", "_"), inputs, outputs, kind)
    for network in ENCODERS[family]:
        for name, inputs, outputs in encoder_layers(family, network):
            shapes |= tool(PREFIX[network] + name.replace(".", "_"), inputs, outputs, kind)
    if family == "sd1":
        for number, (name, _, inputs, outputs, kernel) in enumerate(CONVOLUTIONS[family]):
            shapes |= tool(
                f"lora_unet_{name.replace('.', '_')}",
                inputs,
                outputs,
                kind,
                kernel,
                kernel == 3 and number % 2 == 0,
            )
    found = judged(shapes)
    assert (found.family, found.kind, len(found.layers)) == (
        family,
        kind,
        LAYERS[family] + 15 * (family == "sd1"),
    )
    assert found.rank == (16 if kind == "LoHa" else 32) and not found.cut
    leads_to(found, family)


def diffusers_now(family: str, ends: tuple[str, str], text_ends: tuple[str, str]) -> Shapes:
    shapes: Shapes = {}
    for name, inputs, outputs in attention_layers(family):
        shapes |= {f"unet.{name}.{ends[0]}": (RANK, inputs), f"unet.{name}.{ends[1]}": (outputs, RANK)}
    for number, network in enumerate(ENCODERS[family]):
        root = "text_encoder_2" if number else "text_encoder"
        for name, inputs, outputs in encoder_layers(family, network):
            if "self_attn" in name:
                shapes |= {
                    f"{root}.{name}.{text_ends[0]}": (RANK, inputs),
                    f"{root}.{name}.{text_ends[1]}": (outputs, RANK),
                }
    return shapes


A_B = ("lora_A.weight", "lora_B.weight")
DOWN_UP = ("lora.down.weight", "lora.up.weight")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("ends", "text_ends"),
    [(A_B, A_B), (DOWN_UP, ("lora_linear_layer.down.weight", "lora_linear_layer.up.weight"))],
)
def test_diffusers_now(family: str, ends: tuple[str, str], text_ends: tuple[str, str]) -> None:
    found = judged(diffusers_now(family, ends, text_ends))
    blocks = sum(block.depth for block in BLOCKS[family])
    texts = {network: 4 * layers for network, (_, _, layers) in ENCODERS[family].items()}
    assert found.family == family and len(paths(found)) == 8 * blocks
    assert {network: len(paths(found, network)) for network in texts} == texts
    leads_to(found, family)


def oldest(family: str, root: str, layers: Iterable[tuple[str, int, int]]) -> Shapes:
    shapes: Shapes = {}
    for name, inputs, outputs in layers:
        place, module = name.removesuffix(".0").rsplit(".", 1)
        for side, shape in (("down", (RANK, inputs)), ("up", (outputs, RANK))):
            shapes[f"{root}{place}.processor.{module}_lora.{side}.weight"] = shape
    return shapes


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("root", ["", "unet."])
def test_diffusers_at_first(family: str, root: str) -> None:
    from diffusers.utils.state_dict_utils import convert_unet_state_dict_to_peft

    shapes = oldest(family, root, attention_layers(family))
    theirs = {key.removeprefix(root) for key in convert_unet_state_dict_to_peft(dict.fromkeys(shapes))}
    for network, (width, _, layers) in ENCODERS[family].items():
        encoder = "text_encoder_2" if network == "te2" else "text_encoder"
        for layer in range(layers if root else 0):
            for side in ("q", "k", "v", "out"):
                name = f"{encoder}.text_model.encoder.layers.{layer}.self_attn.to_{side}_lora"
                shapes |= {f"{name}.down.weight": (RANK, width), f"{name}.up.weight": (width, RANK)}
    found = judged(shapes)
    assert found.family == family
    assert theirs == {f"{path}.lora_{side}.weight" for path in paths(found) for side in "AB"}
    leads_to(found, family)


def test_diffusers_without_the_name_of_the_network() -> None:
    """What `unet.save_lora_adapter` writes."""
    whole = {key: shape for key, shape in diffusers_now("sd2", A_B, A_B).items() if key.startswith("unet.")}
    found = judged({key.removeprefix("unet."): shape for key, shape in whole.items()})
    assert found.family == "sd2" and paths(found) == paths(judged(whole))


@pytest.mark.parametrize("family", FAMILIES)
def test_peft_names(family: str) -> None:
    """PEFT doesn't say of which network an adapter is; its layers do."""
    shapes = {}
    for name, inputs, outputs in attention_layers(family):
        shapes |= {
            f"base_model.model.{name}.{A_B[0]}": (RANK, inputs),
            f"base_model.model.{name}.{A_B[1]}": (outputs, RANK),
        }
    found = judged(shapes)
    assert found.family == family and not any(layer.alpha or layer.told_alpha for layer in found.layers)
    leads_to(found, family)
    network = list(ENCODERS[family])[-1]
    for level in ("text_model.", ""):  # transformers >= 5.6 has CLIPTextModel without it
        shapes = {}
        for name, inputs, outputs in encoder_layers(family, network):
            stem = f"base_model.model.{level}{name.removeprefix('text_model.')}"
            shapes |= {f"{stem}.{A_B[0]}": (RANK, inputs), f"{stem}.{A_B[1]}": (outputs, RANK)}
        found = judged(shapes)
        assert {layer.network for layer in found.layers} == {"te2" if family == "sdxl" else "te"}
        assert found.family == {"sd1": "", "sd2": "sd2", "sdxl": "sdxl"}[family]  # CLIP-L is SD1's and SDXL's


# What the shapes prove where there is no cross-attention


def some(family: str, mark: str, sgm: bool = False) -> Judged:
    return judged({key: shape for key, shape in kohya(family, sgm).items() if mark in key})


@pytest.mark.parametrize(
    ("family", "mark", "families"),
    [
        ("sd1", "attn1", {"sd1", "sd2"}),
        ("sd2", "attn1", {"sd1", "sd2"}),
        ("sdxl", "attn1", {"sdxl"}),
        ("sd1", "proj_", {"sd1"}),  # 1x1 convolutions
        ("sd2", "unet_mid_block_attentions_0_proj", {"sd1", "sd2", "sdxl"}),
        ("sd1", "lora_te_", {"sd1"}),
        ("sd2", "lora_te_", {"sd2"}),
        ("sdxl", "lora_te1_", {"sdxl"}),
        ("sdxl", "lora_te2_", {"sdxl"}),
        ("sd1", "attn2_to_q", {"sd1", "sd2"}),
        ("sdxl", "ff_net", {"sdxl"}),
    ],
)
def test_parts_of_a_style_prove_what_they_can(family: str, mark: str, families: set[str]) -> None:
    found = some(family, mark)
    assert found.families == families and found.family == (family if len(families) == 1 else "")


def test_convolutions_alone_prove_their_family() -> None:
    for family in ("sd1", "sdxl"):
        shapes: Shapes = {}
        for name, _, inputs, outputs, kernel in CONVOLUTIONS[family]:
            if kernel == 3:
                shapes |= lora(f"lora_unet_{name.replace('.', '_')}", inputs, outputs, kernel)
        found = judged(shapes)
        assert found.families == ({"sd1", "sd2"} if family == "sd1" else {"sdxl"}) and found.kind == "LoCon"


def test_the_first_encoder_of_sdxl_may_be_written_as_if_it_were_the_only_one() -> None:
    shapes = {key: shape for key, shape in kohya("sdxl").items() if "te2" not in key}
    alone = {key.replace("lora_te1_", "lora_te_"): shape for key, shape in shapes.items()}
    assert paths(judged(alone), "te1") == paths(judged(shapes), "te1") != set()
    with pytest.raises(StyleFileError, match="twice"):
        judged(shapes | alone)


# Shapes against each other

ONE = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k"
CONV = "lora_unet_mid_block_resnets_0_conv1"
LOHA = tool(ONE, 768, 1280, "LoHa")
LOHA_CORE = tool(CONV, 1280, 1280, "LoHa", 3, core=True)
LOKR = tool(ONE, 768, 1280, "LoKr")
LOKR_CORE = tool(CONV, 1280, 1280, "LoKr", 3, core=True)
MID = lora(CONV, 1280, 1280, 1) | {f"{CONV}.lora_mid.weight": (RANK, RANK, 3, 3)}


@pytest.mark.parametrize("good", [LOHA, LOHA_CORE, LOKR, LOKR_CORE, MID, lora(ONE, 768, 1280)])
def test_a_shape_that_does_not_agree_with_the_others_is_refused(good: Shapes) -> None:
    (right,) = judged(good).written
    refused = 0
    for key, shape in good.items():
        others = [(*shape, 2), (3, 5, 7)]
        others += [tuple(n + (i == side) for i, n in enumerate(shape)) for side in range(len(shape))]
        for other in others:
            try:
                (found,) = judged(good | {key: other}).written
            except StyleFileError:
                refused += 1
            else:  # the size of the layer itself, which only a base can refuse
                assert (found.inputs, found.outputs, found.kernel) != (
                    right.inputs,
                    right.outputs,
                    right.kernel,
                )
    assert refused >= 2 * len(good)


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        (tool(ONE, 768, 1 << 17, "LoHa"), "don't fit"),  # wider than any layer
        (
            {
                f"{CONV}.{part}": shape
                for part, shape in {"lokr_w1": (256, 256), "lokr_w2": (256, 256)}.items()
            },
            "don't fit",
        ),
        (
            {
                f"{ONE}.hada_w{n}_{side}": (30000, 200) if side == "a" else (200, 30000)
                for n in (1, 2)
                for side in "ab"
            },
            "don't fit",
        ),
        (
            lora(ONE, 768, 1280)
            | {f"{ONE}.lora_down.weight": (4000, 768), f"{ONE}.lora_up.weight": (1280, 4000)},
            "rank 4000",
        ),
    ],
)
def test_what_would_take_too_much_memory_is_refused_by_its_header(shapes: Shapes, said: str) -> None:
    with pytest.raises(StyleFileError, match=said):
        judged(shapes)


def test_a_small_file_that_stands_for_the_whole_base_is_cut_to_what_there_is_room_for() -> None:
    shapes: Shapes = {}
    for name, inputs, outputs in transformer_layers("sdxl", SDXL_SGM_BLOCKS):
        stem = "lora_unet_" + name.replace(".", "_")
        shapes |= {f"{stem}.lokr_w1": (8, 8), f"{stem}.lokr_w2": (outputs // 8, inputs // 8)}
    found = judged(shapes)
    assert found.cut and found.most_ranks == 256 == found.rank
    assert sum(min(of.rank, 256) * of.numbers for of in found.written) < 1 << 30


def test_messages_name_the_file_and_the_layer(monkeypatch: Any) -> None:
    with pytest.raises(StyleFileError, match=r"“evil.*: the factors of unet\.mid_block.* down \[8, 768\]"):
        judge(
            header(lora(ONE, 768, 1280) | {f"{ONE}.lora_up.weight": (1280, 9)}),
            "evil\x00\u202e<b>.safetensors",
        )
