"""Whether the parts of a base that were loaded are whole and fit each other: the libraries themselves only warn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from styles.bases.part_configs import vae_factor
from styles.errors import BaseError
from styles.text import Text

if TYPE_CHECKING:
    import torch

FEWEST_TOKENS = 3  # the marks around one token
HINT = Text("Fetch it again, or use another base.")


def check_loaded(model: Any, info: Mapping[str, Any], name: str, part: str) -> None:
    """Raise BaseError where weights were missing or of another shape, which would be made up by chance.

    `info` is what `from_pretrained` tells with `output_loading_info`.
    """
    parameters = {key for key, _ in model.named_parameters()}
    wrong_keys = [*info.get("missing_keys", ()), *info.get("mismatched_keys", ())]
    keys = [key if isinstance(key, str) else key[0] for key in wrong_keys]
    missing = sorted(key for key in keys if key in parameters)
    if missing:
        raise BaseError(
            "{name} lacks {count} tensors of its {part}, such as {missing}.",
            "Fetch it again.",
            name=name,
            count=len(missing),
            part=part,
            missing=missing[0],
        )


def check_works(parts: Mapping[str, Any], device: torch.device, dtype: torch.dtype) -> None:
    """Let each part compute its smallest, so that settings that can't be are found here and not in a painting.

    Raises what the libraries raise.
    """
    import torch

    from styles.bases.prediction import predict
    from styles.bases.vae import decode

    with torch.no_grad():
        ids = parts["tokenizer"](["a"], padding="max_length", truncation=True, return_tensors="pt").input_ids
        states = parts["text_encoder"](ids.to(device))[0]
        unet = parts["unet"]
        side = 2 ** max(3, len(unet.config.block_out_channels) - 1)  # halved at each level
        latents = torch.zeros(1, unet.config.in_channels, side, side, device=device, dtype=dtype)
        predicted = predict(unet, latents, torch.tensor(500, device=device), states)
        if predicted.shape != latents.shape:
            raise ValueError(Text("its UNet answers in another shape"))
        pixels = decode(parts["vae"], latents[:, :, :8, :8])
        if pixels.shape[:2] != (1, 3) or pixels.shape[2] != 8 * vae_factor(parts["vae"].config):
            raise ValueError(Text("its VAE paints in another shape"))


def check_fit(parts: Mapping[str, Any], name: str) -> None:
    """Raise BaseError where text encoder, tokenizer, UNet and VAE are not of one base."""
    from styles.bases.vae import has_scale

    unet, vae, text = (parts[part].config for part in ("unet", "vae", "text_encoder"))
    tokenizer = parts["tokenizer"]
    fits = {
        Text("words of its tokenizer"): len(tokenizer) <= text.vocab_size,
        Text("length of its prompts"): FEWEST_TOKENS
        <= tokenizer.model_max_length
        <= text.max_position_embeddings,
        Text("width of its text encoder"): text.hidden_size == unet.cross_attention_dim,
        Text("channels of its latents"): unet.in_channels == unet.out_channels == vae.latent_channels,
        Text("scale of its latents"): has_scale(vae),
    }
    odd = next((what for what, good in fits.items() if not good), None)
    if odd:
        raise BaseError("{name} is damaged: its parts don't agree in the {part}.", HINT, name=name, part=odd)
