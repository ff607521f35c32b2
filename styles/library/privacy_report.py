"""What others will see of a style: every entry of its file, with what kind of thing it tells, before it leaves."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from styles.formats.metadata import CARD_KEY, COUNTS, trigger_counts
from styles.formats.safetensors_header import split_file
from styles.formats.textual_inversion import WORD_KEY, words_among
from styles.storage.names import clean_text
from styles.text import Text

KINDS = {
    "file": Text("what other programs need to open it"),
    "card": Text("what its card says"),
    "training": Text("numbers of its training"),
    "picture": Text("a small picture"),
    "captions": Text("words that the artworks were described with"),
    "names": Text("names of files or folders"),
    "dates": Text("when it was made"),
    "other": Text("from a program that is not known"),
}
PRIVATE = frozenset(["captions", "names", "dates"])
CAPTION_KEYS = frozenset([COUNTS])
NAME_KEYS = frozenset(
    ["ss_dataset_dirs", "ss_reg_dataset_dirs", "ss_vae_name", "ss_training_comment", "ss_session_id"]
)
DATE_KEYS = frozenset(["modelspec.date", "ss_training_started_at", "ss_training_finished_at"])
# kohya's list of all its data sets tells folders and tags in one entry.
BOTH_KEYS = frozenset(["ss_datasets"])
FILE_KEYS = frozenset(
    [
        "ss_base_model_version",
        "ss_v2",
        "ss_network_module",
        "ss_network_dim",
        "ss_network_alpha",
        "ss_output_name",
    ]
    + ["sshs_model_hash", "sshs_legacy_hash", "lora_adapter_metadata", "format", "ss_network_args"]
    + [f"modelspec.{key}" for key in ("sai_model_spec", "architecture", "implementation", "hash_sha256")]
)
TRAINING_SPEC = frozenset(["modelspec.resolution", "modelspec.prediction_type"])
PATH = re.compile(
    r"(?:^|[\s\"'(\[{:,])(?:[A-Za-z]:[\\/]|\\\\|~/|/(?:home|Users|mnt|media|content|workspace|data|tmp)/)"
)
FILE_NAME = re.compile(r"\.(?:safetensors|ckpt|pt|png|jpe?g|webp|txt)\b", re.IGNORECASE)
LONGEST_SHOWN = 400  # characters


@dataclass(frozen=True)
class PrivacyEntry:
    """One thing that others will see: an entry of `where`, its text (cut for a view), and its kind of KINDS."""

    where: str
    key: str
    value: str
    kind: str
    length: int  # characters of the whole text

    @property
    def private(self) -> bool:
        """Whether it is of a kind that is written only if the artist says so."""
        return self.kind in PRIVATE


def shown_metadata_of(metadata: Mapping[str, str], where: str) -> tuple[PrivacyEntry, ...]:
    """List every entry of a file's metadata; the entries of our own card one by one."""
    rows: list[PrivacyEntry] = []
    for key in sorted(metadata):
        entries = _entries(metadata[key]) if key == CARD_KEY else []
        if not entries:
            only_trigger = key == COUNTS and metadata[key] == trigger_counts(
                metadata.get("modelspec.trigger_phrase", "")
            )
            kind = "card" if only_trigger else kind_of(key, metadata[key])
            rows.append(_row(where, key, metadata[key], kind))
        for name, value in entries:
            kind = "training" if name.startswith(("training.", "bake.")) else "card"
            if names_files(value):
                kind = "names"
            rows.append(_row(where, f"{CARD_KEY}: {name}", value, kind))
    return tuple(rows)


def shown_files(files: Mapping[str, bytes]) -> tuple[PrivacyEntry, ...]:
    """List all that the files of an export tell, by their path: names, metadata, side texts and pictures."""
    rows: list[PrivacyEntry] = []
    for path, data in files.items():
        rows.append(_row(path, "file name", path, "card"))
        if path.endswith(".safetensors"):
            header, section = split_file(data)
            metadata = header.pop("__metadata__", {})
            rows.extend(shown_metadata_of(metadata, path))
            if words := words_among(header, metadata):
                rows.append(_row(path, "words", ", ".join(words), "card"))
            size = Text(
                "{count} tensors, {size:.1f} MB: the style itself",
                count=len(header),
                size=len(section) / 1e6,
            )
            rows.append(_row(path, "tensors", size, "file"))
        elif path.endswith(".json"):
            values = json.loads(data)
            kind = "file" if "/" in path else "card"
            texts = {
                key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()
            }
            rows.extend(
                _row(path, key, text, "names" if names_files(text) else kind) for key, text in texts.items()
            )
        elif path.endswith(".md"):
            rows.append(_row(path, "page", data.decode("utf-8"), "card"))
        else:
            rows.append(_row(path, "picture", Text("{count} bytes, pixels only", count=len(data)), "picture"))
    return tuple(rows)


def kind_of(key: str, value: str) -> str:
    """Say what kind of thing an entry of a style file's metadata tells."""
    if key in CAPTION_KEYS | BOTH_KEYS:
        return "captions"
    if key in NAME_KEYS or (key != "modelspec.thumbnail" and names_files(value)):
        return "names"
    if key in DATE_KEYS:
        return "dates"
    if key in FILE_KEYS:
        return "file"
    if key == "modelspec.thumbnail" or key.startswith("ssmd_cover"):
        return "picture"
    if key in TRAINING_SPEC or (key.startswith("ss_") and key != "ss_sd_model_name"):
        return "training"
    return (
        "card" if key.startswith("modelspec.") or key in (CARD_KEY, WORD_KEY, "ss_sd_model_name") else "other"
    )


def names_files(value: str) -> bool:
    """Whether a text seems to name a file or folder."""
    return bool(PATH.search(value) or FILE_NAME.search(value))


def _row(where: str, key: str, value: str, kind: str) -> PrivacyEntry:
    text = value if kind != "picture" else Text("{count} characters of a picture", count=len(value))
    return PrivacyEntry(
        clean_text(where, 200), clean_text(key, 200), clean_text(text, LONGEST_SHOWN), kind, len(value)
    )


def _entries(text: str) -> list[tuple[str, str]]:
    try:
        values = json.loads(text)
        return list(_leaves(values)) if isinstance(values, dict) and values else []
    except (ValueError, RecursionError):
        return []


def _leaves(values: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield (dotted name, text) of a JSON value; a longer list of numbers is one text."""
    if isinstance(values, dict) and values and not (len(values) > 8 and _numbers(values.values())):
        for key, value in values.items():
            yield from _leaves(value, f"{name}.{key}" if name else str(key))
    elif isinstance(values, list) and any(isinstance(value, dict) for value in values):
        for number, value in enumerate(values, 1):
            yield from _leaves(value, f"{name} {number}")
    else:
        yield name, values if isinstance(values, str) else json.dumps(values, ensure_ascii=False)


def _numbers(values: Any) -> bool:
    return all(isinstance(value, int | float) for value in values)
