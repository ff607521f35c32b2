"""The starter's parts: a small Stable Diffusion, every width and depth in one place, made from nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from diffusers.models.downsampling import Downsample2D
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from training.starter.scenes import NATIVE_SIZE_PX

LATENT_CHANNELS = 8
COLOUR_CHANNELS = 3  # the first latent channels carry a blurred copy; the others, the strokes
TEXT_WIDTH = 256  # no real Stable Diffusion has it, so a starter style can never pass for another family's
TEXT_TOKENS = 40
BOS, EOS = "<|startoftext|>", "<|endoftext|>"


def make_tokenizer(words: Iterable[str], folder: Path) -> CLIPTokenizer:
    """A CLIP tokenizer in which each of `words` is one token and any other word splits into byte pieces.

    Byte-pair training on nothing but the word list, run until nothing is left to merge, makes each word whole.
    """
    suffix = "</w>"
    byte_symbols = sorted(pre_tokenizers.ByteLevel.alphabet())
    bpe = Tokenizer(models.BPE(end_of_word_suffix=suffix))
    bpe.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(
        vocab_size=30_000,
        min_frequency=0,
        initial_alphabet=byte_symbols,
        end_of_word_suffix=suffix,
        show_progress=False,
    )
    bpe.train_from_iterator(sorted(set(words)), trainer)
    merges = [tuple(pair) for pair in json.loads(bpe.to_str())["model"]["merges"]]
    tokens = [
        *byte_symbols,
        *(symbol + suffix for symbol in byte_symbols),
        *("".join(pair) for pair in merges),
    ]
    tokens = [*dict.fromkeys(tokens), BOS, EOS]
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {token: number for number, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    tokenizer = CLIPTokenizer(
        vocab=str(folder / "vocab.json"),
        merges=str(folder / "merges.txt"),
        bos_token=BOS,
        eos_token=EOS,
        pad_token=EOS,
        unk_token=EOS,
        model_max_length=TEXT_TOKENS,
    )
    tokenizer.save_pretrained(folder)
    return tokenizer


def make_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """A four-layer CLIP text encoder; states (B, 40, 256)."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        projection_dim=TEXT_WIDTH,
        intermediate_size=3 * TEXT_WIDTH,
        num_hidden_layers=4,
        num_attention_heads=4,
        max_position_embeddings=TEXT_TOKENS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)


def make_vae() -> AutoencoderKL:
    """A convolutional autoencoder of factor 8: pictures (B, 3, 128, 128) <-> latents (B, 8, 16, 16).

    Without the usual attention in the middle, so that it may be trained on crops and run at any size.
    """
    vae = AutoencoderKL(
        block_out_channels=(32, 64, 96, 128),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=4,
        sample_size=NATIVE_SIZE_PX,
        mid_block_add_attention=False,
    )
    _begin_as_copy(vae)
    return vae


@torch.no_grad()
def _begin_as_copy(vae: AutoencoderKL) -> None:
    """Set the first weights so that the untrained autoencoder already restores a blurred copy of a picture.

    Colours travel as pairs of channels, x and -x: their mean is zero, so that normalisation only scales them, and
    silu(x) - silu(-x) = x undoes the non-linearity. All other channels start at random and learn the rest. From
    ordinary random weights the first thousand steps go into finding out that there are colours.
    """
    pairs = range(6)  # channels 0..2 carry red, green, blue; 3..5 the same negated
    centre, window = (1, 1), (slice(0, 2), slice(0, 2))

    def carry(conv: Any, tap: tuple, share: float = 1.0) -> None:
        conv.weight[:6] = 0
        conv.bias[:6] = 0
        for channel in pairs:
            conv.weight[channel, channel][tap] = share

    for module in vae.modules():
        if isinstance(module, ResnetBlock2D):
            module.conv2.weight.mul_(0.1)
            module.conv2.bias.zero_()
            module.conv2.weight[:6] = 0
            if module.conv_shortcut is not None:
                carry(module.conv_shortcut, (0, 0))
        elif isinstance(module, Downsample2D):
            carry(module.conv, window, 0.25)
        elif isinstance(module, Upsample2D):
            carry(module.conv, centre)
    for conv in (vae.encoder.conv_in, vae.decoder.conv_in):
        conv.weight[:6] = 0
        conv.bias[:6] = 0
        for colour in range(3):
            conv.weight[colour, colour][centre] = 1
            conv.weight[colour + 3, colour][centre] = -1
    for conv, share in ((vae.encoder.conv_out, 1.0), (vae.decoder.conv_out, 0.5)):
        conv.weight[:3] = 0
        conv.bias[:3] = 0
        for colour in range(3):
            conv.weight[colour, colour][centre] = share
            conv.weight[colour, colour + 3][centre] = -share
    vae.encoder.conv_out.bias[LATENT_CHANNELS:] = -4  # little noise on the latents at first
    for conv in (vae.quant_conv, vae.post_quant_conv):
        conv.weight.copy_(torch.eye(conv.weight.shape[0])[:, :, None, None])
        conv.bias.zero_()


def make_unet() -> UNet2DConditionModel:
    """A three-level UNet with cross-attention at every level; latents (B, 8, 16, 16), states (B, 40, 256)."""
    return UNet2DConditionModel(
        sample_size=NATIVE_SIZE_PX // 8,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=(64, 128, 192),
        down_block_types=("CrossAttnDownBlock2D",) * 3,
        mid_block_type="UNetMidBlock2DCrossAttn",
        up_block_types=("CrossAttnUpBlock2D",) * 3,
        layers_per_block=1,
        transformer_layers_per_block=(2, 2, 1),
        attention_head_dim=(2, 4, 6),  # diffusers reads this as the number of heads, as in Stable Diffusion 1
        norm_num_groups=8,
        cross_attention_dim=TEXT_WIDTH,
    )


def make_scheduler() -> DDIMScheduler:
    """The noise schedule: v-prediction down to zero signal (arXiv 2305.08891), sampled from the very last step."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def tokenise(tokenizer: CLIPTokenizer, captions: list[str]) -> torch.Tensor:
    """Token ids (B, 40) of captions, cut and padded to the encoder's length."""
    batch = tokenizer(
        captions, padding="max_length", truncation=True, max_length=TEXT_TOKENS, return_tensors="pt"
    )
    return batch.input_ids
