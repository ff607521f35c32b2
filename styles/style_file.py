"""The style file: one `.safetensors` that opens everywhere.

kohya names, fp16, a real alpha for each layer and no other tensors; metadata in `style_metadata.py`. The id of a
style is the sha256 of its tensor section. Tensors are read only after the header was judged.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from styles import atomic, diffusers_keys
from styles.errors import StyleFileError
from styles.kohya import ALPHA, DOWN, UP, LayerKeys, kohya_name, layer_keys
from styles.style import FAMILY_NAMES, FAMILY_OF_WIDTH, Style, StyleCard, StyleLayer
from styles.style_metadata import card_texts, claimed_family, kohya_metadata, shown_metadata, told
from styles.tensor_header import Header, open_header, open_style_file, read_header, tensor_hash

if TYPE_CHECKING:
    from torch import Tensor

LARGEST_HEADER_WRITTEN = 1 << 20  # bytes; ComfyUI shows no metadata beyond


def write_style(style: Style, path: Path, *, with_date: bool = False) -> Style:
    """Write a style to `path`, whole or not at all, and return it as it reads back: fp16, with its id.

    The date of the card is private, written only `with_date`. Raises StyleFileError, DiskFullError.
    """
    data = style_bytes(style, with_date=with_date)
    written = _style_of(data, path)
    atomic.write_bytes(path, data)
    return written


def style_bytes(style: Style, *, with_date: bool = False) -> bytes:
    """Return the file of a style; raises StyleFileError for one that can't be written."""
    import torch
    from safetensors.torch import save

    tensors: dict[str, Tensor] = {}
    for layer in style.layers:
        name = kohya_name(layer.network, layer.path)
        # An alpha that fp16 would round stays fp32: it multiplies everything.
        alpha = torch.tensor(layer.alpha, dtype=torch.float32)
        half = alpha.to(torch.float16)
        tensors[name + DOWN] = _half(layer.down, layer)
        tensors[name + UP] = _half(layer.up, layer)
        tensors[name + ALPHA] = half if half.to(torch.float32) == alpha else alpha
    if not tensors:
        raise StyleFileError("A style without layers can't be written.")
    plain = save(tensors)
    start = 8 + int.from_bytes(plain[:8], "little")
    entries, section = json.loads(plain[8:start]), plain[start:]
    judged = judge(read_header(io.BytesIO(plain), len(plain), style.name), style.name)

    card = replace(told(style.card, with_date), family=judged.family or style.card.family, rank=judged.rank)
    alphas = Counter(layer.alpha for layer in style.layers).most_common(1)[0][0]
    metadata = kohya_metadata(card, alphas)
    sha256 = hashlib.sha256(section).hexdigest()
    legacy = _legacy_hash(_header_bytes(entries, metadata), section)
    metadata |= {"sshs_model_hash": sha256, "sshs_legacy_hash": legacy, **shown_metadata(card, sha256)}
    header = _header_bytes(entries, metadata)
    if len(header) > LARGEST_HEADER_WRITTEN:
        raise StyleFileError(
            f"What the card of “{style.name}” says takes {len(header)} bytes, more than other tools read.",
            "Shorten its description.",
        )
    return header + section


def read_card(path: Path, *, hashed: bool = True) -> StyleCard:
    """Read what a file says of its style; no tensor is made. Raises StyleFileError with the reason.

    Without `hashed` only the header is read and the card has no id: a large file takes a while to hash.
    """
    header = open_header(path)
    return _card(header, judge(header, path.name), path, tensor_hash(path, header) if hashed else "")


def read_style(path: Path) -> Style:
    """Read a style; raises StyleFileError with the reason for a file that is none."""
    open_header(path)  # judged before the rest is read into memory
    with open_style_file(path) as file:
        return _style_of(file.read(), path)


@dataclass(frozen=True)
class Judged:
    """What the header alone proves: the layers with their shapes, the family, the usual rank."""

    layers: tuple[LayerKeys, ...]
    family: str  # empty where no layer shows it
    rank: int


def judge(header: Header, name: str) -> Judged:
    """Check names, shapes and ranks of all layers against each other; raises StyleFileError."""
    if diffusers_keys.is_diffusers(header.tensors):
        layers = diffusers_keys.layer_keys(header.tensors, header.metadata)
    else:
        layers = layer_keys(header.tensors)
    ranks: Counter[int] = Counter()
    widths: set[int] = set()
    widest = 0
    for layer in layers:
        down, up = header.tensors[layer.down].shape, header.tensors[layer.up].shape
        if len(down) not in (2, 4) or len(up) not in (2, 4) or up[2:] not in ((), (1, 1)) or 0 in down + up:
            raise _misshapen(name, layer, down, up)
        rank, width_in, width_out = down[0], math.prod(down[1:]), up[0]
        if up[1] != rank:
            raise _misshapen(name, layer, down, up)
        widest = max(widest, width_in, width_out)
        if layer.alpha and header.tensors[layer.alpha].shape not in ((), (1,)):
            raise StyleFileError(f"“{name}”: the alpha of {layer.path} is not a single number.")
        ranks[rank] += 1
        if layer.network == "unet" and layer.path.endswith(("attn2.to_k", "attn2.to_v")):
            widths.add(width_in)
    if max(ranks) > widest:
        raise StyleFileError(
            f"“{name}” has rank {max(ranks)}, more than its widest layer has numbers ({widest}).",
            "The file is damaged, or of a kind that can't be read yet.",
        )
    if len(widths) > 1:
        raise StyleFileError(
            f"“{name}” mixes layers for words of {sorted(widths)} numbers: no base has both."
        )
    if widths and not widths <= set(FAMILY_OF_WIDTH):
        raise StyleFileError(
            f"“{name}” is for a base whose words have {widths.pop()} numbers, which is none that Atelier knows.",
            f"It knows {', '.join(f'{f} ({w})' for w, f in FAMILY_OF_WIDTH.items())}.",
        )
    family = FAMILY_OF_WIDTH[widths.pop()] if widths else ""
    return Judged(tuple(layers), family, ranks.most_common(1)[0][0])


def _card(header: Header, judged: Judged, path: Path, sha256: str) -> StyleCard:
    claimed = claimed_family(header.metadata)
    problems = []
    if judged.family and claimed and claimed != judged.family:
        problems.append(
            f"It says that it is for {FAMILY_NAMES[claimed]}, but its layers are for {FAMILY_NAMES[judged.family]}."
        )
    family = judged.family or claimed or _family_of_text_layers(header, judged) or "unknown"
    if family == "unknown":
        problems.append("It doesn't say which base it is for; its layers will tell when it is used.")
    if any(layer.alpha is None and layer.told_alpha is None for layer in judged.layers):
        problems.append(
            "It doesn't say how strong it was trained to be (alpha); the usual strength is taken."
        )
    return StyleCard(
        **card_texts(header.metadata, path.stem),
        family=family,
        rank=judged.rank,
        id=sha256,
        layers=dict(sorted(Counter(layer.network for layer in judged.layers).items())),
        problems=tuple(problems),
        path=path,
    )


def _family_of_text_layers(header: Header, judged: Judged) -> str:
    for layer in judged.layers:
        if layer.network in ("te1", "te2"):
            return "sdxl"
        if layer.network == "te" and layer.path.endswith("self_attn.q_proj"):
            return FAMILY_OF_WIDTH.get(header.tensors[layer.down].shape[1], "")
    return ""


def _style_of(data: bytes, path: Path) -> Style:
    import torch
    from safetensors.torch import load

    header = read_header(io.BytesIO(data), len(data), path.name)
    judged = judge(header, path.name)
    sha256 = hashlib.sha256(memoryview(data)[header.data_start :]).hexdigest()
    tensors = load(data)
    layers = []
    for keys in judged.layers:
        down, up = tensors[keys.down], tensors[keys.up]
        alpha = float(tensors[keys.alpha]) if keys.alpha else 0.0
        if (
            not bool(torch.isfinite(down).all() and torch.isfinite(up).all())
            or alpha != alpha
            or abs(alpha) > 1e6
        ):
            raise StyleFileError(
                f"“{path.name}” is damaged: {keys.network}.{keys.path} holds values that are no numbers.",
                "Get the file again; a training that diverged leaves such files.",
            )
        alpha = keys.alpha_for(alpha, down.shape[0])
        layers.append(StyleLayer(keys.network, keys.path, down, up, alpha))
    return Style(_card(header, judged, path, sha256), tuple(layers))


def _half(weight: Tensor, layer: StyleLayer) -> Tensor:
    import torch

    half = weight.detach().to("cpu", torch.float16).contiguous()
    if not bool(torch.isfinite(half).all()):
        raise StyleFileError(
            f"{layer.name} holds values that are no numbers, or too large for a style file.",
            "The training diverged: use a lower learning rate.",
        )
    return half


def _header_bytes(entries: dict[str, object], metadata: dict[str, str]) -> bytes:
    text = json.dumps({"__metadata__": metadata} | entries, ensure_ascii=False, separators=(",", ":"))
    header = text.encode("utf-8")
    header += b" " * (-len(header) % 8)  # the tensors start at a multiple of 8
    return len(header).to_bytes(8, "little") + header


def _legacy_hash(header: bytes, section: bytes) -> str:
    """A1111's first way to name a file: over 64 KiB from 1 MiB on, the same for every file under 1 MiB."""
    return hashlib.sha256((header + section)[1 << 20 :][: 1 << 16]).hexdigest()[:8]


def _misshapen(name: str, layer: LayerKeys, down: tuple[int, ...], up: tuple[int, ...]) -> StyleFileError:
    return StyleFileError(
        f"“{name}”: the factors of {layer.network}.{layer.path} don't fit: down {list(down)}, up {list(up)}.",
        "The file is damaged, or of a kind that can't be read yet.",
    )
