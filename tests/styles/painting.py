"""What tests that paint share: random styles for a base, and pictures as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy
import torch
from diffusers import DiffusionPipeline, StableDiffusionPipeline
from PIL import Image

from styles.bases.base import Base
from styles.families import family_of
from styles.formats.style import Style, StyleCard, StyleLayer
from styles.generation.generate import PictureDone, generate
from styles.generation.prompts import encode_prompts
from styles.generation.request import CreateRequest
from styles.generation.samplers import DEFAULT_SAMPLER, SAMPLERS, make_scheduler
from styles.mixing.prompt_words import Vocabulary


def style_for(base: Base, seed: int, strength: float = 0.5) -> Style:
    """A random style on all cross-attention keys and values."""
    generator = torch.Generator().manual_seed(seed)
    layers = tuple(
        StyleLayer(
            "unet",
            name,
            torch.randn(2, module.in_features, generator=generator),
            torch.randn(module.out_features, 2, generator=generator) * strength,
            2.0,
        )
        for name, module in base.unet.named_modules()
        if name.endswith("attn2.to_k") or name.endswith("attn2.to_v")
    )
    return Style(StyleCard(f"style {seed}", base.family, 2, id=f"{seed:064x}"), layers)


def wording_style(base: Base, seed: int) -> Style:
    """A random style that changes the text encoders alone."""
    generator = torch.Generator().manual_seed(seed)
    layers = []
    for kind, encoder in zip(family_of(base.family).text_encoders, base.text_encoders, strict=True):
        name = next(n for n, _ in encoder.named_modules() if n.endswith("self_attn.v_proj"))
        path = name if name.startswith("text_model.") else f"text_model.{name}"
        width = encoder.config.hidden_size
        down = torch.randn(2, width, generator=generator)
        up = torch.randn(width, 2, generator=generator)
        layers.append(StyleLayer(kind.network, path, down, up, 2.0))
    return Style(StyleCard(f"words {seed}", base.family, 2, id=f"{seed:064x}"), tuple(layers))


def prompt_states(base: Base, texts: Sequence[str], vocabularies: Sequence[Vocabulary] = ()) -> torch.Tensor:
    """What the text encoders say of each text: (batch, tokens, width)."""
    return encode_prompts(base, texts, vocabularies).states


def paint(base: Base, request: CreateRequest, styles: tuple[Style, ...] = ()) -> list[PictureDone]:
    return [event for event in generate(base, request, styles) if isinstance(event, PictureDone)]


def pipeline_of(
    base: Base, sampler: str = DEFAULT_SAMPLER, schedule: str | None = None
) -> StableDiffusionPipeline:
    """The pipeline of diffusers over the very parts of a base with one text encoder."""
    pipeline = StableDiffusionPipeline(
        vae=base.vae,
        text_encoder=base.text_encoders[0],
        tokenizer=base.tokenizers[0],
        unet=base.unet,
        scheduler=make_scheduler(base, sampler, schedule),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def loaded_pipeline(base: Base, sampler: str = DEFAULT_SAMPLER) -> Any:
    """The pipeline of diffusers as it opens the folder of a base by itself."""
    assert base.folder is not None
    pipeline = DiffusionPipeline.from_pretrained(
        base.folder, scheduler=make_scheduler(base, sampler), local_files_only=True
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def pipeline_steps(scheduler: Any, sampler: str, steps: int) -> int:
    """What a pipeline of diffusers must be asked for to do so many steps of a sampler."""
    return steps * SAMPLERS[sampler].evaluations // scheduler.order


def pixels(image: Image.Image) -> numpy.ndarray:
    return numpy.asarray(image, dtype=numpy.int16)


def apart(one: PictureDone, other: PictureDone) -> int:
    """The largest difference of two pictures, of 255."""
    return int(abs(pixels(one.image) - pixels(other.image)).max())
