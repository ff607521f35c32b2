"""A VAE instead of a base's own: judged by its header and config before it is loaded."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from styles.bases.files.part_configs import check_sizes, has_scale, latent_scale, read_config, vae_factor
from styles.bases.files.part_loading import build, load_part
from styles.bases.files.weight_files import (
    LDM_VAE,
    check_safetensors,
    is_here,
    read_header,
    tensors_of,
    weight_files,
)
from styles.errors import BaseError
from styles.storage.names import clean_text
from styles.text import Text

if TYPE_CHECKING:
    import torch

KIND = "AutoencoderKL"
# Of its weight files, whatever its folder is called.
STEM = "diffusion_pytorch_model"
# Its levels and its latents, in the original layout and in diffusers'.
ORIGINAL = "decoder.up."
LATENTS = "decoder.conv_in.weight"
UPSAMPLERS = ((ORIGINAL, ".upsample.conv.weight"), ("decoder.up_blocks.", ".upsamplers.0.conv.weight"))
HINT = Text(
    "Give a VAE that was made for this kind of base, as a .safetensors file or a folder in diffusers layout."
)


@dataclass(frozen=True)
class VaeFiles:
    """Where a VAE lies: a folder in diffusers layout, or a file in either layout."""

    path: Path
    files: tuple[Path, ...]
    prefix: str  # of the tensor names in the files
    config: dict[str, Any]
    config_folder: Path


def inspect_vae(path: Path, config_folder: Path) -> VaeFiles:
    """Return the facts of a VAE for a base whose own VAE's config lies in `config_folder`.

    A file that has no config beside it is taken to be scaled as the base's own. Raises BaseError for what is no VAE, or
    none for such a base: of other channels, another size of latents, or another scale.
    """
    own = read_config(config_folder / "config.json")
    vae = _folder(path) if os.path.isdir(path) else _file(path, own, config_folder)
    channels, factor = vae.config.get("latent_channels", 4), vae_factor(vae.config)
    if not has_scale(vae.config):
        raise BaseError("{vae} is damaged: its scale of latents is no number.", HINT, vae=path.name)
    for what, its, ours in (
        (Text("channels"), channels, own.get("latent_channels", 4)),
        (Text("pixels for one latent"), factor, vae_factor(own)),
        (Text("scale of its latents"), _scale(vae.config), _scale(own)),
    ):
        if its != ours:
            raise BaseError(
                "{vae} is a VAE for another kind of base: {what}: {its} instead of {ours}.",
                HINT,
                vae=path.name,
                what=what,
                its=clean_text(str(its), 60),
                ours=clean_text(str(ours), 60),
            )
    return vae


def load_vae(facts: VaeFiles, dtype: torch.dtype) -> Any:
    """Return the AutoencoderKL; raises BaseError where tensors are missing, and what diffusers raises."""
    from diffusers import AutoencoderKL
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

    if os.path.isdir(facts.path):
        folder = facts.config_folder
        _, variant = weight_files(folder.parent, folder.name, STEM)
        return load_part(AutoencoderKL, folder, variant, facts.path.name, "VAE", torch_dtype=dtype)
    tensors = tensors_of(facts.path, facts.prefix)
    if any(name.startswith(ORIGINAL) for name in tensors):
        tensors = convert_ldm_vae_checkpoint(tensors, facts.config)
    return build(AutoencoderKL, facts.config, tensors, dtype, facts.path.name, "VAE")


def _folder(path: Path) -> VaeFiles:
    folder = path if is_here(path / "config.json") else path / "vae"  # a whole base lends its VAE
    config = read_config(folder / "config.json")
    if kind := _other_class(config):
        raise BaseError("{vae} is a {kind}, not an AutoencoderKL.", HINT, vae=path.name, kind=kind)
    check_sizes(config, path.name)
    files, _ = weight_files(folder.parent, folder.name, STEM)
    return VaeFiles(path, files, "", config, folder)


def _other_class(config: Mapping[str, Any]) -> str:
    """The class that a config names, where it is not a VAE's."""
    kind = clean_text(str(config.get("_class_name", KIND)), 60)
    return "" if kind == KIND else kind


def _file(path: Path, own: Mapping[str, Any], config_folder: Path) -> VaeFiles:
    check_safetensors(path, Text("a VAE"))
    header, _ = read_header(path)
    prefix = LDM_VAE if any(name.startswith(LDM_VAE) for name in header) else ""
    shapes = {
        name.removeprefix(prefix): one["shape"] for name, one in header.items() if name.startswith(prefix)
    }
    latents = shapes.get(LATENTS, ())
    if len(latents) != 4:
        raise BaseError("{vae} holds no VAE of Stable Diffusion.", HINT, vae=path.name)
    if is_here(path.parent / "config.json"):
        beside = read_config(path.parent / "config.json")
        if not _other_class(beside):
            check_sizes(beside, path.name)
            return VaeFiles(path, (path,), prefix, beside, path.parent)
    levels = 1 + sum(
        name.startswith(begins) and name.endswith(ends) for name in shapes for begins, ends in UPSAMPLERS
    )
    config = {**own, "latent_channels": latents[1]}
    if 2 ** (levels - 1) != vae_factor(own):
        config["block_out_channels"] = [0] * levels
    return VaeFiles(path, (path,), prefix, config, config_folder)


def _scale(config: Mapping[str, Any]) -> tuple[list[float], list[float]]:
    scale, shift = latent_scale(config)
    return [round(one, 4) for one in scale], [round(one, 4) for one in shift]
