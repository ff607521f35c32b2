"""Reading a style, whoever wrote it: the header is judged first, then the tensors are brought to stacked ranks.

`layer_inspection.py` judges the header, `lycoris.py` knows what the tensors mean.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from styles.errors import StyleFileError, memory_errors
from styles.families import UNKNOWN, family_of
from styles.formats.foreign.models import claimed_model
from styles.formats.layer_inspection import Judged, commonest, judge
from styles.formats.layer_keys import LayerKeys
from styles.formats.lycoris import Written, change
from styles.formats.metadata import card_texts, claimed_family
from styles.formats.peft import Adapter, PeftSettings, open_adapters
from styles.formats.safetensors_header import (
    Header,
    TensorEntry,
    number_in,
    open_header,
    open_style_file,
    read_header,
    read_tensors,
    tensor_hash,
)
from styles.formats.style import Style, StyleCard, StyleLayer
from styles.formats.textual_inversion import embeddings
from styles.storage.names import clean_text
from styles.text import Text, both

if TYPE_CHECKING:
    from torch import Tensor

LARGEST_ALPHA = 1e6
LAYERS_ASKED = 16  # for their strength, before anything is loaded


@dataclass(frozen=True, eq=False)
class Source:
    """A style's file or files, with their headers judged; nothing else is read yet."""

    path: Path
    name: str
    header: Header  # of all files together, as one
    adapters: tuple[Adapter, ...] = ()  # PEFT's
    settings: Mapping[str, PeftSettings] = field(default_factory=dict)

    @classmethod
    def of(cls, path: Path) -> Source:
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
        files = [(adapter.file, adapter.header) for adapter in self.adapters]
        return tensor_hash(files or [(self.path, self.header)])

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
    source = Source.of(path)
    return _header_card(source, source.judged(), source.sha256() if hashed else "")


def read_card_and_alphas(path: Path) -> tuple[StyleCard, list[TensorEntry]]:
    """Return the card without its id, and all tensors whose numbers it depends on: a few alphas.

    Raises StyleFileError.
    """
    source = Source.of(path)
    judged = source.judged()
    alphas = [source.header.tensors[layer.alpha] for layer, _ in _asked(judged) if layer.alpha]
    return _header_card(source, judged, ""), alphas


def read_style(path: Path) -> Style:
    """Read a style; raises StyleFileError with the reason for a file that is none."""
    return read_judged(path)[0]


def read_judged(path: Path) -> tuple[Style, Judged]:
    """Read a style, with what its headers show; raises StyleFileError."""
    source = Source.of(path)
    judged = source.judged()
    with source.alphas() as file:
        strength = _strength(source.header, judged, file)
    with _within_memory(source):
        return _style(source, judged, strength, source.tensors()), judged


def style_of_bytes(data: bytes, path: Path) -> Style:
    """Read a style from a file's bytes, as if it were at `path`; raises StyleFileError."""
    file = io.BytesIO(data)
    source = Source(path, path.name, read_header(file, len(data), path.name))
    judged = source.judged()
    return _style(
        source, judged, _strength(source.header, judged, file), read_tensors(file, source.header, path.name)
    )


@dataclass(frozen=True)
class Strength:
    """The alpha / rank that most layers have, and what there is to say of it."""

    value: float
    problems: tuple[Text, ...] = ()


def _strength(header: Header, judged: Judged, file: BinaryIO | None) -> Strength:
    """Return the strength that most layers have, by a look at some of them."""
    strengths, zero, told = [], False, False
    for layer, of in _asked(judged):
        alpha = 0.0
        if layer.alpha and file:
            entry = header.tensors[layer.alpha]
            file.seek(header.data_start + entry.begin)
            alpha = number_in(file.read(entry.end - entry.begin), entry.dtype) or 0.0
            zero = zero or (alpha == 0 and of.dim > 0 and not layer.told_alpha)
        strengths.append(layer.alpha_for(alpha, of.dim) / (of.dim or 1))
        told = told or (layer.alpha is not None and of.dim == 0 and strengths[-1] != 1)
    strength = commonest(Counter(strengths), 1.0)
    problems = []
    if zero:
        problems.append(
            Text("Its alpha is 0, which some programs take for no effect at all; it is used in full.")
        )
    if told:
        problems.append(
            Text(
                "Its strength is that of its metadata, {strength:.3g}; some programs use it in full, which is too much.",
                strength=strength,
            )
        )
    return Strength(strength if math.isfinite(strength) else 0.0, tuple(problems))


def _asked(judged: Judged) -> list[tuple[LayerKeys, Written]]:
    """Return the layers that are asked for their strength."""
    step = max(1, len(judged.layers) // LAYERS_ASKED)
    return list(zip(judged.layers, judged.written, strict=True))[::step]


def _header_card(source: Source, judged: Judged, sha256: str) -> StyleCard:
    with source.alphas() as file:
        return _card(source, judged, _strength(source.header, judged, file), sha256)


def _card(source: Source, judged: Judged, strength: Strength, sha256: str) -> StyleCard:
    metadata = source.header.metadata
    claimed = claimed_family(metadata)
    problems = [*judged.left_out, *strength.problems]
    possible = {judged.family} if judged.family else judged.families
    family = (
        judged.family or (claimed if claimed and (not possible or claimed in possible) else "") or UNKNOWN.id
    )
    names = both(family_of(one).name for one in sorted(possible)) if possible else ""
    if claimed and possible and claimed not in possible:
        problems.append(
            Text(
                "It says that it is for {family}, but its layers are for {families}.",
                family=family_of(claimed).name,
                families=names,
            )
        )
    elif possible and (model := claimed_model(metadata)):  # such as Kolors, with the UNet of XL
        problems.append(
            Text(
                "It says that it is for {family}, but its layers are for {families}.",
                family=model,
                families=names,
            )
        )
    elif family == UNKNOWN.id and possible:
        problems.append(
            Text("It doesn't say which base it is for; its layers fit {families} alike.", families=names)
        )
    elif family == UNKNOWN.id:
        problems.append(Text("It doesn't say which base it is for; its layers will tell when it is used."))
    if any(
        layer.alpha is None and layer.told_alpha is None and (of.dim or of.kind == "LoKr")
        for layer, of in zip(judged.layers, judged.written, strict=True)
    ):
        problems.append(
            Text("It doesn't say how strong it was trained to be (alpha); the usual strength is taken.")
        )
    if judged.cut:
        problems.append(
            Text(
                "Its changes are of up to {ranks} ranks in a layer, more than there is room for: the nearest ones of {most_ranks} are used.",
                ranks=max(of.rank for of in judged.written),
                most_ranks=judged.most_ranks,
            )
        )
    return StyleCard(
        **card_texts(metadata, source.path.name if source.adapters else source.path.stem),
        family=family,
        rank=judged.rank,
        id=sha256,
        layers=dict(sorted(Counter(layer.network for layer in judged.layers).items())),
        problems=tuple(problems),
        kind=judged.kind,
        strength=strength.value,
        tokens=tuple(judged.tokens),
        path=source.path,
    )


def _style(
    source: Source, judged: Judged, strength: Strength, read: Iterable[tuple[str, Tensor, bytearray]]
) -> Style:
    import torch

    digest = hashlib.sha256()
    tensors: dict[str, Tensor] = {}
    # The alpha of whole factors says nothing, and may be beyond half precision.
    any_number = {layer.alpha for layer, of in zip(judged.layers, judged.written, strict=True) if of.dim == 0}
    for name, tensor, data in read:
        digest.update(data)
        # What fp64 holds may be infinite in fp32, in which everything is reckoned.
        if name not in any_number and not bool(
            torch.isfinite(tensor.float() if tensor.dtype == torch.float64 else tensor).all()
        ):
            raise _no_numbers(source, name)
        tensors[name] = tensor
    layers, square, lost = [], 0.0, 0.0
    for keys, of in zip(judged.layers, judged.written, strict=True):
        parts = {part: tensors.pop(key) for part, key in keys.parts.items()}
        own_alpha = float(parts.pop("alpha")) if "alpha" in parts else 0.0
        factors = change(of, parts, judged.most_ranks, measured=judged.cut)
        alpha = keys.alpha_for(own_alpha, of.dim)
        scale = alpha / (of.dim or 1)
        if not of.plain:  # other factors, with the scale of those in the file
            alpha = scale * factors.gain * len(factors.down)
        finite = bool(torch.isfinite(factors.down).all() and torch.isfinite(factors.up).all())
        if not finite or not abs(alpha) <= LARGEST_ALPHA:
            raise _no_numbers(source, next(iter(keys.parts.values())))
        square += factors.square * scale**2
        lost += factors.lost * scale**2
        layers.append(StyleLayer(keys.network, keys.path, factors.down, factors.up, alpha))
    card = _card(source, judged, strength, digest.hexdigest())
    if judged.cut:
        share = (lost / square) ** 0.5 if square else 0.0
        card = replace(
            card, problems=(*card.problems, Text("That leaves out {share:.2%} of its change.", share=share))
        )
    return Style(card, tuple(layers), embeddings(tensors, judged.tokens, clean_text(source.name, 120)))


@contextmanager
def _within_memory(source: Source) -> Iterator[None]:
    """A file may claim tensors of gigabytes with few bytes of its own, or stand for far more ranks than it holds."""
    with memory_errors(
        "“{file}” takes more memory to open than is free.",
        "Close other programs, or ask for the style with fewer ranks.",
        StyleFileError,
        file=clean_text(source.name, 120),
    ):
        yield


def _no_numbers(source: Source, name: str) -> StyleFileError:
    return StyleFileError(
        "“{file}” is damaged: {name} holds values that are no numbers, or too large to be used.",
        "Get the file again; a training that diverged leaves such files.",
        file=clean_text(source.name, 120),
        name=clean_text(name, 120),
    )
