"""An opened Stable Diffusion: its parts on a device, and what it says about itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from styles.bases.few_steps import FewSteps, few_steps_of
from styles.bases.hub import clip_tokenizer_folder
from styles.bases.inspection import BaseFacts, check_can_open, fingerprint, inspect_base, weight_files
from styles.bases.latent_preview import LatentPreview, fit_preview, known_preview
from styles.bases.part_configs import vae_factor
from styles.bases.parts import check_fit, check_loaded, check_works, parts_named
from styles.bases.shelf import STARTER, find_source, plain_name
from styles.errors import AtelierError, BaseError, Cancelled, OutOfMemory, SettingsError, is_out_of_memory
from styles.families import family_of
from styles.storage.file_reading import read_json
from styles.storage.home import Home
from styles.storage.names import clean_text
from styles.text import Text

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


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
    fingerprint: str  # sha256 hex, see base_facts.fingerprint
    device: torch.device
    dtype: torch.dtype
    folder: Path | None  # None for a single file
    zeros_for_empty_prompt: bool = False  # what an empty prompt says, as SDXL was trained without words
    safety_checker: Any = None
    feature_extractor: Any = None
    notes: tuple[Text, ...] = ()
    few_steps: FewSteps | None = None  # what it was distilled by, if it was

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
        """The linear map from latents to small pictures, made once per base."""
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
    prediction_type: str | None = None,
    config_folder: Path | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Base:
    """Open the starter, a diffusers folder, a single-file checkpoint, a base of the shelf or a fetched Hub id.

    `prediction_type` answers for a file that can't prove its own. `config_folder` replaces the shipped configs of a
    single file. Raises BaseError for what can't be opened or is not here, OfflineError where a single file's
    vocabulary has to be fetched, SettingsError for a device or precision that can't be had, OutOfMemory. `cancelled` is
    asked between the parts, and makes it raise Cancelled; a single file is loaded in one.
    """

    def look() -> None:
        if cancelled():
            raise Cancelled("Stopped while the base was being opened.")

    path, answered = find_source(source, home)
    facts = inspect_base(path, prediction_type or answered, config_folder=config_folder)
    check_can_open(facts)
    chosen_device = device_for(device)
    chosen_dtype = _dtype(dtype, chosen_device)
    try:
        with _quiet_loading():
            if facts.single_file:
                look()
                parts = _load_single_file(facts, clip_tokenizer_folder(home), chosen_dtype)
            else:
                parts = _load_folder(facts, chosen_dtype, safety_checker, look)
        for part in ("unet", "vae", "text_encoder", "text_encoder_2", "safety_checker"):
            if parts.get(part) is not None:
                look()
                parts[part].requires_grad_(False).eval().to(chosen_device)
        if path != STARTER:
            check_fit(parts, path.name)
            check_works(parts, chosen_device, chosen_dtype)
        look()
        known_by = fingerprint(facts.unet_files, facts.unet_prefix)
    except AtelierError:
        raise
    except Exception as error:  # the libraries raise anything of malformed configs and weights
        if is_out_of_memory(error):
            raise OutOfMemory(
                "{file} does not fit into the memory of {device}.",
                "Close other programs, or use a smaller base.",
                file=path.name,
                device=chosen_device,
            ) from error
        why = clean_text(str(error) or type(error).__name__, 300)
        raise BaseError(
            "{file} can't be opened as a base ({reason}).", "Fetch it again.", file=path.name, reason=why
        ) from error
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
        device=chosen_device,
        dtype=chosen_dtype,
        folder=None if facts.single_file else facts.path,
        zeros_for_empty_prompt=facts.zeros_for_empty_prompt,
        safety_checker=parts.get("safety_checker"),
        feature_extractor=parts.get("feature_extractor"),
        notes=facts.notes,
        few_steps=few_steps_of((_name_of(source, path),)) or facts.few_steps,
    )


def pick_device() -> torch.device:
    """Return the accelerator that torch can really compute on, else the CPU."""
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if accelerator is not None and _computes(accelerator, torch.float32):
        return accelerator
    return torch.device("cpu")


def pick_dtype(device: torch.device) -> torch.dtype:
    """Return bf16 where the device has it in hardware, else fp16; fp32 on the CPU, where it is exact and no slower."""
    if device.type == "cpu":
        return torch.float32
    native = device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
    for dtype in (torch.bfloat16, torch.float16):
        if (native or dtype != torch.bfloat16) and _computes(device, dtype):
            return dtype
    return torch.float32


def _computes(device: torch.device, dtype: torch.dtype) -> bool:
    try:
        ones = torch.ones(8, 8, device=device, dtype=dtype)
        return float((ones @ ones).sum()) == 512.0
    except (RuntimeError, TypeError, AssertionError):  # the last: a torch that was built without that device
        return False


def device_for(device: str | torch.device) -> torch.device:
    """Return the device of that name, the fastest one for "auto"; raises SettingsError for one that can't be had."""
    if device == "auto":
        return pick_device()
    try:
        chosen = torch.device(device)
    except (RuntimeError, ValueError) as error:
        raise SettingsError("“{device}” is no device.", "Choose auto or cpu.", device=device) from error
    if not _computes(chosen, torch.float32):
        raise SettingsError(
            "This machine has no {device} that computes.", "Choose auto or cpu.", device=chosen
        )
    return chosen


def _dtype(dtype: str | torch.dtype, device: torch.device) -> torch.dtype:
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype == "auto":
        return pick_dtype(device)
    if dtype not in DTYPES:
        raise SettingsError(
            "“{dtype}” is no precision.", "Choose auto, {dtypes}.", dtype=dtype, dtypes=", ".join(DTYPES)
        )
    return DTYPES[dtype]


def _name_of(source: str | Path, path: Path) -> str:
    return str(source) if isinstance(source, str) and not Path(source).exists() else plain_name(path)


def _load_folder(
    facts: BaseFacts, dtype: torch.dtype, with_safety_checker: bool, look: Callable[[], None]
) -> dict[str, Any]:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    folder = facts.path

    def load(model: Any, part: str, **kind: torch.dtype) -> Any:
        look()
        _, variant = weight_files(folder, part)
        loaded, info = model.from_pretrained(
            folder / part, use_safetensors=True, variant=variant, local_files_only=True, output_loading_info=True, **kind
        )  # fmt: skip
        check_loaded(loaded, info, folder.name, part)
        return loaded

    parts = {
        "unet": load(UNet2DConditionModel, "unet", torch_dtype=dtype),
        "vae": load(AutoencoderKL, "vae", torch_dtype=dtype),
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


def _load_single_file(facts: BaseFacts, tokenizer_folder: Path, dtype: torch.dtype) -> dict[str, Any]:
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
        torch_dtype=dtype,
        local_files_only=True,
        **tokenizers,
        **others,
    )
    models = ("unet", "vae", *encoders)
    parts = {part: getattr(pipeline, part) for part in (*models, *tokenizers)}
    for name in models:
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


def _padding(family: str, part: str) -> dict[str, str]:
    """OpenCLIP's text encoders read "!" (token 0) as padding, CLIP's the end token, as their published configs have it."""
    encoder = next((one for one in family_of(family).text_encoders if one.part == part), None)
    return {"pad_token": "!"} if encoder is not None and encoder.open_clip else {}


@contextmanager
def _quiet_loading() -> Iterator[None]:
    """Keep the libraries' own progress bars off the terminal; ours are events."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    diffusers_logging.disable_progress_bar()
    level = diffusers_logging.get_verbosity()
    diffusers_logging.set_verbosity_error()
    try:
        yield
    finally:
        diffusers_logging.set_verbosity(level)
        if shown:
            transformers_logging.enable_progress_bar()
            diffusers_logging.enable_progress_bar()
