"""Where a style opens: each rule on a file that breaks it, and diffusers' own rules against diffusers itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from styles.errors import StyleFileError
from styles.formats.kohya import kohya_name
from styles.formats.style import Style, StyleCard, StyleLayer
from styles.formats.writer import write_style
from styles.library.compatibility.opening import Compatibility, opens_in, sources_words
from styles.library.compatibility.programs import SOURCES, TOOLS
from tests.styles.making import random_layer

WIDTHS = {"sd1": 768, "sd2": 1024, "sdxl": 2048, "starter": 256}
ALL = ("A1111", "Forge", "ComfyUI", "InvokeAI", "diffusers")
BLOCK = "down_blocks.1.attentions.0.transformer_blocks.0"
ENCODER = "text_model.encoder.layers.0.self_attn"


def layer(
    path: str, width_in: int = 64, network: str = "unet", kernel: int = 0, alpha: float = 2.0
) -> StyleLayer:
    down = torch.randn(4, width_in, *([kernel] * 2 if kernel else []))
    return StyleLayer(network, path, down, torch.randn(32, 4, *([1, 1] if kernel else [])), alpha)


def family_style(family: str) -> Style:
    """Cross-attention, feed-forward, convolutions and text encoders, as each family has them."""
    layers = [layer(f"{BLOCK}.attn2.to_{side}", WIDTHS[family]) for side in ("k", "v")]
    layers += [
        layer(f"{BLOCK}.{path}") for path in ("attn2.to_q", "attn2.to_out.0", "ff.net.0.proj", "ff.net.2")
    ]
    layers += [
        layer("conv_in", 4, kernel=3),
        layer("down_blocks.0.resnets.0.conv1", kernel=3),
        layer("mid_block.attentions.0.proj_in", kernel=1 if family == "sd1" else 0),
        layer("up_blocks.1.upsamplers.0.conv", kernel=3),
        layer("time_embedding.linear_1"),
    ]
    networks = {"sdxl": {"te1": 768, "te2": 1280}}.get(family, {"te": {"sd2": 1024}.get(family, 768)})
    for network, width in networks.items():
        layers += [layer(f"{ENCODER}.{side}_proj", width, network) for side in ("q", "k", "v", "out")]
    return Style(StyleCard("Ink", family, 4), tuple(layers))


def tensors_of(style: Style) -> dict[str, torch.Tensor]:
    found = {}
    for one in style.layers:
        name = kohya_name(one.network, one.path)
        found |= {
            f"{name}.lora_down.weight": one.down,
            f"{name}.lora_up.weight": one.up,
            f"{name}.alpha": torch.tensor(one.alpha),
        }
    return found


def opened(path: Path) -> dict[str, Compatibility]:
    return {opening.tool: opening for opening in opens_in(path)}


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_what_we_write_opens_everywhere(tmp_path: Path, family: str) -> None:
    path = tmp_path / "Ink.safetensors"
    write_style(family_style(family), path)
    found = opened(path)
    assert {tool: one.opens for tool, one in found.items()} == dict.fromkeys(ALL, "yes")
    assert not [reason for one in found.values() for reason in one.reasons]
    assert found["A1111"].words == "A1111: yes."


def test_layers_that_sdxl_names_otherwise_are_written_as_all_programs_read_them(tmp_path: Path) -> None:
    style, path = family_style("sdxl"), tmp_path / "Ink.safetensors"
    more = (layer("up_blocks.0.upsamplers.0.conv", kernel=3), layer("add_embedding.linear_2"))
    write_style(replace(style, layers=style.layers + more), path)
    assert {tool: one.opens for tool, one in opened(path).items()} == dict.fromkeys(ALL, "yes")
    save_file(tensors_of(replace(style, layers=style.layers + more)), path)  # in diffusers' names
    assert {tool for tool, one in opened(path).items() if one.opens == "partly"} == {"A1111", "diffusers"}


def test_the_starter_opens_only_where_its_base_does(tmp_path: Path) -> None:
    path = tmp_path / "Ink.safetensors"
    write_style(family_style("starter"), path)
    found = opened(path)
    assert [tool for tool, one in found.items() if one.opens == "yes"] == ["diffusers"]
    assert all("starter model" in " ".join(found[tool].reasons) for tool in ALL if tool != "diffusers")


Change = Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]
NAME = kohya_name("unet", f"{BLOCK}.attn2.to_k")


def without(*marks: str) -> Change:
    return lambda tensors: {k: v for k, v in tensors.items() if not any(mark in k for mark in marks)}


def with_more(**more: torch.Tensor) -> Change:
    return lambda tensors: tensors | {key.replace("__", "."): value for key, value in more.items()}


def original_names(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Only attention, in the original block names."""
    block = "down_blocks_1_attentions_0"
    return {k.replace(block, "input_blocks_4_1"): v for k, v in tensors.items() if block in k}


def as_loha(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    loha = {f"{NAME}.hada_w{n}_{side}": torch.randn(4, 4) for n in (1, 2) for side in "ab"}
    return {k: v for k, v in tensors.items() if not k.startswith(NAME)} | loha


def as_diffusers(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"unet.{BLOCK}.attn2.to_k.lora_{side}.weight": torch.randn(4, 4) for side in "AB"}


def as_oldest(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """As diffusers wrote them in 2023."""
    return {
        f"unet.{BLOCK}.attn2.processor.to_v_lora.{side}.weight": torch.randn(4, 4) for side in ("up", "down")
    }


def as_whole_lokr(tensors: dict[str, torch.Tensor], first: str = "lokr_w1") -> dict[str, torch.Tensor]:
    """A LoKr whose two factors are matrices, and not products of ranks; with another name the first one is."""
    one = {f"{NAME}.{first}": torch.ones(16, 24), f"{NAME}.lokr_w2": torch.ones(20, 32)}
    if first != "lokr_w1":
        one |= {f"{NAME}.{first}": torch.ones(16, 4), f"{NAME}.lokr_w1_b": torch.ones(4, 24)}
    return one | {f"{NAME}.alpha": torch.tensor(1.0)}


@pytest.mark.parametrize(
    ("family", "change", "tools", "said"),
    [
        (
            "sd1",
            with_more(bundle_emb=torch.ones(1)),
            dict.fromkeys(ALL, "partly") | {"diffusers": "no"},
            "bundle_emb",
        ),
        (
            "sd1",
            lambda tensors: tensors | {"bundle_emb.ink.string_to_param.*": torch.ones(1, 768)},
            dict.fromkeys(ALL, "partly") | {"A1111": "yes", "diffusers": "no"},
            "words apart",
        ),
        (
            "sd1",
            lambda tensors: tensors | {"bundle_emb.ink.v2.string_to_param.*": torch.ones(1, 768)},
            dict.fromkeys(ALL, "partly") | {"A1111": "yes", "diffusers": "no"},
            "A1111 knows words only up to their first dot: ink.v2",
        ),
        ("sd1", as_loha, {"diffusers": "no"}, "plain LoRA only"),
        ("sd1", with_more(**{f"{NAME}__dora_scale": torch.ones(32, 1)}), {"diffusers": "partly"}, "DoRA"),
        ("sd1", with_more(**{f"{NAME}__lora_mid__weight": torch.ones(4, 4)}), {"diffusers": "no"}, "LoCon"),
        (
            "sd1",
            with_more(**{f"{NAME}__alpha": torch.tensor(1.0)}),
            {"diffusers": "partly"},
            "1 layers the alpha that most have",
        ),
        ("sd1", without(f"{NAME}.alpha"), {"diffusers": "partly"}, "too strong or too weak"),
        (
            "sd1",
            without(f"{NAME}.lora_up"),
            {"A1111": "no", "InvokeAI": "no", "diffusers": "no", "Forge": "partly", "ComfyUI": "partly"},
            "half of their tensors",
        ),
        ("sd1", original_names, {"diffusers": "no", "InvokeAI": "no"}, "original block names only of SDXL"),
        ("sdxl", original_names, {}, ""),
        (
            "sdxl",
            lambda tensors: tensors | original_names(tensors),
            {"InvokeAI": "no", "diffusers": "partly"},
            "two ways of naming blocks",
        ),
        (
            "sdxl",
            lambda tensors: {k.replace("te1", "te"): v for k, v in tensors.items()},
            {"InvokeAI": "no", "A1111": "partly"},
            "refuses it for names such as lora_te_",
        ),
        (
            "sdxl",
            without("te2_text_model_encoder_layers_0_self_attn_k"),
            {"A1111": "partly"},
            "q, k, v and out",
        ),
        (
            "sd1",
            without("attn2_to_k", "attn2_to_v", "lora_te"),
            {"InvokeAI": "no"},
            "can't tell which base",
        ),
        (
            "sd1",
            lambda tensors: (
                without("attn2_to_k", "attn2_to_v", "lora_te")(tensors)
                | tensors_of(
                    Style(StyleCard("x", "sd1", 4), (layer("mid_block.resnets.0.time_emb_proj", 1280),))
                )
            ),
            {"InvokeAI": "no"},
            "Stable Diffusion XL",
        ),
        (
            "sd1",
            lambda tensors: tensors | {f"lora_unet_odd_{n}.alpha": torch.ones(()) for n in range(12)},
            {
                "A1111": "partly",
                "Forge": "partly",
                "ComfyUI": "partly",
                "InvokeAI": "no",
                "diffusers": "no",
            },
            "leaves out 12 of",
        ),
        (
            "sd1",
            lambda tensors: tensors | {f"lora_unet_odd_{n}.alpha": torch.ones(()) for n in range(13)},
            {"A1111": "partly", "Forge": "no", "ComfyUI": "partly", "InvokeAI": "no", "diffusers": "no"},
            "more than 12 tensors",
        ),
        (
            "sdxl",
            lambda tensors: (
                tensors
                | tensors_of(
                    Style(StyleCard("x", "sdxl", 4), (layer("up_blocks.0.upsamplers.0.conv", kernel=3),))
                )
            ),
            {"A1111": "partly"},
            "up_blocks_0_upsamplers",
        ),
        ("sd1", as_diffusers, dict.fromkeys(ALL[:4], "no"), "names it doesn't know: unet.down_blocks"),
        ("sd1", as_oldest, {"A1111": "no", "InvokeAI": "no"}, "names it doesn't know: unet.down_blocks"),
        (
            "sd1",
            lambda tensors: as_oldest(tensors) | as_diffusers(tensors),
            {"A1111": "no", "InvokeAI": "no", "Forge": "partly", "ComfyUI": "partly"},
            "leaves out 1 of 2 layers",
        ),
        (
            "sd1",
            lambda tensors: {f"unet.{BLOCK}.ff.net.2.lora_{side}.weight": torch.ones(4, 4) for side in "AB"},
            {"A1111": "no", "InvokeAI": "no"},
            "",
        ),
        (
            "sd1",
            lambda tensors: (
                {
                    f"unet.{BLOCK}.attn{number}.to_{side}.lora_{factor}.weight": torch.ones(4, 4)
                    for number in (1, 2)
                    for side in "qkv"
                    for factor in "AB"
                }
                | as_oldest(tensors)
            ),
            {"A1111": "no", "InvokeAI": "no", "Forge": "partly", "ComfyUI": "partly"},
            "",
        ),
        (
            "sd1",
            lambda tensors: (
                {
                    f"unet.{BLOCK}.attn{number}.{layer}.lora_{factor}.weight": torch.ones(4, 4)
                    for number in (1, 2)
                    for layer in ("to_q", "to_k", "to_v", "to_out.0")
                    for factor in "AB"
                }
                | as_oldest(tensors)
            ),
            {"A1111": "no", "InvokeAI": "no", "Forge": "no", "ComfyUI": "partly"},
            "Forge leaves a file with more than 12 tensors that it has no layer for; here are 16",
        ),
        (
            "sd1",
            lambda tensors: {
                k.replace("lora_unet_", "lycoris_"): v for k, v in without("lora_te")(tensors).items()
            },
            {"A1111": "no", "InvokeAI": "no", "diffusers": "no"},
            "lycoris_",
        ),
        (
            "sd1",
            lambda tensors: {
                f"diffusion_model.input_blocks.4.1.proj_in.{part}": torch.ones(4, 4)
                for part in ("lora_up.weight", "lora_down.weight")
            },
            {"A1111": "no", "InvokeAI": "no", "diffusers": "no"},
            "diffusion_model.",
        ),
        (
            "sd1",
            lambda tensors: {"unet:0:up": torch.ones(4, 4), "unet:0:down": torch.ones(4, 4)},
            dict.fromkeys(ALL[:4], "unknown") | {"diffusers": "no"},
            "is not known",
        ),
        (
            "sd1",
            lambda tensors: without("lora_te_text_model_encoder_layers_0_self_attn_out")(tensors),
            {"A1111": "yes", "diffusers": "no"},
            "only where one of its layers is `out`",
        ),
        (
            "sd1",
            lambda tensors: tensors_of(
                Style(StyleCard("x", "sd1", 4), (layer(f"{ENCODER}.q_proj", 768, "te"),))
            ),
            {"diffusers": "no"},
            "only where one of its layers is `out`",
        ),
        (
            "sdxl",
            lambda tensors: tensors_of(Style(StyleCard("x", "sdxl", 4), (layer("add_embedding.linear_1"),))),
            {"A1111": "no", "InvokeAI": "no", "diffusers": "no"},
            "which it takes for others",
        ),
        ("sd1", as_whole_lokr, {"diffusers": "no"}, "plain LoRA only"),
        (
            "sd1",
            lambda tensors: (
                tensors
                | {
                    f"lora_unet_{name}.{part}_norm": torch.ones(4)
                    for name in ("mid_block_attentions_0_norm", f"{BLOCK.replace('.', '_')}_norm2")
                    for part in "wb"
                }
            ),
            {"diffusers": "no"},
            "plain LoRA only",
        ),
        (
            "sd1",
            with_more(lora_te_text_model_encoder_layers_0_layer_norm1__w_norm=torch.ones(4)),
            {"A1111": "partly", "Forge": "partly", "ComfyUI": "partly", "diffusers": "no"},
            "leaves out 1 of",
        ),
        (
            "sd1",
            lambda tensors: as_whole_lokr(tensors, "lokr_w1_a"),
            {"InvokeAI": "no", "diffusers": "no"},
            "",
        ),
    ],
)
def test_each_rule_on_a_file_that_breaks_it(
    tmp_path: Path, family: str, change: Change, tools: dict[str, str], said: str
) -> None:
    path = tmp_path / "Ink.safetensors"
    style = family_style(family)
    metadata = {
        "sd1": {"modelspec.architecture": "stable-diffusion-v1/lora"},
        "sdxl": {"ss_base_model_version": "sdxl_base_v1-0"},
    }[family]
    save_file({k: v.clone() for k, v in change(tensors_of(style)).items()}, path, metadata)
    found = opened(path)
    assert {tool: one.opens for tool, one in found.items()} == dict.fromkeys(ALL, "yes") | tools
    assert said in " ".join(one.words for one in found.values())
    for one in found.values():
        assert bool(one.opens != "yes") <= bool(one.reasons)


def test_what_is_only_worth_knowing_is_told_and_opens(tmp_path: Path) -> None:
    style = family_style("sdxl")
    path = tmp_path / "Ink & wash.safetensors"
    save_file(tensors_of(style), path, {"ss_output_name": "x", "padding": "x" * (1 << 20)})
    found = opened(path)
    assert {one.opens for one in found.values()} == {"yes"}
    assert "1 MiB" in found["ComfyUI"].reasons[0]
    assert any("<lora:NAME:1>" in reason for reason in found["A1111"].reasons)
    assert any("lists it under Stable Diffusion 1" in reason for reason in found["A1111"].reasons)
    assert any("lists it under a base that it does not name" in reason for reason in found["Forge"].reasons)


def test_a_strength_that_stands_in_the_header_alone_is_not_read_by_others(tmp_path: Path) -> None:
    path = tmp_path / "Ink.safetensors"
    for alpha, opens in ((4, "yes"), (2, "partly")):
        settings = {"unet.r": 4, "unet.lora_alpha": alpha}
        save_file(as_oldest({}), path, {"lora_adapter_metadata": json.dumps(settings)})
        found = opened(path)
        assert found["ComfyUI"].opens == found["Forge"].opens == opens and found["diffusers"].opens == "yes"
        assert any("strength" in reason for reason in found["ComfyUI"].reasons) is (opens == "partly")


def test_each_programs_rules_name_what_they_were_read_in_and_when() -> None:
    words = sources_words()
    for tool, source in SOURCES.items():
        assert f"{tool} {source.version}" in words
        assert date.fromisoformat(source.read) >= date.fromisoformat(source.of or "2022-08-22")
    assert SOURCES.keys() == TOOLS.keys() and min(one.read for one in SOURCES.values()) in words
    import diffusers

    # Read its rules again when it is raised.
    assert diffusers.__version__.rpartition(".")[0] == SOURCES["diffusers"].version.rpartition(".")[0]


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StyleFileError, match="no style"):
        opens_in(tmp_path)
    with pytest.raises(StyleFileError, match="no file"):
        opens_in(tmp_path / "none.safetensors")


@pytest.fixture(scope="module")
def pipe(tiny_sd1: Path) -> Any:
    from diffusers import StableDiffusionPipeline

    return StableDiffusionPipeline.from_pretrained(tiny_sd1)


@pytest.fixture(scope="module")
def real(pipe: Any) -> Style:
    """Layers that the tiny base has, so that diffusers can open them."""
    torch.manual_seed(1)
    layers = [
        random_layer(path, module, 4, 2.0)
        for path, module in pipe.unet.named_modules()
        if "down_blocks.1.attentions.0" in path
        and isinstance(module, torch.nn.Linear | torch.nn.Conv2d)
        and (".attn2.to_" in path or path.endswith(("proj_in", "ff.net.2")))
    ]
    return Style(StyleCard("Ink", "sd1", 4), tuple(layers))


@pytest.mark.parametrize(
    ("name", "change", "opens"),
    [
        ("as it is", lambda tensors: tensors, "yes"),
        ("a strange tensor", with_more(bundle_emb=torch.ones(1)), "no"),
        (
            "a word",
            lambda tensors: tensors | {"bundle_emb.ink.string_to_param.*": torch.ones(1, 768)},
            "no",
        ),
        ("LoHa", as_loha, "no"),
        ("half", without(f"{NAME}.lora_up"), "no"),
        ("a middle", with_more(**{f"{NAME}__lora_mid__weight": torch.ones(4, 4)}), "no"),
        ("original names", original_names, "no"),
        ("another alpha", with_more(**{f"{NAME}__alpha": torch.tensor(1.0)}), "partly"),
        ("a missing alpha", without(f"{NAME}.alpha"), "partly"),
        (
            "another alpha found by its name",
            with_more(
                **{f"{NAME.replace('transformer_blocks_0_attn2_to_k', 'proj_in')}__alpha": torch.tensor(1.0)}
            ),
            "yes",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:The following alpha_pattern keys:RuntimeWarning")  # what is tested here
def test_diffusers_keeps_to_the_rules_that_we_check(
    pipe: Any, real: Style, tmp_path: Path, name: str, change: Change, opens: str
) -> None:
    path = tmp_path / "Ink.safetensors"
    save_file({k: v.clone() for k, v in change(tensors_of(real)).items()}, path)
    assert opened(path)["diffusers"].opens == opens
    try:
        if opens == "no":
            with pytest.raises((ValueError, KeyError, RuntimeError)):
                pipe.load_lora_weights(tmp_path, weight_name=path.name, use_safetensors=True)
            return
        pipe.load_lora_weights(tmp_path, weight_name=path.name, use_safetensors=True)
        modules = dict(pipe.unet.named_modules())
        alphas = {
            k.partition(".")[0]: float(v) for k, v in change(tensors_of(real)).items() if k.endswith(".alpha")
        }
        wrong = []
        for one in real.layers:
            module = modules[one.path]
            alpha = alphas.get(kohya_name("unet", one.path), 4.0)
            mine = one.up.flatten(1) @ one.down.flatten(1) * (alpha / 4)
            theirs = module.get_delta_weight(next(iter(module.lora_A))).detach().flatten(1)
            if (mine - theirs).norm() > 1e-3 * mine.norm():
                wrong.append(one.path)
        assert wrong == ([f"{BLOCK}.attn2.to_k"] if opens == "partly" else [])
    finally:
        pipe.unload_lora_weights()


def test_two_sources_of_strength_are_refused_by_diffusers(pipe: Any, real: Style, tmp_path: Path) -> None:
    path = tmp_path / "Ink.safetensors"
    save_file(tensors_of(real), path, {"lora_adapter_metadata": '{"unet.r": 4, "unet.lora_alpha": 2}'})
    assert opened(path)["diffusers"].opens == "no"
    with pytest.raises(ValueError, match="network_alphas"):
        pipe.load_lora_weights(tmp_path, weight_name=path.name, use_safetensors=True)
    pipe.unload_lora_weights()


def test_alphas_of_every_dtype_are_read(tmp_path: Path, tiny_sd1: Path) -> None:
    style = family_style("sd1")
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        path = tmp_path / "Ink.safetensors"
        tensors = tensors_of(style) | {f"{NAME}.alpha": torch.tensor(0.5, dtype=dtype)}
        save_file(tensors, path)
        assert "1 layers" in opened(path)["diffusers"].words
        save_file(tensors_of(style) | {f"{NAME}.alpha": torch.tensor(2.0, dtype=dtype)}, path)
        assert opened(path)["diffusers"].opens == "yes"


@pytest.mark.parametrize(
    ("family", "marks", "opens"),
    [
        ("sd1", ("q_proj", "k_proj", "v_proj", "out_proj"), "yes"),
        ("sd1", ("fc1",), "yes"),
        ("sd1", ("q_proj",), "no"),
        ("sd1", ("q_proj", "fc1"), "partly"),
        ("sdxl", ("add_embedding",), "no"),
        ("sdxl", ("add_embedding", "time_embedding"), "partly"),
    ],
)
@pytest.mark.filterwarnings("ignore")  # what is tested here
def test_diffusers_finds_of_a_text_encoder_and_of_sdxls_sizes_what_we_say(
    tiny_sd1: Path, tiny_sdxl: Path, tmp_path: Path, family: str, marks: tuple[str, ...], opens: str
) -> None:
    from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
    from peft.tuners.lora import LoraLayer

    pipe = {
        "sd1": lambda: StableDiffusionPipeline.from_pretrained(tiny_sd1),
        "sdxl": lambda: StableDiffusionXLPipeline.from_pretrained(tiny_sdxl),
    }[family]()
    model, network = (pipe.unet, "unet") if family == "sdxl" else (pipe.text_encoder, "te")
    layers = [
        random_layer(
            path if network == "unet" else f"text_model.{path.removeprefix('text_model.')}",
            module,
            4,
            2.0,
            network,
        )
        for path, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and any(mark in path for mark in marks)
    ]
    path = tmp_path / "Ink.safetensors"
    save_file(
        tensors_of(Style(StyleCard("Ink", family, 4), tuple(layers))),
        path,
        {"ss_base_model_version": {"sd1": "sd_v1", "sdxl": "sdxl_base_v1-0"}[family]},
    )
    assert opened(path)["diffusers"].opens == opens
    if opens == "no":
        with pytest.raises(ValueError):
            pipe.load_lora_weights(tmp_path, weight_name=path.name, use_safetensors=True)
        return
    pipe.load_lora_weights(tmp_path, weight_name=path.name, use_safetensors=True)
    loaded = sum(isinstance(module, LoraLayer) for module in model.modules())
    assert loaded == len(layers) if opens == "yes" else 0 < loaded < len(layers)
