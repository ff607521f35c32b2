"""What other tools keep beside a style: a picture, and texts with its trigger words.

A1111 and InvokeAI write `NAME.png` and `NAME.json` (https://github.com/AUTOMATIC1111/stable-diffusion-webui,
modules/ui_extra_networks_user_metadata.py), LoRA Manager of ComfyUI `NAME.metadata.json`
(https://github.com/willmiao/ComfyUI-Lora-Manager, py/utils/models.py), Stability Matrix `NAME.cm-info.json`
(https://github.com/LykosAI/StabilityMatrix, ConnectedModelInfo.cs), SwarmUI `NAME.swarm.json` (T2IModelHandler.cs),
Civitai Helper `NAME.civitai.info`, which is Civitai's answer about a version. What the style's own file says counts more.
"""

from __future__ import annotations

import html
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from styles.formats.style import MOST_TAGS, TEXT_LIMITS, StyleCard
from styles.library.folder import FILM_ENDINGS, PICTURE_ENDINGS, TEXT_ENDINGS, name_of
from styles.mixing.blend import STRONGEST
from styles.storage.file_reading import open_file, read_json
from styles.storage.picture_budget import check_shown
from styles.text import Text

LARGEST_TEXT = 1 << 20  # bytes
LARGEST_PICTURE = 64 << 20
LONGEST_HTML = 40_000  # characters
MARK = re.compile(r"<[a-zA-Z/!][^<>]{0,2000}>")
LINE_END = re.compile(r"<(?:br|/p|/li|/h\d|/div)\b[^<>]{0,200}>", re.IGNORECASE)


def with_side_text(card: StyleCard, path: Path) -> StyleCard:
    """Return a style's card with what the texts beside its file add; a text that can't be read adds nothing.

    A preview that is a film alone is named among the card's problems.
    """
    for ending, read in READERS.items():
        said = read(_side_text(path.with_name(name_of(path) + ending)))
        changes = {name: value for name, value in said.items() if value and not getattr(card, name)}
        weight: Any = changes.pop("suggested_weight", None) or said.get("suggested_weight")
        # 0 is what A1111 writes where nothing was chosen.
        usable = isinstance(weight, int | float) and 0 < abs(weight) < 100  # NaN is neither
        if card.suggested_weight == 1.0 and usable:
            changes["suggested_weight"] = max(-STRONGEST, min(STRONGEST, float(weight)))
        if changes:
            card = replace(card, **changes)
    if not card.thumbnail and (film := _film(path)) and not has_picture(path):
        note = Text("Its preview {file} is a film, of which no picture is taken.", file=film.name)
        card = replace(card, problems=(*card.problems, note))
    return card


def _film(path: Path) -> Path | None:
    films = (path.with_name(name_of(path) + ending) for ending in FILM_ENDINGS)
    return next((film for film in films if os.path.isfile(film)), None)


def _of_a1111(values: Mapping[str, Any]) -> dict[str, Any]:
    """The artist's own words in A1111; SwarmUI and others write trigger words there, too."""
    return {
        "trigger": _line(values.get("activation text")) or _words(values.get("trainedWords")),
        "description": _plain(values.get("description")),
        "suggested_weight": values.get("preferred weight"),
    }


def _of_lora_manager(values: Mapping[str, Any]) -> dict[str, Any]:
    """`usage_tips` is JSON in a text; what Civitai says of the version stands under `civitai`."""
    civitai = _table(values.get("civitai"))
    return {
        "trigger": _words(civitai.get("trainedWords")),
        "description": _line(values.get("notes"))
        or _plain(values.get("modelDescription"))
        or _plain(civitai.get("description")),
        "author": _line(_table(civitai.get("creator")).get("username")),
        "tags": _tags(values.get("tags")),
        "suggested_weight": _table(_json(values.get("usage_tips"))).get("strength"),
    }


def _of_stability_matrix(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "trigger": _words(values.get("TrainedWords")),
        "description": _plain(values.get("VersionDescription")) or _plain(values.get("ModelDescription")),
        "author": _line(values.get("AuthorUsername")),
        "tags": _tags(values.get("Tags")),
    }


def _of_swarm(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same names as in the metadata of a file, whose place this text takes for SwarmUI."""
    said = {**values, **_table(values.get("__metadata__"))}
    spec = {key.removeprefix("modelspec."): value for key, value in said.items() if isinstance(value, str)}
    return {
        "trigger": _line(spec.get("trigger_phrase")),
        "description": _plain(spec.get("description")),
        "author": _line(spec.get("author")),
        "licence": _line(spec.get("license")),
        "tags": _tags(spec.get("tags", "").split(",")),
        "suggested_weight": _number(spec.get("lora_default_weight")),
    }


def _of_civitai(values: Mapping[str, Any]) -> dict[str, Any]:
    model = _table(values.get("model"))
    return {
        "trigger": _words(values.get("trainedWords")),
        "description": _plain(values.get("description")) or _plain(model.get("description")),
        "author": _line(_table(values.get("creator")).get("username")),
        "tags": _tags(model.get("tags")),
    }


READERS: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = dict(
    zip(
        TEXT_ENDINGS,
        (_of_a1111, _of_lora_manager, _of_stability_matrix, _of_swarm, _of_civitai),
        strict=True,
    )
)


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _json(value: Any) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) and len(value) <= LARGEST_TEXT else None
    except (ValueError, RecursionError):
        return None


def _line(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _words(value: Any) -> str:
    """Trigger words, as many as a card has room for."""
    text = ""
    for word in _tags(value):
        longer = f"{text}, {word}" if text else word
        if len(longer) > TEXT_LIMITS["trigger"]:
            break
        text = longer
    return text


def _tags(value: Any) -> tuple[str, ...]:
    """A list of words, each once; some end with the comma that stood behind them."""
    words = value if isinstance(value, list) else []
    lines = (_line(word).strip(" ,") for word in words[: MOST_TAGS * 4])
    return tuple(dict.fromkeys(line for line in lines if line))[:MOST_TAGS]


def _plain(value: Any) -> str:
    """The text of a piece of HTML, such as Civitai's descriptions are."""
    text = _line(value)[:LONGEST_HTML]
    if not MARK.search(text):
        return text
    lines = html.unescape(MARK.sub("", LINE_END.sub("\n", text))).splitlines()
    return "\n".join(line.strip() for line in lines if line.strip())


def side_thumbnail(path: Path) -> bytes | None:
    """Return the picture beside a style as a 256x256 JPEG without metadata; None where there is none that opens."""
    for ending in PICTURE_ENDINGS:
        picture = path.with_name(name_of(path) + ending)
        if os.path.isfile(picture) and (thumbnail := thumbnail_of(picture)):
            return thumbnail
    return None


def has_picture(path: Path) -> bool:
    """Whether a picture lies beside a style, without opening it."""
    return any(os.path.isfile(path.with_name(name_of(path) + ending)) for ending in PICTURE_ENDINGS)


def without_picture(files: Iterable[str]) -> set[str]:
    """Return those of some styles beside which no picture lies, by one look into each folder."""
    names: dict[str, set[str]] = {}
    places = set()
    for file in files:
        folder = os.path.dirname(file)
        if folder not in names:
            try:
                names[folder] = {os.path.normcase(name) for name in os.listdir(folder)}
            except OSError:  # taken away since it was listed
                names[folder] = set()
        pictures = (os.path.normcase(name_of(file) + ending) for ending in PICTURE_ENDINGS)
        if names[folder].isdisjoint(pictures):
            places.add(file)
    return places


def thumbnail_of(picture: Path) -> bytes | None:
    """Return a picture's file as a thumbnail, None where it is none that can be opened."""
    from PIL import Image

    from styles.formats.thumbnail import thumbnail_jpeg

    try:
        with open_file(picture) as file:
            if os.fstat(file.fileno()).st_size > LARGEST_PICTURE:
                return None
            with Image.open(file, formats=("JPEG", "PNG", "WEBP")) as image:
                check_shown(image)
                return thumbnail_jpeg(image)
    # Pillow's decoders raise anything of damaged bytes: KeyError, TypeError, struct.error, ...
    except Exception:
        return None


def _side_text(file: Path) -> dict[str, Any]:
    try:
        values = read_json(file, LARGEST_TEXT)
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
