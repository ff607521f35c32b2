"""Tiny random Stable Diffusions in the diffusers folder layout: real parts, made in a second."""

from __future__ import annotations

import json
from pathlib import Path

import torch

CROSS_WIDTH = {"starter": 256, "sd1": 768, "sd2": 1024, "sdxl": 2048}
TOKENS = {"starter": 40, "sd1": 77, "sd2": 77, "sdxl": 77}
LATENT_SIZE = 16  # with the factor-4 VAE: 64 px
VAE_FACTOR = 4
SDXL_WIDTHS = (768, 1280)  # of the two text encoders, as the real ones
SDXL_TIME_WIDTH = 16  # of each number of a picture's sizes
SDXL_UNET = {
    "transformer_layers_per_block": (1, 2),
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": SDXL_TIME_WIDTH,
    "projection_class_embeddings_input_dim": SDXL_WIDTHS[1] + 6 * SDXL_TIME_WIDTH,
}
WORDS = [
    "a",
    "an",
    "the",
    "of",
    "in",
    "on",
    "red",
    "blue",
    "green",
    "yellow",
    "cat",
    "fish",
    "house",
    "tree",
    "boat",
    "moon",
    "picture",
    "drawing",
    "style",
]


def tiny_base_folder(
    path: Path | str,
    family: str = "starter",
    *,
    words: int | None = None,
    channels: tuple[int, int] = (32, 64),
    layers: int = 1,
    seed: int = 0,
    prediction_type: str | None = None,
    zero_terminal_snr: bool | None = None,
    dtype: torch.dtype = torch.float32,
    safety_checker: bool = False,
    unet_config: dict[str, object] | None = None,
) -> Path:
    """Write a tiny random base of a family, or of its own by the width of its `words`, and return its folder.

    Two UNet levels of (32, 64) channels with `layers` blocks of cross-attention each, a factor-4 VAE, 64 px native. The
    starter is v-prediction with zero terminal SNR as the real one; the others are epsilon unless told otherwise.
    SDXL has its structure: no attention in the first level, two text encoders, size and pooled states beside the time.
    `unet_config` builds the UNet otherwise.
    """
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel

    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    width = words or CROSS_WIDTH[family]
    prediction_type = prediction_type or ("v_prediction" if family == "starter" else "epsilon")
    if zero_terminal_snr is None:
        zero_terminal_snr = family == "starter"

    two = family == "sdxl"
    tokenizer = tiny_tokenizer(TOKENS[family])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = UNet2DConditionModel(
            **{
                "sample_size": LATENT_SIZE,
                "block_out_channels": channels,
                "layers_per_block": layers,
                "down_block_types": (
                    "DownBlock2D" if two else "CrossAttnDownBlock2D",
                    "CrossAttnDownBlock2D",
                ),
                "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D" if two else "CrossAttnUpBlock2D"),
                "norm_num_groups": 16,
                "attention_head_dim": 8,
                "cross_attention_dim": width,
                "use_linear_projection": family in ("sd2", "sdxl"),
                **(SDXL_UNET if two else {}),
                **(unet_config or {}),
            }
        )
        vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            block_out_channels=(16, 16, 32),
            layers_per_block=1,
            norm_num_groups=8,
            sample_size=LATENT_SIZE * VAE_FACTOR,
        )
        text_encoder = tiny_text_encoder(tokenizer, SDXL_WIDTHS[0] if two else width, layers=2 if two else 1)
        text_encoder_2 = (
            tiny_text_encoder(tokenizer, SDXL_WIDTHS[1], layers=3, projects=True) if two else None
        )
        checker = tiny_safety_checker() if safety_checker else None
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        num_train_timesteps=1000,
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type=prediction_type,
        rescale_betas_zero_snr=zero_terminal_snr,
        timestep_spacing="trailing" if zero_terminal_snr else "leading",
    )
    parts = {
        "unet": unet, "vae": vae, "text_encoder": text_encoder, "text_encoder_2": text_encoder_2,
        "safety_checker": checker,
    }  # fmt: skip
    for name, part in parts.items():
        if part is not None:
            (part if dtype == torch.float32 else part.to(dtype)).save_pretrained(
                folder / name, safe_serialization=True
            )
    tokenizer.save_pretrained(folder / "tokenizer")
    if two:
        tiny_tokenizer(TOKENS[family], pad_token="!").save_pretrained(folder / "tokenizer_2")
    scheduler.save_pretrained(folder / "scheduler")
    if checker is not None:
        from transformers import CLIPImageProcessorPil

        CLIPImageProcessorPil(
            size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
        ).save_pretrained(folder / "feature_extractor")
    index: dict[str, object] = {
        "_class_name": "StableDiffusionXLPipeline" if two else "StableDiffusionPipeline",
        "_diffusers_version": "0.42.1",
        "feature_extractor": ["transformers", "CLIPImageProcessor"] if checker else [None, None],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    if two:
        index |= {
            "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
            "tokenizer_2": ["transformers", "CLIPTokenizer"],
            "force_zeros_for_empty_prompt": True,
        }
    else:
        index |= {
            "requires_safety_checker": bool(checker),
            "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"]
            if checker
            else [None, None],
        }
    (folder / "model_index.json").write_text(json.dumps(index, indent=2), encoding="utf-8")
    return folder


def tiny_text_encoder(tokenizer, width: int, *, layers: int, projects: bool = False):  # type: ignore[no-untyped-def]
    """A CLIP text model of random weights; one that projects has a projection as wide as its states."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=64,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=tokenizer.model_max_length,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **({"projection_dim": width, "hidden_act": "gelu"} if projects else {}),
    )
    return (CLIPTextModelWithProjection if projects else CLIPTextModel)(config)


def tiny_tokenizer(max_length: int, **about: str):  # type: ignore[no-untyped-def]
    """A CLIP tokenizer that knows every byte and a few whole words: any text tokenises."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTokenizer

    letters = sorted(ByteLevel.alphabet())
    tokens = letters + [letter + "</w>" for letter in letters]
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        left = word[0] + ("</w>" if len(word) == 1 else "")
        for position in range(1, len(word)):
            right = word[position] + ("</w>" if position == len(word) - 1 else "")
            if (left, right) not in merges:
                merges.append((left, right))
                tokens.append(left + right)
            left += right
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocab = {token: number for number, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=max_length, **about)


def write_vocabulary(folder: Path) -> None:
    """Write the tiny tokenizer's vocabulary as CLIP's own, which single files need."""
    folder.mkdir()
    made = json.loads(tiny_tokenizer(77).backend_tokenizer.to_str())["model"]
    (folder / "vocab.json").write_text(json.dumps(made["vocab"]), encoding="utf-8")
    merges = [" ".join(pair) for pair in made["merges"]]
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")


def tiny_safety_checker():  # type: ignore[no-untyped-def]
    """A safety checker with random weights and thresholds that no picture reaches."""
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPConfig

    config = CLIPConfig(
        vision_config={
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 32,
            "patch_size": 16,
            "projection_dim": 8,
        },
        text_config={
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
        },
        projection_dim=8,
    )
    checker = StableDiffusionSafetyChecker(config)
    checker.concept_embeds_weights.data.fill_(1.0)
    checker.special_care_embeds_weights.data.fill_(1.0)
    return checker
