"""The header of a safetensors file, judged before anything else of the file is believed.

Layout (https://github.com/huggingface/safetensors#format): 8 bytes little-endian header length, the header
as JSON, then the tensors' bytes, which the header's offsets must tile without gap or overlap.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from styles.errors import StyleFileError

LARGEST_FILE = 4 << 30  # bytes
LARGEST_HEADER = 32 << 20  # bytes; files of other tools can hold every caption of their training in it
MOST_TENSORS = 20_000
BYTES = {"F16": 2, "BF16": 2, "F32": 4, "F64": 8}
PICKLE = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


@dataclass(frozen=True)
class TensorEntry:
    """What the header says of one tensor."""

    dtype: str
    shape: tuple[int, ...]
    begin: int  # bytes from the start of the tensor section
    end: int


@dataclass(frozen=True)
class Header:
    """A header that hangs together; `data_start` is where the tensor section begins, in bytes."""

    metadata: dict[str, str]
    tensors: dict[str, TensorEntry]
    data_start: int


def read_header(file: BinaryIO, size: int, name: str) -> Header:
    """Read and judge the header of an open file of `size` bytes; raises StyleFileError with the reason."""
    if size > LARGEST_FILE:
        raise _refused(name, f"it has {size / 2**30:.1f} GiB, a style at most {LARGEST_FILE >> 30}")
    start = file.read(8)
    if start.startswith(PICKLE):
        raise StyleFileError(
            f"“{name}” is a pickle file (.pt, .ckpt, .bin), which could run code when it is opened.",
            "Ask for the style as .safetensors, which holds only data.",
        )
    length = int.from_bytes(start, "little")
    if len(start) < 8 or length < 2 or length > size - 8:
        raise _refused(name, "it is no safetensors file, or only part of one")
    if length > LARGEST_HEADER:
        raise _refused(name, f"its header claims {length} bytes, at most {LARGEST_HEADER} are read")
    try:
        values = json.loads(file.read(length).decode("utf-8"), object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as error:
        raise _refused(name, "its header can't be read") from error
    if not isinstance(values, dict):
        raise _refused(name, "its header is not a table of tensors")
    metadata = values.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise _refused(name, "its metadata is not text")
    if not values:
        raise _refused(name, "it holds no tensors")
    if len(values) > MOST_TENSORS:
        raise _refused(name, f"it holds {len(values)} tensors, at most {MOST_TENSORS} are read")
    tensors = {key: _entry(key, value, name) for key, value in values.items()}
    position = 0
    for entry in sorted(tensors.values(), key=lambda entry: (entry.begin, entry.end)):
        if entry.begin != position:
            raise _refused(name, "its tensors overlap or leave gaps")
        position = entry.end
    if position != size - 8 - length:
        raise _refused(name, f"its tensors should take {position} bytes, but {size - 8 - length} are there")
    return Header(metadata, tensors, 8 + length)


def open_header(path: Path) -> Header:
    """Read and judge the header of the file at `path`; raises StyleFileError."""
    with open_style_file(path) as file:
        return read_header(file, path.stat().st_size, path.name)


def open_style_file(path: Path) -> BinaryIO:
    """Open a file to read; raises StyleFileError where there is none or it can't be read."""
    if path.exists() and not path.is_file():  # a folder, or a pipe that would never end
        raise StyleFileError(f"{path} is not a file.", "Choose a .safetensors file.")
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        raise StyleFileError(f"There is no file {path}.", "Look whether it was moved.") from error
    except OSError as error:
        raise StyleFileError(
            f"{path} can't be opened: {error.strerror}.", "Choose a file that you can read."
        ) from error


def tensor_hash(path: Path, header: Header) -> str:
    """Return the sha256 of the tensor section, in hex: the identity of a style."""
    digest = hashlib.sha256()
    with open_style_file(path) as file:
        file.seek(header.data_start)
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _entry(key: str, value: Any, name: str) -> TensorEntry:
    shown = ascii(key[:80])[1:-1]
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise _refused(name, f"its header is damaged at {shown}")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not _whole_numbers(shape) or not _whole_numbers(offsets) or len(offsets) != 2:
        raise _refused(name, f"its header is damaged at {shown}")
    if not isinstance(dtype, str) or dtype not in BYTES:
        kind = ascii(dtype)[:20] if isinstance(dtype, str) else "something else"
        raise _refused(name, f"{shown} holds {kind}, a style holds {', '.join(BYTES)}")
    if len(shape) > 4 or math.prod(shape) * BYTES[dtype] != offsets[1] - offsets[0]:
        raise _refused(name, f"the shape {shape[:6]} of {shown} doesn't fit its bytes")
    return TensorEntry(dtype, tuple(shape), offsets[0], offsets[1])


def _whole_numbers(values: Any) -> bool:
    return isinstance(values, list) and all(type(v) is int and 0 <= v <= LARGEST_FILE for v in values)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a name occurs twice")
    return values


def _refused(name: str, reason: str) -> StyleFileError:
    return StyleFileError(
        f"“{name}” is not a style that can be opened: {reason}.", "Get the file again, or choose another."
    )
