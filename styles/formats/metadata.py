"""A style's card as the metadata of its file, and back.

What others read: kohya's `ss_*` and `sshs_*`, and `modelspec.*` 1.0.1
(https://github.com/Stability-AI/ModelSpec). Our own card is JSON under one key. Captions, folders and dates
are private and never written unless asked for; all text that comes in is data of strangers.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from styles.families import UNKNOWN, family_of, named_family
from styles.formats.bake_record import BakeRecord
from styles.formats.style import StyleCard
from styles.formats.thumbnail import LARGEST, public_thumbnail
from styles.storage.names import tag_name

CARD_KEY = "atelier_card"
COUNTS = "ss_tag_frequency"  # of tags in kohya's captions, by folder
NAMING_FAMILY = ("ss_base_model_version", "modelspec.architecture")
# What may be told of a training; anything else (prompts, pictures, folders, times) stays at home.
TOLD = frozenset(
    [
        "preset",
        "rank",
        "alpha",
        "learning_rate",
        "learning_rate_factor",
        "continued_from",
        "steps",
        "batch",
        "warmup_fraction",
        "caption_dropout",
        "min_snr_gamma",
        "noise_offset",
        "grad_clip",
        "flip",
        "opposite_every",
        "seed",
        "clip_skip",
        "quantize",
        "resolution_px",
        "layers",
        "gradient_accumulation",
        "weight_decay",
        "artworks",
        "masked",
        "unmasked_weight",
        "seconds",
        "epochs",
        "prediction_type",
        "base_layers",
        "optimizer",
        "final_loss",
        "precision",
        "parents",
    ]
)
OWN_TEXTS = ("trigger", "author", "licence", "rights", "description", "base_name", "base_fingerprint")
MOST_TAGS_READ = 2000  # of another tool's counts
LONGEST_PATH = 4000  # characters
# Characters of JSON inside the metadata, which can take twenty times that when it is read: our own card is shorter
# than a header that we write, counts of tags have a line for each caption.
LONGEST_CARD, LONGEST_COUNTS = 1 << 20, 4 << 20
LONGEST_ARGUMENTS = 10_000
STRENGTH = ("ss_network_dim", "ss_network_alpha", "ss_network_args")  # what `network_strength` reads
FROM_KOHYA = {  # our name: (theirs, how to read it)
    "steps": ("ss_max_train_steps", int),
    "learning_rate": ("ss_unet_lr", float),
    "alpha": ("ss_network_alpha", float),
    "artworks": ("ss_num_train_images", int),
    "epochs": ("ss_num_epochs", int),
    "seed": ("ss_seed", int),
    "clip_skip": ("ss_clip_skip", int),
}


def written_card(card: StyleCard, with_date: bool = False) -> StyleCard:
    """Return the card as it may be shared: nothing private, and a thumbnail without metadata."""
    from dataclasses import replace

    training = {k: v for k, v in card.training.items() if k in TOLD and _plain(v)}
    return replace(
        card,
        training=training,
        base_name=_without_folders(card.base_name),
        thumbnail=public_thumbnail(card.thumbnail),
        created=card.created if with_date else "",
        problems=(),
        path=None,
    )


def kohya_metadata(card: StyleCard, alpha: float) -> dict[str, str]:
    """Return the `ss_*` part."""
    family, v_prediction = family_of(card.family), card.training.get("prediction_type") == "v_prediction"
    side = card.training.get("resolution_px")
    values: dict[str, Any] = {
        "ss_base_model_version": family.base_version(v_prediction),
        "ss_v2": family.kohya_v2,
        "ss_network_module": "networks.lora",
        "ss_network_dim": card.rank,
        "ss_network_alpha": alpha,
        "ss_output_name": tag_name(card.name),  # A1111 and Forge put it into the prompt's tag
        "ss_sd_model_name": card.base_name,
        "ss_learning_rate": card.training.get("learning_rate"),
        "ss_unet_lr": card.training.get("learning_rate"),
        "ss_max_train_steps": card.training.get("steps"),
        "ss_num_train_images": card.training.get("artworks"),
        "ss_seed": card.training.get("seed"),
        "ss_clip_skip": card.training.get("clip_skip"),
        # The managers of ComfyUI read trigger words nowhere else.
        COUNTS: trigger_counts(card.trigger),
        # Of our own: no other program notes it.
        "ss_base_quantize": card.training.get("quantize"),
        "ss_resolution": f"({side}, {side})" if side else None,
    }
    return {key: str(value) for key, value in values.items() if value not in (None, "")}


def trigger_counts(trigger: str) -> str:
    """Return kohya's counts of tags with the words of a trigger alone, empty without one."""
    words = [word.strip() for word in trigger.split(",") if word.strip()]
    return json.dumps({"trigger": dict.fromkeys(words, 1)}, ensure_ascii=False) if words else ""


def shown_metadata(card: StyleCard, tensor_sha256: str) -> dict[str, str]:
    """Return the `modelspec.*` part and our own card."""
    prediction = card.training.get("prediction_type")
    architecture = family_of(card.family).architecture(prediction == "v_prediction")
    side = card.training.get("resolution_px")
    values: dict[str, Any] = {
        "sai_model_spec": "1.0.1",
        "architecture": f"{architecture}/lora",
        "implementation": "diffusers",
        "title": card.name,
        "resolution": f"{side}x{side}" if side else None,
        "author": card.author,
        "description": card.description,
        "date": card.created,
        "license": card.licence,
        "trigger_phrase": card.trigger,
        "lora_default_weight": f"{card.suggested_weight:g}",  # SwarmUI
        "tags": ", ".join(tag.replace(",", " ") for tag in card.tags),
        "prediction_type": {"v_prediction": "v"}.get(str(prediction), prediction),
        "hash_sha256": f"0x{tensor_sha256}",
    }
    if card.bake:
        # A comma ends a title in this list.
        values["merged_from"] = ", ".join(parent.name.replace(",", " ") for parent in card.bake.parents)
    if card.thumbnail:
        values["thumbnail"] = "data:image/jpeg;base64," + base64.b64encode(card.thumbnail).decode("ascii")
    own = {name: getattr(card, name) for name in OWN_TEXTS if getattr(card, name)}
    own |= {
        "format": 1,
        "name": card.name,
        "suggested_weight": card.suggested_weight,
        "training": card.training,
    }
    if card.tags:
        own["tags"] = list(card.tags)
    if card.bake:
        own["bake"] = card.bake.to_json()
    entries = {f"modelspec.{key}": str(value) for key, value in values.items() if value not in (None, "")}
    return entries | {CARD_KEY: json.dumps(own, ensure_ascii=False, sort_keys=True)}


def card_texts(metadata: dict[str, str], stem: str) -> dict[str, Any]:
    """Read name, texts, tags, weight, training and thumbnail from a file's metadata, as arguments of StyleCard.

    Our own card first, else what other tools write; what can't be read is left out.
    """
    own = _own_card(metadata)
    spec = {
        key.removeprefix("modelspec."): value
        for key, value in metadata.items()
        if key.startswith("modelspec.")
    }
    name = own.get("name")
    texts: dict[str, Any] = {
        "name": (isinstance(name, str) and name)
        or spec.get("title")
        or metadata.get("ss_output_name")
        or stem,
        "trigger": spec.get("trigger_phrase") or _trigger_of_counts(metadata.get(COUNTS, "")),
        "author": spec.get("author", ""),
        "licence": spec.get("license", ""),
        "description": spec.get("description", ""),
        "base_name": metadata.get("ss_sd_model_name", ""),
        "created": spec.get("date", ""),
        "thumbnail": _thumbnail(spec.get("thumbnail", "")),
        "tags": _tags(own.get("tags", spec.get("tags", ""))),
    }
    texts |= {name: own[name] for name in OWN_TEXTS if isinstance(own.get(name), str)}
    texts["base_name"] = _without_folders(texts["base_name"])
    if type(own.get("suggested_weight")) in (int, float) and _plain(own["suggested_weight"]):
        texts["suggested_weight"] = own["suggested_weight"]
    elif (weight := _weight(spec.get("lora_default_weight", ""))) is not None:
        texts["suggested_weight"] = weight
    training = own.get("training") if own else _kohya_training(metadata)
    if isinstance(training, dict):
        texts["training"] = {k: v for k, v in training.items() if k in TOLD and _plain(v)}
    if "bake" in own:
        texts["bake"] = BakeRecord.from_json(own["bake"])
    return texts


def claimed_family(metadata: Mapping[str, str]) -> str:
    """Return the family that the metadata names, or empty; shapes are the better witness."""
    family = named_family(*(metadata.get(key, "") for key in NAMING_FAMILY))
    return "" if family is UNKNOWN else family.id


def network_strength(metadata: Mapping[str, str], *, convolution: bool) -> tuple[float, int]:
    """Return the (alpha, rank) that kohya's metadata says a network was trained with; (0, 0) where it doesn't.

    LyCORIS may be told others for convolutions of a kernel, in `ss_network_args`.
    """
    told = {"dim": metadata.get("ss_network_dim"), "alpha": metadata.get("ss_network_alpha")}
    text = metadata.get("ss_network_args", "")
    try:
        arguments = json.loads(text) if convolution and len(text) <= LONGEST_ARGUMENTS else {}
        for name in told:
            told[name] = arguments.get(f"conv_{name}", told[name])
        rank, alpha = int(str(told["dim"])), float(str(told["alpha"]))
    except (ValueError, AttributeError, RecursionError):
        return 0.0, 0
    return (alpha, rank) if 0 < alpha < 1e6 and 0 < rank < 1e6 else (0.0, 0)


def _own_card(metadata: dict[str, str]) -> dict[str, Any]:
    text = metadata.get(CARD_KEY, "{}")
    try:
        own = json.loads(text) if len(text) <= LONGEST_CARD else {}
    except (ValueError, RecursionError):
        return {}
    return own if isinstance(own, dict) else {}


def _kohya_training(metadata: dict[str, str]) -> dict[str, int | float]:
    numbers: dict[str, int | float] = {}
    for name, (theirs, read) in FROM_KOHYA.items():
        try:
            numbers[name] = read(metadata[theirs])
        except (KeyError, ValueError, OverflowError):
            continue
    return {name: value for name, value in numbers.items() if _plain(value)}


def _weight(text: str) -> float | None:
    try:
        weight = float(text)
    except ValueError:
        return None
    return weight if 0 < abs(weight) < 10 else None  # NaN is neither


def _plain(value: Any) -> bool:
    """Whether a value is a short word or a finite number."""
    if isinstance(value, str):
        return bool(re.fullmatch(r"[\w +.,:()-]{0,80}", value))
    return isinstance(value, int | float) and -1e15 < value < 1e15


def _without_folders(name: str) -> str:
    """Keep only the last part of a path; a Hub id such as `owner/name` stays."""
    if re.fullmatch(r"[\w.-]+/[\w.-]+", name) and not name.startswith((".", "~")):
        return name
    return re.split(r"[\\/]", name[-LONGEST_PATH:].rstrip("\\/"))[-1]


def _tags(raw: Any) -> tuple[str, ...]:
    """Read a list of tags, or tags with commas between; what is neither has none."""
    tags = raw.split(",", MOST_TAGS_READ) if isinstance(raw, str) else raw if isinstance(raw, list) else []
    return tuple(tag.strip() for tag in tags[:MOST_TAGS_READ] if isinstance(tag, str) and tag.strip())


def _trigger_of_counts(text: str) -> str:
    """Guess the trigger from kohya's counts of tags, `{folder: {tag: times}}`: what all captions have, and few tags are.

    Empty where the captions are whole sentences, or too many tags are in all of them to tell which one it was.
    """
    try:
        folders = json.loads(text) if 0 < len(text) <= LONGEST_COUNTS else {}
        counts: Counter[str] = Counter()
        for tags in folders.values():
            for tag, times in list(tags.items())[:MOST_TAGS_READ]:
                counts[str(tag).strip()] += int(times)
    except (ValueError, TypeError, AttributeError, RecursionError, OverflowError):
        return ""
    most = max(counts.values(), default=0)
    commonest = [tag for tag, times in counts.items() if tag and times == most]
    return ", ".join(commonest) if most >= 3 and len(commonest) <= 3 and len(counts) > len(commonest) else ""


def _thumbnail(uri: str) -> bytes | None:
    head, _, data = uri.partition(",")
    if head != "data:image/jpeg;base64" or len(data) > 2 * LARGEST:
        return None
    try:
        picture = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return None
    return picture if picture.startswith(b"\xff\xd8\xff") else None
