"""Key names: each name leads to a real module and back, on the real shapes of the real families."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

from styles.errors import StyleFileError
from styles.families import SD1, SDXL
from styles.formats.kohya import kohya_name, layer_names, module_path, written_names
from styles.formats.layer_inspection import judge
from styles.formats.safetensors_header import Header, TensorEntry

EXAMPLE = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_out_0"


def meta_unet(**config: Any) -> Any:
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        return UNet2DConditionModel(**config)


@pytest.fixture(scope="module")
def sd15() -> Any:
    return meta_unet(cross_attention_dim=768, attention_head_dim=8)


@pytest.fixture(scope="module")
def sdxl() -> Any:
    return meta_unet(
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(320, 640, 1280),
        transformer_layers_per_block=(1, 2, 10),
        attention_head_dim=(5, 10, 20),
        cross_attention_dim=2048,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=2816,
    )


def named(name: str) -> tuple[str, str]:
    place = module_path(name)
    assert place is not None, name
    return place


def judged(keys: set[str]) -> None:
    judge(Header({}, {key: TensorEntry("F16", (4, 4), 0, 0) for key in keys}, 0), "theirs.safetensors")


def layers(unet: Any) -> list[str]:
    return [p for p, m in unet.named_modules() if isinstance(m, torch.nn.Linear | torch.nn.Conv2d)]


def test_cross_attention_of_sd15_is_64_layers_and_192_tensors(sd15: Any) -> None:
    pattern = re.compile(r".*attn2\.to_(q|k|v|out\.0)")
    paths = [path for path in layers(sd15) if pattern.fullmatch(path)]
    keys = [
        kohya_name("unet", path) + end
        for path in paths
        for end in (".lora_down.weight", ".lora_up.weight", ".alpha")
    ]
    assert len(paths) == 64 and len(set(keys)) == 192
    assert EXAMPLE + ".alpha" in keys
    assert {path for _, path, _ in layer_names(keys).values()} == set(paths)
    modules = dict(sd15.named_modules())
    per_rank = sum(modules[p].in_features + modules[p].out_features for p in paths)
    assert per_rank == 99_456


@pytest.mark.parametrize("family", ["sd15", "sdxl"])
def test_every_layer_of_a_unet_comes_back_from_its_name(family: str, request: pytest.FixtureRequest) -> None:
    for path in layers(request.getfixturevalue(family)):
        assert module_path(kohya_name("unet", path)) == ("unet", path)


def test_text_encoders_have_the_same_names_in_either_layout() -> None:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2)
    with torch.device("meta"):
        models = {"te": CLIPTextModel(config), "te2": CLIPTextModelWithProjection(config)}
    for network, model in models.items():
        names = {kohya_name(network, path) for path in layers(model)}
        assert f"lora_{network}_text_model_encoder_layers_0_self_attn_q_proj" in names
        assert len(names) == 12 + (network == "te2")
        for name in names:
            found, path = named(name)
            assert found == network and kohya_name(network, path) == name
            assert path == "text_projection" or path.startswith("text_model.encoder.layers.")


def test_sgm_names_of_sdxl_lead_to_the_modules_that_diffusers_gives_them(sdxl: Any) -> None:
    from diffusers.loaders.lora_conversion_utils import _maybe_map_sgm_blocks_to_diffusers

    inner = "transformer_blocks_0_attn2_to_k"
    names = [f"input_blocks_{i}_1_{inner}" for i in (4, 5, 7, 8)]
    names += [f"output_blocks_{i}_1_{inner}" for i in range(6)]
    names += [f"middle_block_1_{inner}", "input_blocks_4_1_proj_in", "output_blocks_5_1_proj_out"]
    names += [
        "input_blocks_4_0_in_layers_2",
        "output_blocks_8_0_skip_connection",
        "middle_block_2_out_layers_3",
    ]
    names += [
        "input_blocks_3_0_op",
        "output_blocks_2_2_conv",
        "middle_block_0_emb_layers_1",
        "input_blocks_0_0",
    ]
    names += ["time_embed_2", "label_emb_0_0", "out_2"]
    known = set(layers(sdxl))
    for name in names:
        assert named("lora_unet_" + name)[1] in known, name
    for name in names[:13]:
        theirs = _maybe_map_sgm_blocks_to_diffusers({f"lora_unet_{name}.alpha": 0}, sdxl.config)
        ours = kohya_name(*named("lora_unet_" + name))
        blocks = {"input_blocks": "down_blocks", "middle_block": "mid_block", "output_blocks": "up_blocks"}
        (found,) = theirs
        for old, new in blocks.items():  # diffusers renames these later on
            found = found.replace(old, new)
        assert found == ours + ".alpha"


def test_sdxl_is_written_in_the_original_names_where_others_read_a_layer_only_so(sdxl: Any) -> None:
    paths = [("unet", path) for path in layers(sdxl)]
    encoders = [("te1", "text_model.encoder.layers.0.mlp.fc1"), ("te2", "encoder.layers.0.mlp.fc1")]
    names = written_names(paths + encoders, SDXL)
    blocks = [name for name in names if "blocks" in name or "block_" in name]
    assert all(re.match("lora_unet_(input|output)_blocks_|lora_unet_middle_block_", name) for name in blocks)
    assert len(set(names)) == len(names) and [module_path(name) for name in names[:-2]] == paths
    assert names[-2:] == [kohya_name(network, path) for network, path in encoders]
    usual = [pair for pair in paths if not pair[1].startswith(("add_embedding", "up_blocks.0.upsamplers"))]
    assert written_names(usual, SDXL) == [kohya_name(network, path) for network, path in usual]
    # A base of more resnets has other numbers, which nobody could tell from a file.
    strange = [*paths, ("unet", "down_blocks.0.resnets.2.conv1")]
    for family, of in ((SDXL, strange), (SD1, paths)):
        assert written_names(of, family) == [kohya_name(network, path) for network, path in of]


@pytest.mark.parametrize(
    "name",
    [
        "lora_unet_",
        "lora_unet_nonsense",
        "lora_unet_down_blocks",
        "unet.x",
        "lora_unet_mid_block_../../x",
        "lora_unet_to_q_",
        "lora_unet_mid_block_attentions_0_proj_in_",
        "lora_te_mid_block_attentions_0_proj_in",
        "lora_unet_text_model_encoder_layers_0_mlp_fc1",
        "lora_unet_mid_block" + "_resnets" * 100_000,
    ],
)
def test_a_name_that_is_no_layer_leads_nowhere(name: str) -> None:
    assert module_path(name) is None and not layer_names([f"{name}.alpha"])


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({EXAMPLE + ".lora_down.weight"}, "only half"),
        ({EXAMPLE + ".alpha"}, "only half"),
        ({EXAMPLE + ".dora_scale"}, "DoRA"),
        ({EXAMPLE + ".hada_w1_a"}, "only half"),
        ({EXAMPLE + ".lokr_w1", EXAMPLE + ".lokr_w2_a"}, "only half"),
        ({EXAMPLE + ".lokr_w1", EXAMPLE + ".lokr_w2", EXAMPLE + ".lokr_w2_a"}, "too much"),
        ({EXAMPLE + ".lokr_w1", EXAMPLE + ".lokr_w2", EXAMPLE + ".lora_up.weight"}, "too much"),
        ({EXAMPLE + ".diff", EXAMPLE + ".lora_up.weight"}, "too much"),
        ({EXAMPLE + ".oft_blocks"}, "OFT"),
        ({"lora_unet_x.lora_down.weight"}, "belongs to no style layer: lora_unet_x"),
        ({"something.weight"}, "belongs to no style layer: something"),
        (
            {EXAMPLE + ".lora_down.weight", EXAMPLE + ".lora_up.weight", EXAMPLE + ".weight_scale"},
            "changes a layer in a way that is not known",
        ),
    ],
)
def test_what_is_not_understood_is_refused_with_the_reason(keys: set[str], said: str) -> None:
    with pytest.raises(StyleFileError, match=said):
        judged(keys)


def test_one_layer_under_two_names_is_refused() -> None:
    names = ("lora_unet_input_blocks_4_1_proj_in", "lora_unet_down_blocks_1_attentions_0_proj_in")
    keys = {name + end for name in names for end in (".lora_down.weight", ".lora_up.weight")}
    with pytest.raises(StyleFileError, match="twice"):
        judged(keys)
