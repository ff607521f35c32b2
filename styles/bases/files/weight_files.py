"""The files that hold a base's weights: their headers, which of them are read, and who a base is by its tensors."""

from __future__ import annotations

import hashlib
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

from styles.errors import BaseError
from styles.formats.foreign.files import AS_IT_WAS, GGUF
from styles.storage.file_reading import json_of, open_file
from styles.text import Text

if TYPE_CHECKING:
    from torch import Tensor

PICKLED = {".ckpt", ".pt", ".pth", ".bin", ".pkl", ".pickle"}
LDM_UNET, LDM_VAE = "model.diffusion_model.", "first_stage_model."  # in single files
HEADER_LIMIT = 16 << 20  # bytes; an SDXL in one file has about 300 KiB


def check_safetensors(path: Path, what: Text) -> None:
    """Raise BaseError for a file that is none, or is no safetensors; `what` says what it should be."""
    if path.suffix.lower() in PICKLED:
        raise BaseError(
            "{file} is a pickle: opening a {suffix} file can run any code that is hidden in it.",
            "Get the same base as .safetensors, or convert it with a tool on a machine that you can spare.",
            file=path.name,
            suffix=path.suffix,
        )
    if not is_here(path):
        raise BaseError(
            "There is nothing any more at {path}, where {what} lay.",
            "Bring it back, add it again from where it lies now, or use another one.",
            path=path,
            what=what,
        )
    if path.suffix.lower() == ".gguf":
        raise _gguf(path)
    if path.suffix.lower() != ".safetensors":
        raise BaseError(
            "{file} is not {what}.",
            "Bases and VAEs are .safetensors files or folders in diffusers layout.",
            file=path.name,
            what=what,
        )


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
            start = file.read(8)
            if start.startswith(GGUF):
                raise _gguf(path)
            (length,) = struct.unpack("<Q", start)
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


def _gguf(path: Path) -> BaseError:
    return BaseError(
        "{file} is a GGUF file, a model in few bits, which can't be opened.", AS_IT_WAS, file=path.name
    )


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


def weight_files(folder: Path, part: str, stem: str = "") -> tuple[tuple[Path, ...], str | None]:
    """Return (weight files, variant) of one part of a diffusers folder; full precision goes before fp16.

    Raises BaseError where the part has only pickled weights, or none.
    """
    stem = stem or ("diffusion_pytorch_model" if part in ("unet", "vae") else "model")
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


def tensors_of(file: Path, prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin so, by the rest of their names; they are mapped, not read."""
    from safetensors import safe_open

    with safe_open(file, framework="pt", device="cpu") as tensors:
        names = [name for name in tensors.keys() if name.startswith(prefix)]  # noqa: SIM118 - not a mapping
        return {name.removeprefix(prefix): tensors.get_tensor(name) for name in names}


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
