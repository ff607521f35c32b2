"""What a base says about itself: read from configs and file headers, before a single tensor is loaded."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from styles.bases.base_settings import (
    UNSET,
    BaseSettings,
    Prediction,
    check_known,
    prediction_of_file,
    prediction_of_folder,
)
from styles.bases.few_steps import FewSteps, few_steps_of
from styles.bases.files.architecture import (
    check_channels,
    check_file,
    check_folder,
    check_not_quantized,
    check_schedule_of_file,
    check_schedule_of_folder,
    family_of_file,
    family_of_folder,
)
from styles.bases.files.merged_base import UNET_FILE, MergedCard, check_quantization, full_header, read_card
from styles.bases.files.part_configs import (
    check_noise_schedule,
    check_sizes,
    native_size_px,
    read_config,
    vae_factor,
)
from styles.bases.files.unet_structure import unet_config_of_file
from styles.bases.files.vae_files import VaeFiles, inspect_vae
from styles.bases.files.weight_files import (
    LDM_UNET,
    LDM_VAE,
    check_safetensors,
    is_here,
    read_header,
    weight_files,
)
from styles.errors import BaseError
from styles.families import Family
from styles.quantization.quantization import PLAIN
from styles.text import Text

# Of the text encoders, by how many there are.
LDM_TEXT = {1: ("cond_stage_model.",), 2: ("conditioner.embedders.0.", "conditioner.embedders.1.")}
TEXT_PARTS = (Text("text encoder"), Text("second text encoder"))
PARTS = ("unet", "vae")
CONFIGS = Path(__file__).parent / "configs"

# arXiv 2310.04378, section 4.2: those that were distilled whole, not as a LoRA.
GUIDANCE_EMBEDDED = Text(
    "Its UNet was made to be told the guidance as a number (LCM), which is not done here: its pictures differ from those of other programs."
)


@dataclass(frozen=True)
class BaseFacts:
    """A base's nature as its files prove it; `notes` says what was taken for granted."""

    path: Path
    single_file: bool
    family: str  # its id, see styles.families
    prediction_type: str  # "epsilon" | "v_prediction"
    zero_terminal_snr: bool
    native_size_px: int
    unet_files: tuple[Path, ...]
    unet_prefix: str  # of the tensor names in those files
    scheduler_config: dict[str, Any]
    config_folder: Path  # that holds the parts' configs
    unet_config: dict[str, Any]  # a distilled one in a single file has another than lies there
    vae_config: dict[str, Any]
    vae: VaeFiles | None  # that takes the place of the base's own
    quantize: str  # how it is kept, see styles.quantization
    zeros_for_empty_prompt: bool  # see Base
    notes: tuple[Text, ...] = ()
    title: str = ""  # that a single file gives itself
    merged: MergedCard | None = None  # of a base that styles were merged into

    @property
    def few_steps(self) -> FewSteps | None:
        """What it was distilled by, as far as its names tell."""
        scheduler = str(self.scheduler_config.get("_class_name", ""))
        parent = self.merged.base_name if self.merged else ""
        return few_steps_of((self.path.name, self.title, parent, scheduler))


def inspect_base(
    path: Path, settings: BaseSettings = UNSET, *, config_folder: Path | None = None
) -> BaseFacts:
    """Return the facts of a diffusers folder or of a single-file checkpoint, quickly.

    `settings` answer for a single file that can't prove its own prediction type, and never override proof. Raises
    BaseError for a pickle, a damaged file, another kind of model, an unprovable prediction type, or a VAE that doesn't
    fit.
    """
    check_known(settings)
    if os.path.isdir(path):
        return _inspect_folder(path, settings)
    check_safetensors(path, Text("a base"))
    return _inspect_single_file(path, settings, config_folder)


def _inspect_folder(folder: Path, settings: BaseSettings) -> BaseFacts:
    check_folder(folder)
    if not is_here(folder / "model_index.json"):
        raise BaseError(
            "{folder} is not a base: it has no model_index.json.",
            "Give a folder in diffusers layout, or a .safetensors checkpoint.",
            folder=folder,
        )
    for part in PARTS:
        check_sizes(read_config(folder / part / "config.json"), f"{folder.name}/{part}")
    unet = read_config(folder / "unet" / "config.json")
    vae = read_config(folder / "vae" / "config.json")
    scheduler = read_config(folder / "scheduler" / "scheduler_config.json")
    check_channels(unet.get("in_channels", 4), vae.get("latent_channels", 4), folder.name)
    check_schedule_of_folder(scheduler, folder.name)
    check_noise_schedule(scheduler, folder.name)
    prediction = prediction_of_folder(scheduler, settings, folder.name)
    merged = read_card(folder)
    if merged is None:
        files, _ = weight_files(folder, "unet")
        headers = [read_header(file)[0] for file in files]
        for header in headers:
            check_not_quantized(header, folder.name)
    else:
        check_quantization(merged, settings.quantize, folder.name)
        files = (folder / UNET_FILE,)
        headers = [full_header(read_header(files[0])[0])]
    family = family_of_folder(unet, headers, folder.name)
    _check_text_parts(folder, family)
    native = native_size_px(unet, vae, folder.name)
    facts = _facts(folder, folder, settings, family, prediction, (scheduler, unet, vae), native, files)
    if merged is None:
        return facts
    return replace(facts, merged=merged, quantize=merged.quantize, notes=(merged.words, *facts.notes))


def _check_text_parts(folder: Path, family: Family) -> None:
    """Raise BaseError where a text encoder or its tokenizer is missing, or has settings that can't be."""
    parts = [encoder.part for encoder in family.text_encoders] or ["text_encoder"]
    for part in (*parts, "safety_checker"):
        if part in parts or is_here(folder / part / "config.json"):
            check_sizes(read_config(folder / part / "config.json"), f"{folder.name}/{part}")
    for part in parts:
        tokenizer = part.replace("text_encoder", "tokenizer")
        if not is_here(folder / tokenizer):
            raise BaseError(
                "{folder} has no {part}.",
                "Fetch the base again; files are missing.",
                folder=folder.name,
                part=tokenizer,
            )


def _inspect_single_file(path: Path, settings: BaseSettings, config_folder: Path | None) -> BaseFacts:
    header, metadata = read_header(path)
    check_not_quantized(header, path.name)
    width = next(
        (entry["shape"][-1] for name, entry in header.items()
         if name.startswith(LDM_UNET) and name.endswith("attn2.to_k.weight") and entry["shape"]),
        None,
    )  # fmt: skip
    if width is None:
        check_file(header, metadata, path.name)
    family = family_of_file(width, path.name)
    check_schedule_of_file(header, path.name)
    _check_file_parts(header, family, path.name, settings)
    first = header.get(f"{LDM_UNET}input_blocks.0.0.weight", {"shape": [0, 4]})
    check_channels(first["shape"][1] if len(first["shape"]) > 1 else None, 4, path.name)
    prediction = prediction_of_file(path, header, metadata, family, settings)
    if config_folder is None:
        config_folder = CONFIGS / family.config_folder(prediction.type == "v_prediction")
    scheduler = read_config(config_folder / "scheduler" / "scheduler_config.json")
    scheduler |= {"prediction_type": prediction.type, "rescale_betas_zero_snr": prediction.zero_terminal_snr}
    tensors = {
        name.removeprefix(LDM_UNET): entry for name, entry in header.items() if name.startswith(LDM_UNET)
    }
    unet = unet_config_of_file(tensors, read_config(config_folder / "unet" / "config.json"), path.name)
    check_sizes(unet, path.name)
    vae = read_config(config_folder / "vae" / "config.json")
    native = int(unet["sample_size"]) * vae_factor(vae)
    facts = _facts(path, config_folder, settings, family, prediction, (scheduler, unet, vae), native, (path,))
    return replace(facts, title=metadata.get("modelspec.title", ""))


def _facts(
    path: Path,
    config_folder: Path,
    settings: BaseSettings,
    family: Family,
    prediction: Prediction,
    configs: tuple[dict[str, Any], dict[str, Any], dict[str, Any]],
    native_size_px: int,
    unet_files: tuple[Path, ...],
) -> BaseFacts:
    scheduler, unet, vae_config = configs
    vae = inspect_vae(settings.vae, config_folder / "vae") if settings.vae is not None else None
    single_file = config_folder != path
    return BaseFacts(
        path=path,
        single_file=single_file,
        family=family.id,
        prediction_type=prediction.type,
        zero_terminal_snr=prediction.zero_terminal_snr,
        native_size_px=native_size_px,
        unet_files=unet_files,
        unet_prefix=LDM_UNET if single_file else "",
        scheduler_config=scheduler,
        config_folder=config_folder,
        unet_config=unet,
        vae_config=vae.config if vae else vae_config,
        vae=vae,
        quantize=settings.quantize or PLAIN,
        zeros_for_empty_prompt=_zeros_for_empty_prompt(config_folder, family),
        notes=prediction.notes + (GUIDANCE_EMBEDDED,) * bool(unet.get("time_cond_proj_dim")),
    )


def _check_file_parts(header: Mapping[str, Any], family: Family, file: str, settings: BaseSettings) -> None:
    """Raise BaseError for a single file without its VAE, where none is given for it, or without a text encoder."""
    prefixes = {LDM_VAE: Text("VAE")} if settings.vae is None else {}
    prefixes |= zip(LDM_TEXT[len(family.text_encoders)], TEXT_PARTS, strict=False)
    missing = {
        prefix: part
        for prefix, part in prefixes.items()
        if not any(name.startswith(prefix) for name in header)
    }
    if missing:
        alone = list(missing) == [LDM_VAE]
        raise BaseError(
            "{file} lacks parts of a base: {parts}.",
            Text(
                "Give its VAE, `bases add {file} --vae VAE`, or get the full checkpoint of this base.",
                file=file,
            )
            if alone
            else Text("Get the full checkpoint of this base, with UNet, VAE and text encoders in one file."),
            file=file,
            parts=Text.joined(", ", missing.values()),
        )


def _zeros_for_empty_prompt(folder: Path, family: Family) -> bool:
    """Whether a pipeline's own config says so; where it says nothing, whether diffusers' pipeline of that family does."""
    two = len(family.text_encoders) > 1
    return bool(read_config(folder / "model_index.json").get("force_zeros_for_empty_prompt", two))
