"""A diffusers folder's weights under the names of the original Stable Diffusion checkpoints.

diffusers reads that layout but doesn't write it; this is its mapping backwards, for bases of any width and depth.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
OPEN_CLIP = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}


def save_original_layout(
    folder: Path, path: Path, *, open_clip: bool = False, metadata: dict[str, str] | None = None
) -> None:
    """Write the base in `folder` as one checkpoint file."""
    layers = json.loads((folder / "unet" / "config.json").read_text())["layers_per_block"]
    depth = len(json.loads((folder / "vae" / "config.json").read_text())["block_out_channels"])
    unet = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    vae = load_file(folder / "vae" / "diffusion_pytorch_model.safetensors")
    tensors = {
        f"model.diffusion_model.{unet_name(name, layers, unet)}": value for name, value in unet.items()
    }
    tensors |= {f"first_stage_model.{name}": value for name, value in original_vae(vae, depth).items()}
    two = (folder / "text_encoder_2").is_dir()
    prefixes = ("conditioner.embedders.0", "conditioner.embedders.1") if two else ("cond_stage_model",)
    for prefix, part in zip(prefixes, ("text_encoder", "text_encoder_2"), strict=False):
        text = load_file(folder / part / "model.safetensors")
        text = {name.removeprefix("text_model."): value for name, value in text.items()}
        if open_clip or part == "text_encoder_2":
            tensors |= {f"{prefix}.model.{name}": value for name, value in _open_clip(text).items()}
        else:
            tensors |= {f"{prefix}.transformer.text_model.{name}": value for name, value in text.items()}
    save_file({name: value.contiguous() for name, value in tensors.items()}, path, metadata)


def original_vae(vae: dict[str, Tensor], depth: int) -> dict[str, Tensor]:
    """Return a VAE's tensors by their original names; its attention are convolutions there."""
    tensors = {}
    for name, value in vae.items():
        attention = ".attentions." in name and name.endswith("weight") and "group_norm" not in name
        tensors[_vae_name(name, depth)] = (value[:, :, None, None] if attention else value).contiguous()
    return tensors


def copy_configs(folder: Path, target: Path) -> Path:
    """Copy a base's configs alone, so that no weight can come from there."""
    for file in folder.rglob("*.json"):
        if "tokenizer" not in file.parts:
            (target / file.relative_to(folder)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target / file.relative_to(folder))
    return target


def unet_name(name: str, layers: int, tensors: dict[str, Tensor]) -> str:
    """Return the original name of a UNet's tensor; `layers` is the config's `layers_per_block`, of `tensors` only the names count."""
    parts = name.split(".")
    if parts[0] == "time_embedding":
        return f"time_embed.{'0' if parts[1] == 'linear_1' else '2'}.{parts[2]}"
    if parts[0] == "add_embedding":
        return f"label_emb.0.{'0' if parts[1] == 'linear_1' else '2'}.{parts[2]}"
    if parts[0] in ("conv_in", "conv_norm_out", "conv_out"):
        return (
            {"conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2"}[parts[0]]
            + "."
            + parts[1]
        )
    if parts[0] == "mid_block":
        number = int(parts[2])
        if parts[1] == "attentions":
            return f"middle_block.1.{'.'.join(parts[3:])}"
        return f"middle_block.{2 * number}.{RESNET[parts[3]]}.{parts[4]}"
    block, kind, layer, rest = int(parts[1]), parts[2], int(parts[3]), parts[4:]
    if parts[0] == "down_blocks":
        if kind == "downsamplers":
            return f"input_blocks.{1 + block * (layers + 1) + layers}.0.op.{rest[-1]}"
        place = f"input_blocks.{1 + block * (layers + 1) + layer}"
    else:
        if kind == "upsamplers":
            attended = f"up_blocks.{block}.attentions.0.norm.weight" in tensors
            return f"output_blocks.{block * (layers + 1) + layers}.{2 if attended else 1}.conv.{rest[-1]}"
        place = f"output_blocks.{block * (layers + 1) + layer}"
    if kind == "attentions":
        return f"{place}.1.{'.'.join(rest)}"
    return f"{place}.0.{RESNET[rest[0]]}.{rest[1]}"


def _vae_name(name: str, depth: int) -> str:
    parts = name.split(".")
    if parts[0] not in ("encoder", "decoder"):
        return name
    side, section, rest = parts[0], parts[1], parts[2:]
    if section == "conv_norm_out":
        return f"{side}.norm_out.{rest[0]}"
    if section == "mid_block":
        number, inner = int(rest[1]), ".".join(rest[2:])
        if rest[0] == "resnets":
            return f"{side}.mid.block_{number + 1}.{inner.replace('conv_shortcut', 'nin_shortcut')}"
        for new, old in {
            "group_norm": "norm",
            "to_q": "q",
            "to_k": "k",
            "to_v": "v",
            "to_out.0": "proj_out",
        }.items():
            inner = inner.replace(new, old)
        return f"{side}.mid.attn_1.{inner}"
    if section in ("down_blocks", "up_blocks"):
        block = int(rest[0]) if section == "down_blocks" else depth - 1 - int(rest[0])
        place = f"{side}.{section.removesuffix('_blocks')}.{block}"
        if rest[1] == "resnets":
            return f"{place}.block.{rest[2]}.{'.'.join(rest[3:]).replace('conv_shortcut', 'nin_shortcut')}"
        return f"{place}.{rest[1].removesuffix('rs')}.conv.{rest[-1]}".replace("sample" + "r", "sample")
    return name


def _open_clip(text: dict[str, Tensor]) -> dict[str, Tensor]:
    tensors = {
        "token_embedding.weight": text["embeddings.token_embedding.weight"],
        "positional_embedding": text["embeddings.position_embedding.weight"],
        "ln_final.weight": text["final_layer_norm.weight"],
        "ln_final.bias": text["final_layer_norm.bias"],
    }
    if "text_projection.weight" in text:
        tensors["text_projection"] = text["text_projection.weight"].T
    for name, value in text.items():
        if not name.startswith("encoder.layers."):
            continue
        number, inner = name.removeprefix("encoder.layers.").split(".", 1)
        if ".q_proj." in name:
            three = [text[name.replace("q_proj", part)] for part in ("q_proj", "k_proj", "v_proj")]
            tensors[f"transformer.resblocks.{number}.attn.in_proj_{name.rsplit('.', 1)[1]}"] = torch.cat(
                three
            )
        elif "_proj." not in name or ".out_proj." in name:
            for new, old in OPEN_CLIP.items():
                inner = inner.replace(new, old)
            tensors[f"transformer.resblocks.{number}.{inner}"] = value
    return tensors
