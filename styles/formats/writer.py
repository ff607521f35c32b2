"""Writing the style file: kohya's names, fp16, one real alpha for each layer, and metadata that every tool reads.

Nothing but `lora_unet_*` and `lora_te*` tensors, as diffusers takes a file for kohya's only then, save for the words
that a style brings along; and a header of at most 1 MiB, as ComfyUI shows no metadata beyond.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from styles.errors import StyleFileError
from styles.families import family_of
from styles.formats.half_precision import even_alphas, fp16
from styles.formats.kohya import ALPHA, DOWN, UP, written_names
from styles.formats.layer_tables import CrossAttention
from styles.formats.metadata import kohya_metadata, shown_metadata, written_card
from styles.formats.reader import style_of_bytes
from styles.formats.safetensors_header import header_bytes, split_file
from styles.formats.style import Style, StyleLayer
from styles.formats.textual_inversion import bundled
from styles.storage import atomic

if TYPE_CHECKING:
    from torch import Tensor

LARGEST_HEADER_WRITTEN = 1 << 20  # bytes


def write_style(style: Style, path: Path, *, with_date: bool = False) -> Style:
    """Write a style to `path`, whole or not at all, and return it as it reads back: fp16, with its id.

    The date of the card is private, written only `with_date`. Raises StyleFileError, DiskFullError.
    """
    data = style_bytes(style, with_date=with_date)
    written = style_of_bytes(data, path)
    atomic.write_bytes(path, data)
    return written


def style_bytes(style: Style, *, with_date: bool = False, extra: Mapping[str, str] | None = None) -> bytes:
    """Return the file of a style and its words, with `extra` metadata, such as what the artist lets others see.

    Raises StyleFileError for a style that can't be written.
    """
    import torch
    from safetensors.torch import save

    layers = even_alphas(style.layers)
    family = _family(layers, style.card.family)
    names = written_names([(layer.network, layer.path) for layer in layers], family_of(family))
    tensors: dict[str, Tensor] = {}
    for layer, name in zip(layers, names, strict=True):
        # An alpha that fp16 would round stays fp32: it multiplies everything.
        alpha = torch.tensor(layer.alpha, dtype=torch.float32)
        half = alpha.to(torch.float16)
        tensors[name + DOWN] = fp16(layer.down, layer)
        tensors[name + UP] = fp16(layer.up, layer)
        tensors[name + ALPHA] = half if half.to(torch.float32) == alpha else alpha
    if not tensors:
        raise StyleFileError("A style without layers can't be written.")
    entries, section = split_file(save(tensors | bundled(style.embeddings)))

    rank = Counter(layer.rank for layer in layers).most_common(1)[0][0]
    card = replace(written_card(style.card, with_date), family=family, rank=rank)
    metadata = kohya_metadata(card, Counter(layer.alpha for layer in layers).most_common(1)[0][0])
    sha256 = hashlib.sha256(section).hexdigest()
    legacy = _legacy_hash(header_bytes(entries, metadata), section)
    metadata |= {"sshs_model_hash": sha256, "sshs_legacy_hash": legacy, **shown_metadata(card, sha256)}
    header = header_bytes(entries, metadata | dict(extra or {}))
    if len(header) > LARGEST_HEADER_WRITTEN:
        raise StyleFileError(
            "What the card of “{style}” says takes {count} bytes, more than other tools read.",
            "Leave the captions out." if "ss_tag_frequency" in (extra or {}) else "Shorten its description.",
            style=style.name,
            count=len(header),
        )
    return header + section


def _family(layers: tuple[StyleLayer, ...], claimed: str) -> str:
    """The family that the layers of cross-attention prove, else the one that the card names."""
    cross = CrossAttention()
    for layer in layers:
        cross.add(layer.network, layer.path, int(layer.down.shape[1]), int(layer.up.shape[0]))
    return cross.family(claimed) or claimed


def _legacy_hash(header: bytes, section: bytes) -> str:
    """A1111's first way to name a file: over 64 KiB from 1 MiB on, the same for every file under 1 MiB."""
    return hashlib.sha256((header + section)[1 << 20 :][: 1 << 16]).hexdigest()[:8]
