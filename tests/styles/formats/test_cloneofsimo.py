"""Numbered files: each number is the layer that the walk of its day comes to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from styles.errors import StyleFileError
from styles.formats.cloneofsimo import is_numbered, layer_keys, text_walk, unet_walk
from styles.formats.reader import read_card, read_style
from styles.formats.safetensors_header import TensorEntry
from styles.mixing.model_patcher import blended
from tests.styles.making import PlainBase
from tests.styles.unet_of_2022 import DEFAULT, EXTENDED, TEXT, TextEncoder, UNet, numbered_tensors, walk

LAYERS = (nn.Linear, nn.Conv2d)
SMALL = (8, 16, 32, 32)


@pytest.fixture(scope="module")
def of_the_day() -> tuple[UNet, TextEncoder]:
    with torch.device("meta"):
        return UNet(), TextEncoder()


@pytest.fixture(scope="module")
def today() -> Any:
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        return UNet2DConditionModel(cross_attention_dim=768, attention_head_dim=8)


@pytest.mark.parametrize(
    ("classes", "kinds", "count"),
    [
        (DEFAULT, (nn.Linear,), 144),
        (("CrossAttention",), (nn.Linear,), 128),
        (("GEGLU",), (nn.Linear,), 16),
        (("CrossAttention", "FeedForward"), (nn.Linear,), 160),
        (("BasicTransformerBlock",), (nn.Linear,), 160),
        (EXTENDED, LAYERS, 224),
        (EXTENDED, (nn.Linear,), 166),
    ],
)
def test_each_number_is_the_layer_of_the_walk_of_its_day(
    of_the_day: tuple[UNet, TextEncoder], today: Any, classes: Any, kinds: Any, count: int
) -> None:
    layers = walk(of_the_day[0], classes, kinds)
    assert len(layers) == count
    found = layer_keys(entries("unet", layers), {"unet": json.dumps(classes)})
    paths = {layer.parts["down"]: layer.path for layer in found}
    assert paths == {f"unet:{number}:down": path for number, (path, _) in enumerate(layers)}
    for path, module in layers:  # today's UNet has them all, in the same shapes
        assert today.get_submodule(path).weight.shape == module.weight.shape  # type: ignore[union-attr]


def test_the_text_encoders_keys_and_values_come_before_its_queries(
    of_the_day: tuple[UNet, TextEncoder],
) -> None:
    for classes, count in ((TEXT, 48), (("CLIPAttention", "CLIPMLP"), 72), (("CLIPEncoderLayer",), 72)):
        layers = walk(of_the_day[1], classes)
        assert len(layers) == count
        found = layer_keys(entries("text_encoder", layers), {"text_encoder": json.dumps(classes)})
        paths = {layer.parts["up"]: layer.path for layer in found}
        assert paths == {f"text_encoder:{number}:up": path for number, (path, _) in enumerate(layers)}
    assert text_walk({"attention"}, 1)[0].path.endswith("k_proj")


def test_a_later_file_is_told_by_its_shapes(today: Any) -> None:
    """From diffusers 0.15 on the feed-forward comes last; its classes have the names that today's have."""
    layers = walk(today, ("Attention", "GEGLU"))
    early = [place.path for place in unet_walk({"attention", "geglu"})]
    assert len(layers) == 144 and [path for path, _ in layers] != early
    for metadata in ({"unet": '["Attention", "GEGLU"]'}, {}):
        found = layer_keys(entries("unet", layers), metadata)
        paths = {layer.parts["down"]: layer.path for layer in found}
        assert paths == {f"unet:{number}:down": path for number, (path, _) in enumerate(layers)}


@pytest.mark.parametrize("told", ["", "nonsense", "[", "{}", "[3]", "[" * 5000, '["Unheard"]'])
def test_without_the_classes_the_shapes_alone_decide(of_the_day: tuple[UNet, TextEncoder], told: str) -> None:
    for classes, kinds in ((DEFAULT, (nn.Linear,)), (EXTENDED, LAYERS)):
        layers = walk(of_the_day[0], classes, kinds)
        tensors = entries("unet", layers)
        metadata = {"unet": told} if told else {}
        assert layer_keys(tensors, metadata) == layer_keys(tensors, {"unet": json.dumps(classes)})


def test_without_alpha_a_layer_is_as_strong_as_its_product(of_the_day: tuple[UNet, TextEncoder]) -> None:
    ranks = (1, 4, 7)
    found = layer_keys(entries("unet", walk(of_the_day[0], DEFAULT), ranks), {})
    assert len({layer.told_alpha for layer in found}) == 3
    for layer in found:
        number = int(layer.parts["down"].split(":")[1])
        assert layer.told_alpha == ranks[number % 3] and layer.alpha is None


def test_each_change_lands_on_its_layer(tmp_path: Path) -> None:
    """A file of the recorded layout, on today's classes: SD1.5 with 1/40 of the channels, and CLIP's 48 layers."""
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        block_out_channels=SMALL, norm_num_groups=8, cross_attention_dim=768, attention_head_dim=8
    )
    text = CLIPTextModel(
        CLIPTextConfig(
            hidden_size=768,
            intermediate_size=8,
            num_attention_heads=12,
            vocab_size=64,
            bos_token_id=62,
            eos_token_id=63,
        )
    )
    with torch.device("meta"):
        layers = {"unet": walk(UNet(SMALL), DEFAULT), "text_encoder": walk(TextEncoder(768), TEXT)}
    tensors: dict[str, torch.Tensor] = {}
    metadata = {"unet": json.dumps(DEFAULT), "text_encoder": json.dumps(TEXT)}
    for network, ranks in (("unet", (4, 1, 2)), ("text_encoder", (4,))):
        more, told = numbered_tensors(network, layers[network], ranks, seed=len(network))
        tensors |= more
        metadata |= told
    path = tmp_path / "old.safetensors"
    save_file(tensors, path, metadata)

    card, style = read_card(path), read_style(path)
    assert card.family == style.card.family == "sd1" and card.layers == {"te": 48, "unet": 144}
    assert card.strength == 1 and not card.problems and card.tokens == ()
    assert all(layer.alpha == layer.rank for layer in style.layers)
    base = PlainBase(unet, text_encoders=(text,))
    roots: dict[str, nn.Module] = {"unet": unet, "text_encoder": text}
    with torch.no_grad(), blended(base, [style]) as mix:
        mix.set_gains([1.0])
        for network, walked in layers.items():
            for number, (layer_path, _) in enumerate(walked):
                here = layer_path if network == "unet" else layer_path.removeprefix("text_model.")
                module = roots[network].get_submodule(here)
                assert isinstance(module, nn.Linear)
                down, up = (tensors[f"{network}:{number}:{side}"].float() for side in ("down", "up"))
                x = torch.randn(1, 3, module.in_features)
                weight = module.weight + up @ down
                torch.testing.assert_close(
                    module(x), nn.functional.linear(x, weight, module.bias), atol=1e-4, rtol=1e-4
                )


def test_layers_in_another_order_are_refused(of_the_day: tuple[UNet, TextEncoder]) -> None:
    layers = walk(of_the_day[0], DEFAULT)
    second = [pair for pair in layers if pair[0].startswith("mid")]
    others = [pair for pair in layers if not pair[0].startswith("mid")]
    with pytest.raises(StyleFileError, match=r"unet:81 with down \[4, 1280\].*up_blocks.2") as refused:
        layer_keys(entries("unet", others[:54] + second + others[54:]), {})
    assert "kohya" in refused.value.hint
    text = entries("text_encoder", walk(of_the_day[1], TEXT))
    text["text_encoder:5:up"] = TensorEntry("F16", (512, 4), 0, 0)
    with pytest.raises(StyleFileError, match="text_encoder:5 with down"):
        layer_keys(text, {})


def test_what_is_not_whole_or_not_known_is_refused(of_the_day: tuple[UNet, TextEncoder]) -> None:
    whole = entries("unet", walk(of_the_day[0], DEFAULT))
    assert is_numbered(whole) and not is_numbered(["unet:01:up", "unet:1:alpha", "vae:0:up", "lora_unet_x"])
    for gone in ("unet:7:up", "unet:0:down"):
        with pytest.raises(StyleFileError, match=f"{gone} is missing"):
            layer_keys({key: entry for key, entry in whole.items() if key != gone}, {})
    end = {key: entry for key, entry in whole.items() if not key.startswith("unet:143:")}
    with pytest.raises(StyleFileError, match=r"143 layers of the unet .*they have 144"):
        layer_keys(end, {"unet": json.dumps(DEFAULT)})
    with pytest.raises(StyleFileError, match=r"inside CrossAttention\).*they have 128"):
        layer_keys(whole, {"unet": '["CrossAttention"]'})
    for odd in ("unet:01:up", "text_encoder_2:0:up", "alpha", "<b>:0:up"):
        with pytest.raises(StyleFileError, match="holds something else"):
            layer_keys(whole | {odd: whole["unet:0:up"]}, {})
    scalar = whole | {"unet:3:down": TensorEntry("F16", (), 0, 0)}
    with pytest.raises(StyleFileError, match="unet:3 with down"):
        layer_keys(scalar, {})
    far = whole | {f"unet:9999:{side}": whole["unet:0:up"] for side in ("up", "down")}
    with pytest.raises(StyleFileError, match="unet:144:up is missing"):
        layer_keys(far, {})


def entries(
    network: str, layers: list[tuple[str, nn.Module]], ranks: tuple[int, ...] = (4,)
) -> dict[str, TensorEntry]:
    """What a header says of a file over these layers."""
    found: dict[str, TensorEntry] = {}
    for number, (_, module) in enumerate(layers):
        rank = ranks[number % len(ranks)]
        weight: torch.Tensor = module.weight  # type: ignore[assignment]
        found[f"{network}:{number}:down"] = TensorEntry("F16", (rank, *weight.shape[1:]), 0, 0)
        ones = (1, 1) if weight.ndim == 4 else ()
        found[f"{network}:{number}:up"] = TensorEntry("F16", (weight.shape[0], rank, *ones), 0, 0)
    return found


def test_nothing_is_lost_between_numbers_and_layers(of_the_day: tuple[UNet, TextEncoder]) -> None:
    tensors: Mapping[str, TensorEntry] = entries("unet", walk(of_the_day[0], EXTENDED, LAYERS))
    used = [key for layer in layer_keys(tensors, {}) for key in layer.parts.values()]
    assert sorted(used) == sorted(tensors)
