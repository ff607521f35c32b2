"""The parts of a base, loaded by diffusers and transformers from a folder or a single file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch

from styles.bases.files.inspection import BaseFacts
from styles.bases.files.part_loading import build, load_part
from styles.bases.files.vae_files import VaeFiles, load_vae
from styles.bases.files.weight_files import LDM_UNET, LDM_VAE, tensors_of, weight_files
from styles.devices.garbage import collection_paused
from styles.errors import BaseError
from styles.families import family_of


@cache
def import_models() -> None:
    """Import what bases are made of, once for a process."""
    with collection_paused():
        from diffusers import AutoencoderKL, UNet2DConditionModel  # noqa: F401
        from transformers import CLIPTextModel, CLIPTokenizer  # noqa: F401


def load_folder(
    facts: BaseFacts,
    dtypes: Mapping[str, torch.dtype],
    with_safety_checker: bool,
    look: Callable[[], None],
    unet: Any = None,
) -> dict[str, Any]:
    """Return the parts of a diffusers folder by their names; `look` is called before each.

    `dtypes` has the precision of the VAE and, as `unet`, of all others; `unet` is one that is loaded already. Raises
    BaseError and what the libraries raise.
    """
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    folder, dtype = facts.path, dtypes["unet"]

    def load(model: Any, part: str, **precision: torch.dtype) -> Any:
        look()
        _, variant = weight_files(folder, part)
        return load_part(model, folder / part, variant, folder.name, part, **precision)

    parts = {
        "unet": unet or load(UNet2DConditionModel, "unet", torch_dtype=dtype),
        "vae": load_vae(facts.vae, dtypes["vae"])
        if facts.vae
        else load(AutoencoderKL, "vae", torch_dtype=dtypes["vae"]),
        "text_encoder": load(CLIPTextModel, "text_encoder", dtype=dtype),
        "tokenizer": CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True),
    }
    if (folder / "text_encoder_2").is_dir():
        parts |= {
            "text_encoder_2": load(CLIPTextModelWithProjection, "text_encoder_2", dtype=dtype),
            "tokenizer_2": CLIPTokenizer.from_pretrained(folder / "tokenizer_2", local_files_only=True),
        }
    if with_safety_checker and (folder / "safety_checker" / "config.json").is_file():
        from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
        from transformers import CLIPImageProcessorPil

        parts["safety_checker"] = load(StableDiffusionSafetyChecker, "safety_checker", dtype=dtype)
        parts["feature_extractor"] = CLIPImageProcessorPil.from_pretrained(
            folder / "feature_extractor", local_files_only=True
        )
    return parts


def load_single_file(
    facts: BaseFacts, tokenizer_folder: Path, dtypes: Mapping[str, torch.dtype], unet: Any = None
) -> dict[str, Any]:
    """The same of a single file, whose tokenizers are made of the vocabulary in `tokenizer_folder`."""
    from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
    from transformers import CLIPTokenizer

    names = {"text_encoder": "tokenizer", "text_encoder_2": "tokenizer_2"}
    encoders = [name for name in names if (facts.config_folder / name).is_dir()]
    tokenizers = {
        names[name]: CLIPTokenizer.from_pretrained(
            tokenizer_folder, model_max_length=77, local_files_only=True, **_padding(facts.family, name)
        )
        for name in encoders
    }
    pipeline_class, others = StableDiffusionXLPipeline, {}
    if len(encoders) == 1:
        pipeline_class = StableDiffusionPipeline
        others = {"safety_checker": None, "requires_safety_checker": False}
    pipeline = pipeline_class.from_single_file(
        str(facts.path),
        config=str(facts.config_folder),
        feature_extractor=None,
        torch_dtype=dtypes["unet"],
        local_files_only=True,
        vae=load_vae(facts.vae or _own_vae(facts), dtypes["vae"]),
        unet=unet or _unet_of(facts, dtypes["unet"]),
        **tokenizers,
        **others,
    )
    models = ("unet", "vae", *encoders)
    parts = {part: getattr(pipeline, part) for part in (*models, *tokenizers)}
    for name in encoders:
        missing = [key for key, value in parts[name].named_parameters() if value.is_meta]
        if missing:
            raise BaseError(
                "{file} lacks {count} tensors of its {part}, such as {missing}.",
                "Fetch it again.",
                file=facts.path.name,
                count=len(missing),
                part=name,
                missing=missing[0],
            )
    return parts


def _own_vae(facts: BaseFacts) -> VaeFiles:
    """Return where a single file has its own VAE."""
    return VaeFiles(facts.path, (facts.path,), LDM_VAE, facts.vae_config, facts.config_folder / "vae")


def _unet_of(facts: BaseFacts, dtype: torch.dtype) -> Any:
    """The UNet of a single file, built as its own tensors say."""
    from diffusers import UNet2DConditionModel

    tensors = unet_tensors(facts)
    return build(UNet2DConditionModel, facts.unet_config, tensors, dtype, facts.path.name, "unet")


def unet_tensors(facts: BaseFacts) -> dict[str, torch.Tensor]:
    """Return the tensors of a base's UNet by diffusers' names; they are mapped, not read."""
    if not facts.single_file:
        return {name: one for file in facts.unet_files for name, one in tensors_of(file, "").items()}
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    tensors = {LDM_UNET + name: one for name, one in tensors_of(facts.path, LDM_UNET).items()}
    converted: dict[str, torch.Tensor] = convert_ldm_unet_checkpoint(tensors, facts.unet_config)
    return converted


def _padding(family: str, part: str) -> dict[str, str]:
    """OpenCLIP's text encoders read "!" (token 0) as padding, CLIP's the end token, as their published configs have it."""
    encoder = next((one for one in family_of(family).text_encoders if one.part == part), None)
    return {"pad_token": "!"} if encoder is not None and encoder.open_clip else {}


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Keep the libraries' own progress bars and advice off the terminal; ours are events and errors."""
    import_models()
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    diffusers_logging.disable_progress_bar()
    levels = [(library, library.get_verbosity()) for library in (diffusers_logging, transformers_logging)]
    for library, _ in levels:
        library.set_verbosity_error()
    try:
        yield
    finally:
        for library, level in levels:
            library.set_verbosity(level)
        if shown:
            transformers_logging.enable_progress_bar()
            diffusers_logging.enable_progress_bar()
