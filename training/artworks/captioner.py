"""Captions written by a model that is on this machine: `python -m training.artworks.captioner MODEL PICTURE...`.

Small captioners of the transformers library only, those that need no question: BLIP and GIT.
Nothing is downloaded, and only safetensors weights are opened. Prints one JSON object per picture.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from styles.devices.threads import wait_passively
from styles.errors import AtelierError, BadInput
from styles.storage.file_reading import read_json
from styles.storage.home import Home
from styles.text import text_to_json
from training.artworks.opening import open_artwork

KINDS = ("BlipForConditionalGeneration", "GitForCausalLM")  # among the `architectures` of a config.json
LEAST_PX = 448  # pictures are decoded no smaller than this
MOST_TOKENS = 40
BEAMS = 3


@dataclass(frozen=True)
class Captioner:
    """A model that can describe pictures."""

    name: str
    folder: Path


def captioners(home: Home, hub_cache: Path | None = None) -> list[Captioner]:
    """List the captioners on this machine: in the home's folder `captioners`, then in the Hugging Face cache.

    `hub_cache` is that cache, None for the one of this machine.
    """
    own = home.root / "captioners"
    models = [Captioner(folder.name, folder) for folder in sorted(_folders(own)) if is_captioner(folder)]
    for model in sorted(_folders(hub_cache or _hub_cache(), "models--*")):
        name = model.name.removeprefix("models--").replace("--", "/")
        snapshots = [snapshot for snapshot in _folders(model / "snapshots") if is_captioner(snapshot)]
        if snapshots:
            models.append(Captioner(name, max(snapshots, key=lambda folder: folder.stat().st_mtime)))
    return models


def is_captioner(folder: Path) -> bool:
    """Say whether a folder holds a captioner that can be opened: of a kind known here, with safetensors weights."""
    try:
        config = read_json(folder / "config.json")
    except (OSError, ValueError):
        return False
    kinds = config.get("architectures") if isinstance(config, dict) else None
    return (
        isinstance(kinds, list)
        and any(kind in KINDS for kind in kinds)
        and any(file.is_file() for file in folder.glob("*.safetensors"))
    )


def describe(folder: Path, pictures: Sequence[Path], device: str = "auto") -> Iterator[tuple[Path, str]]:
    """Describe pictures one by one, on the device of that name; a picture that can't be read is left out.

    Raises BadInput where the model can't be opened, SettingsError for a device that can't be had.
    """
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    from styles.devices.device import device_for, make_current

    chosen = device_for(device)
    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        processor = AutoProcessor.from_pretrained(folder, **local)
        model = AutoModelForImageTextToText.from_pretrained(folder, use_safetensors=True, **local)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise BadInput(
            "The captioner {folder} can't be opened ({kind}).",
            "Some of its files are missing, perhaps; get it again.",
            folder=folder.name,
            kind=type(error).__name__,
        ) from error
    make_current(chosen)
    model = model.to(chosen).eval()
    for path in pictures:
        try:
            image = open_artwork(path, least_px=LEAST_PX)
        except AtelierError:
            continue
        inputs = processor(images=image, return_tensors="pt").to(chosen)
        with torch.inference_mode():
            tokens = model.generate(
                pixel_values=inputs["pixel_values"], max_new_tokens=MOST_TOKENS, num_beams=BEAMS
            )
        yield path, " ".join(processor.batch_decode(tokens, skip_special_tokens=True)[0].split())


def _hub_cache() -> Path:
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE)


def _folders(where: Path, pattern: str = "*") -> list[Path]:
    return [path for path in where.glob(pattern) if path.is_dir()]


def main(argv: list[str] | None = None) -> int:
    """Describe pictures; prints one JSON object each and returns the exit code."""
    wait_passively()
    parser = argparse.ArgumentParser(
        prog="python -m training.artworks.captioner", description="Describe pictures."
    )
    parser.add_argument("model", type=Path, help="the folder of a captioner")
    parser.add_argument("pictures", type=Path, nargs="+")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args(argv)
    try:
        for path, caption in describe(arguments.model, arguments.pictures, arguments.device):
            print(json.dumps({"picture": str(path), "caption": caption}), flush=True)
    except AtelierError as error:
        print(json.dumps({"error": text_to_json(error.text)}), flush=True)
        return error.exit_code
    return 0


if __name__ == "__main__":
    if hasattr(os, "nice"):
        os.nice(5)  # the window comes first
    sys.exit(main())
