"""Make the starter model from nothing: draw, then the autoencoder, the words, the shapes, the UNet, and its folder.

Or train the UNet of a finished one further, on new drawings.

Each stage keeps its state in one folder and goes on from there, so that the build may be stopped at any time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from training.starter.autoencoder import encode_drawings, train_decoder, train_vae
from training.starter.drawings import draw_all
from training.starter.model import make_scheduler
from training.starter.shapes import train_shapes
from training.starter.stage import BuildPlan
from training.starter.unet import take_up, train_unet
from training.starter.words import encode_drawn, train_words


def build(state: Path, out: Path, plan: BuildPlan, device: torch.device) -> None:
    """Run every stage that is not finished in `state`, then write the model folder `out`."""
    state.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(plan.seed)
    draw_all(state, plan.drawings, plan.textures, plan.workers)
    vae = train_vae(state, plan, device)
    encode_drawings(state, vae, device)
    train_decoder(state, plan, vae, device)
    text_encoder, tokenizer = train_words(state, plan, device)
    encode_drawn(state, text_encoder, tokenizer, device)
    train_shapes(state, plan, device)
    unet = train_unet(state, plan, device)
    write_model(state, out, vae, text_encoder, tokenizer, unet)


def further(state: Path, model: Path, plan: BuildPlan, device: torch.device) -> None:
    """Train the UNet in the model folder for `plan.unet_steps` more; its autoencoder and its words stay as they are.

    `state` keeps this round's drawings and the unfinished UNet, and must not be that of a build.
    """
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    state.mkdir(parents=True, exist_ok=True)
    draw_all(state, plan.drawings, 1, plan.workers)
    vae = AutoencoderKL.from_pretrained(model / "vae", torch_dtype=torch.float32).to(device)
    encode_drawings(state, vae, device, vae.config.scaling_factor)
    text_encoder = CLIPTextModel.from_pretrained(model / "text_encoder", torch_dtype=torch.float32).to(device)
    tokenizer = CLIPTokenizer.from_pretrained(model / "tokenizer")
    encode_drawn(state, text_encoder, tokenizer, device)
    train_shapes(state, plan, device)
    unet = UNet2DConditionModel.from_pretrained(model / "unet", torch_dtype=torch.float32)
    unet = train_unet(state, take_up(state, unet, plan), device)
    write_model(state, model, vae, text_encoder, tokenizer, unet)


def write_model(state: Path, out: Path, vae: Any, text_encoder: Any, tokenizer: Any, unet: Any) -> None:
    """Write the StableDiffusionPipeline folder in fp16 safetensors."""
    from diffusers import StableDiffusionPipeline

    vae.register_to_config(scaling_factor=torch.load(state / "latents.pt", weights_only=True)["scale"])
    pipeline = StableDiffusionPipeline(
        vae=vae.cpu().half(),
        text_encoder=text_encoder.cpu().half(),
        tokenizer=tokenizer,
        unet=unet.cpu().half(),
        scheduler=make_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(out, safe_serialization=True)
    print(f"written to {out}", flush=True)
