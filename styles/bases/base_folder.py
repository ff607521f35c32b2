"""All parts of a base but its UNet's weights, written as a diffusers folder."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from styles.bases.files.inspection import BaseFacts
from styles.bases.files.loading import load_single_file, quiet_loading
from styles.bases.files.vae_files import VaeFiles, load_vae
from styles.bases.files.weight_files import LDM_UNET, LDM_VAE, PICKLED, read_header, weight_files
from styles.bases.hub import PARTS, clip_tokenizer_folder
from styles.formats.tensor_file import BLOCK_BYTES
from styles.storage.home import Home

PRECISIONS = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32}  # of a header
TEXT = ("cond_stage_model.", "conditioner.")
SYSTEM_ERROR = re.compile(r"\(os error (\d+)\)")  # as libraries in Rust write it
INDEX, PREVIEW = "model_index.json", "preview.json"
# Parts of a folder without weights.
WITHOUT_WEIGHTS = ("tokenizer", "tokenizer_2", "scheduler", "feature_extractor")


def other_bytes(facts: BaseFacts) -> int:
    """Return how much the parts besides the UNet take on disk."""
    if not facts.single_file:
        return sum(path.stat().st_size for path in _copied(facts.path))
    header, _ = read_header(facts.path)
    entries = (entry["data_offsets"] for name, entry in header.items() if not name.startswith(LDM_UNET))
    return sum(end - begin for begin, end in entries)


def write_other_parts(facts: BaseFacts, home: Home, folder: Path, look: Callable[[float], None]) -> None:
    """Write the parts into a new folder: copies of a diffusers folder's files, and the libraries' of a single file.

    A VAE that takes the place of the base's own is written as its VAE, and what was settled of its prediction as what
    its scheduler says. `look` is told the share that is done, 0..1, before each block of a file that is copied and
    before each part that the libraries write, and may raise. Raises OSError, BaseError and what the libraries raise.
    """
    if facts.single_file:
        _save_parts(facts, home, folder, look)
        shutil.copyfile(facts.config_folder / INDEX, folder / INDEX)
    else:
        _copy(facts.path, folder, look)
        if facts.vae is not None:
            look(1.0)
            with quiet_loading():
                _save(load_vae(facts.vae, _precision_of(facts.vae)), folder / "vae")
    look(1.0)
    prediction = {
        "prediction_type": facts.prediction_type,
        "rescale_betas_zero_snr": facts.zero_terminal_snr,
    }
    _write_config(folder / "scheduler" / "scheduler_config.json", {**facts.scheduler_config, **prediction})
    _write_config(folder / "unet" / "config.json", facts.unet_config)


def _copied(folder: Path) -> Iterator[Path]:
    """The files of a diffusers folder that are needed; no pickles, and of several variants the one that is opened."""
    for name in (INDEX, PREVIEW):
        if (folder / name).is_file():
            yield folder / name
    for part in PARTS:
        if part == "unet" or not (folder / part).is_dir():
            continue
        yield from (path for path in sorted((folder / part).iterdir()) if _is_small(path))
        if part not in WITHOUT_WEIGHTS:
            yield from weight_files(folder, part)[0]


def _copy(source: Path, folder: Path, look: Callable[[float], None]) -> None:
    files = list(_copied(source))
    done, total = 0, sum(file.stat().st_size for file in files)
    for file in files:
        to = folder / file.relative_to(source)
        to.parent.mkdir(parents=True, exist_ok=True)
        with file.open("rb") as read, to.open("xb") as write:
            look(done / total)
            while block := read.read(BLOCK_BYTES):
                write.write(block)
                done += len(block)
                look(min(1.0, done / total))


def _is_small(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() not in {".safetensors", ".msgpack", ".onnx", *PICKLED}


def _save_parts(facts: BaseFacts, home: Home, folder: Path, look: Callable[[float], None]) -> None:
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(facts.unet_config)
    header, _ = read_header(facts.path)
    dtypes = {
        "unet": _precision(header, TEXT),
        "vae": _precision_of(facts.vae) if facts.vae else _precision(header, (LDM_VAE,)),
    }
    look(0.0)
    with quiet_loading():
        parts = load_single_file(facts, clip_tokenizer_folder(home), dtypes, unet)
        del parts["unet"]
        # The first half was to load them.
        for done, (name, part) in enumerate(parts.items(), len(parts)):
            look(done / (2 * len(parts)))
            _save(part, folder / name)


def _save(part: Any, folder: Path) -> None:
    """Let a library write a part; raises OSError for what the system says of it, which comes as text alone."""
    try:
        part.save_pretrained(folder)
    except Exception as error:
        if match := SYSTEM_ERROR.search(str(error)):
            number = int(match[1])
            raise (
                OSError(0, str(error), None, number) if os.name == "nt" else OSError(number, str(error))
            ) from error
        raise


def _precision_of(vae: VaeFiles) -> torch.dtype:
    return _precision(read_header(vae.files[0])[0], (vae.prefix,))


def _precision(header: Mapping[str, Any], prefixes: tuple[str, ...]) -> torch.dtype:
    """The precision of the first tensor of a part; what are no fractions, such as positions, count for nothing."""
    kinds = (entry.get("dtype") for name, entry in header.items() if name.startswith(prefixes))
    return next((PRECISIONS[kind] for kind in kinds if kind in PRECISIONS), torch.float32)


def _write_config(path: Path, config: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
