"""A base of its own made of a base and styles: merged, written as a folder among the bases, opened as any other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from styles.bases.base_folder import other_bytes, write_other_parts
from styles.bases.files.inspection import BaseFacts, inspect_base
from styles.bases.files.loading import quiet_loading
from styles.bases.files.merged_base import CARD, UNET_FILE, MergedCard, MergedStyle
from styles.bases.files.part_loading import loading_errors
from styles.bases.files.unet_size import unet_bytes
from styles.bases.files.weight_files import fingerprint
from styles.bases.quantized_unet import load_quantized_unet
from styles.bases.recommended import licence_of
from styles.bases.shelf import BaseEntry, BaseShelf, find_source, plain_name
from styles.errors import Cancelled
from styles.formats.provenance import licence_warnings
from styles.formats.tensor_file import write_tensors
from styles.mixing.group_merge import Weighed, check_layers, check_weights, merge_styles, without_groups
from styles.mixing.layer_matching import check_family
from styles.quantization.column_groups import style_repeats
from styles.quantization.quantization import QUANTIZATIONS, Quantization
from styles.quantization.weight_cache import cache_file
from styles.storage.atomic import disk_errors, new_folder
from styles.storage.home import Home
from styles.storage.names import safe_name
from styles.text import Text

if TYPE_CHECKING:
    from styles.formats.style import Style

ROOM = 1.02  # of what is counted
HALF_BYTES = 2  # of a weight in half precision


@dataclass(frozen=True)
class BaseMerge:
    """What came of a merge; `notes` are what there is to say of it."""

    entry: BaseEntry
    notes: tuple[Text, ...]


@dataclass(frozen=True)
class _UnetAlone:
    """What a merge needs of an open base."""

    name: str
    family: str
    unet: Any
    text_encoders: Sequence[Any] = ()

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")


def merge_base(
    home: Home,
    source: str | Path,
    styles: Sequence[Weighed],
    name: str,
    *,
    cancelled: Callable[[], bool] = lambda: False,
    progress: Callable[[float], None] = lambda share: None,
    config_folder: Path | None = None,
) -> BaseMerge:
    """Merge styles at their weights into a base, and keep the result in the home as a base called `name`.

    The base is taken in the groups that its styles were trained over, a merged one as it is. `progress` is told the
    share that is done, 0..1, and `cancelled` asked, before each layer and each block of what is written;
    `config_folder` is as for `open_base`. Raises BadInput for a name that can't be, BlendError for weights that can't
    be, BaseError for a base that can't be opened and for a name that is taken, WrongFamilyError for a style that can't
    be merged into it, OutOfMemory, DiskFullError, Cancelled; nothing is left of a merge that fails.
    """
    name, shelf = safe_name(name, "base"), BaseShelf(home)
    check_weights(styles)
    shelf.check_free(name)
    path, settings = find_source(source, home)
    facts = inspect_base(path, settings, config_folder=config_folder)
    base_name = plain_name(path) if Path(source).exists() else str(source)
    check_family(_UnetAlone(base_name, facts.family, None), [style for style, _ in styles])
    for style, _ in styles:
        check_layers(style)
    quantization = _quantization(facts, [style for style, _ in styles])
    cpu = torch.device("cpu")
    with loading_errors(facts.path.name, cpu), quiet_loading():
        known_by = fingerprint(facts.unet_files, facts.unet_prefix)
        stages = _stages(facts, home, known_by, quantization, [style for style, _ in styles])
        quantising, merging, copying, writing = _looks(stages, cancelled, progress)
        unet = load_quantized_unet(facts, quantization, None, home, known_by, quantising)
        merged = merge_styles(_UnetAlone(base_name, facts.family, unet), styles, merging)
    card = _card(facts, base_name, known_by, quantization, styles)
    tensors = unet.state_dict()
    unet_size = sum(tensor.nbytes for tensor in tensors.values())
    shelf.check_room(int(ROOM * (unet_size + other_bytes(facts))), Text("The merged base"))
    entries: list[BaseEntry] = []
    with new_folder(home.bases / name, lambda folder: entries.append(shelf.place(folder, name))) as folder:
        with loading_errors(facts.path.name, cpu), disk_errors(home.bases / name):
            write_other_parts(facts, home, folder, copying)
        write_tensors(folder / UNET_FILE, tensors, look=lambda written: writing(written / unet_size))
        (folder / CARD).write_text(card.to_json(), encoding="utf-8")
        writing(1.0)
    return BaseMerge(entries[0], _notes(merged.plain, facts, styles))


def _stages(
    facts: BaseFacts, home: Home, known_by: str, quantization: Quantization, styles: Sequence[Style]
) -> tuple[int, ...]:
    """The bytes that quantising, merging, copying and writing read or write; those in four bits take their time."""
    plain = sum(file.stat().st_size for file in facts.unet_files)
    is_there = facts.merged is not None or cache_file(home, known_by, quantization).is_file()
    changed = sum(layer.up.shape[0] * layer.down[0].numel() for style in styles for layer in style.layers)
    written = plain if facts.merged else unet_bytes(facts, quantization.name, HALF_BYTES)
    return (0 if is_there else plain, changed, other_bytes(facts), written)


def _looks(
    sizes: Sequence[int], cancelled: Callable[[], bool], progress: Callable[[float], None]
) -> list[Callable[[float], None]]:
    """For each stage of a work, what it tells its own share to, 0..1; that raises Cancelled."""

    def look(before: int, size: int, share: float) -> None:
        if cancelled():
            raise Cancelled("Stopped; nothing was kept.")
        progress((before + share * size) / sum(sizes))

    return [partial(look, sum(sizes[:place]), size) for place, size in enumerate(sizes)]


def _quantization(facts: BaseFacts, styles: Sequence[Style]) -> Quantization:
    """The groups to merge in: those of a merged base, those that the base is kept in, else the styles' own."""
    if facts.merged is not None:
        return QUANTIZATIONS[facts.quantize]
    grouped = [quantization for quantization in QUANTIZATIONS.values() if quantization.is_grouped]
    fitting = [
        quantization
        for quantization in grouped
        if all(style_repeats(style, quantization.group) for style in styles)
    ]
    if not fitting:
        least = min(quantization.group for quantization in grouped)
        raise without_groups(next((one for one in styles if not style_repeats(one, least)), styles[0]), least)
    settled = QUANTIZATIONS.get(facts.quantize)
    return settled if settled in fitting else max(fitting, key=lambda quantization: quantization.group)


def _card(
    facts: BaseFacts, base_name: str, known_by: str, quantization: Quantization, styles: Sequence[Weighed]
) -> MergedCard:
    own = tuple(
        MergedStyle(style.name, style.id, weight, style.card.trigger, style.card.author, style.card.licence)
        for style, weight in styles
    )
    before = facts.merged
    if before is not None:
        return MergedCard(
            quantization.name,
            before.base_name,
            before.base_fingerprint,
            before.base_licence,
            before.styles + own,
        )
    return MergedCard(quantization.name, base_name, known_by, licence_of(base_name), own)


def _notes(plain: int, facts: BaseFacts, styles: Sequence[Weighed]) -> tuple[Text, ...]:
    """What to say of a merge, after it."""
    before = {one.id for one in facts.merged.styles if one.id} if facts.merged else set()
    notes = [
        Text("“{style}” is merged into this base already, and now counts twice.", style=style.name)
        for style, _ in styles
        if style.id in before
    ]
    if plain:
        notes.append(
            Text(
                "1 layer is not in four bits; there the styles were added to the weights themselves.",
                "{count} layers are not in four bits; there the styles were added to the weights themselves.",
                count=plain,
            )
        )
    words = dict.fromkeys(token for style, _ in styles for token in style.card.tokens)
    if words:
        notes.append(
            Text("The words {words} that its styles bring along don't work with it.", words=", ".join(words))
        )
    return (*notes, *licence_warnings([style.card for style, _ in styles]))
