"""A style on its way to others: one file that opens everywhere, or a folder for the Hub, read back after it was written.

Nothing private leaves unless the artist says so, nothing is written over, and a failed export leaves nothing.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from styles.bases.hub import HUB_ID
from styles.errors import BadInput, Failure, StyleFileError
from styles.families import family_of
from styles.formats.hub import HUB_WEIGHTS, hub_bytes
from styles.formats.kohya import kohya_name
from styles.formats.licences import spdx_name
from styles.formats.metadata import shown_metadata, written_card
from styles.formats.peft import WEIGHTS
from styles.formats.reader import read_style
from styles.formats.safetensors_header import Header, open_header
from styles.formats.style import Style, StyleCard, StyleLayer
from styles.formats.textual_inversion import word_files
from styles.formats.thumbnail import public_thumbnail, thumbnail_png
from styles.formats.writer import style_bytes
from styles.library.compatibility.opening import Compatibility, opens_in
from styles.library.model_card import ExamplePicture, model_card
from styles.library.privacy_report import (
    BOTH_KEYS,
    CAPTION_KEYS,
    DATE_KEYS,
    NAME_KEYS,
    PrivacyEntry,
    shown_files,
)
from styles.storage import atomic
from styles.storage.names import export_name, folded
from styles.text import Text

FORMS = ("file", "hub")
SUFFIX = ".safetensors"
WORDS = "-words"  # ends the name of the folder in which a style's words are, where they are apart
TAG = re.compile(r"[A-Za-z0-9_.-]+")  # a name that stands as it is in every program's tags
ROUNDING = 2.0**-10  # relative; fp16 rounds each of two factors by 2^-11 at most


@dataclass(frozen=True)
class Sharing:
    """What of the private things others may see; by default nothing."""

    captions: bool = False
    names: bool = False  # of files and folders, such as of the base
    dates: bool = False


@dataclass(frozen=True)
class ExportOrder:
    """How to export: the form, side files or not, and what others may see.

    `captions` are the training's, each with how many pictures had it, written only if `sharing` says so. `name` is
    the file's; empty takes the style's. Raises BadInput for a form that there is not.
    """

    form: str = "file"  # one of FORMS
    side_files: bool = False  # NAME.json and NAME.png, as A1111 and InvokeAI read them
    sharing: Sharing = Sharing()
    name: str = ""
    captions: Mapping[str, int] = field(default_factory=dict)
    # The words that it brings along in NAME-words; diffusers' own file can't hold them anyway.
    words_apart: bool = False
    # For its page on the Hub; without any, its thumbnail is there.
    pictures: tuple[ExamplePicture, ...] = ()

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise BadInput(
                "“{form}” is no form of a style.",
                "Choose one of: {forms}.",
                form=self.form,
                forms=", ".join(FORMS),
            )

    @property
    def holds_words(self) -> bool:
        """Whether words are written into the style's own file."""
        return self.form == "file" and not self.words_apart


@dataclass(frozen=True)
class Exported:
    """What an export wrote: the file or folder first, then side files; `tag` puts the style into a prompt.

    `difference` is |written - style| / |style| over all layers, what fp16 rounds.
    """

    paths: tuple[Path, ...]
    id: str
    tag: str
    difference: float
    opens: tuple[Compatibility, ...]
    shown: tuple[PrivacyEntry, ...]
    notes: tuple[Text, ...]


def what_others_will_see(style: Style, order: ExportOrder) -> tuple[PrivacyEntry, ...]:
    """List all that an export would tell, from the very bytes that it would write; nothing is written."""
    name = _name_of(style, order)
    return shown_files(_files(style, order, name))


def export_style(style: Style, folder: Path, order: ExportOrder = ExportOrder()) -> Exported:
    """Write a style for others into a folder, read it back, compare, and tell where it opens and what it tells.

    `style` is as `read_style` or `Library.open` gives it. A name that is taken gets a number. Raises BadInput,
    StyleFileError, DiskFullError, and Failure where the file doesn't read back as it was written.
    """
    name = _name_of(style, order)
    with _in_reach(folder):
        if folder.exists() and not folder.is_dir():
            raise BadInput("{folder} is not a folder.", "Choose a folder to put the style in.", folder=folder)
        name = _free_name(folder, name, order)
    files = _files(style, order, name)
    waiting = atomic.unfinished(folder)
    try:
        with _in_reach(folder):
            waiting.mkdir(parents=True)
        for path, data in files.items():
            atomic.write_bytes(waiting / path, data)
        main = waiting / _weights(name, order)
        back = read_style(main)
        for path in files:
            if path.startswith(name + WORDS):
                back.embeddings.update(read_style(waiting / path).embeddings)
        difference = compare(style, back)
        opens = opens_in(main)
        paths = _arrive(waiting, folder, files)
    finally:
        atomic.discard(waiting)
    return Exported(
        paths=tuple(sorted(paths, key=lambda path: path.name not in (name, name + SUFFIX))),
        id=back.id,
        tag=f"<lora:{name}:{style.card.suggested_weight:g}>",
        difference=difference,
        opens=opens,
        shown=shown_files(files),
        notes=_notes(style, order, name, difference),
    )


def _name_of(style: Style, order: ExportOrder) -> str:
    return export_name(order.name or style.name, f"style_{style.id[:8]}" if style.id else "style")


@contextmanager
def _in_reach(folder: Path) -> Iterator[None]:
    """Say in our own words why a folder that the artist named can't be looked into or made."""
    try:
        with atomic.disk_errors(folder / "style"):
            yield
    except OSError as error:
        raise BadInput(
            "{folder} can't be used: {reason}.",
            "Choose another folder.",
            folder=folder,
            reason=error.strerror,
        ) from error


def compare(style: Style, written: Style) -> float:
    """Return |written - style| / |style| over all layers; raises Failure where more than rounding differs.

    Words are never rounded.
    """
    from styles.formats.low_rank import Factors

    def by_name(layers: tuple[StyleLayer, ...]) -> dict[str, StyleLayer]:
        return {kohya_name(layer.network, layer.path): layer for layer in layers}

    def factors(layer: StyleLayer) -> Factors:
        return Factors(layer.down.double().flatten(1), layer.up.double().flatten(1) * layer.scale)

    words = style.embeddings
    if words.keys() != written.embeddings.keys() or any(
        not words[word].equal(rows) for word, rows in written.embeddings.items()
    ):
        raise _differs(style, "its words are not the same")
    mine, theirs = by_name(style.layers), by_name(written.layers)
    if mine.keys() != theirs.keys():
        raise _differs(style, f"{len(mine.keys() ^ theirs.keys())} layers are missing or too many")
    size = lost = 0.0
    for name, layer in mine.items():
        change = factors(layer)
        one, gone = change.square(), change.minus(factors(theirs[name])).square()
        if gone > (ROUNDING * 8) ** 2 * one:  # numbers near fp16's least ones lose more
            raise _differs(style, f"{layer.name} differs by {(gone / one) ** 0.5:.2g} of its change")
        size, lost = size + one, lost + gone
    return (lost / size) ** 0.5 if size else 0.0


def _files(style: Style, order: ExportOrder, name: str) -> dict[str, bytes]:
    """All files of an export by their path in its folder; nothing private in them that may not be seen."""
    if not style.layers and style.embeddings:
        raise StyleFileError(
            "“{style}” is words for prompts alone, which need no export.",
            "Hand on its file itself, {path}: other programs read it from their folder of embeddings.",
            style=style.name,
            path=style.card.path,
        )
    card = _public_card(style.card, order.sharing)
    extra = _private_metadata(style.card.path, order, name)
    words = {} if order.holds_words else style.embeddings
    style = replace(style, card=card, embeddings={} if words else style.embeddings)
    files: dict[str, bytes] = {}
    if order.form == "file":
        extra["ss_output_name"] = name  # A1111 and Forge put it into the prompt's tag
        files[name + SUFFIX] = style_bytes(style, with_date=order.sharing.dates, extra=extra)
    else:
        shared = written_card(card, order.sharing.dates)
        files[_weights(name, order)] = hub_bytes(style, lambda sha256: shown_metadata(shared, sha256) | extra)
        pictures = order.pictures or _thumbnail_of(card)
        files |= {f"{name}/{path}": data for path, data in model_card(shared, name, pictures).items()}
    files |= {f"{name}{WORDS}/{path}": data for path, data in word_files(words).items()}
    if order.side_files:
        files[f"{name}.json"] = side_text(card)
        thumbnail = public_thumbnail(card.thumbnail)
        if thumbnail:
            files[f"{name}.png"] = thumbnail_png(thumbnail)
    return files


def _weights(name: str, order: ExportOrder) -> str:
    """The path of the style's own file in the export's folder."""
    return name + SUFFIX if order.form == "file" else f"{name}/{HUB_WEIGHTS}"


def _thumbnail_of(card: StyleCard) -> tuple[ExamplePicture, ...]:
    thumbnail = public_thumbnail(card.thumbnail)
    return (ExamplePicture("", thumbnail),) if thumbnail else ()


def side_text(card: StyleCard) -> bytes:
    """Return `NAME.json` with the words that A1111's cards have; InvokeAI reads its description, notes and trigger."""
    notes = [
        f"By {card.author}." if card.author else "",
        f"Licence: {spdx_name(card.licence)}." if card.licence else "",
        card.rights,
        f"Made for {card.base_name or family_of(card.family).name}.",
    ]
    values = {
        "description": card.description,
        "sd version": family_of(card.family).card_version,
        "activation text": card.trigger,
        "preferred weight": card.suggested_weight,
        "negative text": "",
        "notes": " ".join(note for note in notes if note),
    }
    return (json.dumps(values, ensure_ascii=False, indent=4) + "\n").encode("utf-8")


def _public_card(card: StyleCard, sharing: Sharing) -> StyleCard:
    """The card without the base's name where that is a file's, unless names may be seen; its fingerprint stays."""
    hub = HUB_ID.fullmatch(card.base_name)
    return card if sharing.names or hub else replace(card, base_name="")


def _private_metadata(source: Path | None, order: ExportOrder, name: str) -> dict[str, str]:
    """What may be seen of the captions, names and dates: those given, else those that the style's file brought."""
    sharing = order.sharing
    choices = {
        **{key: sharing.captions for key in CAPTION_KEYS},
        **{key: sharing.names for key in NAME_KEYS},
        **{key: sharing.dates for key in DATE_KEYS},
        **{key: sharing.captions and sharing.names for key in BOTH_KEYS},
    }
    brought = _header_of(source).metadata if source and any(choices.values()) else {}
    private = {key: brought[key] for key, seen in choices.items() if seen and brought.get(key)}
    if sharing.captions and order.captions:
        private["ss_tag_frequency"] = json.dumps({name: dict(order.captions)}, ensure_ascii=False)
    return private


def _header_of(source: Path) -> Header:
    return open_header(source / WEIGHTS if source.is_dir() else source)


def _free_name(folder: Path, name: str, order: ExportOrder) -> str:
    """The name, or with a number, under which none of an export's files stands in the folder."""
    names = {folded(entry.name) for entry in folder.iterdir()} if folder.is_dir() else set()
    endings = [SUFFIX if order.form == "file" else ""] + [".json", ".png"] * order.side_files
    endings += [] if order.holds_words else [WORDS]
    number, free = 1, name
    while any(folded(free + ending) in names for ending in endings):
        number += 1
        free = f"{name}-{number}"
    return free


def _arrive(waiting: Path, folder: Path, files: Mapping[str, bytes]) -> list[Path]:
    """Give the written files their names in the folder, all or none."""
    tops = list(dict.fromkeys(path.split("/")[0] for path in files))
    arrived: list[Path] = []
    try:
        for top in tops:
            target = folder / top
            with atomic.disk_errors(target):
                if target.exists():
                    raise BadInput(
                        "{target} has come to be there meanwhile.", "Export once more.", target=target
                    )
                os.rename(waiting / top, target)
            arrived.append(target)
    except BaseException:
        for path in arrived:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        raise
    return arrived


def _notes(style: Style, order: ExportOrder, name: str, difference: float) -> tuple[Text, ...]:
    """What the artist should know of this export beside the lists."""
    card = style.card
    notes = list(card.problems)
    if not card.licence:
        notes.append(
            Text("It names no licence, so nobody knows what they may do with it: choose one in its card.")
        )
    if not card.rights and not card.bake:
        notes.append(
            Text("It doesn't say that you have the right to the artworks: its card has a place for it.")
        )
    if card.bake:
        notes.extend(card.bake.warnings)
    if not TAG.fullmatch(name):
        notes.append(
            Text(
                "Programs whose tags hold English letters alone, such as tag loaders of ComfyUI, can't say its name in a prompt: export it under another one for them."
            )
        )
    if style.embeddings:
        words = ", ".join(style.embeddings)
        notes.append(
            Text(
                "Its own words ({words}) are in the file. For programs that can't use them there, export it with its words apart.",
                words=words,
            )
            if order.holds_words
            else Text(
                "Its own words ({words}) are in {folder}, a file for each: other programs read them from their folder of embeddings.",
                words=words,
                folder=name + WORDS,
            )
        )
    if card.kind not in ("LoRA", "LoCon"):
        notes.append(Text("It came as {kind} and is written as a LoRA that does the same.", kind=card.kind))
    if order.form == "file" and len({(layer.network, layer.alpha) for layer in style.layers}) > len(
        {layer.network for layer in style.layers}
    ):
        notes.append(
            Text("Its layers had different alphas; they are written with one, as diffusers reads no other.")
        )
    if difference > ROUNDING:
        notes.append(Text("fp16 rounds it by {difference:.1%} of its change.", difference=difference))
    return tuple(notes)


def _differs(style: Style, how: str) -> Failure:
    return Failure(
        "What was written of “{style}” doesn't read back: {how}.",
        "Nothing was left behind. Look at the disk.",
        style=style.name,
        how=how,
    )
