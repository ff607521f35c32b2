"""Style files whose names are the paths of modules, with dots: those of diffusers, PEFT, ComfyUI and OneTrainer.

diffusers writes `[unet.]<path>.lora_A.weight`, `[unet.]<path>.lora.down.weight` and, the oldest,
`[unet.]<path>.attn2.processor.to_k_lora.down.weight`; of text encoders also `lora_linear_layer` and
`self_attn.to_q_lora` (https://huggingface.co/docs/diffusers/api/loaders/lora). PEFT's own names are
`base_model.model.<path>.lora_A.weight`. ComfyUI's generic ones are the original (SGM) blocks behind `diffusion_model.`
and CLIP behind `text_encoders.clip_l.transformer.` (`comfy/lora.py`, its node LoraSave); OneTrainer writes these, or
the blocks without anything before them (`modules/modelSaver/mixin/LoRASaverMixin.py`). Read only; Atelier writes
kohya's names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from styles.errors import StyleFileError
from styles.formats.kohya import sgm_path
from styles.formats.layer_keys import LayerKeys, split
from styles.formats.layer_tables import is_layer
from styles.formats.patterns import Work
from styles.formats.peft import PEFT_ROOT, PeftSettings

# What stands before the path of a module, and whose it is; `te1` where it is one of several text encoders.
ROOTS = {
    "unet": "unet",
    "diffusion_model": "unet",
    "model.diffusion_model": "unet",
    "text_encoder": "te",
    "text_encoder_1": "te",
    "text_encoder_2": "te2",
    "text_encoders.clip_l.transformer": "te",
    "text_encoders.clip_g.transformer": "te2",
    "text_encoders.clip_h.transformer": "te",
    "clip_l.transformer": "te",
    "clip_g.transformer": "te2",
    "clip_h.transformer": "te",
    PEFT_ROOT: "",
}
ROOTED = re.compile(
    rf"({'|'.join(map(re.escape, sorted(ROOTS, key=len, reverse=True)))})\.(?:{re.escape(PEFT_ROOT)}\.)?(.+)"
)
SGM = ("input_blocks.", "middle_block.", "output_blocks.", "time_embed.", "label_emb.", "out.")
OLDEST = re.compile(r"(?:unet\.)?([\w.]{1,200})\.processor\.(to_q|to_k|to_v|to_out)_lora\.(down|up)\.weight")
OLDEST_TEXT = re.compile(
    r"(text_encoder|text_encoder_2)\.([\w.]{1,200}\.self_attn)\.to_(q|k|v|out)_lora\.(down|up)\.weight"
)
SETTINGS = "lora_adapter_metadata"
LONGEST_SETTINGS = 4 << 20  # characters; what they are read into takes twenty times that


@dataclass(frozen=True)
class ModuleName:
    """What the name of a tensor says: `root` stands before the path, `written` is the path as it is written."""

    root: str
    network: str
    path: str
    part: str
    written: str


def module_names(keys: Iterable[str]) -> dict[str, ModuleName]:
    """Return what the names of tensors say that are paths of modules; others are not in it."""
    keys = list(keys)
    several = any(key.startswith(("text_encoder_2.", "text_encoders.clip_g.", "clip_g.")) for key in keys)
    read = {key: _read(key, several) for key in keys}
    return {key: name for key, name in read.items() if name is not None}


def with_settings(
    layers: Iterable[LayerKeys],
    names: Mapping[str, ModuleName],
    metadata: Mapping[str, str],
    settings: Mapping[str, PeftSettings] | None,
) -> list[LayerKeys]:
    """Return the layers with the strengths that PEFT's settings tell; raises StyleFileError.

    `settings` are those beside PEFT's files, by what their names begin with; else a file's own are in its metadata.
    """
    roots = {name.root for name in names.values()}
    work = Work()
    settings_of = {root: settings.get(root) if settings else _told(metadata, root, work) for root in roots}
    told = []
    for layer in layers:
        name = names.get(next(iter(layer.parts.values())))
        if name and (of := settings_of[name.root]):
            alpha, rank = of.at(name.written)
            layer = replace(layer, told_alpha=alpha, told_rank=rank, by_root=of.by_root)
        told.append(layer)
    return told


def _read(key: str, several: bool) -> ModuleName | None:
    if match := OLDEST_TEXT.fullmatch(key):
        root, part, written = match[1], match[4], f"{match[2]}.{match[3]}_proj"
    elif match := OLDEST.fullmatch(key):
        module = "to_out.0" if match[2] == "to_out" else match[2]
        root, part, written = "unet", match[3], f"{match[1]}.{module}"
    elif both := split(key):
        name, part = both
        match = ROOTED.fullmatch(name)
        root, written = (match[1], match[2]) if match else ("", name)
    else:
        return None
    for network, path in _candidates(root, written, several):
        if is_layer(network, path):
            return ModuleName(root, network, path, part, written)
    return None


def _candidates(root: str, written: str, several: bool) -> list[tuple[str, str]]:
    """Return the (network, path) that a path may mean; a PEFT file doesn't say whose it is."""
    path = written.replace(".processor.", ".")
    if path.startswith(SGM):
        path = sgm_path(path.replace(".", "_"))
    whole = path.startswith(("text_model.", "text_projection"))
    text = path if whole else f"text_model.{path}"
    network = ROOTS.get(root, "unet")
    if network == "unet":
        return [("unet", path)]
    if not network:
        return [("unet", path), ("te", text)]
    return [("te1" if network == "te" and several else network, text)]


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
