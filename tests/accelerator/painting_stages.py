"""What painting holds on a card at each of its stages, counted on tensors without numbers for bases of real size."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from styles.bases.prediction import predict
from styles.bases.vae import in_tiles
from styles.bases.working_memory import MARGIN, weight_bytes
from styles.families import family_of
from styles.formats.style import Style, StyleCard, StyleLayer
from styles.mixing.model_patcher import ModelPatcher
from styles.quantization.layers import statistics
from styles.quantization.quantization import PLAIN
from tests.accelerator.counting import (
    CONFIGS,
    META,
    Counting,
    meta_inputs,
    meta_unet,
    meta_vae,
    quantize_meta,
    unet_config,
)
from tests.accelerator.mixing import on_meta

SIDES_PX = {"sd1": 512, "sd2": 768, "sdxl": 1024}
GIB = 2**30
# What CUDA and its libraries take of a card for themselves, before the first tensor.
CONTEXT_BYTES = 500_000_000
# Where memory is short: the two halves of guidance one after the other, and the mix holding nothing but its ranks.
APART = "denoising, guidance apart"
# In the names of the linear layers and 1x1 convolutions that kohya's scripts train by default.
OF_UNET, OF_TEXT = ".transformer_blocks.", (".self_attn.", ".mlp.fc")


@dataclass
class MetaBase:
    """The parts of a base, without numbers."""

    unet: Any
    family: str
    text_encoders: tuple[Any, ...]
    name: str = "meta"
    device: torch.device = field(default=META)
    tokenizers: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Stage:
    """A stage of painting one picture: the parts at work, and all others; bytes."""

    name: str
    part_bytes: int
    work_bytes: int
    ranks_bytes: int  # of the styles, which stay
    others_bytes: int

    @property
    def offloaded(self) -> float:
        """With only the parts at work on the card, and the margin for the work."""
        return self.part_bytes + self.ranks_bytes + MARGIN * self.work_bytes

    @property
    def resident(self) -> float:
        """With all parts on the card."""
        return self.offloaded + self.others_bytes


def fits(bytes_needed: float, card_gb: int) -> bool:
    """Whether a card of so many GB has room for it beside CUDA's own."""
    return bytes_needed + CONTEXT_BYTES <= card_gb * GIB


def meta_text_encoders(family: str, dtype: torch.dtype) -> list[Any]:
    """Return a family's text encoders without numbers."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    encoders = []
    for encoder in family_of(family).text_encoders:
        config = CLIPTextConfig(**json.loads((CONFIGS / family / encoder.part / "config.json").read_text()))
        with META:
            model = (CLIPTextModelWithProjection if encoder.projects else CLIPTextModel)(config)
        encoders.append(model.to(dtype).eval().requires_grad_(False))
    return encoders


def meta_safety_checker(dtype: torch.dtype) -> Any:
    """Return the safety checker of Stable Diffusion 1, CLIP ViT-L/14, without numbers."""
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPConfig

    sizes = {
        "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16,
        "patch_size": 14, "projection_dim": 768,
    }  # fmt: skip
    with META:
        checker = StableDiffusionSafetyChecker(CLIPConfig(vision_config=sizes, projection_dim=768))
    return checker.to(dtype)


def kohya_style(base: MetaBase, rank: int, number: int) -> Style:
    """Return a style on all layers that kohya's scripts train by default, without numbers."""
    layers = [
        _layer("unet", name, module, rank)
        for name, module in base.unet.named_modules()
        if _has_ranks(module) and (OF_UNET in name or name.endswith((".proj_in", ".proj_out")))
    ]
    for kind, encoder in zip(family_of(base.family).text_encoders, base.text_encoders, strict=True):
        layers += [
            _layer(kind.network, name if name.startswith("text_model.") else f"text_model.{name}", module, rank)
            for name, module in encoder.named_modules()
            if _has_ranks(module) and any(part in f".{name}" for part in OF_TEXT)
        ]  # fmt: skip
    return Style(StyleCard(f"style {number}", base.family, rank, id=f"{number:064x}"), tuple(layers))


def _has_ranks(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) or (
        isinstance(module, nn.Conv2d) and tuple(module.kernel_size) == (1, 1)
    )


def _layer(network: str, path: str, module: Any, rank: int) -> StyleLayer:
    conv = isinstance(module, nn.Conv2d)
    inner, outer = (
        (module.in_channels, module.out_channels) if conv else (module.in_features, module.out_features)
    )
    rest = (1, 1) if conv else ()
    half = {"dtype": torch.float16, "device": META}
    return StyleLayer(
        network, path, torch.empty(rank, inner, *rest, **half), torch.empty(outer, rank, *rest, **half), 1.0
    )


@torch.no_grad()
def stages(
    family: str, dtype: torch.dtype = torch.float16, *, styles: int = 2, rank: int = 32, quantize: str = PLAIN
) -> list[Stage]:
    """Count all stages of painting one picture of a family's own size with some styles of kohya's on it.

    `quantize` is how the base's linear layers are kept.
    """
    side_px = SIDES_PX[family]
    encoders = meta_text_encoders(family, dtype)
    unet = meta_unet(unet_config(family), dtype)
    if quantize != PLAIN:
        quantize_meta(unet, quantize)
    base = MetaBase(unet, family, tuple(encoders))
    # A VAE that overflows in fp16 is in fp32 on a card that has no bf16.
    vae = meta_vae(family, torch.float32 if family == "sdxl" else dtype)
    checker = [meta_safety_checker(dtype)] if family == "sd1" else []
    parts = {"text": encoders, "unet": [base.unet], "vae": [vae], "checker": checker}
    mix = ModelPatcher(base)
    mix.change_to([kohya_style(base, rank, number) for number in range(styles)])
    mix.set_gains([1.0] * styles)

    def ranks() -> list[Tensor]:
        with on_meta():
            mix._merged.bring_up_to_date()
        return list(_ranks(mix))

    latents = torch.empty(1, 4, side_px // 8, side_px // 8, dtype=vae.dtype, device=META)

    def text() -> None:
        for encoder in encoders:
            encoder(torch.zeros(2, 77, dtype=torch.int64, device=META), output_hidden_states=True)

    def denoising(apart: bool) -> None:
        inputs, timestep, conditioning = meta_inputs(base.unet, 1, side_px, side_px, dtype, 2)
        mix.prompt(None if apart else conditioning.states)
        predict(base.unet, inputs, timestep, conditioning, 7.0, apart=apart)

    def decoding_in_tiles() -> None:
        with in_tiles(vae, 64):
            vae.decode(latents)

    works = {
        "text": ("text", text),
        "denoising": ("unet", lambda: denoising(False)),
        APART: ("unet", lambda: denoising(True)),
        "decoding": ("vae", lambda: vae.decode(latents)),
        "decoding in tiles": ("vae", decoding_in_tiles),
    }
    counted = []
    for name, (part, work) in works.items():
        models = parts[part]
        others = [model for other, some in parts.items() if other != part for model in some]
        if name == APART:
            mix.spare_memory()
        ranks_bytes = Counting(ranks()).live_bytes
        held = weight_bytes(*models) + ranks_bytes
        work_bytes = peak_bytes(work, [*_weights(models), *ranks()]) - held
        counted.append(Stage(name, weight_bytes(*models), work_bytes, ranks_bytes, weight_bytes(*others)))
    mix.close()
    return counted


def _weights(models: Sequence[nn.Module]) -> Iterator[Tensor]:
    return (weight for model in models for weight in (*model.parameters(), *statistics(model)))


def _ranks(mix: ModelPatcher) -> Iterator[Tensor]:
    """All that a mix holds from step to step but what it keeps of a prompt."""
    for patch in mix.patches.values():
        yield from (patch.down, patch.up, patch.rank_gains)
        if patch.active_ranks is not None:
            yield from (patch.active_ranks.down, patch.active_ranks.up)
            if patch.active_ranks.shared is not None:
                yield patch.active_ranks.shared.down


def peak_bytes(work: Any, held: Sequence[Tensor]) -> int:
    """Return the most that is held while something is computed, with what is held from the start."""
    counted = Counting(held)
    with counted, on_meta():
        work()
    return counted.peak_bytes
