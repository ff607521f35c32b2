"""A cache of bases' quantised weights in the home: quantised once, opened in seconds from then on.

The name tells the base, the quantization and the version of what quantised; what doesn't agree with it in the file itself is not
used, and is made anew.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from styles.errors import AtelierError
from styles.quantization.quantization import Quantization
from styles.storage.atomic import replacing
from styles.storage.home import Home

if TYPE_CHECKING:
    from torch import Tensor

Weights = dict[str, dict[str, "Tensor"]]
FOLDER = Path("bases") / "quantized"  # in the home
BEGINNING = 16  # characters of a fingerprint
VERSION = re.compile(r"(bitsandbytes-[\w.+]+|\d+)")  # of a `Quantization`
LAYOUT = "tensors"  # where the file itself says what is in it
SEPARATOR = "#"  # between a layer's path and the name of its tensor; in no path


def cache_file(home: Home, fingerprint: str, quantization: Quantization) -> Path:
    """Return where the quantised weights of a base lie, or are going to."""
    name = f"{fingerprint[:BEGINNING]}-{quantization.name}-{quantization.version}.safetensors"
    return home.root / FOLDER / name


def delete_cached(home: Home, fingerprint: str) -> None:
    """Delete what is cached of a base in any quantization."""
    for file in cache_files(home, fingerprint):
        _delete(file)


def cache_files(home: Home, fingerprint: str = "") -> list[Path]:
    """Return what is cached of a base in all quantizations, without a fingerprint of all bases."""
    return list((home.root / FOLDER).glob(f"{fingerprint[:BEGINNING]}*.safetensors"))


def clear_cache(home: Home) -> int:
    """Delete what is cached of all bases, which is made again when it is needed; return the bytes freed."""
    return sum(_delete(file) for file in cache_files(home))


def _delete(file: Path) -> int:
    # On Windows a base that is open still reads it.
    with suppress(OSError):
        size = file.stat().st_size
        file.unlink()
        return size
    return 0


def cached_weights(
    file: Path,
    fingerprint: str,
    shapes: Mapping[str, tuple[int, int]],
    read: Callable[[str], Tensor],
    quantization: Quantization,
    look: Callable[[float], None],
) -> Weights:
    """Return by each layer's path the tensors that `quantized` makes of it, from the file or anew.

    `shapes` are the layers' (out, in), `read` returns a layer's weights; `look` is told the share that is done, 0..1,
    before each. What can't be cached, as there is no room, is used all the same.
    """
    from styles.quantization import layers

    about = _about(fingerprint, shapes, quantization)
    cached = _read(file, about)
    if cached is not None:
        return cached
    made: Weights = {}
    done, total = 0, sum(map(math.prod, shapes.values()))
    for path, shape in shapes.items():
        look(done / total)
        done += math.prod(shape)
        made[path] = layers.quantized(read(path), quantization)
    with suppress(AtelierError, OSError):
        _write(file, made, about)
        _forget_others(file, quantization)
    return made


def _forget_others(file: Path, quantization: Quantization) -> None:
    """Delete what other versions made of the same base in the same quantization."""
    beginning = f"{file.name[:BEGINNING]}-{quantization.name}-"
    for other in file.parent.glob(f"{beginning}*.safetensors"):
        if other != file and VERSION.fullmatch(other.stem.removeprefix(beginning)):
            _delete(other)


def _about(
    fingerprint: str, shapes: Mapping[str, tuple[int, int]], quantization: Quantization
) -> dict[str, str]:
    return {
        "fingerprint": fingerprint,
        "quantize": quantization.name,
        "version": quantization.version,
        "layers": json.dumps({path: list(shape) for path, shape in sorted(shapes.items())}),
    }


def _read(file: Path, about: Mapping[str, str]) -> Weights | None:
    from safetensors import SafetensorError, safe_open

    weights: Weights = {}
    try:
        with safe_open(file, framework="pt", device="cpu") as tensors:
            stated = dict(tensors.metadata() or {})
            layout = stated.pop(LAYOUT, "")
            if stated != about:
                return None
            for key in tensors.keys():  # noqa: SIM118 - not a mapping
                path, _, name = key.partition(SEPARATOR)
                weights.setdefault(path, {})[name] = tensors.get_tensor(key)
    except (OSError, SafetensorError):
        return None
    return weights if layout == _layout(weights) else None


def _layout(weights: Weights) -> str:
    """Which tensors there are, with their dtypes and shapes, as text."""
    tensors = [
        (path, name, str(tensor.dtype), list(tensor.shape))
        for path, named in weights.items()
        for name, tensor in named.items()
    ]
    return json.dumps(sorted(tensors))


def _write(file: Path, weights: Weights, about: dict[str, str]) -> None:
    from styles.formats.tensor_file import write_tensors

    flat = {
        f"{path}{SEPARATOR}{name}": tensor
        for path, tensors in weights.items()
        for name, tensor in tensors.items()
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as path:
        write_tensors(path, flat, {**about, LAYOUT: _layout(weights)})
