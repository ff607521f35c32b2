"""All parts of a base but its UNet's weights, written as a diffusers folder."""

from __future__ import annotations

import json
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
from styles.storage.home import Home

PRECISIONS = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32}  # of a header
TEXT = ("cond_stage_model.", "conditioner.")
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


def write_other_parts(facts: BaseFacts, home: Home, folder: Path, look: Callable[[], None]) -> None:
    """Write the parts into a new folder: copies of a diffusers folder's files, and the libraries' of a single file.

    A VAE that takes the place of the base's own is written as its VAE, and what was settled of its prediction as what
    its scheduler says. `look` is called before each part. Raises OSError, BaseError and what the libraries raise.
    """
    if facts.single_file:
        _save_parts(facts, home, folder)
        shutil.copyfile(facts.config_folder / INDEX, folder / INDEX)
    else:
        for path in _copied(facts.path):
            look()
            to = folder / path.relative_to(facts.path)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, to)
        if facts.vae is not None:
            with quiet_loading():
                load_vae(facts.vae, _precision_of(facts.vae)).save_pretrained(folder / "vae")
    look()
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


def _is_small(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() not in {".safetensors", ".msgpack", ".onnx", *PICKLED}


def _save_parts(facts: BaseFacts, home: Home, folder: Path) -> None:
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(facts.unet_config)
    header, _ = read_header(facts.path)
    dtypes = {
        "unet": _precision(header, TEXT),
        "vae": _precision_of(facts.vae) if facts.vae else _precision(header, (LDM_VAE,)),
    }
    with quiet_loading():
        parts = load_single_file(facts, clip_tokenizer_folder(home), dtypes, unet)
        for name, part in parts.items():
            if name != "unet":
                part.save_pretrained(folder / name)


def _precision_of(vae: VaeFiles) -> torch.dtype:
    return _precision(read_header(vae.files[0])[0], (vae.prefix,))


def _precision(header: Mapping[str, Any], prefixes: tuple[str, ...]) -> torch.dtype:
    """The precision of the first tensor of a part; what are no fractions, such as positions, count for nothing."""
    kinds = (entry.get("dtype") for name, entry in header.items() if name.startswith(prefixes))
    return next((PRECISIONS[kind] for kind in kinds if kind in PRECISIONS), torch.float32)


def _write_config(path: Path, config: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
