"""Small style files made without torch, and libraries over them, for the tests of the library."""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Mapping
from pathlib import Path

from styles.library.library import Library
from styles.storage.home import Home

LAYER = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
WIDTHS = {"starter": 256, "sd1": 768, "sd2": 1024, "sdxl": 2048}


def style_bytes(
    seed: int, metadata: Mapping[str, str] | None = None, *, family: str = "starter", claims: bool = False
) -> bytes:
    """A style of one layer of rank 2 whose numbers depend on the seed alone."""
    width = WIDTHS[family]
    chance = random.Random(seed)
    # Halves whose exponent is never all ones: finite numbers.
    section = b"".join((chance.getrandbits(16) & 0xBFFF).to_bytes(2, "little") for _ in range(2 * width + 16))
    section += b"\x00\x3c"  # alpha 1
    shapes = {
        f"{LAYER}.lora_down.weight": [2, width],
        f"{LAYER}.lora_up.weight": [8, 2],
        f"{LAYER}.alpha": [],
    }
    entries: dict[str, object] = {}
    begin = 0
    for (key, shape), size in zip(shapes.items(), (4 * width, 32, 2), strict=True):
        entries[key] = {"dtype": "F16", "shape": shape, "data_offsets": [begin, begin + size]}
        begin += size
    told = dict(metadata or {})
    if claims:
        told["sshs_model_hash"] = hashlib.sha256(section).hexdigest()
    header = json.dumps(({"__metadata__": told} if told else {}) | entries, ensure_ascii=False).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + section


def put(path: Path, seed: int, metadata: Mapping[str, str] | None = None, **options: object) -> Path:
    """Write such a style, as a person copies a file somewhere."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(style_bytes(seed, metadata, **options))  # type: ignore[arg-type]
    return path


def id_of(path: Path) -> str:
    """The sha256 of a file's tensors, computed here on its own."""
    data = path.read_bytes()
    return hashlib.sha256(data[8 + int.from_bytes(data[:8], "little") :]).hexdigest()


def library_at(folder: Path) -> Library:
    """A library as a process of its own would open it, without bundled styles."""
    return Library(Home(folder).create(), bundled=folder / "none")


def keep_time(path: Path, like: os.stat_result) -> None:
    """Give a file the time of another, as copying programs do."""
    os.utime(path, ns=(like.st_atime_ns, like.st_mtime_ns))


def put_peft(folder: Path, seed: int) -> Path:
    """Write a style of one layer as a folder, as PEFT does for the UNet and for the text encoder."""
    unet = "base_model.model.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
    encoder = "base_model.model.text_model.encoder.layers.0.self_attn.q_proj"
    for place, path, width in ((folder, unet, 768), (folder / "text_encoder", encoder, 768)):
        place.mkdir(parents=True, exist_ok=True)
        chance = random.Random(f"{seed} {path}")
        outside = 320 if path == unet else 768
        shapes = {f"{path}.lora_A.weight": [2, width], f"{path}.lora_B.weight": [outside, 2]}
        entries, begin = {}, 0
        for key, (rows, columns) in shapes.items():
            size = 2 * rows * columns
            entries[key] = {"dtype": "F16", "shape": [rows, columns], "data_offsets": [begin, begin + size]}
            begin += size
        section = b"".join((chance.getrandbits(16) & 0xBFFF).to_bytes(2, "little") for _ in range(begin // 2))
        header = json.dumps({"__metadata__": {"format": "pt"}} | entries).encode()
        data = len(header).to_bytes(8, "little") + header + section
        (place / "adapter_model.safetensors").write_bytes(data)
        settings = {"peft_type": "LORA", "r": 2, "lora_alpha": 1, "target_modules": ["to_k", "q_proj"]}
        (place / "adapter_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder
