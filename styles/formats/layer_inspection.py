"""Judging a style by its header: which layers it changes and how they are written, and which base has such layers.

`layer_keys.py` knows which tensors make up a layer, `lycoris.py` how they fit together, `layer_tables.py` which base
has such layers. Nothing is believed that the shapes don't prove, and nothing is read but the header.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from styles.errors import StyleFileError
from styles.families import FAMILIES, SDXL, Family, family_of
from styles.formats import cloneofsimo, diffusers_keys, kohya
from styles.formats.foreign.left_out import left_out, refuse_claimed
from styles.formats.layer_keys import LayerKeys, grouped, split
from styles.formats.layer_tables import CrossAttention, LayerSize, encoder_by_size, families_with
from styles.formats.lycoris import MOST_WORK, ROOM, Written, room_for, work_of, written
from styles.formats.metadata import claimed_family, network_strength
from styles.formats.peft import PeftSettings
from styles.formats.safetensors_header import ALPHAS, NUMBERS, Header, TensorEntry
from styles.formats.textual_inversion import Tokens, family_of_tokens, lone_part, token_keys
from styles.storage.names import clean_text
from styles.text import Text, either

Number = TypeVar("Number", int, float)
DAMAGED = Text("Get the file again, or ask for the style as a plain LoRA.")


@dataclass(frozen=True)
class Judged:
    """What the header alone proves of a style."""

    layers: tuple[LayerKeys, ...]
    written: tuple[Written, ...]  # how each of them is written
    family: str  # empty where its layers don't show it
    families: frozenset[str]  # that have such layers; empty where none has all of them, or family is proven
    rank: int  # that most layers have, once they are opened
    most_ranks: int  # that a layer is opened with
    tokens: Tokens = field(default_factory=dict)  # its words, and their tensors
    left_out: tuple[Text, ...] = ()  # what else it holds, in sentences

    @property
    def kind(self) -> str:
        """How the file writes its change: LoRA, LoCon (a LoRA of convolutions, too), LoHa, LoKr, full, or several."""
        kinds = {of.kind for of in self.written} or {"words alone"}
        if any(of.kind == "LoRA" and of.kernel != (1, 1) for of in self.written):
            kinds = kinds - {"LoRA"} | {"LoCon"}
        return " + ".join(sorted(kinds))

    @property
    def cut(self) -> bool:
        """Whether any layer has more ranks than it is opened with."""
        return any(of.rank > self.most_ranks for of in self.written if not of.plain)


def judge(header: Header, name: str, settings: Mapping[str, PeftSettings] | None = None) -> Judged:
    """Check names, shapes, ranks and sizes of all layers; raises StyleFileError with the file, the layer and why.

    `settings` are PEFT's, beside the file, by what its names begin with.
    """
    try:
        return _judged(header, name, settings)
    except StyleFileError as error:
        raise StyleFileError(
            "“{name}” can't be opened: {reason}", error.hint, name=clean_text(name, 120), reason=error.message
        ) from error


def _judged(header: Header, name: str, settings: Mapping[str, PeftSettings] | None) -> Judged:
    tokens = token_keys(header, name)
    of_words = {key for of in tokens.values() for key in of.values()}
    _check_numbers({key: header.tensors[key] for key in of_words})
    tensors = {key: entry for key, entry in header.tensors.items() if key not in of_words}
    if not tensors:
        return Judged((), (), family_of_tokens(header, tokens), frozenset(), 0, 0, tokens)
    layers, beside, encoders_told = _layers(tensors, header.metadata, settings)
    if not layers:
        return Judged(
            (), (), family_of_tokens(header, tokens), frozenset(), 0, 0, tokens, left_out=tuple(beside)
        )
    _check_numbers({key: tensors[key] for layer in layers for key in layer.parts.values()})
    ways = [_way(layer, header.tensors) for layer in layers]
    _check_ranks(ways)
    layers = _with_network_strength(layers, ways, header.metadata)
    family, families = _family(layers, ways, header.metadata), frozenset[str]()
    if not family:
        families = frozenset(_families(layers, ways, header.tensors, encoders_told=encoders_told))
        family = next(iter(families)) if len(families) == 1 else ""
        if not any(layer.network == "unet" for layer in layers):
            refuse_claimed(header.metadata)  # other models have the same text encoders
    family = _with_words(family, families, family_of_tokens(header, tokens), tokens)
    if len(family_of(family).text_encoders) > 1:
        layers = _with_told_encoders(layers, ways, family_of(family))
    most = room_for(ways)
    if most == 0:
        raise StyleFileError(
            "opened, its layers would take more than {gib} GiB.",
            "No style needs that; get another.",
            gib=ROOM * 4 >> 30,
        )
    if work_of(ways, most) > MOST_WORK:
        raise StyleFileError(
            "its layers stand for far more ranks than there is room for, and to find the nearest would take hours.",
            "Ask for it as a plain LoRA; the tool that made it can extract one.",
        )
    ranks = Counter(of.rank if of.plain else min(of.rank, most) for of in ways)
    return Judged(
        tuple(layers), tuple(ways), family, families, commonest(ranks, 0), most, tokens, tuple(beside)
    )


def _layers(
    tensors: Mapping[str, TensorEntry],
    metadata: Mapping[str, str],
    settings: Mapping[str, PeftSettings] | None,
) -> tuple[list[LayerKeys], list[Text], bool]:
    """Return (layers, what is left out in sentences, whether it is told which of several text encoders is meant).

    Raises StyleFileError.
    """
    if cloneofsimo.is_numbered(tensors):
        return cloneofsimo.layer_keys(tensors, metadata), [], True
    # A norm or a bias, whose difference is no matrix.
    keys = [key for key, entry in tensors.items() if not key.endswith(".diff") or len(entry.shape) > 1]
    of_kohya = kohya.layer_names(keys)
    by_path = diffusers_keys.module_names(key for key in keys if key not in of_kohya)
    understood = of_kohya | {key: (one.network, one.path, one.part) for key, one in by_path.items()}
    others = {key: entry.shape for key, entry in tensors.items() if key not in understood}
    beside: list[Text] = []
    if others:
        shapes = {key: entry.shape for key, entry in tensors.items()}
        names = {both[0] if (both := split(key)) else key for key in understood}
        beside = left_out(others, names, shapes, metadata)
    layers = grouped((*understood[key], key) for key in sorted(understood))
    return diffusers_keys.with_settings(layers, by_path, metadata, settings), beside, not by_path


def _check_numbers(tensors: Mapping[str, TensorEntry]) -> None:
    """Raise StyleFileError for factors or words that are of another kind of number than they can be."""
    for key, entry in tensors.items():
        kinds = ALPHAS if key.endswith(".alpha") and entry.shape in ((), (1,)) else NUMBERS
        if entry.dtype not in kinds:
            raise StyleFileError(
                "at {layer} it holds {kind}, a style holds {kinds}.",
                DAMAGED,
                layer=clean_text(key, 80),
                kind=entry.dtype,
                kinds=", ".join(NUMBERS),
            )


def _with_network_strength(
    layers: list[LayerKeys], ways: list[Written], metadata: Mapping[str, str]
) -> list[LayerKeys]:
    """Give each LoKr of two whole factors the strength that the network was trained with, where the file says so."""
    told = {kernel: network_strength(metadata, convolution=kernel) for kernel in (False, True)}
    changed = []
    for layer, way in zip(layers, ways, strict=True):
        alpha, rank = told[way.kernel != (1, 1)]
        if way.kind == "LoKr" and way.dim == 0 and not layer.told_alpha and alpha and rank:
            layer = replace(layer, told_alpha=alpha, told_rank=rank)
        changed.append(layer)
    return changed


def _with_words(family: str, families: frozenset[str], words: str, tokens: Tokens) -> str:
    """Return the family that layers and words prove together; `words` is the one that the words are for, if any."""
    possible = {family} if family else families
    if words and possible and words not in possible:
        if lone_part(tokens) and possible == {SDXL.id}:
            raise StyleFileError(
                "its words have rows for one text encoder only; those of {family} are two.",
                "Get the file again, or ask for one with both.",
                family=SDXL.name,
            )
        names = either(family_of(one).name for one in sorted(possible))
        raise StyleFileError(
            "its words are for {family}, its layers for {families}.",
            "No base can use both.",
            family=family_of(words).name,
            families=names,
        )
    return words or family


def _way(layer: LayerKeys, tensors: Mapping[str, TensorEntry]) -> Written:
    shapes = {part: tensors[key].shape for part, key in layer.parts.items()}
    alpha = shapes.pop("alpha", ())
    if alpha not in ((), (1,)):
        raise StyleFileError(
            "the alpha of {network}.{path} is not a single number.",
            DAMAGED,
            network=layer.network,
            path=layer.path,
        )
    form = written(layer.path, shapes)
    if form is None:
        factors = ", ".join(f"{part} {list(shape)}" for part, shape in sorted(shapes.items()))
        raise StyleFileError(
            "the factors of {network}.{path} don't fit: {factors}.",
            DAMAGED,
            network=layer.network,
            path=layer.path,
            factors=factors,
        )
    if layer.told_rank and form.dim and layer.told_rank != form.dim:
        raise StyleFileError(
            "its settings say that {network}.{path} has rank {recorded_rank}, but it has {rank}.",
            "The settings are of another style; get both again.",
            network=layer.network,
            path=layer.path,
            recorded_rank=layer.told_rank,
            rank=form.dim,
        )
    return form


def _check_ranks(ways: Iterable[Written]) -> None:
    ways = list(ways)
    rank = max((of.dim for of in ways), default=0)
    widest = max((max(of.flat, of.outputs) for of in ways), default=0)
    if rank > widest:
        raise StyleFileError(
            "it has rank {rank}, more than its widest layer has numbers ({widest}).",
            "The file is damaged, or of a kind that can't be read yet.",
            rank=rank,
            widest=widest,
        )


def _family(layers: list[LayerKeys], ways: list[Written], metadata: Mapping[str, str]) -> str:
    """Return the family that the layers of cross-attention prove, empty where there are none."""
    cross = CrossAttention()
    for layer, way in zip(layers, ways, strict=True):
        cross.add(layer.network, layer.path, way.flat, way.outputs)
    if len(cross.words) > 1:
        raise StyleFileError(
            "it mixes layers for words of {widths} numbers; no base has both.",
            DAMAGED,
            widths=sorted(cross.words),
        )
    return cross.family(claimed_family(metadata))


def _families(
    layers: list[LayerKeys], ways: list[Written], tensors: Mapping[str, TensorEntry], *, encoders_told: bool
) -> set[str]:
    sizes = [
        (layer.network, layer.path, LayerSize(of.inputs, of.outputs, of.kernel[0]))
        for layer, of in zip(layers, ways, strict=True)
    ]
    possible = families_with(sizes, encoders_told)
    # Stable Diffusion 1 has 1x1 convolutions where 2 and XL have linear layers, which can't be written as such.
    ends = (".proj_in", ".proj_out")
    downs = [layer.parts["down"] for layer in layers if layer.path.endswith(ends) and "down" in layer.parts]
    if any(len(tensors[down].shape) == 4 for down in downs):
        possible = {one for one in possible if (unet := FAMILIES[one].unet) and not unet.linear}
    return possible


def _with_told_encoders(layers: list[LayerKeys], ways: list[Written], family: Family) -> list[LayerKeys]:
    """Several text encoders may be written as if there were only one; their widths tell them apart."""
    used = {(layer.network, layer.path) for layer in layers}
    renamed = []
    for layer, of in zip(layers, ways, strict=True):
        if layer.network == "te":
            size = LayerSize(of.inputs, of.outputs)
            layer = replace(layer, network=encoder_by_size(family, layer.path, size))
            if (layer.network, layer.path) in used:
                raise StyleFileError(
                    "it holds the layer {network}.{path} twice.",
                    "Get the file again.",
                    network=layer.network,
                    path=layer.path,
                )
        renamed.append(layer)
    return renamed


def commonest(counts: Counter[Number], otherwise: Number) -> Number:
    """Return what is counted most often, the first of several; `otherwise` where nothing is."""
    return max(counts, key=lambda value: counts[value], default=otherwise)
