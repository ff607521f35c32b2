"""Style files in the names of diffusers: what its own training scripts write, now and at first.

`[unet.]<path>.lora_A.weight`, `[unet.]<path>.lora.down.weight` and, the oldest,
`[unet.]<path>.attn2.processor.to_k_lora.down.weight`; of text encoders also `lora_linear_layer` and
`self_attn.to_q_lora` (https://huggingface.co/docs/diffusers/api/loaders/lora). PEFT's own names,
`base_model.model.<path>.lora_A.weight`, belong here as well. Read only; Atelier writes kohya's names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from styles.errors import StyleFileError
from styles.formats.layer_keys import LOHA, LOKR, LayerKeys, grouped, unknown
from styles.formats.layer_tables import is_layer
from styles.formats.patterns import Work
from styles.formats.peft import PEFT_ROOT, PeftSettings

NOW = re.compile(
    r"(unet|text_encoder|text_encoder_2|base_model\.model)\.([\w.]{1,200}?)\."
    r"(?:(?:lora_([AB])|lora\.(down|up)|lora_linear_layer\.(down|up))\.weight|(alpha)"
    rf"|({'|'.join(sorted(LOHA | LOKR, reverse=True))})(?:\.weight)?)"
)
BARE = re.compile(r"([\w.]{1,200}?)\.(?:lora_([AB])|lora\.(down|up))\.weight")  # of `save_lora_adapter`
OLDEST = re.compile(r"(?:unet\.)?([\w.]{1,200})\.processor\.(to_q|to_k|to_v|to_out)_lora\.(down|up)\.weight")
OLDEST_TEXT = re.compile(
    r"(text_encoder|text_encoder_2)\.([\w.]{1,200}\.self_attn)\.to_(q|k|v|out)_lora\.(down|up)\.weight"
)
SETTINGS = "lora_adapter_metadata"
LONGEST_SETTINGS = 4 << 20  # characters; what they are read into takes twenty times that


def is_diffusers(keys: Iterable[str]) -> bool:
    """Whether the file's names are diffusers' or PEFT's own."""
    forms = (NOW, BARE, OLDEST, OLDEST_TEXT)
    return any(form.fullmatch(key) for key in keys if not key.startswith("lora_") for form in forms)


def layer_keys(
    keys: Iterable[str], metadata: Mapping[str, str], settings: Mapping[str, PeftSettings] | None = None
) -> list[LayerKeys]:
    """Group a file's tensor names into layers, sorted; raises StyleFileError unless all are understood.

    `settings` are those beside PEFT's files, by what their names begin with; else a file's own are in its metadata.
    """
    keys = sorted(keys)
    several = any(key.startswith("text_encoder_2.") for key in keys)
    read = {key: _read(key, several) for key in keys}
    layers = grouped((network, path, part, key) for key, (_, network, path, part, _) in read.items())
    roots = {root for root, *_ in read.values()}
    work = Work()
    settings_of = {root: settings.get(root) if settings else _told(metadata, root, work) for root in roots}
    places = []
    for layer in layers:
        root, _, _, _, written = read[next(iter(layer.parts.values()))]
        if of := settings_of[root]:
            alpha, rank = of.at(written)
            layer = replace(layer, told_alpha=alpha, told_rank=rank, by_root=of.by_root)
        places.append(layer)
    return places


def _read(key: str, several: bool) -> tuple[str, str, str, str, str]:
    """Return (root, network, path, part, path as it is written) of a tensor's name."""
    root = "unet"
    if match := OLDEST_TEXT.fullmatch(key):
        root, part = match[1], match[4]
        written = f"{match[2]}.{match[3]}_proj"
    elif match := OLDEST.fullmatch(key):
        module = "to_out.0" if match[2] == "to_out" else match[2]
        written, part = f"{match[1]}.{module}", match[3]
    elif match := NOW.fullmatch(key):
        root, written = match[1], match[2]
        part = {"A": "down", "B": "up"}.get(match[3], "") or match[4] or match[5] or match[6] or match[7]
    elif match := BARE.fullmatch(key):
        root, written = "", match[1]
        part = {"A": "down", "B": "up"}.get(match[2], "") or match[3]
    else:
        raise unknown(key)
    for network, path in _candidates(root, written, several):
        if is_layer(network, path):
            return root, network, path, part, written
    raise unknown(key)


def _candidates(root: str, written: str, several: bool) -> list[tuple[str, str]]:
    """Return the (network, path) that a path may mean; a PEFT file doesn't say whose it is."""
    path = written.replace(".processor.", ".")
    whole = path.startswith(("text_model.", "text_projection"))
    text = path if whole else f"text_model.{path}"
    if root in ("unet", ""):
        return [("unet", path)]
    if root == PEFT_ROOT:
        return [("unet", path), ("te", text)]
    return [("te2" if root == "text_encoder_2" else "te1" if several else "te", text)]


def _told(metadata: Mapping[str, str], root: str, work: Work) -> PeftSettings | None:
    """Return PEFT's settings of one network from the file's metadata, None where there are none."""
    if SETTINGS not in metadata:
        return None
    try:
        values = json.loads(metadata[SETTINGS]) if len(metadata[SETTINGS]) <= LONGEST_SETTINGS else None
    except (ValueError, RecursionError) as error:
        raise StyleFileError("The strength that it names can't be read.", "Get the file again.") from error
    if not isinstance(values, dict):
        raise StyleFileError("The strength that it names can't be read.", "Get the file again.")
    start = f"{root}." if root else ""
    own = {key.removeprefix(start): value for key, value in values.items() if key.startswith(start)}
    return PeftSettings.read(own, work) if own else None
