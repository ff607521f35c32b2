"""What other programs write today, in their names and their numbers: opened, and just as strong as they mean it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from styles.errors import StyleFileError
from styles.formats.reader import read_card, read_style
from styles.formats.safetensors_header import number_in
from styles.formats.style import Style, StyleLayer
from styles.library.header_cache import HeaderCache
from tests.styles.formats.test_reader import FAMILIES, LAYERS, RANK, Shapes, judged, kohya, leads_to, paths
from tests.styles.key_lists import (
    CONVOLUTIONS,
    ENCODERS,
    ORIGINAL_BLOCKS,
    attention_layers,
    encoder_layers,
    transformer_layers,
)

PATH = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
NAME = "lora_unet_" + PATH.replace(".", "_")
CLIP = {
    "sd1": {"te": "clip_l"},
    "sd2": {"te": "clip_h"},
    "sdxl": {"te1": "clip_l", "te2": "clip_g"},
}


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


def opened(folder: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> Style:
    """The style of a file with these tensors, whose card is the same whichever way it is read."""
    path = folder / "theirs.safetensors"
    save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, path, metadata)
    style = read_style(path)
    assert style.card == read_card(path)
    return style


def delta(layer: StyleLayer) -> Tensor:
    return layer.scale * layer.up.double().flatten(1) @ layer.down.double().flatten(1)


def close(found: Tensor, wanted: Tensor, error: float = 1e-6) -> None:
    assert (found.double() - wanted.double()).norm() <= error * wanted.double().norm()


def said(style: Style) -> str:
    return " ".join(style.card.problems)


# Names


def generic(family: str, unet: str, encoder: str | None, ends: tuple[str, str]) -> Shapes:
    """ComfyUI's generic names: the original blocks behind `unet`, CLIP behind `encoder` and its name."""
    shapes: Shapes = {}

    def layer(name: str, inputs: int, outputs: int) -> None:
        shapes.update(
            {f"{name}.{ends[0]}": (RANK, inputs), f"{name}.{ends[1]}": (outputs, RANK), f"{name}.alpha": ()}
        )

    for name, inputs, outputs in transformer_layers(family, ORIGINAL_BLOCKS[family]):
        layer(unet + name, inputs, outputs)
    for network, clip in CLIP[family].items() if encoder is not None else ():
        for name, inputs, outputs in encoder_layers(family, network):
            layer(f"{encoder}{clip}.transformer.{name}", inputs, outputs)
    return shapes


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("unet", "encoder", "ends"),
    [
        ("diffusion_model.", "text_encoders.", ("lora_A.weight", "lora_B.weight")),  # OneTrainer for ComfyUI
        ("diffusion_model.", None, ("lora_down.weight", "lora_up.weight")),  # ComfyUI's LoraSave
        ("", None, ("lora_A.weight", "lora_B.weight")),  # OneTrainer's original names
        ("unet.", None, ("lora_down.weight", "lora_up.weight")),  # OneTrainer in 2025
        ("model.diffusion_model.", "", ("lora_A.default.weight", "lora_B.default.weight")),
    ],
)
def test_generic_names(family: str, unet: str, encoder: str | None, ends: tuple[str, str]) -> None:
    found, known = judged(generic(family, unet, encoder, ends)), judged(kohya(family))
    networks = ("unet", *(CLIP[family] if encoder is not None else ()))
    assert found.family == family and {layer.network for layer in found.layers} == set(networks)
    for network in networks:
        assert paths(found, network) == paths(known, network) != set()
    leads_to(found, family)


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_generic_names_of_convolutions(family: str) -> None:
    shapes = generic(family, "diffusion_model.", None, ("lora_down.weight", "lora_up.weight"))
    for _, original, inputs, outputs, kernel in CONVOLUTIONS[family]:
        linear = "embed" in original or "emb_layers" in original
        square, one = ((), ()) if linear else ((kernel, kernel), (1, 1))
        stem = f"diffusion_model.{original}"
        shapes |= {
            f"{stem}.lora_down.weight": (RANK, inputs, *square),
            f"{stem}.lora_up.weight": (outputs, RANK, *one),
        }
    found = judged(shapes)
    assert found.family == family and {row[0] for row in CONVOLUTIONS[family]} < paths(found)
    leads_to(found, family)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("prefix", ["lycoris_", "lycoris_unet_", "lora_"])
def test_other_words_before_the_same_names(family: str, prefix: str) -> None:
    shapes = {
        key.replace("lora_unet_", prefix, 1): shape for key, shape in kohya(family, encoders=False).items()
    }
    found = judged(shapes)
    assert found.family == family and paths(found) == paths(judged(kohya(family)))
    texts = {
        f"lycoris_{name.replace('.', '_')}.{part}": shape
        for name, inputs, outputs in encoder_layers(family, next(iter(ENCODERS[family])))
        for part, shape in (("lora_down.weight", (RANK, inputs)), ("lora_up.weight", (outputs, RANK)))
    }
    assert {layer.network for layer in judged(texts).layers} <= {"te", "te1"}


def test_peft_names_behind_the_name_of_the_network() -> None:
    shapes: Shapes = {}
    for name, inputs, outputs in attention_layers("sd1"):
        stem = f"unet.base_model.model.{name}"
        shapes |= {f"{stem}.lora_A.weight": (RANK, inputs), f"{stem}.lora_B.weight": (outputs, RANK)}
    found = judged(shapes)
    assert found.family == "sd1" and len(paths(found)) == 128
    leads_to(found, "sd1")


def test_a_layer_under_names_of_two_programs_is_refused() -> None:
    twice = {f"diffusion_model.input_blocks.1.1.proj_in.{part}": shape for part, shape in (
        ("lora_down.weight", (RANK, 320)), ("lora_up.weight", (320, RANK)))}  # fmt: skip
    with pytest.raises(StyleFileError, match="twice"):
        judged(kohya("sd1") | twice)
    assert len(judged(kohya("sd1")).layers) == LAYERS["sd1"]


# Numbers


def lora(name: str = NAME, width: int = 768, seed: int = 0) -> dict[str, Tensor]:
    return {
        f"{name}.lora_down.weight": random(4, width, seed=seed),
        f"{name}.lora_up.weight": random(320, 4, seed=seed),
    }


@pytest.mark.parametrize("kind", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_numbers_of_a_byte_are_exact(tmp_path: Path, kind: Any) -> None:
    tensors = {key: tensor.to(kind) for key, tensor in lora().items()}
    style = opened(tmp_path, tensors | {f"{NAME}.alpha": torch.tensor(8.0).to(kind)})
    (layer,) = style.layers
    down, up = (tensor.float() for tensor in tensors.values())
    assert torch.equal(layer.down.float(), down) and torch.equal(layer.up.float(), up)
    assert layer.scale == style.card.strength == 2.0 and not style.card.problems


@pytest.mark.parametrize(
    ("kind", "dtype"), [(torch.float8_e4m3fn, "F8_E4M3"), (torch.float8_e5m2, "F8_E5M2")]
)
def test_each_byte_is_the_number_that_torch_takes_it_for(kind: Any, dtype: str) -> None:
    codes = torch.arange(256, dtype=torch.uint8)
    for code, wanted in zip(codes.tolist(), codes.view(kind).float().abs().tolist(), strict=True):
        found = number_in(bytes([code]), dtype)
        assert found is not None and (abs(found) == wanted or (found != found and wanted != wanted))


def test_an_alpha_of_0_is_used_in_full_and_said(tmp_path: Path) -> None:
    style = opened(tmp_path, lora() | {f"{NAME}.alpha": torch.tensor(0.0)})
    assert style.layers[0].scale == 1.0 and "alpha is 0" in said(style)
    assert "alpha is 0" not in said(opened(tmp_path, lora() | {f"{NAME}.alpha": torch.tensor(4.0)}))


LINEAR_ARGS = '{"algo": "lokr", "factor": 8}'
CONV = "lora_unet_down_blocks_0_resnets_0_conv1"


def whole_lokr(alpha: float, name: str = NAME, seconds: tuple[int, ...] = (40, 96)) -> dict[str, Tensor]:
    return {
        f"{name}.lokr_w1": random(8, 8),
        f"{name}.lokr_w2": random(*seconds),
        f"{name}.alpha": torch.tensor(alpha, dtype=torch.float32),
    }


@pytest.mark.parametrize(
    ("alpha", "rank", "network_alpha", "strength"),
    [
        (32.0, "32", "1", 1.0),  # LyCORIS: alpha is the rank that was asked for
        (1.0, "32", "1", 1 / 32),  # as it was asked for: the metadata tells the rest
        (16.0, "32", "16", 0.5),
        (1.0, "", "1", 1.0),
        (1.0, "x", "1", 1.0),
        (5.0, "32", "1", 1.0),  # a layer that was told otherwise
    ],
)
def test_the_strength_of_whole_lokr_factors(
    tmp_path: Path, alpha: float, rank: str, network_alpha: str, strength: float
) -> None:
    tensors = whole_lokr(alpha)
    metadata = {"ss_network_dim": rank, "ss_network_alpha": network_alpha, "ss_network_args": LINEAR_ARGS}
    style = opened(tmp_path, tensors, metadata)
    wanted = strength * torch.kron(tensors[f"{NAME}.lokr_w1"], tensors[f"{NAME}.lokr_w2"])
    close(delta(style.layers[0]), wanted)
    assert style.card.strength == strength and ("metadata" in said(style)) == (strength != 1)


def test_whole_lokr_factors_of_convolutions_have_their_own_rank(tmp_path: Path) -> None:
    metadata = {
        "ss_network_dim": "32",
        "ss_network_alpha": "1",
        "ss_network_args": '{"conv_dim": "8", "conv_alpha": 2}',
    }
    tensors = whole_lokr(2.0, CONV, (40, 40, 3, 3))
    (layer,) = opened(tmp_path, tensors, metadata).layers
    close(delta(layer), torch.kron(tensors[f"{CONV}.lokr_w1"], tensors[f"{CONV}.lokr_w2"].flatten(1)) / 4)


def test_like_files_with_other_metadata_have_their_own_strength(tmp_path: Path) -> None:
    cards, path = HeaderCache(), tmp_path / "theirs.safetensors"
    for rank in ("32", "64"):
        save_file(whole_lokr(1.0), path, {"ss_network_dim": rank, "ss_network_alpha": "1"})
        assert cards.card(path).strength == read_card(path).strength == 1 / int(rank)


def test_an_alpha_beyond_half_precision_says_nothing_of_whole_factors(tmp_path: Path) -> None:
    """SimpleTuner's usual LoKr has rank and alpha 10^10, which half precision takes for infinite."""
    tensors = {key: tensor.half() for key, tensor in whole_lokr(1e10).items()}
    (layer,) = opened(tmp_path, tensors).layers
    close(delta(layer), torch.kron(*(tensors[f"{NAME}.lokr_w{n}"].float() for n in (1, 2))))
    with pytest.raises(StyleFileError, match="no numbers"):
        opened(tmp_path, lora() | {f"{NAME}.alpha": torch.tensor(float("inf"))})


# Full differences


PROJECTION = "lora_unet_down_blocks_0_attentions_0_proj_in"


@pytest.mark.parametrize(
    ("name", "shape"),
    [(NAME, (320, 768)), (PROJECTION, (320, 320, 1, 1)), ("lora_unet_conv_in", (320, 4, 3, 3))],
)
def test_a_full_difference_is_opened_exactly(tmp_path: Path, name: str, shape: tuple[int, ...]) -> None:
    diff = random(*shape)
    style = opened(tmp_path, {f"{name}.diff": diff, f"{name}.diff_b": random(320)})
    (layer,) = style.layers
    assert torch.equal(delta(layer), diff.double().flatten(1))
    assert style.card.kind == "full" and style.card.strength == 1.0
    assert said(style).startswith("It also changes a bias, which is left out.")


def test_full_differences_beyond_all_room_come_as_near_as_they_can() -> None:
    """LyCORIS' algorithm `full` on all attention of Stable Diffusion XL."""
    shapes = {
        f"lora_unet_{name.replace('.', '_')}.diff": (outputs, inputs)
        for name, inputs, outputs in transformer_layers("sdxl", ORIGINAL_BLOCKS["sdxl"])
    }
    found = judged(shapes)
    assert found.family == "sdxl" and found.kind == "full" and found.cut


# Beside the layers


def test_norms_and_biases_are_left_out_and_counted(tmp_path: Path) -> None:
    block = "lora_unet_down_blocks_0_attentions_0"
    beside = {
        f"{block}_norm.w_norm": random(320),
        f"{block}_norm.b_norm": random(320),
        f"{block}_transformer_blocks_0_norm1.w_norm": random(320),
        f"{block}_proj_out.diff_b": random(320),
        "text_encoders.clip_l.transformer.text_model.encoder.layers.0.layer_norm1.diff": random(768),
        "text_encoders.clip_l.transformer.text_model.encoder.layers.0.layer_norm1.diff_b": random(768),
    }
    style, plain = opened(tmp_path, lora() | beside), opened(tmp_path, lora())
    assert torch.equal(delta(style.layers[0]), delta(plain.layers[0])) and len(style.layers) == 1
    assert "3 norms, which are left out" in said(style) and "a bias, which is left out" in said(style)
    with pytest.raises(StyleFileError, match=r"only norms and biases \(4\)"):
        opened(tmp_path, beside)


def test_a_few_stray_tensors_are_left_out_and_named(tmp_path: Path) -> None:
    beside = {"position_ids": torch.arange(77)[None], "lora_te_logit_scale.diff": random(1, 1)}
    style = opened(tmp_path, lora() | beside)
    assert len(style.layers) == 1 and "lora_te_logit_scale, position_ids" in said(style)
    many = {f"lora_unet_new_{number}.lora_down.weight": random(4, 8) for number in range(3)}
    with pytest.raises(
        StyleFileError, match="3 things that belong to no style layer, such as lora_unet_new_0"
    ):
        opened(tmp_path, lora() | many)


def test_what_changes_a_layer_otherwise_is_never_left_out(tmp_path: Path) -> None:
    for part in ("scale_weight", "lora_magnitude", "weight_scale"):
        with pytest.raises(StyleFileError, match="in a way that is not known"):
            opened(tmp_path, lora() | {f"{NAME}.{part}": torch.tensor(2.0)})


def test_a_model_that_has_the_layers_of_another_is_named(tmp_path: Path) -> None:
    style = opened(tmp_path, lora(width=2048), {"modelspec.architecture": "kolors/lora"})
    assert style.card.family == "sdxl"
    assert "It says that it is for Kolors, but its layers are for Stable Diffusion XL." in said(style)


# Words as OneTrainer writes them


@pytest.mark.parametrize(("width", "family"), [(768, "sd1"), (1024, "sd2")])
def test_a_word_of_the_only_text_encoder(tmp_path: Path, width: int, family: str) -> None:
    rows = random(2, width)
    tensors = lora(width=width) | {
        "bundle_emb.ink.clip_l": rows,
        "bundle_emb.ink.clip_l_out": random(2, width),
    }
    style = opened(tmp_path, tensors)
    assert style.card.family == family and style.card.tokens == ("ink",)
    assert torch.equal(style.embeddings["ink"], rows) and "what the text encoder makes of them" in said(style)


def test_half_a_word_of_two_text_encoders_is_refused(tmp_path: Path) -> None:
    tensors = lora(width=2048) | {"bundle_emb.ink.clip_l": random(1, 768)}
    with pytest.raises(
        StyleFileError, match="rows for one text encoder only; those of Stable Diffusion XL are two"
    ):
        opened(tmp_path, tensors)


def test_a_word_alone_under_the_name_that_onetrainer_gives_it(tmp_path: Path) -> None:
    style = opened(tmp_path, {"emp_params": random(2, 768), "emp_params_out": random(2, 768)})
    assert style.card.tokens == ("theirs",) and style.card.family == "sd1"
    assert style.embeddings["theirs"].shape == (2, 768) and said(style)
