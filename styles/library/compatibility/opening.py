"""Where a style opens: the rules by which other programs take or leave a file, kept here as checks with a reason.

Each rule was read in the program's own source, at the versions that `SOURCES` names: A1111 (extensions-builtin/Lora),
Forge (sd_forge_lora, packages_3rdparty/comfyui_lora_collection), ComfyUI (comfy/lora.py, comfy/weight_adapter,
comfy/sd1_clip.py, server.py), InvokeAI (model_manager/configs/lora.py, model_manager/util/model_util.py,
model_manager/load/model_loaders/lora.py, backend/patches), diffusers (loaders/lora_pipeline.py,
loaders/lora_conversion_utils.py, utils/state_dict_utils.py, utils/peft_utils.py). Only the header is read, and the alphas.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from styles import families
from styles.families import family_of, family_of_words
from styles.formats.metadata import claimed_family
from styles.formats.peft import open_adapters
from styles.formats.safetensors_header import Header, TensorEntry, number_in, open_header, open_style_file
from styles.formats.textual_inversion import BUNDLED
from styles.library.compatibility.checks import CompatibilityCheck, File
from styles.library.compatibility.programs import SOURCES, TOOLS
from styles.text import Text

YES, PARTLY, NO, UNKNOWN = "yes", "partly", "no", "unknown"
OPENS = {YES: Text("yes"), PARTLY: Text("partly"), NO: Text("no"), UNKNOWN: Text("unknown")}
PREFIXES = ("lora_unet_", "lora_te_", "lora_te1_", "lora_te2_")


@dataclass(frozen=True)
class Compatibility:
    """Whether a program opens a style: yes, partly (some layers are left out or changed), no or unknown."""

    tool: str
    opens: str
    checks: tuple[CompatibilityCheck, ...]

    @property
    def reasons(self) -> tuple[Text, ...]:
        """Why it doesn't open wholly, and what else is worth knowing, in sentences."""
        return tuple(check.says for check in self.checks if not check.kept)

    @property
    def words(self) -> Text:
        """One line: the program, and why it does not open the style where it doesn't."""
        return Text.joined(
            " ", [Text("{tool}: {opens}.", tool=self.tool, opens=OPENS[self.opens]), *self.reasons]
        )


def opens_in(path: Path) -> tuple[Compatibility, ...]:
    """Tell for each program whether it opens the style in a file or PEFT folder; raises StyleFileError for neither."""
    if os.path.isdir(path):
        return _folder_opens(path)
    header = open_header(path)
    with open_style_file(path) as file:
        start = file.read(10)[8:]
        looked = _look(header, start, path.stem, lambda entry: _scalar(file, header, entry))
    return tuple(_opening(tool, rules(looked)) for tool, rules in TOOLS.items())


def _opening(tool: str, checks: list[CompatibilityCheck]) -> Compatibility:
    broken = {check.matters for check in checks if not check.kept}
    for matters, opens in (("unknown", UNKNOWN), ("all", NO), ("part", PARTLY)):
        if matters in broken:
            return Compatibility(tool, opens, tuple(checks))
    return Compatibility(tool, YES, tuple(checks))


def sources_words() -> Text:
    """Say which versions of the programs the rules are of, and when they were read there."""
    named = [
        f"{tool} {source.version}" + (f" ({source.of})" if source.of else "")
        for tool, source in SOURCES.items()
    ]
    return Text(
        "By the programs' own rules, as of {versions}; read on {date}.",
        versions=", ".join(named),
        date=min(source.read for source in SOURCES.values()),
    )


def _folder_opens(path: Path) -> tuple[Compatibility, ...]:
    adapters = open_adapters(path)
    here = CompatibilityCheck(
        "place",
        adapters[0].file.parent == path,
        Text("Its layers lie in a folder inside of it: give it that one."),
        "part",
    )
    named = CompatibilityCheck(
        "names",
        all(key.startswith("base_model.model.") for adapter in adapters for key in adapter.header.tensors),
        Text("Its layers have other names."),
    )
    by_pipeline = CompatibilityCheck(
        "pipeline",
        False,
        Text(
            "Its `load_lora_weights` finds nothing in a PEFT folder: export the style as a folder for the Hub."
        ),
    )
    other = CompatibilityCheck(
        "form", False, Text("It reads files in the kohya form, not PEFT folders: export the style as a file.")
    )
    return (
        _opening("PEFT", [here, named]),
        _opening("diffusers", [by_pipeline]),
        *(_opening(tool, [other]) for tool in TOOLS if tool != "diffusers"),
    )


def _look(header: Header, start: bytes, name: str, read: Callable[[TensorEntry], float | None]) -> File:
    """Sort a header's tensors into layers, in the order in which they stand in the file."""
    layers: dict[str, dict[str, TensorEntry]] = {}
    odd, words = [], []
    ordered = sorted(header.tensors.items(), key=lambda item: (item[1].begin, item[1].end))
    for key, entry in ordered:
        stem, dot, part = key.partition(".")
        if dot and key.startswith(PREFIXES):
            layers.setdefault(stem, {})[part] = entry
        elif word := BUNDLED.fullmatch(key):
            words.append(word[1])
        else:
            odd.append(key)
    alphas = {stem: read(parts["alpha"]) for stem, parts in layers.items() if "alpha" in parts}
    return File(
        name=name,
        starts=start,
        header_bytes=header.data_start - 8,
        metadata=header.metadata,
        layers=layers,
        alphas={stem: alpha for stem, alpha in alphas.items() if alpha is not None},
        odd=tuple(odd),
        words=tuple(dict.fromkeys(words)),
        family=family_of(_family(layers, header.metadata)),
    )


def _family(layers: Mapping[str, Mapping[str, TensorEntry]], metadata: dict[str, str]) -> str:
    widths = {
        parts["lora_down.weight"].shape[1]
        for stem, parts in layers.items()
        if stem.endswith(("attn2_to_k", "attn2_to_v")) and len(parts.get("lora_down.weight", NONE).shape) > 1
    }
    if len(widths) == 1:
        return _of_words(widths.pop(), metadata)
    if any(stem.startswith(("lora_te1_", "lora_te2_")) for stem in layers):
        return families.SDXL.id
    for stem, parts in layers.items():
        if stem.startswith("lora_te_") and stem.endswith("self_attn_q_proj"):
            shape = parts.get("lora_down.weight", NONE).shape
            return _of_words(shape[1] if len(shape) > 1 else 0, metadata)
    return claimed_family(metadata) or families.UNKNOWN.id


def _of_words(width: int, metadata: dict[str, str]) -> str:
    family, claimed = family_of_words(width), family_of(claimed_family(metadata))
    return (family or (claimed if claimed.is_own and claimed.words == width else families.UNKNOWN)).id


NONE = TensorEntry("F16", (), 0, 0)


def _scalar(file: BinaryIO, header: Header, entry: TensorEntry) -> float | None:
    """Read a tensor of a single number; None where it is none."""
    if entry.shape not in ((), (1,)):
        return None
    file.seek(header.data_start + entry.begin)
    return number_in(file.read(entry.end - entry.begin), entry.dtype)
