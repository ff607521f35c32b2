"""Which other model a style is for, by the names of its layers, their widths where names are alike, and its metadata.

The names are those that the trainers and the models' own files use, with `_` for `.`: ComfyUI's `comfy/lora.py` and
`comfy/utils.py`, OneTrainer's `modules/model`, sd-scripts' `networks` and `library/sai_model_spec.py`, musubi-tuner
and diffusers' `lora_conversion_utils.py`, as they were on 2026-12-01.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from styles.text import either

Shapes = Mapping[str, tuple[int, ...]]

# The blocks of Stable Diffusion's UNet, whose transformer layers are named as those of other models.
UNET = re.compile(
    r"(?:down|up)_blocks_\d+_(?:attentions|resnets|downsamplers|upsamplers)|(?:in|out)put_blocks_\d|mid(?:dle)?_block"
)
# The tensors whose second side is what goes into a layer.
TAKES_IN = re.compile(
    r".+(?:lora_down|lora_A|lora\.down|lora_linear_layer\.down)(?:\.[\w-]{1,64}){0,2}|.+\.(?:hada_w1_b|diff)"
)


@dataclass(frozen=True)
class Mark:
    """What the names of a model's layers have; `widths` are what goes into them, where another model has such names."""

    models: tuple[str, ...]  # several where nothing tells them apart
    name: str
    widths: tuple[int, ...] = ()

    def fits(self, names: Mapping[str, int]) -> bool:
        """Whether any of the names, with the widths of their layers, is such a one."""
        found = [width for name, width in names.items() if re.search(self.name, name)]
        return bool(found) and (not self.widths or any(width in self.widths for width in found))


def _mark(models: str, name: str, *widths: int) -> Mark:
    return Mark(tuple(models.split("|")), rf"(?:^|_)(?:{name})", widths)


ATTENTION = r"transformer_blocks_\d+_(?:attn[12]?_to_|ff_net_)"
MARKS = (
    _mark("Stable Cascade", r"prior_(?:unet|te)_|(?:down|up)_blocks_\d+_\d+_(?:attention|channelwise|kv_mapper|mapper)"),
    _mark("Stable Cascade", r"weights_\d+_lora_(?:down|up)$"),
    _mark("HiDream", r"(?:double|single)_stream_blocks_\d"),
    _mark("Chroma", r"distilled_guidance_layer"),
    _mark("FLUX.2", r"(?:double_stream|single_stream)_modulation|transformer_blocks_\d+_attn_to_qkv_mlp_proj"),
    _mark("FLUX.2", r"(?:double|single)_blocks_\d", 6144, 4096),
    _mark("HunyuanImage", r"byt5_in|double_blocks_\d+_(?:img|txt)_attn_[qkv](?:_|$)"),
    _mark("HunyuanImage", r"(?:double|single)_blocks_\d", 3584),
    _mark("HunyuanVideo", r"individual_token_refiner|token_refiner_refiner_blocks|(?:img|txt)_(?:mlp_fc[12]|mod_linear)|"
          r"single_blocks_\d+_modulation_linear"),
    _mark("FLUX", r"double_blocks_\d+_(?:(?:img|txt)_(?:mlp_[02]|mod_lin(?:_|$)|attn_norm)|processor)|"
          r"single_blocks_\d+_modulation_lin(?:_|$)"),
    _mark("FLUX|HunyuanVideo", r"(?:double|single)_blocks_\d"),
    _mark("AuraFlow", r"joint_transformer_blocks_\d|(?:double|single)_layers_\d"),
    _mark("FLUX", r"single_transformer_blocks_\d"),
    _mark("Stable Diffusion 3", r"joint_blocks_\d"),
    _mark("Stable Diffusion 3", r"transformer_blocks_\d+_(?:attn2?_(?:to_|add_)|ff_context|norm1_context)", 1536, 2432),
    _mark("Qwen-Image", r"transformer_blocks_\d+_(?:img|txt)_(?:mlp|mod)|transformer_blocks_(?:19|[2-5]\d)_attn_"),
    _mark("Krea", r"txtfusion|text_fusion|transformer_blocks_\d+_attn_to_gate|blocks_\d+_attn_(?:w[qkvo]|gate)(?:_|$)"),
    _mark("Anima|Cosmos", r"blocks_\d+_(?:self|cross)_attn_(?:[qkv]|output)_proj|blocks_\d+_adaln_modulation"),
    _mark("Anima", r"llm_adapter"),
    _mark("Wan", r"blocks_\d+_(?:self|cross)_attn_(?:[qkvo]|[kv]_img|norm_[qk])(?:_|$)|(?<!transformer_)blocks_\d+_ffn_|"
          r"(?<!transformer_)blocks_\d+_attn[12]_(?:to_|add_)|vace_blocks_\d"),
    _mark("Ideogram", r"layers_\d+_attention_(?:qkv|o)(?:_|$)", 4608),
    _mark("Lumina 2", r"(?:layers|noise_refiner|context_refiner)_\d+_(?:attention|feed_forward|adaLN)", 2304),
    _mark("Z-Image", r"(?:layers|noise_refiner|context_refiner)_\d+_(?:attention|feed_forward|adaLN)", 3840),
    _mark("Z-Image", r"layers_\d+_(?:attention_to_|adaLN_modulation_0)|cap_embedder|all_x_embedder"),
    _mark("Z-Image|Lumina 2", r"(?:layers|noise_refiner|context_refiner)_\d+_(?:attention|feed_forward|adaLN)_"),
    _mark("ERNIE-Image", r"layers_\d+_self_attention_to_|layers_\d+_mlp_linear_fc"),
    _mark("OmniGen 2", r"ref_image_refiner|layers_\d+_attn_to_"),
    _mark("Kandinsky", r"(?:visual|text)_transformer_blocks_\d"),
    _mark("Mochi", r"blocks_\d+_attn_(?:qkv|proj)_[xy]|transformer_blocks_\d+_attn_add_out"),
    _mark("HunyuanDiT", r"blocks_\d+_attn[12]_(?:Wqkv|q_proj|kv_proj|out_proj)|mlp_t5"),
    _mark("LTX-Video", r"patchify_proj|(?:audio|video)_to_(?:audio|video)_attn|audio_attn[12]"),
    _mark("PixArt", r"blocks_\d+_(?:cross_attn_(?:q|kv)_linear|attn_qkv)(?:_|$)", 1152),
    _mark("Sana", r"ff_conv_(?:inverted|depth|point)"),
    _mark("Sana", ATTENTION, 2240),
    _mark("PixArt", ATTENTION, 1152),
    _mark("CogVideoX", ATTENTION, 1920),
    _mark("LTX-Video|Cosmos", ATTENTION, 2048, 4096),
    _mark("FLUX|Qwen-Image", r"transformer_blocks_\d+_attn_(?:to_|add_)", 3072),
    _mark("ACE-Step", r"lyric_encoder|speaker_embedder"),
)  # fmt: skip

# Values of metadata; what is above counts first.
CLAIMS = (
    (r"flux[-_. ]?2|klein", "FLUX.2"),
    (r"chroma", "Chroma"),
    (r"flux", "FLUX"),
    (r"stable-diffusion-3|sd_?3", "Stable Diffusion 3"),
    (r"qwen", "Qwen-Image"),
    (r"z[-_ ]?image", "Z-Image"),
    (r"hunyuan[-_ ]?image", "HunyuanImage"),
    (r"hunyuan[-_ ]?dit", "HunyuanDiT"),
    (r"hunyuan|framepack", "HunyuanVideo"),
    (r"\bwan|_wan", "Wan"),
    (r"krea", "Krea"),
    (r"\banima\b|_anima\b", "Anima"),
    (r"cosmos", "Cosmos"),
    (r"lumina", "Lumina 2"),
    (r"hidream", "HiDream"),
    (r"pixart", "PixArt"),
    (r"\bsana", "Sana"),
    (r"cascade|w[uü]e?rstchen", "Stable Cascade"),
    (r"\bltx", "LTX-Video"),
    (r"aura[-_ ]?flow", "AuraFlow"),
    (r"kandinsky", "Kandinsky"),
    (r"kolors", "Kolors"),
    (r"cogvideo", "CogVideoX"),
    (r"mochi", "Mochi"),
    (r"omnigen", "OmniGen 2"),
    (r"\bernie", "ERNIE-Image"),
    (r"ideogram", "Ideogram"),
)
ARCHITECTURE = ("modelspec.architecture", "ss_base_model_version")
FIELDS = (*ARCHITECTURE, "ss_network_module", "base_model", "model_type")
LONGEST_CLAIM = 200  # characters


def model_of(shapes: Shapes, metadata: Mapping[str, str]) -> str:
    """Return the name of the other model that layers with these names are for, empty where nothing shows it.

    `shapes` are those of the tensors that belong to no layer of a base here.
    """
    names = _names(shapes)
    if not names:
        return ""
    if claimed := claimed_model(metadata, FIELDS):
        return claimed
    if any(re.search(r"double_blocks\.\d+\.(?:img|txt)_attn_(?:qkv|proj)\b", key) for key in shapes):
        return "HunyuanVideo"
    mark = next((mark for mark in MARKS if mark.fits(names)), None)
    if mark is None:
        return ""
    if mark.models == ("FLUX", "Qwen-Image") and not any("transformer." in key for key in shapes):
        return "Qwen-Image"  # of FLUX such names come behind `transformer.` only
    return either(mark.models)


def claimed_model(metadata: Mapping[str, str], fields: tuple[str, ...] = ARCHITECTURE) -> str:
    """Return the name of the other model that metadata names, empty where it names none."""
    for field in fields:
        value = metadata.get(field, "")[:LONGEST_CLAIM].lower()
        for pattern, model in CLAIMS:
            if re.search(pattern, value):
                return model
    return ""


def _names(shapes: Shapes) -> dict[str, int]:
    """Return the names with `_` for `.`, each with the width of what goes into the layer, 0 where that isn't seen."""
    names: dict[str, int] = {}
    for key, shape in shapes.items():
        name = key.replace(".", "_")
        if UNET.search(name):
            continue
        second = shapes.get(f"{key.removesuffix('w1')}w2", ()) if key.endswith(".lokr_w1") else (1, 1)
        takes_in = TAKES_IN.fullmatch(key) or key.endswith(".lokr_w1") or "lora" not in key
        names[name] = shape[1] * second[1] if takes_in and min(len(shape), len(second)) > 1 else 0
    return names
