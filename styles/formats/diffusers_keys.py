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
    told = {root: settings.get(root) if settings else _told(metadata, root, work) for root in roots}
    found = []
    for layer in layers:
        root, _, _, _, written = read[next(iter(layer.parts.values()))]
        if of := told[root]:
            alpha, rank = of.at(written)
            layer = replace(layer, told_alpha=alpha, told_rank=rank, by_root=of.by_root)
        found.append(layer)
    return found


def _read(key: str, several: bool) -> tuple[str, str, str, str, str]:
    """Return (root, network, path, part, path as it is written) of a tensor's name."""
    root = "unet"
    if found := OLDEST_TEXT.fullmatch(key):
        root, part = found[1], found[4]
        written = f"{found[2]}.{found[3]}_proj"
    elif found := OLDEST.fullmatch(key):
        module = "to_out.0" if found[2] == "to_out" else found[2]
        written, part = f"{found[1]}.{module}", found[3]
    elif found := NOW.fullmatch(key):
        root, written = found[1], found[2]
        part = {"A": "down", "B": "up"}.get(found[3], "") or found[4] or found[5] or found[6] or found[7]
    elif found := BARE.fullmatch(key):
        root, written = "", found[1]
        part = {"A": "down", "B": "up"}.get(found[2], "") or found[3]
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
