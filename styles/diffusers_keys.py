"""Style files in the names of diffusers: what its own training scripts write, now and at first.

`unet.<path>.lora_A.weight`, `unet.<path>.lora.down.weight` and, the oldest,
`[unet.]<path>.attn2.processor.to_k_lora.down.weight`
(https://huggingface.co/docs/diffusers/api/loaders/lora). Read only; Atelier writes kohya's names.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from typing import Any

from styles.errors import StyleFileError
from styles.kohya import LayerKeys, known_path
from styles.names import clean_text

NOW = re.compile(
    r"(unet|text_encoder|text_encoder_2)\.([\w.]+?)\."
    r"(?:(?:lora_(A|B)|lora\.(down|up)|lora_linear_layer\.(down|up))\.weight|(alpha))"
)
OLDEST = re.compile(r"(?:unet\.)?([\w.]+)\.processor\.(to_q|to_k|to_v|to_out)_lora\.(down|up)\.weight")


def is_diffusers(keys: Iterable[str]) -> bool:
    """Whether the file's names are diffusers' own."""
    return any(NOW.fullmatch(key) or OLDEST.fullmatch(key) for key in keys)


def layer_keys(keys: Iterable[str], metadata: dict[str, str]) -> list[LayerKeys]:
    """Group a file's tensor names into layers, sorted; raises StyleFileError unless all are understood."""
    keys = set(keys)
    sdxl = any(key.startswith("text_encoder_2.") for key in keys)
    found: dict[tuple[str, str], dict[str, str]] = {}
    for key in sorted(keys):
        network, path, side = _read(key, sdxl)
        if side in found.setdefault((network, path), {}):
            raise StyleFileError(f"The file holds the layer {network}.{path} twice.", "Get the file again.")
        found[network, path][side] = key
    layers = []
    for (network, path), sides in found.items():
        if not {"down", "up"} <= set(sides):
            raise StyleFileError(
                f"The file holds only half of the layer {network}.{path}.", "Get the file again."
            )
        alpha, by_root = _alpha(metadata, network, path)
        layers.append(
            LayerKeys(network, path, sides["down"], sides["up"], sides.get("alpha"), alpha, by_root)
        )
    return layers


def _read(key: str, sdxl: bool) -> tuple[str, str, str]:
    """Return (network, path, down | up | alpha) of a tensor's name."""
    network, path, side = "unet", "", ""
    if found := OLDEST.fullmatch(key):
        module = "to_out.0" if found[2] == "to_out" else found[2]
        path, side = f"{found[1]}.{module}", found[3]
    elif found := NOW.fullmatch(key):
        root, path = found[1], found[2]
        side = {"A": "down", "B": "up"}.get(found[3], found[3]) or found[4] or found[5] or found[6]
        if root != "unet":
            network = "te2" if root == "text_encoder_2" else "te1" if sdxl else "te"
            path = path if path.startswith(("text_model.", "text_projection")) else f"text_model.{path}"
    if not path or not known_path(path):
        raise StyleFileError(
            f"The file holds something that belongs to no style layer: {clean_text(key, 120)}.",
            "It may be for another kind of model.",
        )
    return network, path, side


def _alpha(metadata: dict[str, str], network: str, path: str) -> tuple[float | None, bool]:
    """Return alpha from PEFT's settings in the file, None where it is not told, and whether sqrt(r) divides it."""
    root = {"unet": "unet", "te2": "text_encoder_2"}.get(network, "text_encoder")
    try:
        values = json.loads(metadata.get("lora_adapter_metadata", "{}"))
        if not isinstance(values, dict):
            return None, False
        alpha: Any = values.get(f"{root}.lora_alpha")
        for pattern, special in (values.get(f"{root}.alpha_pattern") or {}).items():
            # PEFT takes these as regular expressions; those of a stranger's file are only compared.
            plain = pattern.replace("\\.", ".").lstrip("^")
            if path == plain or path.endswith(f".{plain}"):
                alpha = special
        number = None if alpha is None else float(alpha)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise StyleFileError(
            "The strength that the file names can't be read.", "Get the file again."
        ) from error
    if number is not None and not (math.isfinite(number) and number > 0):
        raise StyleFileError(f"The file names {number} as its strength.", "Get the file again.")
    return number, bool(values.get(f"{root}.use_rslora"))
