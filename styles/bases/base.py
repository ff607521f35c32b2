"""An opened Stable Diffusion: its parts on a device, and what it says about itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch

from styles.bases.base_settings import BaseSettings
from styles.bases.compiled_blocks import CompiledBlocks
from styles.bases.few_steps import FewSteps, few_steps_of
from styles.bases.files.inspection import inspect_base
from styles.bases.files.loading import load_folder, load_single_file, quiet_loading
from styles.bases.files.part_configs import vae_factor
from styles.bases.files.part_loading import loading_errors
from styles.bases.files.weight_files import fingerprint
from styles.bases.hub import clip_tokenizer_folder
from styles.bases.latent_preview import LatentPreview, fit_preview, known_preview
from styles.bases.offload import bring_models, fits_whole, move_if_room
from styles.bases.parts import check_fit, check_works, parts_named
from styles.bases.quantized_unet import load_quantized_unet
from styles.bases.shelf import STARTER, find_source, plain_name
from styles.bases.split_attention import split_attention
from styles.bases.vae import use_tiles
from styles.bases.working_memory import decoding_bytes, denoising_bytes
from styles.devices.device import device_for, make_current
from styles.devices.precision import dtype_for, vae_dtype
from styles.errors import Cancelled
from styles.families import family_of
from styles.quantization.quantization import PLAIN, quantization_of
from styles.quantization.support import problem_with
from styles.storage.file_reading import read_json
from styles.storage.home import Home
from styles.text import Text

# The parts of a base that compute, as `open_base` loads them.
MODELS = ("unet", "vae", "text_encoder", "text_encoder_2", "safety_checker")


@dataclass(frozen=True, eq=False)
class Base:
    """A Stable Diffusion whose parts are loaded; every fact comes from its own files."""

    name: str
    family: str  # its id, see styles.families
    unet: Any
    vae: Any
    text_encoders: tuple[Any, ...]
    tokenizers: tuple[Any, ...]
    scheduler_config: dict[str, Any]
    prediction_type: str  # "epsilon" | "v_prediction"
    zero_terminal_snr: bool
    native_size_px: int
    fingerprint: str  # sha256 hex, see weight_files.fingerprint
    device: torch.device
    dtype: torch.dtype
    folder: Path | None  # None for a single file
    zeros_for_empty_prompt: bool = False  # what an empty prompt says, as SDXL was trained without words
    vae_fingerprint: str = ""  # the same of a VAE that isn't the base's own
    quantize: str = PLAIN  # how its UNet's linear layers are kept, see styles.quantization
    safety_checker: Any = None
    feature_extractor: Any = None
    notes: tuple[Text, ...] = ()
    few_steps: FewSteps | None = None  # what it was distilled by, if it was
    # Only the parts at work lie on the device, also where there is room for others.
    spares_memory: bool = False
    # Of the UNet, if they are to be compiled.
    compiled_blocks: CompiledBlocks | None = None

    @property
    def latent_channels(self) -> int:
        return int(self.vae.config.latent_channels)

    @property
    def vae_factor(self) -> int:
        """How many pixels one latent is wide."""
        return vae_factor(self.vae.config)

    @property
    def size_multiple_px(self) -> int:
        """What a picture's width and height must be a multiple of."""
        return max(8, self.vae_factor)

    @property
    def default_guidance(self) -> tuple[float, float]:
        """(guidance, guidance rescale) to start from; rescale after arXiv 2305.08891 for zero-terminal-SNR bases."""
        family = family_of(self.family)
        guidance = self.few_steps.guidance if self.few_steps else family.guidance
        return guidance, family.guidance_rescale if self.zero_terminal_snr else 0.0

    @cached_property
    def preview(self) -> LatentPreview:
        """The linear map from latents to small pictures, made once per base and on its device."""
        return self._found_preview().to(self.device)

    def _found_preview(self) -> LatentPreview:
        if self.folder is not None:
            # Where there is none, or none that can be used, it is made.
            with suppress(OSError, ValueError):
                preview = LatentPreview.from_json(read_json(self.folder / "preview.json"))
                if len(preview.factors) == self.latent_channels:
                    return preview
        return known_preview(self.vae.config) or fit_preview(self.vae, self.vae_factor)


def open_base(
    source: str | Path,
    home: Home,
    *,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "auto",
    safety_checker: bool = True,
    settings: BaseSettings | None = None,
    quantize: str | None = None,
    config_folder: Path | None = None,
    spare_memory: bool = False,
    compiled: bool = False,
    cancelled: Callable[[], bool] = lambda: False,
) -> Base:
    """Open the starter, a diffusers folder, a single-file checkpoint, a base of the shelf or a fetched Hub id.

    `settings` take the place of those that the shelf has for it, and `quantize`, by its name, of what those say of that.
    `config_folder` replaces the shipped configs of a single file. Its parts lie on the device where there is room for
    all, else those at work (see `offload`); with `spare_memory` always so, and its VAE works in tiles. Its UNet is
    `compiled` when it is first painted with. Raises BaseError for what can't be opened or is not here, OfflineError
    where a single file's vocabulary has to be fetched, SettingsError for a device, a precision or four bits
    that can't be had, OutOfMemory. `cancelled` is asked between the parts, and makes it raise Cancelled; a single file
    is loaded in one.
    """

    def look() -> None:
        if cancelled():
            raise Cancelled("Stopped while the base was being opened.")

    # Brought to the device now; the others when they are called.
    ahead: list[Any] = []
    path, stored = find_source(source, home)
    chosen_settings = settings or stored
    if quantize is not None:
        chosen_settings = replace(chosen_settings, quantize=quantize)
    facts = inspect_base(path, chosen_settings, config_folder=config_folder)
    quantization = quantization_of(facts.quantize)
    chosen_device = device_for(device)
    make_current(chosen_device)
    if quantization is not None and (problem := problem_with(quantization, chosen_device)):
        raise problem
    with loading_errors(path.name, chosen_device):
        chosen_dtype = dtype_for(dtype, chosen_device)
        dtypes = {"unet": chosen_dtype, "vae": vae_dtype(facts.vae_config, chosen_dtype, chosen_device)}
        known_by = fingerprint(facts.unet_files, facts.unet_prefix)
        unet = None
        with quiet_loading():
            if quantization is not None:
                unet = load_quantized_unet(
                    facts, quantization, chosen_dtype, home, known_by, lambda share: look()
                )
            if facts.single_file:
                look()
                parts = load_single_file(facts, clip_tokenizer_folder(home), dtypes, unet)
            else:
                parts = load_folder(facts, dtypes, safety_checker, look, unet)
        if chosen_device.type == "mps":
            split_attention((parts["unet"], parts["vae"]))
        if path != STARTER:
            check_fit(parts, path.name)
        models = [parts[name] for name in MODELS if parts.get(name) is not None]
        if spare_memory:
            use_tiles(parts["vae"])
        elif fits_whole(models, chosen_device, _usual_bytes(parts, facts.native_size_px)):
            ahead = models
        for model in models:
            model.requires_grad_(False).eval()
        for model in ahead:
            look()
            # What has no room after all is brought when it is called.
            move_if_room([model], chosen_device)
        if path != STARTER:
            bring = partial(bring_models, of_base=models, device=chosen_device, spare_memory=spare_memory)
            check_works(parts, chosen_device, chosen_dtype, bring)
        look()
        vae_known_by = fingerprint(facts.vae.files, facts.vae.prefix) if facts.vae else ""
    return Base(
        name=_name_of(source, path),
        family=facts.family,
        unet=parts["unet"],
        vae=parts["vae"],
        text_encoders=parts_named(parts, "text_encoder"),
        tokenizers=parts_named(parts, "tokenizer"),
        scheduler_config=facts.scheduler_config,
        prediction_type=facts.prediction_type,
        zero_terminal_snr=facts.zero_terminal_snr,
        native_size_px=facts.native_size_px,
        fingerprint=known_by,
        vae_fingerprint=vae_known_by,
        quantize=facts.quantize,
        device=chosen_device,
        dtype=chosen_dtype,
        folder=None if facts.single_file else facts.path,
        zeros_for_empty_prompt=facts.zeros_for_empty_prompt,
        safety_checker=parts.get("safety_checker"),
        feature_extractor=parts.get("feature_extractor"),
        notes=facts.notes,
        few_steps=few_steps_of((_name_of(source, path),)) or facts.few_steps,
        spares_memory=spare_memory,
        compiled_blocks=CompiledBlocks(parts["unet"]) if compiled else None,
    )


def _usual_bytes(parts: Mapping[str, Any], native_size_px: int) -> int:
    """What a guided picture of a base's own size works in at its most."""
    unet, vae, pixels = parts["unet"], parts["vae"], native_size_px**2
    return max(denoising_bytes(unet, pixels // vae_factor(vae.config) ** 2), decoding_bytes(vae, pixels))


def _name_of(source: str | Path, path: Path) -> str:
    return str(source) if isinstance(source, str) and not Path(source).exists() else plain_name(path)
