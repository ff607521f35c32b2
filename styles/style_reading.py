"""Reading a style, whoever wrote it: the header is judged first, then the tensors are brought to stacked ranks.

`layer_keys.py` knows which tensors make up a layer, `lycoris.py` what they mean, `families.py` which base has such
layers. Nothing is believed that the shapes don't prove.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar

from styles import diffusers_keys, kohya, numbered
from styles.errors import StyleFileError
from styles.families import LayerSize, families_with, layer_size
from styles.layer_keys import LayerKeys
from styles.lycoris import LARGEST_ALPHA, MOST_WORK, ROOM, Written, change, room_for, work_of, written
from styles.names import clean_text
from styles.peft_folder import Adapter, open_adapters
from styles.peft_settings import PeftSettings
from styles.style import FAMILY_NAMES, FAMILY_OF_WIDTH, Style, StyleCard, StyleLayer
from styles.style_metadata import card_texts, claimed_family
from styles.tensor_header import Header, TensorEntry, open_header, open_style_file, read_header, read_tensors
from styles.tokens import embeddings, family_of_tokens, token_keys

if TYPE_CHECKING:
    from torch import Tensor

_Number = TypeVar("_Number", int, float)
LAYERS_ASKED = 16  # for their strength, before anything is loaded
DAMAGED = "Get the file again, or ask for the style as a plain LoRA."


@dataclass(frozen=True)
class Judged:
    """What the header alone proves of a style."""

    layers: tuple[LayerKeys, ...]
    written: tuple[Written, ...]  # how each of them is written
    family: str  # empty where its layers don't show it
    families: frozenset[str]  # that have such layers; empty where none has all of them, or family is proven
    rank: int  # that most layers have, once they are opened
    most_ranks: int  # that a layer is opened with
    tokens: Mapping[str, str] = field(default_factory=dict)  # its words, and their tensors

    @property
    def kind(self) -> str:
        """How the file writes its change: LoRA, LoCon (a LoRA of convolutions, too), LoHa, LoKr, or several."""
        kinds = {of.kind for of in self.written} or {"words alone"}
        if any(of.kind == "LoRA" and of.kernel != (1, 1) for of in self.written):
            kinds = kinds - {"LoRA"} | {"LoCon"}
        return " + ".join(sorted(kinds))

    @property
    def cut(self) -> bool:
        """Whether any layer has more ranks than it is opened with."""
        return any(of.rank > self.most_ranks for of in self.written if not of.plain)


@dataclass(frozen=True, eq=False)
class _Source:
    """A style's file or files, with their headers judged; nothing else is read yet."""

    path: Path
    name: str
    header: Header  # of all files together, as one
    adapters: tuple[Adapter, ...] = ()  # PEFT's
    settings: Mapping[str, PeftSettings] = field(default_factory=dict)

    @classmethod
    def of(cls, path: Path) -> _Source:
        if not os.path.isdir(path):
            return cls(path, path.name, open_header(path))
        adapters = open_adapters(path)
        tensors: dict[str, TensorEntry] = {}
        metadata: dict[str, str] = {}
        for adapter in adapters:
            tensors |= {adapter.key(name): entry for name, entry in adapter.header.tensors.items()}
            metadata = adapter.header.metadata | metadata
            if adapter.base_name:
                metadata.setdefault("ss_sd_model_name", adapter.base_name)
        settings = {adapter.root: adapter.settings for adapter in adapters}
        return cls(path, path.name, Header(metadata, tensors, 0), tuple(adapters), settings)

    def judged(self) -> Judged:
        return judge(self.header, self.name, self.settings)

    def tensors(self) -> Iterator[tuple[str, Tensor, bytearray]]:
        """Yield (name, tensor, its bytes) in the order that the id is made in."""
        if not self.adapters:
            with open_style_file(self.path) as file:
                yield from read_tensors(file, self.header, self.name)
        for adapter in self.adapters:
            with open_style_file(adapter.file) as file:
                for name, tensor, data in read_tensors(file, adapter.header, self.name):
                    yield adapter.key(name), tensor, data

    def sha256(self) -> str:
        digest = hashlib.sha256()
        files = [(adapter.file, adapter.header) for adapter in self.adapters] or [(self.path, self.header)]
        for path, header in files:
            with open_style_file(path) as file:
                file.seek(header.data_start)
                while block := file.read(1 << 20):
                    digest.update(block)
        return digest.hexdigest()

    @contextmanager
    def alphas(self) -> Iterator[BinaryIO | None]:
        """Open the file that holds the alphas, None for one that has none."""
        if self.adapters:
            yield None
        else:
            with open_style_file(self.path) as file:
                yield file


def read_card(path: Path, *, hashed: bool = True) -> StyleCard:
    """Read what a file, or a folder of PEFT's, says of its style; no tensor is made.

    Without `hashed` the card has no id: a large file takes a while to hash. Raises StyleFileError with the reason.
    """
    source = _Source.of(path)
    judged = source.judged()
    with source.alphas() as file:
        strength = _strength(source.header, judged, file)
    return _card(source, judged, strength, source.sha256() if hashed else "")


def read_style(path: Path) -> Style:
    """Read a style; raises StyleFileError with the reason for a file that is none."""
    source = _Source.of(path)
    judged = source.judged()
    with source.alphas() as file:
        strength = _strength(source.header, judged, file)
    return _style(source, judged, strength, source.tensors())


def style_of_bytes(data: bytes, path: Path) -> Style:
    """Read a style from a file's bytes, as if it were at `path`; raises StyleFileError."""
    file = io.BytesIO(data)
    source = _Source(path, path.name, read_header(file, len(data), path.name))
    judged = source.judged()
    return _style(
        source, judged, _strength(source.header, judged, file), read_tensors(file, source.header, path.name)
    )


def judge(header: Header, name: str, settings: Mapping[str, PeftSettings] | None = None) -> Judged:
    """Check names, shapes, ranks and sizes of all layers; raises StyleFileError with the file, the layer and why.

    `settings` are PEFT's, beside the file, by what its names begin with.
    """
    try:
        return _judged(header, name, settings)
    except StyleFileError as error:
        raise StyleFileError(
            f"“{clean_text(name, 120)}” can't be opened: {error.message}", error.hint
        ) from error


def _judged(header: Header, name: str, settings: Mapping[str, PeftSettings] | None) -> Judged:
    tokens = token_keys(header, name)
    of_words = set(tokens.values())
    tensors = {key: entry for key, entry in header.tensors.items() if key not in of_words}
    if not tensors:
        return Judged((), (), family_of_tokens(header, tokens), frozenset(), 0, 0, tokens)
    by_module_path = diffusers_keys.is_diffusers(tensors)
    if by_module_path:
        layers = diffusers_keys.layer_keys(tensors, header.metadata, settings)
    elif numbered.is_numbered(tensors):
        layers = numbered.layer_keys(tensors, header.metadata)
    else:
        layers = kohya.layer_keys(tensors)
    ways = [_way(layer, header.tensors) for layer in layers]
    _check_ranks(ways)
    family, families = _family(layers, ways), frozenset[str]()
    if not family:
        families = frozenset(_families(layers, ways, header.tensors, encoders_told=not by_module_path))
        family = next(iter(families)) if len(families) == 1 else ""
    family = _with_words(family, families, family_of_tokens(header, tokens))
    if family == "sdxl":
        layers = _with_told_encoders(layers, ways)
    most = room_for(ways)
    if most == 0:
        raise StyleFileError(
            f"opened, its layers would take more than {ROOM * 4 >> 30} GiB.",
            "No style needs that; get another.",
        )
    if work_of(ways, most) > MOST_WORK:
        raise StyleFileError(
            "its layers stand for far more ranks than there is room for, and to find the nearest would take hours.",
            "Ask for it as a plain LoRA; the tool that made it can extract one.",
        )
    ranks = Counter(of.rank if of.plain else min(of.rank, most) for of in ways)
    return Judged(tuple(layers), tuple(ways), family, families, _commonest(ranks, 0), most, tokens)


def _with_words(family: str, families: frozenset[str], words: str) -> str:
    """Return the family that layers and words prove together; `words` is the one that the words are for, if any."""
    possible = {family} if family else families
    if words and possible and words not in possible:
        names = " or ".join(FAMILY_NAMES[one] for one in FAMILY_NAMES if one in possible)
        raise StyleFileError(
            f"its words are for {FAMILY_NAMES[words]}, its layers for {names}.", "No base can use both."
        )
    return words or family


def _way(layer: LayerKeys, tensors: Mapping[str, TensorEntry]) -> Written:
    shapes = {part: tensors[key].shape for part, key in layer.parts.items()}
    alpha = shapes.pop("alpha", ())
    if alpha not in ((), (1,)):
        raise StyleFileError(f"the alpha of {layer.network}.{layer.path} is not a single number.", DAMAGED)
    found = written(layer.path, shapes)
    if found is None:
        told = ", ".join(f"{part} {list(shape)}" for part, shape in sorted(shapes.items()))
        raise StyleFileError(f"the factors of {layer.network}.{layer.path} don't fit: {told}.", DAMAGED)
    if layer.told_rank and found.dim and layer.told_rank != found.dim:
        raise StyleFileError(
            f"its settings say that {layer.network}.{layer.path} has rank {layer.told_rank}, but it has {found.dim}.",
            "The settings are of another style; get both again.",
        )
    return found


def _check_ranks(ways: Iterable[Written]) -> None:
    ways = list(ways)
    rank = max((of.dim for of in ways), default=0)
    widest = max((max(of.flat, of.outputs) for of in ways), default=0)
    if rank > widest:
        raise StyleFileError(
            f"it has rank {rank}, more than its widest layer has numbers ({widest}).",
            "The file is damaged, or of a kind that can't be read yet.",
        )


def _family(layers: list[LayerKeys], ways: list[Written]) -> str:
    """Return the family that the width of the words proves, empty without cross-attention."""
    widths = {
        way.flat
        for layer, way in zip(layers, ways, strict=True)
        if layer.network == "unet" and layer.path.endswith(("attn2.to_k", "attn2.to_v"))
    }
    if len(widths) > 1:
        raise StyleFileError(
            f"it mixes layers for words of {sorted(widths)} numbers; no base has both.", DAMAGED
        )
    if widths and not widths <= set(FAMILY_OF_WIDTH):
        raise StyleFileError(
            f"it is for a base whose words have {widths.pop()} numbers, which is none that Atelier knows.",
            f"It knows {', '.join(f'{f} ({w})' for w, f in FAMILY_OF_WIDTH.items())}.",
        )
    return FAMILY_OF_WIDTH[widths.pop()] if widths else ""


def _families(
    layers: list[LayerKeys], ways: list[Written], tensors: Mapping[str, TensorEntry], *, encoders_told: bool
) -> set[str]:
    sizes = [
        (layer.network, layer.path, LayerSize(of.inputs, of.outputs, of.kernel[0]))
        for layer, of in zip(layers, ways, strict=True)
    ]
    found = families_with(sizes, encoders_told)
    # Stable Diffusion 1 has 1x1 convolutions where 2 and XL have linear layers, which can't be written as such.
    ends = (".proj_in", ".proj_out")
    downs = [layer.parts["down"] for layer in layers if layer.path.endswith(ends) and "down" in layer.parts]
    if any(len(tensors[down].shape) == 4 for down in downs):
        found -= {"sd2", "sdxl"}
    return found


def _with_told_encoders(layers: list[LayerKeys], ways: list[Written]) -> list[LayerKeys]:
    """SDXL's text encoders may be written as if there were only one; their widths tell them apart."""
    taken = {(layer.network, layer.path) for layer in layers}
    found = []
    for layer, of in zip(layers, ways, strict=True):
        if layer.network == "te":
            second = layer_size("sdxl", "te2", layer.path) == LayerSize(of.inputs, of.outputs)
            layer = replace(layer, network="te2" if second else "te1")
            if (layer.network, layer.path) in taken:
                raise StyleFileError(
                    f"it holds the layer {layer.network}.{layer.path} twice.", "Get the file again."
                )
        found.append(layer)
    return found


def _strength(header: Header, judged: Judged, file: BinaryIO | None) -> float:
    """Return the alpha / rank that most layers have, by a look at some of them."""
    step = max(1, len(judged.layers) // LAYERS_ASKED)
    found = []
    for layer, of in list(zip(judged.layers, judged.written, strict=True))[::step]:
        alpha = 0.0
        if layer.alpha and file:
            entry = header.tensors[layer.alpha]
            file.seek(header.data_start + entry.begin)
            alpha = _number(file.read(entry.end - entry.begin), entry.dtype)
        found.append(layer.alpha_for(alpha, of.dim) / (of.dim or 1))
    strength = _commonest(Counter(found), 1.0)
    return strength if math.isfinite(strength) else 0.0


def _commonest(counts: Counter[_Number], otherwise: _Number) -> _Number:
    return max(counts, key=lambda value: counts[value], default=otherwise)


def _number(data: bytes, dtype: str) -> float:
    if dtype == "BF16":
        data, dtype = b"\0\0" + data, "F32"
    try:
        return float(struct.unpack({"F16": "<e", "F32": "<f", "F64": "<d"}[dtype], data)[0])
    except struct.error:  # the file became shorter
        return 0.0


def _card(source: _Source, judged: Judged, strength: float, sha256: str) -> StyleCard:
    metadata = source.header.metadata
    claimed = claimed_family(metadata)
    problems = []
    possible = {judged.family} if judged.family else judged.families
    family = (
        judged.family or (claimed if claimed and (not possible or claimed in possible) else "") or "unknown"
    )
    names = " and ".join(FAMILY_NAMES[one] for one in FAMILY_NAMES if one in possible)
    if claimed and possible and claimed not in possible:
        problems.append(f"It says that it is for {FAMILY_NAMES[claimed]}, but its layers are for {names}.")
    elif family == "unknown" and possible:
        problems.append(f"It doesn't say which base it is for; its layers fit {names} alike.")
    elif family == "unknown":
        problems.append("It doesn't say which base it is for; its layers will tell when it is used.")
    if any(
        layer.alpha is None and layer.told_alpha is None and of.dim
        for layer, of in zip(judged.layers, judged.written, strict=True)
    ):
        problems.append(
            "It doesn't say how strong it was trained to be (alpha); the usual strength is taken."
        )
    if judged.cut:
        problems.append(
            f"Its changes are of up to {max(of.rank for of in judged.written)} ranks in a layer, more than there is "
            f"room for: the nearest ones of {judged.most_ranks} are used."
        )
    return StyleCard(
        **card_texts(metadata, source.path.name if source.adapters else source.path.stem),
        family=family,
        rank=judged.rank,
        id=sha256,
        layers=dict(sorted(Counter(layer.network for layer in judged.layers).items())),
        problems=tuple(problems),
        kind=judged.kind,
        strength=strength,
        tokens=tuple(judged.tokens),
        path=source.path,
    )


def _style(
    source: _Source, judged: Judged, strength: float, read: Iterable[tuple[str, Tensor, bytearray]]
) -> Style:
    import torch

    digest = hashlib.sha256()
    tensors: dict[str, Tensor] = {}
    for name, tensor, data in read:
        digest.update(data)
        # What fp64 holds may be infinite in fp32, in which everything is reckoned.
        if not bool(torch.isfinite(tensor.float() if tensor.dtype == torch.float64 else tensor).all()):
            raise _no_numbers(source, name)
        tensors[name] = tensor
    layers, square, lost = [], 0.0, 0.0
    for keys, of in zip(judged.layers, judged.written, strict=True):
        parts = {part: tensors.pop(key) for part, key in keys.parts.items()}
        told = float(parts.pop("alpha")) if "alpha" in parts else 0.0
        found = change(of, parts, judged.most_ranks, measured=judged.cut)
        alpha = keys.alpha_for(told, of.dim)
        scale = alpha / (of.dim or 1)
        if not of.plain:  # other factors, with the scale of those in the file
            alpha = scale * found.gain * len(found.down)
        finite = bool(torch.isfinite(found.down).all() and torch.isfinite(found.up).all())
        if not finite or not abs(alpha) <= LARGEST_ALPHA:
            raise _no_numbers(source, next(iter(keys.parts.values())))
        square += found.square * scale**2
        lost += found.lost * scale**2
        layers.append(StyleLayer(keys.network, keys.path, found.down, found.up, alpha))
    card = _card(source, judged, strength, digest.hexdigest())
    if judged.cut:
        share = (lost / square) ** 0.5 if square else 0.0
        card = replace(card, problems=(*card.problems, f"That leaves out {share:.2%} of its change."))
    return Style(card, tuple(layers), embeddings(tensors, judged.tokens, clean_text(source.name, 120)))


def _no_numbers(source: _Source, name: str) -> StyleFileError:
    return StyleFileError(
        f"“{clean_text(source.name, 120)}” is damaged: {clean_text(name, 120)} holds values that are no numbers, or "
        "too large to be used.",
        "Get the file again; a training that diverged leaves such files.",
    )
