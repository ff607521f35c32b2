"""Base folders and single-file checkpoints, listed and opened."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from styles.bases.base_settings import BaseSettings
from styles.bases.files.merged_base import CARD
from styles.bases.shelf import BaseShelf, find_source
from styles.storage.home import Home
from tests.fuzzing.kinds import Kind, asked, shown
from tests.fuzzing.spoiling import (
    add_stray,
    put,
    replace_oddly,
    spoiled_bytes,
    spoiled_text,
    values_in,
    write_text,
)
from tests.styles.mutations import dumped, spoil_entry, spoil_json
from tests.styles.seed_files import file_of, piece

CONFIGS = (
    "model_index.json", "unet/config.json", "unet/config.json", "vae/config.json", "scheduler/scheduler_config.json",
    "vae/config.json", "text_encoder/config.json", "tokenizer/tokenizer_config.json", "tokenizer/vocab.json", "preview.json",
    CARD, CARD,
)  # fmt: skip
SHARE_OPENED = 0.5
SINGLE = {  # names of the original layout, as far as they say what a checkpoint is
    "model.diffusion_model.input_blocks.0.0.weight": (320, 4, 3, 3),
    "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (4, 768),
    "first_stage_model.decoder.conv_in.weight": (4, 4, 1, 1),
    "cond_stage_model.transformer.text_model.embeddings.position_ids": (1, 4),
    "v_pred": (1,),
}


@dataclass(frozen=True)
class Seeds:
    """A whole base folder, that of a merged one, and the header of a single file with its tensors."""

    folder: Path
    merged: Path
    header: dict[str, Any]
    section: bytes


def prepare(folder: Path) -> Seeds:
    """Make a tiny base, and the beginning of a checkpoint."""
    from styles.bases.base import open_base
    from styles.mixing.base_merge import merge_base
    from tests.styles.mixing.test_group_merge import grouped_styles
    from tests.tiny import tiny_base_folder

    base = tiny_base_folder(folder / "tiny")
    (base / "preview.json").write_text(json.dumps({"factors": [[0.1] * 3] * 4, "bias": [0.0] * 3}))
    header: dict[str, Any] = {"__metadata__": {"modelspec.prediction_type": "v"}}
    section = b""
    for name, shape in SINGLE.items():
        data = piece(*shape).data
        header[name] = {
            "dtype": "F16",
            "shape": list(shape),
            "data_offsets": [len(section), len(section) + len(data)],
        }
        section += data
    home = Home(folder / "home").create()
    opened = open_base(base, home, device="cpu", quantize="qa4-16")
    merged = merge_base(home, base, [(grouped_styles(opened, 16, 1)[0], 1.0)], "merged").entry.source
    return Seeds(base, Path(merged), header, section)


def attempt(rng: Random, seeds: Seeds, folder: Path) -> None:
    """List a spoiled base, add and use it, and now and then open it and paint."""
    home = Home(folder).create()
    if rng.random() < 0.3:
        path = home.bases / "x.safetensors"
        _write_single(rng, seeds, path)
    else:
        path = home.bases / "x"
        whole = seeds.merged if rng.random() < 0.3 else seeds.folder
        shutil.copytree(whole, path, copy_function=os.link)
        for _ in range(rng.choice((1, 1, 2))):
            _spoil(rng, path)
    shelf = BaseShelf(home)
    if rng.random() < 0.1:
        add_stray(rng, home.bases, ".safetensors")
    for entry in shelf.list():
        shown(entry.problem)
        assert entry.problem or 0 <= entry.native_size_px < 1 << 20
    asked(lambda: shelf.add(path))
    if rng.random() < 0.3:
        vae = rng.choice(
            (seeds.folder, path, path / "vae", path / "vae" / "diffusion_pytorch_model.safetensors")
        )
        asked(lambda: shelf.change("x", BaseSettings(vae=vae)))
    entry = asked(lambda: shelf.use("x"))
    asked(lambda: find_source("x", home))
    shelf.list()
    if entry is not None and rng.random() < SHARE_OPENED:
        _open_and_paint(path, home)


def _spoil(rng: Random, base: Path) -> None:
    way = rng.random()
    file = base / rng.choice(CONFIGS)
    if way < 0.65 and file.is_file():
        write_text(file, spoiled_text(rng, values_in(file)))
    elif way < 0.85:
        files = sorted(path for path in base.rglob("*") if path.is_file())
        replace_oddly(rng, rng.choice(files)) if files else None
    elif way < 0.95:
        weights = sorted(path for path in base.rglob("*.safetensors") if path.is_file())
        if weights:
            chosen = rng.choice(weights)
            put(chosen, spoiled_bytes(rng, chosen.read_bytes()))
    else:
        add_stray(rng, base / rng.choice(("", "unet", "vae", "scheduler")), ".safetensors")


def _write_single(rng: Random, seeds: Seeds, path: Path) -> None:
    raw: dict[str, str] = {}
    header = dict(seeds.header)
    for _ in range(rng.choice((1, 1, 2))):
        # One that was spoiled before may have no entry to spoil.
        with suppress(KeyError, TypeError, ValueError, IndexError):
            header = spoil_entry(rng, header, raw) if rng.random() < 0.5 else spoil_json(rng, header, raw)
    data = file_of(dumped(header, raw, rng), seeds.section)
    put(path, spoiled_bytes(rng, data) if rng.random() < 0.3 else data)
    if rng.random() < 0.2:
        replace_oddly(rng, path.with_suffix(".yaml"))


def _open_and_paint(path: Path, home: Home) -> None:
    from styles.bases.base import open_base
    from styles.generation.generate import generate
    from styles.generation.request import CreateRequest

    base = asked(lambda: open_base(path, home, device="cpu"))
    if base is None:
        return
    request = CreateRequest("a cat", steps=1, width_px=64, height_px=64, safety_checker=False)
    asked(lambda: list(generate(base, request)))
    _ = base.preview


KIND = Kind("bases", prepare, attempt, few=8, seconds=30.0)
