"""Files that people reported to the trackers of other programs, made again by the names and shapes that they listed.

The id of each is the report: its repository on GitHub and its number.
"""

from __future__ import annotations

import pytest

from styles.errors import StyleFileError
from styles.formats.layer_inspection import judge
from tests.styles.formats.test_reader import RANK, Shapes, header, judged, kohya, lora
from tests.styles.key_lists import (
    CONVOLUTIONS,
    ORIGINAL_BLOCKS,
    SDXL_SGM_BLOCKS,
    attention_layers,
    transformer_layers,
)


def named(layers: list[tuple[str, int, int]], ends: tuple[str, ...]) -> Shapes:
    """Two factors of each layer, by what their names end with, perhaps with an alpha."""
    shapes: Shapes = {}
    for name, inputs, outputs in layers:
        sides = ((RANK, inputs), (outputs, RANK), ())
        shapes |= {f"{name}.{end}": shape for end, shape in zip(ends, sides, strict=False)}
    return shapes


def behind(start: str, layers: list[tuple[str, int, int]]) -> list[tuple[str, int, int]]:
    return [(start + name, inputs, outputs) for name, inputs, outputs in layers]


def flat(layers: list[tuple[str, int, int]], start: str = "lora_unet_") -> list[tuple[str, int, int]]:
    return [(start + name.replace(".", "_"), inputs, outputs) for name, inputs, outputs in layers]


DOWN_UP = ("lora_down.weight", "lora_up.weight", "alpha")
A_B = ("lora_A.weight", "lora_B.weight", "alpha")
ONE = "lora_unet_up_blocks_2_attentions_2_transformer_blocks_0_attn1_to_k"
SDXL = list(transformer_layers("sdxl", SDXL_SGM_BLOCKS))
SD1 = list(attention_layers("sd1"))
SD1_SGM = list(transformer_layers("sd1", ORIGINAL_BLOCKS["sd1"]))
NORMS: Shapes = {
    f"lora_unet_down_blocks_0_attentions_0_{name}.{part}": (320,)
    for name in ("norm", "transformer_blocks_0_norm1", "transformer_blocks_0_norm2")
    for part in ("w_norm", "b_norm")
}


def tucker() -> Shapes:
    """LyCORIS' convolutions with a middle factor, the first and the last of the UNet among them."""
    shapes = kohya("sd1", encoders=False)
    for name, _, inputs, outputs, kernel in CONVOLUTIONS["sd1"]:
        if kernel == 3:
            stem = f"lora_unet_{name.replace('.', '_')}"
            shapes |= lora(stem, inputs, outputs, 1) | {f"{stem}.lora_mid.weight": (RANK, RANK, 3, 3)}
    return shapes


OPENED: dict[str, tuple[Shapes, str, int, str]] = {  # (its tensors, its family, layers, what is said of what is left out)
    "Comfy-Org/ComfyUI#1347": (kohya("sd1") | NORMS, "sd1", 264, "3 norms"),
    "Nerogar/OneTrainer#485": (
        kohya("sdxl", sgm=True) | {"bundle_emb.ema yasuhara.clip_l": (4, 768), "bundle_emb.ema yasuhara.clip_g": (4, 1280)},
        "sdxl", 986, "",
    ),
    "Nerogar/OneTrainer#885": (named(behind("unet.", SDXL), DOWN_UP), "sdxl", 722, ""),
    "Nerogar/OneTrainer#314": (kohya("sdxl") | lora("lora_te2_text_projection", 1280, 1280), "sdxl", 987, ""),
    "huggingface/diffusers#11943": (tucker(), "sd1", 203, ""),
    "huggingface/diffusers#14005": (
        named(flat(SD1), A_B)
        | {"lora_unet_conv_in.lora_A.weight": (RANK, 4, 3, 3), "lora_unet_conv_in.lora_B.weight": (320, RANK, 1, 1)},
        "sd1", 129, "",
    ),
    "huggingface/diffusers#11675": (named(SD1, ("lora_A.default_0.weight", "lora_B.default_0.weight")), "sd1", 128, ""),
    "luosiallen/latent-consistency-model#57": (
        named(behind("base_model.model.", [*SD1, ("mid_block.resnets.1.time_emb_proj", 1280, 1280)]), A_B[:2]), "sd1", 129, "",
    ),
    "Comfy-Org/ComfyUI#9753": (
        {f"base_model.model.{name}.lokr_{part}": shape for name, inputs, outputs in SD1
         for part, shape in (("w1", (16, 16)), ("w2", (outputs // 16, inputs // 16)))},
        "sd1", 128, "",
    ),
    "Comfy-Org/ComfyUI#4957": (
        {f"lycoris_{name.replace('.', '_')}.{part}": shape for name, inputs, outputs in transformer_layers("sdxl")
         for part, shape in (("lokr_w1", (16, 16)), ("lokr_w2", (outputs // 16, inputs // 16)), ("alpha", ()))},
        "sdxl", 722, "",
    ),
    "Comfy-Org/ComfyUI#12452": (named(behind("unet.", list(attention_layers("sdxl"))), A_B[:2]), "sdxl", 560, ""),
    "d8ahazard/sd_dreambooth_extension#1450": (named(SD1, DOWN_UP[:2]), "sd1", 128, ""),
    "kohya-ss/sd-scripts#1490": (named(flat(SD1_SGM), DOWN_UP), "sd1", 192, ""),
    "kohya-ss/sd-scripts#275": (
        named(flat(SD1_SGM + [(original, i, o) for _, original, i, o, kernel in CONVOLUTIONS["sd1"] if "emb_layers" in original]), DOWN_UP),
        "sd1", 193, "",
    ),
    "invoke-ai/InvokeAI#5241": (
        named(flat([one for one in SDXL if ".attn1." in one[0]]), DOWN_UP), "sdxl", 280, "",
    ),
    "Haoming02/sd-webui-forge-classic#492": (kohya("sdxl"), "sdxl", 986, ""),
    "bmaltais/kohya_ss#310": (
        kohya("sd1") | {key: shape for name, _, i, o, kernel in CONVOLUTIONS["sd1"] if kernel == 3
                        for key, shape in lora(f"lora_unet_{name.replace('.', '_')}", i, o, 3).items()},
        "sd1", 275, "",
    ),
    "Comfy-Org/ComfyUI#3518": (kohya("sd1"), "sd1", 264, ""),
}  # fmt: skip


@pytest.mark.parametrize("report", OPENED)
def test_what_others_could_not_open_is_opened(report: str) -> None:
    shapes, family, layers, beside = OPENED[report]
    found = judged(shapes)
    assert found.family == family and len(found.layers) == layers
    assert beside in " ".join(found.left_out) and bool(beside) == bool(found.left_out)


FLUX = ("lora_unet_transformer_blocks_9_ff_context_net_0_proj_", 3072, 12288)
REFUSED: dict[str, tuple[Shapes, str]] = {
    "Comfy-Org/ComfyUI#6381": ({f"{ONE}.weight": (320,), f"{ONE}.on_input": ()}, "an (IA)³"),
    "lllyasviel/stable-diffusion-webui-forge#1395": ({f"{ONE}.oft_blocks": (8, 40, 40), f"{ONE}.alpha": ()}, "an OFT"),
    "lllyasviel/stable-diffusion-webui-forge#635": (lora(ONE, 320, 320) | {f"{ONE}.dora_scale": (1, 320)}, "a DoRA"),
    "AUTOMATIC1111/stable-diffusion-webui#16317": (
        kohya("sdxl") | named([("lora_transformer_transformer_blocks_0_attn_add_k_proj", 1536, 1536)], DOWN_UP), "Stable Diffusion 3",
    ),
    "Comfy-Org/ComfyUI#5417": (
        {"lycoris_transformer_blocks_3_attn2_to_q.lokr_w1": (32, 32), "lycoris_transformer_blocks_3_attn2_to_q.lokr_w2": (48, 48),
         "lycoris_transformer_blocks_3_attn2_to_q.alpha": ()}, "for Stable Diffusion 3;",
    ),
    "Comfy-Org/ComfyUI#8285": (named([("lycoris_blocks_0_attn1_to_q", 5120, 5120)], DOWN_UP), "for Wan;"),
    "Comfy-Org/ComfyUI#7792": (named([("lycoris_double_stream_blocks_0_block_attn1_to_q", 2560, 2560)], DOWN_UP), "for HiDream;"),
    "Comfy-Org/ComfyUI#4347": (
        named([FLUX, ("lora_unet_single_transformer_blocks_1_attn_to_k_", 3072, 3072)], DOWN_UP), "for FLUX;",
    ),
    "nunchux-ai/ComfyUI-nunchaku#64": (
        {"text_encoders.clip_l.transformer.text_model.encoder.layers.11.layer_norm1.diff": (768,),
         "text_encoders.clip_l.transformer.text_model.encoder.layers.11.mlp.fc1.diff_b": (3072,)}
        | named([("text_encoders.clip_l.transformer.text_model.encoder.layers.11.mlp.fc1", 768, 3072),
                 ("diffusion_model.double_blocks.0.img_mlp.0", 3072, 12288)], DOWN_UP), "for FLUX;",
    ),
    "kohya-ss/musubi-tuner#26": (named([("lora_unet_double_blocks_0_img_mlp_fc1", 3072, 12288)], DOWN_UP), "for HunyuanVideo;"),
    "kohya-ss/sd-scripts#2211": (
        named([("lora_unet_model_diffusion_model_double_blocks_0_img_attn_proj", 3072, 3072)], DOWN_UP), "for FLUX or HunyuanVideo;",
    ),
    "AbstractEyes/comfyui-lycoris#6": (
        {f"lycoris_noise_refiner_0_attention_to_k.hada_{part}": shape for part, shape in (
            ("w1_a", (3840, 4)), ("w1_b", (4, 3840)), ("w2_a", (3840, 4)), ("w2_b", (4, 3840)))}, "for Z-Image;",
    ),
    "nv-tlabs/ChronoEdit#22": (named([("blocks.0.self_attn.q", 5120, 5120)], ("lora_A.default.weight", "lora_B.default.weight")), "for Wan;"),
    "Nerogar/OneTrainer#165": (named([("lora_prior_te_text_model_encoder_layers_0_mlp_fc1", 1280, 5120)], DOWN_UP), "for Stable Cascade;"),
    "Comfy-Org/ComfyUI#3021": (
        {"embeddings.embeddings": (1, 1280), "embeddings.indices": (1,), "weights.0.lora_down": (4, 2048), "weights.0.lora_up": (2048, 4)},
        "for Stable Cascade;",
    ),
    "bytedance/res-adapter#26": (
        {f"down_blocks.0.resnets.0.norm{n}.{part}": (320,) for n in (1, 2) for part in ("weight", "bias")}, "only norms and biases (2)",
    ),
    "KohakuBlueleaf/a1111-sd-webui-locon#42": (
        {"cond_stage_model.transformer.text_model.embeddings.position_ids": (1, 77),
         "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight": (49408, 768),
         "model.diffusion_model.input_blocks.0.0.weight": (320, 4, 3, 3)}, "a whole checkpoint",
    ),
    "Nerogar/OneTrainer#1431": (named([("transformer.layers.4.mlp.linear_fc2", 12288, 4096)], DOWN_UP), "for ERNIE-Image;"),
}  # fmt: skip


@pytest.mark.parametrize("report", REFUSED)
def test_what_no_base_here_can_use_is_refused_by_what_it_is(report: str) -> None:
    shapes, said = REFUSED[report]
    with pytest.raises(StyleFileError) as told:
        judge(header(shapes), "theirs.safetensors")
    assert said in str(told.value)
