"""What a base says about itself: read from configs and file headers, before a single tensor is loaded."""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from styles.bases.architecture import (
    check_channels,
    check_file,
    check_folder,
    check_schedule_of_file,
    check_schedule_of_folder,
    family_of_file,
    family_of_folder,
)
from styles.bases.few_steps import FewSteps, few_steps_of
from styles.bases.part_configs import (
    check_noise_schedule,
    check_sizes,
    native_size_px,
    read_config,
    vae_factor,
)
from styles.errors import BaseError
from styles.families import Family, family_of
from styles.storage.file_reading import json_of, open_file, read_bytes
from styles.storage.names import clean_text
from styles.text import Text

if TYPE_CHECKING:
    from torch import Tensor

PREDICTION_TYPES = ("epsilon", "v_prediction")
PICKLED = {".ckpt", ".pt", ".pth", ".bin", ".pkl", ".pickle"}
LDM_UNET = "model.diffusion_model."
LDM_VAE = "first_stage_model."
# Of the text encoders, by how many there are.
LDM_TEXT = {1: ("cond_stage_model.",), 2: ("conditioner.embedders.0.", "conditioner.embedders.1.")}
TEXT_PARTS = (Text("text encoder"), Text("second text encoder"))
HEADER_LIMIT = 16 << 20  # bytes; an SDXL in one file has about 300 KiB
PARTS = ("unet", "vae")
CONFIGS = Path(__file__).parent / "configs"


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
    zeros_for_empty_prompt: bool  # see Base
    notes: tuple[Text, ...] = ()
    title: str = ""  # that a single file gives itself

    @property
    def few_steps(self) -> FewSteps | None:
        """What it was distilled by, as far as its names tell."""
        scheduler = str(self.scheduler_config.get("_class_name", ""))
        return few_steps_of((self.path.name, self.title, scheduler))


def inspect_base(
    path: Path, prediction_type: str | None = None, *, config_folder: Path | None = None
) -> BaseFacts:
    """Return the facts of a diffusers folder or of a single-file checkpoint, quickly.

    `prediction_type` answers for a single file that can't prove its own; it never overrides proof.
    Raises BaseError for a pickle, a damaged file, another kind of model, or an unprovable prediction type.
    """
    if prediction_type is not None and prediction_type not in PREDICTION_TYPES:
        raise BaseError(
            "“{prediction_type}” is no prediction type.",
            "Give one of: {prediction_types}.",
            prediction_type=prediction_type,
            prediction_types=", ".join(PREDICTION_TYPES),
        )
    if os.path.isdir(path):
        return _inspect_folder(path, prediction_type)
    if path.suffix.lower() in PICKLED:
        raise BaseError(
            "{file} is a pickle: opening a {suffix} file can run any code that is hidden in it.",
            "Get the same base as .safetensors, or convert it with a tool on a machine that you can spare.",
            file=path.name,
            suffix=path.suffix,
        )
    if not is_here(path):
        raise BaseError(
            "There is nothing any more at {path}, where this base lay.",
            "Bring it back, add it again from where it lies now, or use another one, such as the starter.",
            path=path,
        )
    if path.suffix.lower() != ".safetensors":
        raise BaseError(
            "{file} is not a base.",
            "A base is a .safetensors checkpoint or a folder in diffusers layout.",
            file=path.name,
        )
    return _inspect_single_file(path, prediction_type, config_folder)


def is_here(path: Path) -> bool:
    """Whether a file or folder is there; raises BaseError where looking is not allowed."""
    try:
        return path.exists()
    except OSError as error:
        raise BaseError(
            "{path} can't be read: {reason}.", "Allow reading that folder.", path=path, reason=error.strerror
        ) from error


def read_header(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Return (tensor entries, metadata) of a safetensors file; raises BaseError where it is damaged.

    Format: 8 bytes little-endian header length, JSON header, tensor bytes
    (https://huggingface.co/docs/safetensors).
    """
    try:
        with open_file(path) as file:
            size = os.fstat(file.fileno()).st_size
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(HEADER_LIMIT, size - 8):
                raise ValueError(Text("the header is longer than the file, or than any base's"))
            header = json_of(file.read(length).decode("utf-8"))
        if not isinstance(header, dict):
            raise ValueError(Text("the header is no table"))
        metadata = header.pop("__metadata__", None) or {}
        if not all(_is_entry(entry) for entry in header.values()) or not isinstance(metadata, dict):
            raise ValueError(Text("the header is malformed"))
        end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
    except (OSError, struct.error, ValueError) as error:
        raise BaseError(
            "{file} can't be read as safetensors ({reason}).",
            "Download it again from a source that you trust.",
            file=path.name,
            reason=str(error),
        ) from error
    if end + 8 + length > size:
        raise BaseError(
            "{file} is cut off: {size} bytes of {expected} are there.",
            "Download it again.",
            file=path.name,
            size=size,
            expected=end + 8 + length,
        )
    return header, {str(key): str(value) for key, value in metadata.items()}


def _is_entry(entry: Any) -> bool:
    """Whether a value of a header is what the format says of a tensor."""
    shape, offsets = (
        entry.get(key) if isinstance(entry, dict) else None for key in ("shape", "data_offsets")
    )
    return (
        isinstance(shape, list)
        and isinstance(offsets, list)
        and len(offsets) == 2
        and all(type(number) is int and 0 <= number < 1 << 63 for number in (*shape, *offsets))
    )


def weight_files(folder: Path, part: str) -> tuple[tuple[Path, ...], str | None]:
    """Return (weight files, variant) of one part of a diffusers folder; full precision goes before fp16.

    Raises BaseError where the part has only pickled weights, or none.
    """
    stem = "diffusion_pytorch_model" if part in ("unet", "vae") else "model"
    files = sorted(file for file in (folder / part).glob(f"{stem}*.safetensors") if os.path.isfile(file))
    plain = [
        file for file in files if file.name == f"{stem}.safetensors" or file.name.startswith(f"{stem}-0")
    ]
    half = [file for file in files if ".fp16" in file.name]
    if plain:
        return tuple(plain), None
    if half:
        return tuple(half), "fp16"
    if any((folder / part).glob(f"*{suffix}") for suffix in PICKLED):
        raise BaseError(
            "The {part} of {folder} has only pickled weights (.bin), and opening those can run hidden code.",
            "Get the same base with .safetensors weights.",
            part=part,
            folder=folder.name,
        )
    raise BaseError(
        "{folder} has no weights for its {part}.",
        "Fetch the base again; files are missing.",
        folder=folder.name,
        part=part,
    )


def fingerprint(files: tuple[Path, ...], prefix: str = "") -> str:
    """Return a sha256 over samples of the UNet's tensors: who a base is, whatever file it comes in.

    Each tensor gives its shape and eight runs of up to 32 values rounded to fp16; the sorted digests of all of them
    are hashed. So it takes a moment even for gigabytes, and a base in fp32 or fp16, as a folder or as a
    single file, has one fingerprint on every machine. (bf16 files differ: their weights do.)
    """
    from safetensors import safe_open

    digests = []
    for file in files:
        with safe_open(file, framework="pt", device="cpu") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - not a mapping
                if not name.startswith(prefix):
                    continue
                shape = ",".join(map(str, tensors.get_slice(name).get_shape()))
                data = sample(tensors.get_tensor(name))  # mapped, not read
                digests.append(hashlib.sha256(shape.encode() + b":" + data).digest())
    return hashlib.sha256(b"".join(sorted(digests))).hexdigest()


def sample(tensor: Tensor) -> bytes:
    """Return eight runs of up to 32 of a tensor's values, rounded to fp16; wherever it is."""
    import torch

    values = tensor.detach().flatten()
    runs = [values[start : start + 32] for start in _run_starts(len(values))]
    rounded = torch.cat(runs).to("cpu", torch.float16).contiguous()
    return rounded.view(torch.int16).numpy().astype("<i2").tobytes()


def _run_starts(length: int) -> list[int]:
    if length <= 256:
        return list(range(0, length, 32)) or [0]
    return [(length - 32) * run // 7 for run in range(8)]


def _inspect_folder(folder: Path, requested: str | None) -> BaseFacts:
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
    # An older config without the key means what its class has as default, which is epsilon in all of them.
    prediction_type = scheduler.get("prediction_type", "epsilon")
    if prediction_type not in PREDICTION_TYPES:
        raise BaseError(
            "{folder} predicts “{prediction_type}”, which is not supported.",
            "Bases of these kinds are: {prediction_types}.",
            folder=folder.name,
            prediction_type=clean_text(str(prediction_type), 40),
            prediction_types=", ".join(PREDICTION_TYPES),
        )
    _check_asked(requested, prediction_type, folder.name)
    files, _ = weight_files(folder, "unet")
    family = family_of_folder(unet, [read_header(file)[0] for file in files], folder.name)
    _check_text_parts(folder, family)
    return BaseFacts(
        path=folder,
        single_file=False,
        family=family.id,
        prediction_type=prediction_type,
        zero_terminal_snr=bool(scheduler.get("rescale_betas_zero_snr", False)),
        native_size_px=native_size_px(unet, vae, folder.name),
        unet_files=files,
        unet_prefix="",
        scheduler_config=scheduler,
        config_folder=folder,
        zeros_for_empty_prompt=_zeros_for_empty_prompt(folder),
    )


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


def _inspect_single_file(path: Path, requested: str | None, config_folder: Path | None) -> BaseFacts:
    header, metadata = read_header(path)
    width = next(
        (entry["shape"][-1] for name, entry in header.items()
         if name.startswith(LDM_UNET) and name.endswith("attn2.to_k.weight") and entry["shape"]),
        None,
    )  # fmt: skip
    if width is None:
        check_file(header, path.name)
    family = family_of_file(width, path.name)
    check_schedule_of_file(header, path.name)
    _check_file_parts(header, family, path.name)
    first = header.get(f"{LDM_UNET}input_blocks.0.0.weight", {"shape": [0, 4]})
    check_channels(first["shape"][1] if len(first["shape"]) > 1 else None, 4, path.name)
    prediction_type, zero_snr, notes = _prediction_of_file(path, header, metadata, family, requested)
    if config_folder is None:
        config_folder = CONFIGS / family.config_folder(prediction_type == "v_prediction")
    scheduler = read_config(config_folder / "scheduler" / "scheduler_config.json")
    scheduler |= {"prediction_type": prediction_type, "rescale_betas_zero_snr": zero_snr}
    unet = read_config(config_folder / "unet" / "config.json")
    vae = read_config(config_folder / "vae" / "config.json")
    return BaseFacts(
        path=path,
        single_file=True,
        family=family.id,
        prediction_type=prediction_type,
        zero_terminal_snr=zero_snr,
        native_size_px=int(unet["sample_size"]) * vae_factor(vae),
        unet_files=(path,),
        unet_prefix=LDM_UNET,
        scheduler_config=scheduler,
        config_folder=config_folder,
        zeros_for_empty_prompt=_zeros_for_empty_prompt(config_folder),
        notes=notes,
        title=metadata.get("modelspec.title", ""),
    )


def _check_file_parts(header: Mapping[str, Any], family: Family, file: str) -> None:
    """Raise BaseError for a single file without its VAE or a text encoder."""
    prefixes = {LDM_VAE: Text("VAE")} | dict(
        zip(LDM_TEXT[len(family.text_encoders)], TEXT_PARTS, strict=False)
    )
    missing = [
        part for prefix, part in prefixes.items() if not any(name.startswith(prefix) for name in header)
    ]
    if missing:
        raise BaseError(
            "{file} lacks parts of a base: {parts}.",
            "Get the full checkpoint of this base, with UNet, VAE and text encoders in one file.",
            file=file,
            parts=Text.joined(", ", missing),
        )


def _zeros_for_empty_prompt(folder: Path) -> bool:
    """Whether a pipeline's own config says so, as those of Stable Diffusion XL do."""
    return bool(read_config(folder / "model_index.json").get("force_zeros_for_empty_prompt", False))


def _prediction_of_file(
    path: Path,
    header: Mapping[str, Any],
    metadata: Mapping[str, str],
    family: Family,
    requested: str | None,
) -> tuple[str, bool, tuple[Text, ...]]:
    """Return (prediction type, zero terminal SNR, notes) from what a single file carries, or from the answer.

    Proof is: marker tensors `v_pred` and `ztsnr` (NovelAI's convention), the `modelspec` metadata, and the
    YAML config that stands beside the file under the same name (A1111's convention).
    """
    zero_snr = "ztsnr" in header
    proof = None
    if "v_pred" in header:
        proof = "v_prediction"
    stated = metadata.get("modelspec.prediction_type", "").lower()
    if stated in ("v", "v_prediction", "v-prediction"):
        proof = "v_prediction"
    elif stated in ("epsilon", "eps"):
        proof = proof or "epsilon"
    architecture = metadata.get("modelspec.architecture", "").lower()
    if proof is None and architecture.startswith("stable-diffusion-v2"):
        proof = "v_prediction" if architecture.split("/")[0].endswith("-v") else "epsilon"
    beside = path.with_suffix(".yaml")
    if proof is None and (text := _text_beside(beside)):
        proof = "v_prediction" if "parameterization: v" in text else "epsilon"
        zero_snr = zero_snr or "zero_terminal_snr: true" in text.lower()
    if proof is not None:
        _check_asked(requested, proof, path.name)
        return proof, zero_snr, ()
    if requested is not None:
        return (
            requested,
            zero_snr,
            (
                Text(
                    "You said that this base predicts {requested}; the file doesn't say.",
                    requested=requested,
                ),
            ),
        )
    if family.says_prediction:
        raise BaseError(
            "{file} is a {family}, and the file doesn't say whether it predicts noise or velocity.",
            "Say which: v_prediction for those made at 768 px (2.0-v, 2.1), epsilon for those at 512 px (2-base).",
            file=path.name,
            family=family.name,
        )
    return (
        "epsilon",
        zero_snr,
        (
            Text(
                "The file doesn't say what it predicts; like most of its family, it was taken for epsilon. If its pictures are nothing but noise, add it again as v_prediction."
            ),
        ),
    )


def _text_beside(file: Path) -> str:
    """The text of a small file without quotation marks; empty where there is none."""
    try:
        text = read_bytes(file, 1 << 20).decode("utf-8", errors="replace")
        return text.replace('"', "").replace("'", "")
    except OSError:
        return ""


def _check_asked(requested: str | None, proven: str, name: str) -> None:
    if requested is not None and requested != proven:
        raise BaseError(
            "{name} predicts {proven}, not {requested}.",
            "Leave the prediction type out.",
            name=name,
            proven=proven,
            requested=requested,
        )


def check_can_open(facts: BaseFacts) -> None:
    """Raise BaseError for a base of a family that is known but can't be opened yet."""
    family = family_of(facts.family)
    if not family.can_open:
        raise BaseError(
            "{file} is a {family}, which this version can't paint or train with yet.",
            "Use a base of Stable Diffusion 1 or 2.",
            file=facts.path.name,
            family=family.name,
        )
