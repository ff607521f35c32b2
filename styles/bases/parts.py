"""Whether the parts of a base that were loaded fit each other and work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from styles.bases.files.part_configs import has_scale, vae_factor
from styles.errors import BaseError
from styles.text import Text

if TYPE_CHECKING:
    import torch

FEWEST_TOKENS = 3  # the marks around one token
HINT = Text("Fetch it again, or use another base.")


def parts_named(parts: Mapping[str, Any], name: str) -> tuple[Any, ...]:
    """Return the text encoders or tokenizers of a base, in their order."""
    return tuple(parts[part] for part in (name, f"{name}_2") if parts.get(part) is not None)


def check_works(
    parts: Mapping[str, Any], device: torch.device, dtype: torch.dtype, bring: Callable[[list[Any]], None]
) -> None:
    """Let each part compute its smallest, so that settings that can't be are found here and not in a painting.

    `bring` is called with the parts that come next, and has them on the device when it returns. Raises what the
    libraries raise.
    """
    import torch

    from styles.bases.conditioning import encode_tokens
    from styles.bases.prediction import predict
    from styles.bases.vae import decode

    with torch.no_grad():
        ids = [
            tokenizer(["a"], padding="max_length", truncation=True, return_tensors="pt").input_ids.to(device)
            for tokenizer in parts_named(parts, "tokenizer")
        ]
        encoders = parts_named(parts, "text_encoder")
        bring([*encoders])
        conditioning = encode_tokens(encoders, ids, [None] * len(ids)).sized_as(8, 8)
        unet = parts["unet"]
        side = 2 ** max(3, len(unet.config.block_out_channels) - 1)  # halved at each level
        latents = torch.zeros(1, unet.config.in_channels, side, side, device=device, dtype=dtype)
        bring([unet])
        predicted = predict(unet, latents, torch.tensor(500, device=device), conditioning)
        if predicted.shape != latents.shape:
            raise ValueError(Text("its UNet answers in another shape"))
        bring([parts["vae"]])
        pixels = decode(parts["vae"], latents[:, :, :8, :8])
        if pixels.shape[:2] != (1, 3) or pixels.shape[2] != 8 * vae_factor(parts["vae"].config):
            raise ValueError(Text("its VAE paints in another shape"))


def check_fit(parts: Mapping[str, Any], name: str) -> None:
    """Raise BaseError where text encoder, tokenizer, UNet and VAE are not of one base."""
    from styles.bases.conditioning import reads_time_ids

    unet, vae = parts["unet"].config, parts["vae"].config
    encoders = [encoder.config for encoder in parts_named(parts, "text_encoder")]
    tokenizers = parts_named(parts, "tokenizer")
    two = reads_time_ids(parts["unet"])
    fits = {
        Text("number of its text encoders"): len(encoders) == len(tokenizers) == (2 if two else 1),
        Text("words of its tokenizer"): all(
            len(tokenizer) <= text.vocab_size for tokenizer, text in zip(tokenizers, encoders, strict=False)
        ),
        Text("length of its prompts"): all(
            FEWEST_TOKENS <= tokenizer.model_max_length <= text.max_position_embeddings
            for tokenizer, text in zip(tokenizers, encoders, strict=False)
        )
        and len({tokenizer.model_max_length for tokenizer in tokenizers}) == 1,
        Text("width of its text encoder"): sum(text.hidden_size for text in encoders)
        == unet.cross_attention_dim,
        Text("width of its pooled states"): not two
        or encoders[-1].projection_dim + 6 * unet.addition_time_embed_dim
        == unet.projection_class_embeddings_input_dim,
        Text("channels of its latents"): unet.in_channels == unet.out_channels == vae.latent_channels,
        Text("scale of its latents"): has_scale(vae),
    }
    odd = next((what for what, good in fits.items() if not good), None)
    if odd:
        raise BaseError("{name} is damaged: its parts don't agree in the {part}.", HINT, name=name, part=odd)
