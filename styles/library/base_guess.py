"""Which base other programs take a style file for: by its metadata (A1111, Forge), or by a shape (InvokeAI)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from styles.families import SD1, SD2, SDXL, UNKNOWN
from styles.formats.safetensors_header import TensorEntry

NO_TENSOR = TensorEntry("F16", (), 0, 0)


def a1111_family(metadata: Mapping[str, str]) -> str:
    """The base that A1111 1.10 lists it under: whatever has metadata and is no SDXL or SD2 is SD1."""
    if metadata.get("ss_base_model_version", "").startswith("sdxl_"):
        return SDXL.id
    if metadata.get("ss_v2") == "True":
        return SD2.id
    return (SD1 if metadata else UNKNOWN).id


def forge_family(metadata: Mapping[str, str]) -> str:
    """The base that Forge lists it under: Stable Diffusion 1 only by its `modelspec.architecture`."""
    architecture = metadata.get("modelspec.architecture", "")
    if architecture == "stable-diffusion-xl-v1-base/lora":
        return SDXL.id
    if metadata.get("ss_base_model_version", "").startswith("sdxl_"):
        return SDXL.id
    if metadata.get("ss_v2") == "True":
        return SD2.id
    return (SD1 if architecture == "stable-diffusion-v1/lora" else UNKNOWN).id


def invoke_family(layers: Mapping[str, Mapping[str, TensorEntry]]) -> str:
    """The base that InvokeAI 6 finds: by the first width that it comes upon, else by how deep the blocks are."""
    first = second = 0
    for name, parts in layers.items():
        width = _width(parts)
        guessed = 0
        if name.startswith("lora_unet_"):
            if name.endswith(("_attn2_to_k", "_attn2_to_v")) or (
                name.endswith("time_emb_proj") and "lora_down.weight" in parts
            ):
                guessed = width
        elif "_self_attn_" in name:
            if name.startswith("lora_te_"):
                guessed = width
            elif name.startswith("lora_te1_"):
                first = width
            else:
                second = width
            guessed = guessed or (first + second if first and second else 0)
        if guessed:
            return {768: SD1.id, 1024: SD2.id, 1280: SDXL.id, 2048: SDXL.id}.get(guessed, "")
    deep = re.compile(r"lora_unet_.+_transformer_blocks_(\d+)_")
    return SDXL.id if any((at := deep.match(name)) and int(at[1]) >= 2 for name in layers) else ""


def _width(parts: Mapping[str, TensorEntry]) -> int:
    """The input width that a layer's parts show it; of a LoKr only where both of its factors are whole."""

    def second(part: str) -> int:
        shape = parts.get(part, NO_TENSOR).shape
        return shape[1] if len(shape) > 1 else 0

    of_ranks = (second(part) for part in ("lora_down.weight", "hada_w1_b", "hada_w2_b", "diff"))
    return next(filter(None, of_ranks), second("lokr_w1") * second("lokr_w2"))
