"""A base's weights in four bits, kept in the home: quantised once, opened in seconds from then on.

The name tells the base, the way and the version of what quantised; what doesn't agree with it in the file itself is not
used, and is made anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from styles.errors import AtelierError
from styles.quantization.layers import quantized, version_of
from styles.quantization.quantization import Quantization
from styles.storage.atomic import replacing
from styles.storage.home import Home

if TYPE_CHECKING:
    from torch import Tensor

Weights = dict[str, dict[str, "Tensor"]]
SEPARATOR = "#"  # between a layer's path and the name of its tensor; in no path


def kept_file(home: Home, fingerprint: str, quantization: Quantization) -> Path:
    """Return where the quantised weights of a base lie, or are going to."""
    name = f"{fingerprint[:16]}-{quantization.name}-{version_of(quantization)}.safetensors"
    return home.bases / "quantized" / name


def kept_weights(
    file: Path,
    fingerprint: str,
    shapes: Mapping[str, tuple[int, int]],
    read: Callable[[str], Tensor],
    quantization: Quantization,
    look: Callable[[], None],
) -> Weights:
    """Return by each layer's path the tensors that `quantized` makes of it, from the file or anew.

    `shapes` are the layers' (out, in), `read` returns a layer's weights; `look` is called before each. What can't be
    kept, as there is no room, is used all the same.
    """
    about = _about(fingerprint, shapes, quantization)
    kept = _read(file, about)
    if kept is not None:
        return kept
    made: Weights = {}
    for path in shapes:
        look()
        made[path] = quantized(read(path), quantization)
    with suppress(AtelierError, OSError):
        _write(file, made, about)
    return made


def _about(
    fingerprint: str, shapes: Mapping[str, tuple[int, int]], quantization: Quantization
) -> dict[str, str]:
    return {
        "fingerprint": fingerprint,
        "quantize": quantization.name,
        "version": version_of(quantization),
        "layers": json.dumps({path: list(shape) for path, shape in sorted(shapes.items())}),
    }


def _read(file: Path, about: Mapping[str, str]) -> Weights | None:
    from safetensors import SafetensorError, safe_open

    weights: Weights = {}
    try:
        with safe_open(file, framework="pt", device="cpu") as tensors:
            if tensors.metadata() != about:
                return None
            for key in tensors.keys():  # noqa: SIM118 - not a mapping
                path, _, name = key.partition(SEPARATOR)
                weights.setdefault(path, {})[name] = tensors.get_tensor(key)
    except (OSError, SafetensorError):
        return None
    return weights


def _write(file: Path, weights: Weights, about: dict[str, str]) -> None:
    from safetensors.torch import save_file

    flat = {
        f"{path}{SEPARATOR}{name}": tensor.contiguous()
        for path, tensors in weights.items()
        for name, tensor in tensors.items()
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as path:
        save_file(flat, path, about)
