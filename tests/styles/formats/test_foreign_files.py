"""What people take for a style: refused by what it is, whatever name of it comes first."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from styles.errors import StyleFileError
from styles.formats.reader import read_card
from styles.formats.safetensors_header import LARGEST_FILE
from tests.styles.formats.test_reader import Shapes, header, judged, kohya, lora

RANK = 2
Layers = dict[str, tuple[int, int]]  # (inputs, outputs) by the name as it is written


def loras(layers: Layers, ends: tuple[str, str] = ("lora_A.weight", "lora_B.weight")) -> Shapes:
    shapes: Shapes = {}
    for name, (inputs, outputs) in layers.items():
        shapes |= {f"{name}.{ends[0]}": (RANK, inputs), f"{name}.{ends[1]}": (outputs, RANK)}
    return shapes


DOWN_UP = ("lora_down.weight", "lora_up.weight")
JOINED = "transformer_blocks.{}.attn.add_k_proj"
# A few names of each, as its own trainers write them.
STYLES = {
    "FLUX or HunyuanVideo": loras({"lora_unet_double_blocks_0_img_attn_qkv": (3072, 9216)}, DOWN_UP),
    "FLUX": loras({
        "lora_unet_double_blocks_0_img_attn_qkv": (3072, 9216), "lora_unet_double_blocks_0_img_mlp_0": (3072, 12288),
        "lora_te1_text_model_encoder_layers_0_mlp_fc1": (768, 3072),
    }, DOWN_UP),
    "FLUX ": loras({f"transformer.{JOINED.format(3)}": (3072, 3072),
                    "transformer.single_transformer_blocks.1.attn.to_q": (3072, 3072)}),
    "FLUX.2": loras({"diffusion_model.double_blocks.0.img_attn.qkv": (6144, 18432)}),
    "Chroma": loras({"diffusion_model.double_blocks.0.img_attn.qkv": (3072, 9216),
                     "diffusion_model.distilled_guidance_layer.layers.0.in_layer": (5120, 5120)}),
    "HunyuanVideo": loras({"diffusion_model.double_blocks.0.img_attn_qkv": (3072, 9216)}),
    "HunyuanVideo ": loras({"lora_unet_double_blocks_0_img_mlp_fc1": (3072, 12288)}, DOWN_UP),
    "HunyuanImage": loras({"lora_unet_double_blocks_0_img_attn_qkv": (3584, 10752)}, DOWN_UP),
    "Stable Diffusion 3": loras({"lora_unet_joint_blocks_0_x_block_attn_qkv": (1536, 4608)}, DOWN_UP),
    "Stable Diffusion 3 ": loras({f"transformer.{JOINED.format(0)}": (2432, 2432)}),
    "Qwen-Image": loras({JOINED.format(0): (3072, 3072)}, DOWN_UP),
    "Qwen-Image ": loras({"transformer.transformer_blocks.0.img_mlp.net.0.proj": (3072, 12288)}),
    "Qwen-Image  ": loras({f"transformer.{JOINED.format(45)}": (3072, 3072)}),
    "FLUX or Qwen-Image": loras({f"transformer.{JOINED.format(0)}": (3072, 3072)}),
    "Z-Image": loras({"diffusion_model.layers.0.attention.to_k": (3840, 3840)}),
    "Z-Image ": {"lycoris_layers_24_feed_forward_w1.lokr_w1": (60, 60), "lycoris_layers_24_feed_forward_w1.lokr_w2": (64, 64)},
    "Lumina 2": loras({"lora_unet_layers_0_attention_qkv": (2304, 3840)}, DOWN_UP),
    "Wan": loras({"diffusion_model.blocks.0.self_attn.q": (1536, 1536)})
    | {"diffusion_model.blocks.35.cross_attn.norm_k_img.diff": (5120,),
       "diffusion_model.patch_embedding.diff": (5120, 16, 1, 2, 2)},
    "Wan ": loras({"lora_unet_blocks_0_ffn_0": (5120, 13824)}, DOWN_UP),
    "Anima or Cosmos": loras({"lora_unet_blocks_0_self_attn_q_proj": (2048, 2048)}, DOWN_UP),
    "Krea": loras({"diffusion_model.blocks.0.attn.wq": (6144, 6144)}),
    "PixArt": loras({"transformer.transformer_blocks.0.attn1.to_k": (1152, 1152)}),
    "Sana": loras({"transformer.transformer_blocks.0.attn1.to_k": (2240, 2240)}),
    "LTX-Video": loras({"diffusion_model.patchify_proj": (128, 2048), "diffusion_model.transformer_blocks.0.attn1.to_k": (2048, 2048)}),
    "CogVideoX": loras({"transformer.transformer_blocks.0.attn1.to_k": (1920, 1920)}),
    "HiDream": loras({"lycoris_double_stream_blocks_0_block_attn1_to_k": (2560, 2560)}, DOWN_UP),
    "AuraFlow": loras({"transformer.joint_transformer_blocks.0.attn.to_q": (3072, 3072)}),
    "Stable Cascade": loras({"lora_prior_te_text_model_encoder_layers_0_mlp_fc1": (1280, 5120)}, DOWN_UP),
    "Stable Cascade ": {"weights.0.lora_down": (4, 2048), "weights.0.lora_up": (2048, 4), "embeddings.indices": (1,)},
    "Stable Cascade  ": loras({"lora_unet_down_blocks_0_1_attention_attn_out_proj": (2048, 2048)}, DOWN_UP),
    "HunyuanDiT": loras({"lora_unet_blocks_0_attn1_Wqkv": (1408, 4224)}, DOWN_UP),
    "Mochi": loras({"blocks.0.attn.qkv_x": (3072, 9216)}),
}  # fmt: skip


def refused(shapes: Shapes, metadata: dict[str, str] | None = None) -> str:
    from styles.formats.layer_inspection import judge

    with pytest.raises(StyleFileError) as told:
        judge(header(shapes, metadata), "theirs.safetensors")
    return str(told.value)


@pytest.mark.parametrize("model", STYLES)
def test_a_style_for_another_model_is_refused_by_the_name_of_the_model(model: str) -> None:
    assert f"It is for {model.strip()}; it holds" in refused(STYLES[model])
    # In the order of its names there may be others first, such as those of text encoders that all have.
    texts = lora("lora_te1_text_model_encoder_layers_0_mlp_fc1", 768, 3072)
    assert f"It is for {model.strip()}; it holds" in refused(texts | STYLES[model])


def test_blocks_of_a_unet_are_not_taken_for_those_of_other_models() -> None:
    for place in (
        "down_blocks_9_attentions_0",
        "input_blocks_1_1",
        "middle_block_1",
        "up_blocks_1_attentions_0",
    ):
        name = f"lora_unet_{place}_transformer_blocks_0_attn1_to_x"
        for width in (1152, 2048, 2240):
            assert "belongs to no style layer" in refused(loras({name: (width, width)}))


@pytest.mark.parametrize(
    ("claim", "model"),
    [
        ({"ss_base_model_version": "chroma"}, "Chroma"),
        ({"modelspec.architecture": "flux-1-dev/lora"}, "FLUX"),
        ({"ss_network_module": "networks.lora_wan"}, "Wan"),
        ({"modelspec.architecture": "anima-preview/lora"}, "Anima"),
        ({"base_model": "Qwen/Qwen-Image"}, "Qwen-Image"),
        ({"ss_base_model_version": "hunyuan-image-2.1"}, "HunyuanImage"),
        ({"modelspec.architecture": "krea2/lora"}, "Krea"),
    ],
)
def test_metadata_tells_a_model_from_others_of_the_same_names(claim: dict[str, str], model: str) -> None:
    assert f"It is for {model}; it holds" in refused(STYLES["FLUX or HunyuanVideo"], claim)
    assert judged(kohya("sd1")).family == "sd1"  # where the layers are known they count


def test_text_encoders_alone_are_for_what_their_metadata_says() -> None:
    texts = lora("lora_te1_text_model_encoder_layers_0_mlp_fc1", 768, 3072)
    said = refused(texts, {"modelspec.architecture": "flux-1-dev/lora"})
    assert "It is for FLUX, as it says itself." in said
    assert judged(texts).family == "sdxl"


LAYER = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
WHOLE = {
    "model.diffusion_model.input_blocks.0.0.weight": (320, 4, 3, 3),
    "first_stage_model.decoder.conv_in.weight": (4,),
}


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        (WHOLE, "It is a whole checkpoint, not a style. Add it as a base"),
        ({"double_blocks.0.img_mlp.0.weight": (12288, 3072)}, "It is FLUX itself, a whole model"),
        ({"decoder.conv_in.weight": (512, 4, 3, 3), "encoder.down.0.block.0.conv1.weight": (128, 128, 3, 3)}, "a VAE, no style"),
        ({"first_stage_model.encoder.conv_in.weight": (128, 3, 3, 3), "first_stage_model.decoder.up.0.x.bias": (1,)}, "a VAE, no style"),
        ({"down_blocks.0.attentions.0.proj_in.weight": (320, 320), "conv_in.bias": (320,)}, "the UNet of a base alone"),
        ({"text_model.encoder.layers.0.mlp.fc1.weight": (3072, 768)}, "a text encoder alone"),
        ({"encoder.block.0.layer.0.SelfAttention.k.weight": (4096, 4096)}, "a text encoder alone"),
        ({"clip_l": (2, 768), "t5": (2, 4096)}, "a textual inversion for another model: its words have rows for clip_l, t5"),
        ({"conv_first.weight": (64, 3, 3, 3), "body.0.rdb1.conv1.weight": (32, 64, 3, 3)}, "an upscaler"),
        ({"control_model.input_blocks.0.0.weight": (320, 4, 3, 3)}, "a ControlNet"),
        ({"lllite_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q.conditioning1.0.weight": (8, 3, 4, 4)}, "a ControlNet"),
        ({"image_proj.proj.weight": (3072, 1024), "ip_adapter.1.to_k_ip.weight": (320, 768)}, "an IP-Adapter"),
        ({"adapter.body.0.block1.weight": (320, 320, 3, 3)}, "a T2I-Adapter"),
        ({"down_blocks.0.motion_modules.0.temporal_transformer.proj_in.weight": (320, 320)}, "a motion module"),
        (loras({"base_model.model.model.layers.0.self_attn.q_proj": (4096, 4096)}), "made for a language model"),
        ({f"{LAYER}.a1.weight": (768, 4), f"{LAYER}.a2.weight": (4, 768), f"{LAYER}.b1.weight": (320, 4),
          f"{LAYER}.b2.weight": (4, 768), f"{LAYER}.alpha": ()}, "a GLoRA: a part of its change is a product with the base"),
        ({f"{LAYER}.weight": (320, 1), f"{LAYER}.on_input": ()}, r"an (IA)³: it scales the base's own weights"),
        ({f"{LAYER}.lambda_layer": (1, 4), f"{LAYER}.p_layer.weight": (320, 4), f"{LAYER}.q_layer.weight": (4, 768),
          f"{LAYER}.alpha": ()}, "a T-LoRA as LyCORIS saves it"),
        (lora(LAYER, 768, 320) | {f"{LAYER}.dora_scale": (320, 1)}, "a DoRA: besides its ranks"),
        (loras({f"unet.{'mid_block.attentions.0.proj_in'}": (1280, 1280)})
         | {"unet.mid_block.attentions.0.proj_in.lora_magnitude_vector.weight": (1280,)}, "a DoRA: besides its ranks"),
        ({f"{LAYER}.oft_blocks": (4, 80, 80), f"{LAYER}.alpha": ()}, "an OFT"),
        ({f"{LAYER}.diff": (320, 768), f"{LAYER}.dora_scale": (320, 1)}, "a DoRA"),
    ],
)  # fmt: skip
def test_what_is_no_style_or_none_of_ranks_is_refused_by_what_it_is(shapes: Shapes, said: str) -> None:
    assert said in refused(shapes)


def file_of(path: Path, values: dict[str, dict[str, object]], size: int | None = None) -> Path:
    """Write a header, and as many bytes behind it as it lists, or `size`, of which most are a hole."""
    text = json.dumps(values).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        end = max(value["data_offsets"][1] for value in values.values())  # type: ignore[index]
        file.truncate(8 + len(text) + (end if size is None else size))
    return path


def entry(dtype: str, shape: list[int], begin: int, size: int) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, begin + size]}


def test_names_count_before_shapes_and_numbers_that_no_style_has(tmp_path: Path) -> None:
    path = tmp_path / "theirs.safetensors"
    wan = {
        "diffusion_model.blocks.0.self_attn.q.lora_A.weight": entry("F16", [2, 1536], 0, 6144),
        "diffusion_model.patch_embedding.diff": entry("F16", [2, 2, 1, 2, 2], 6144, 32),
    }
    with pytest.raises(StyleFileError, match=r"“theirs\.safetensors” can't be opened: It is for Wan"):
        read_card(file_of(path, wan))
    turned = {
        f"{LAYER}.weight": entry("F16", [320, 1], 0, 640),
        f"{LAYER}.on_input": entry("I64", [], 640, 8),
    }
    with pytest.raises(StyleFileError, match="IA"):
        read_card(file_of(path, turned))
    codes = {
        f"{LAYER}.lora_down.weight": entry("I8", [4, 768], 0, 3072),
        f"{LAYER}.lora_up.weight": entry("F16", [320, 4], 3072, 2560),
    }
    with pytest.raises(StyleFileError, match="it holds I8, a style holds F16"):
        read_card(file_of(path, codes))


def test_a_checkpoint_larger_than_any_style_is_named(tmp_path: Path) -> None:
    half = (LARGEST_FILE >> 1) + 1024
    values = {
        "model.diffusion_model.input_blocks.0.0.weight": entry(
            "F16", [1024, half // 2048], 0, half // 2048 * 2048
        ),
        "cond_stage_model.x.weight": entry(
            "F16", [1024, half // 2048], half // 2048 * 2048, half // 2048 * 2048
        ),
    }
    path = file_of(tmp_path / "model.safetensors", values)
    assert path.stat().st_size > LARGEST_FILE
    with pytest.raises(StyleFileError, match="whole checkpoint, not a style"):
        read_card(path)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "is a web page"),
        (b"\xef\xbb\xbf\n <html lang='en'>", "is a web page"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "is a web page"),
        (b'{"error":"Unauthorized","message":"The creator of this asset requires you to be logged in"}', "answer of a web site"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 9\n", "is a note of Git LFS"),
        (b"", "is empty"),
        (bytes(4096), "is empty"),
        (b"\x89PNG\r\n\x1a\n" + bytes(64), "is a picture"),
        (b"RIFF\x00\x10\x00\x00WEBPVP8 " + bytes(64), "is a picture"),
        (b"Rar!\x1a\x07" + bytes(64), "is an archive"),
        (b"SQLite format 3\0" + bytes(64), "is a database, as Draw Things keeps"),
        (b"PK\x03\x04" + bytes(64), "is a pickle file"),
        (b"\x80\x02}q" + bytes(64), "is a pickle file"),
        (b"GGUF\x03\x00\x00\x00" + bytes(64), "is a GGUF file"),
    ],
)  # fmt: skip
def test_a_file_that_only_has_the_name_of_a_style_is_told_by_its_beginning(
    data: bytes, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "theirs.safetensors"
    path.write_bytes(data)
    with pytest.raises(StyleFileError, match=said) as told:
        read_card(path)
    assert told.value.hint
