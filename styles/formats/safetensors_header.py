"""The header of a safetensors file, judged before anything else of the file is believed.

Layout (https://github.com/huggingface/safetensors#format): 8 bytes little-endian header length, the header
as JSON, then the tensors' bytes, which the header's offsets must tile without gap or overlap. What passes here
also passes the safetensors library, and takes no more memory than a few times the header.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import struct
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedIOBase, BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from styles.errors import StyleFileError
from styles.formats.foreign.files import LOOK, check_is_no_model, refusal, refuse_beginning
from styles.storage.file_reading import open_file
from styles.storage.names import clean_text
from styles.text import Text

if TYPE_CHECKING:
    from torch import Tensor

LARGEST_FILE = 4 << 30  # bytes
BLOCK_BYTES = 1 << 20  # read at once
LARGEST_HEADER = 32 << 20  # bytes; files of other tools can hold every caption of their training in it
MOST_TENSORS = 20_000
LONGEST_KEY = 400  # characters; the longest of Stable Diffusion has about 120
LARGEST_SIDE = 1 << 17  # of a tensor; the widest layer of SDXL has 10240, a vocabulary 49408
BYTES = {
    "F16": 2, "BF16": 2, "F32": 4, "F64": 8, "F8_E4M3": 1, "F8_E5M2": 1, "BOOL": 1, "U8": 1, "I8": 1,
    "I16": 2, "U16": 2, "I32": 4, "U32": 4, "I64": 8, "U64": 8,
}  # fmt: skip
CALCULABLE = ("F16", "BF16", "F32", "F64")
NUMBERS = (*CALCULABLE, "F8_E4M3", "F8_E5M2")  # of a style's factors and words
ALPHAS = (*NUMBERS, "I32", "I64")  # LyCORIS wrote whole numbers, too
CODES = {"F16": "<e", "F32": "<f", "F64": "<d", "I32": "<i", "I64": "<q"}
EXPONENT_BITS = {"F8_E4M3": 4, "F8_E5M2": 5}
WHOLE = frozenset([int])
OUTLINE = b"{}[],:0123456789 \t\r\n"
NOT_BRACKETS = bytes(set(range(256)) - set(b"{}[]"))


@dataclass(frozen=True)
class TensorEntry:
    """What the header says of one tensor."""

    dtype: str
    shape: tuple[int, ...]
    begin: int  # bytes from the start of the tensor section
    end: int

    def to_json(self) -> dict[str, object]:
        """The entry as a header holds it."""
        return {"dtype": self.dtype, "shape": list(self.shape), "data_offsets": [self.begin, self.end]}


@dataclass(frozen=True)
class Header:
    """A header that hangs together; `data_start` is where the tensor section begins, in bytes."""

    metadata: dict[str, str]
    tensors: dict[str, TensorEntry]
    data_start: int


def read_header(file: BinaryIO, size: int, name: str) -> Header:
    """Read and judge the header of an open file of `size` bytes; raises StyleFileError with the reason."""
    name = clean_text(name, 120)
    start = file.read(8)
    length = int.from_bytes(start, "little")
    if len(start) < 8 or length < 2 or length > size - 8:
        # Not earlier: a header of 640 bytes begins as a pickle does.
        refuse_beginning(start + file.read(LOOK - len(start)), name)
        raise _refused(name, Text("it is no safetensors file, or only part of one"))
    if length > LARGEST_HEADER:
        raise _refused(
            name,
            Text(
                "its header claims {length} bytes, at most {largest_header} are read",
                length=length,
                largest_header=LARGEST_HEADER,
            ),
        )
    values = _values(file.read(length), name)
    metadata = values.pop("__metadata__", None)
    if metadata is None:
        metadata = {}
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise _refused(name, Text("its metadata is not text"))
    if not values:
        raise _refused(name, Text("it holds no tensors"))
    if len(values) > MOST_TENSORS:
        raise _refused(
            name,
            Text(
                "it holds {count} tensors, at most {most_tensors} are read",
                count=len(values),
                most_tensors=MOST_TENSORS,
            ),
        )
    check_is_no_model(values, name)
    try:
        return Header(metadata, _entries(values, size - 8 - length, name), 8 + length)
    except StyleFileError as error:
        raise _other_file(values, metadata, name) or error from error


def _entries(values: dict[str, Any], section: int, name: str) -> dict[str, TensorEntry]:
    """Return the entries of a header with `section` bytes behind it; raises StyleFileError."""
    if section > LARGEST_FILE:
        raise _refused(
            name,
            Text(
                "it has {size:.1f} GiB, a style at most {largest_file}",
                size=section / 2**30,
                largest_file=LARGEST_FILE >> 30,
            ),
        )
    tensors = {key: _entry(key, value, name) for key, value in values.items()}
    position = 0
    for entry in sorted(tensors.values(), key=lambda entry: entry.begin):
        if entry.begin != position:
            raise _refused(name, Text("its tensors overlap or leave gaps"))
        position = entry.end
    if position > section:
        raise _refused(
            name,
            Text(
                "only a part of it is there, {size} of {expected} bytes: a download ended early",
                expected=position,
                size=section,
            ),
        )
    if position != section:
        raise _refused(
            name,
            Text(
                "its tensors should take {expected} bytes, but {size} are there",
                expected=position,
                size=section,
            ),
        )
    return tensors


def _other_file(values: dict[str, Any], metadata: dict[str, str], name: str) -> StyleFileError | None:
    """Return what a file is by the names in its header, where that is no style; None where they don't tell."""
    shapes = {
        key: tuple(value["shape"])
        for key, value in values.items()
        if isinstance(value, dict) and _whole_numbers(value.get("shape"))
    }
    error = refusal(shapes, metadata)
    if error is None:
        return None
    return StyleFileError("“{name}” can't be opened: {reason}", error.hint, name=name, reason=error.message)


def open_header(path: Path) -> Header:
    """Read and judge the header of the file at `path`; raises StyleFileError."""
    with open_style_file(path) as file:
        return read_header(file, os.fstat(file.fileno()).st_size, path.name)


@contextmanager
def open_style_file(path: Path) -> Iterator[BufferedReader]:
    """Open a file to read; raises StyleFileError where there is none, or it can't be read now or later on."""
    shown = clean_text(str(path), 300)
    try:
        if "\0" in str(path):
            raise FileNotFoundError(errno.ENOENT, "no such name")
        if path.exists() and not path.is_file():  # a folder, or a pipe that would never end
            raise StyleFileError("{shown} is not a file.", "Choose a .safetensors file.", shown=shown)
        with path.open("rb") as file:
            yield file
    except FileNotFoundError as error:
        raise StyleFileError(
            "There is no file {shown}.", "Look whether it was moved.", shown=shown
        ) from error
    except OSError as error:
        raise StyleFileError(
            "{shown} can't be read: {reason}.",
            "Choose a file that you can read.",
            shown=shown,
            reason=error.strerror or error,
        ) from error


def tensor_hash(files: Iterable[tuple[Path, Header]]) -> str:
    """Return the sha256 of the tensor sections of a style's files, in hex: its identity. Raises StyleFileError."""
    digest = hashlib.sha256()
    for path, header in files:
        with open_style_file(path) as file:
            file.seek(header.data_start)
            hash_rest(file, digest)
    return digest.hexdigest()


def hash_rest(file: BinaryIO, digest: hashlib._Hash, copy: BinaryIO | None = None) -> None:
    """Feed a digest with what is left of a file, which is its tensors once its header was read, and write it to `copy`."""
    while block := file.read(BLOCK_BYTES):
        digest.update(block)
        if copy is not None:
            copy.write(block)


def header_bytes(tensors: Mapping[str, object], metadata: Mapping[str, str]) -> bytes:
    """Return a file up to its tensor section; `tensors` are entries as the format has them, in any order.

    https://github.com/huggingface/safetensors, "Format"; the section starts at a multiple of 8.
    """
    text = json.dumps({"__metadata__": metadata} | dict(tensors), ensure_ascii=False, separators=(",", ":"))
    header = text.encode("utf-8")
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header


def split_file(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the entries of the header and the tensor section of a whole file that was written here."""
    start = 8 + int.from_bytes(data[:8], "little")
    return json.loads(data[8:start]), data[start:]


def read_tensors(file: BufferedIOBase, header: Header, name: str) -> Iterator[tuple[str, Tensor, bytearray]]:
    """Yield (key, tensor, its bytes) in the file's order, reading each when it is asked for.

    The tensor shares the bytes' memory, but for numbers of a byte (fp8), which come as fp16, and whole ones, as fp64. All bytes together are the tensor section, so that one pass reads and
    hashes it. Raises StyleFileError where the file became shorter since its header was judged, or memory is short.
    """
    import torch

    dtypes = {
        "F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64,
        "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2, "BOOL": torch.bool, "U8": torch.uint8,
        "I8": torch.int8, "I16": torch.int16, "U16": torch.uint16, "I32": torch.int32, "U32": torch.uint32,
        "I64": torch.int64, "U64": torch.uint64,
    }  # fmt: skip
    file.seek(header.data_start)
    for key, entry in sorted(header.tensors.items(), key=lambda item: item[1].begin):
        try:
            data = bytearray(entry.end - entry.begin)
        except MemoryError as error:
            size = (entry.end - entry.begin) / 2**20
            reason = Text(
                "{layer} takes {size:.0f} MiB, more memory than is free", layer=clean_text(key, 80), size=size
            )
            raise _refused(clean_text(name, 120), reason) from error
        if file.readinto(data) != len(data):
            raise _refused(clean_text(name, 120), Text("it became shorter while it was read"))
        tensor = torch.frombuffer(data, dtype=dtypes[entry.dtype]).reshape(entry.shape)
        # Little can be done with numbers of a byte, each of which half precision holds, or with whole ones.
        if entry.dtype not in CALCULABLE:
            tensor = tensor.to(torch.float16 if entry.dtype in EXPONENT_BITS else torch.float64)
        yield key, tensor, data


def number_in(data: bytes, dtype: str) -> float | None:
    """Return the one number that a tensor's bytes hold; None where they are too few."""
    if dtype in EXPONENT_BITS:
        return _number_of_byte(data[0], EXPONENT_BITS[dtype]) if data else None
    if dtype == "BF16":  # the upper half of a float32
        data, dtype = b"\0\0" + data, "F32"
    try:
        return float(struct.unpack(CODES[dtype], data)[0])
    except struct.error:  # the file became shorter
        return None


def _number_of_byte(code: int, exponent_bits: int) -> float:
    """Return the number of one byte of a sign, an exponent and a mantissa (arXiv 2209.05433)."""
    bits = 7 - exponent_bits
    exponent, mantissa = code >> bits & (1 << exponent_bits) - 1, code & (1 << bits) - 1
    bias, top = (1 << exponent_bits - 1) - 1, (1 << exponent_bits) - 1
    if exponent == top and (exponent_bits == 5 or mantissa == (1 << bits) - 1):
        return math.inf if mantissa == 0 else math.nan
    fraction = mantissa / (1 << bits)
    size = math.ldexp(fraction, 1 - bias) if exponent == 0 else math.ldexp(1 + fraction, exponent - bias)
    return -size if code >> 7 else size


def _values(data: bytes, name: str) -> dict[str, Any]:
    """Return the table that the header's JSON holds."""
    _judge_outline(data, name)
    try:
        values = json.loads(data.decode("utf-8"), object_pairs_hook=_without_repeats)
        if b"\\ud" in data or b"\\uD" in data:  # half of a surrogate pair is no text, and raises a ValueError
            json.dumps(values, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError, MemoryError) as error:
        raise _refused(name, Text("its header can't be read")) from error
    if not isinstance(values, dict) or not data.startswith(b"{"):
        raise _refused(name, Text("its header is not a table of tensors"))
    return values


def _judge_outline(data: bytes, name: str) -> None:
    """Refuse JSON that would take much memory or nests deeply, before anything is made of it.

    Without what stands in quotes, a header is brackets, commas and whole numbers: lists in tables in a table.
    """
    plain = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    if plain.count(b'"') > 16 * MOST_TENSORS:
        raise _refused(name, Text("its header lists far more than a style holds"))
    outline = b"".join(plain.split(b'"')[::2])
    brackets = outline.translate(None, NOT_BRACKETS)
    if outline.count(b",") > 10 * MOST_TENSORS or len(brackets) > 10 * MOST_TENSORS:
        raise _refused(name, Text("its header lists far more than a style holds"))
    nested = brackets.replace(b"[]", b"").replace(b"{}", b"") not in (b"", b"{}")
    if nested or outline.translate(None, OUTLINE).replace(b"null", b""):
        raise _refused(name, Text("its header is damaged and can't be read"))


def _entry(key: str, value: Any, name: str) -> TensorEntry:
    problem = Text("the name is longer than any layer's") if len(key) > LONGEST_KEY else _problem(key, value)
    if problem:
        raise _refused(name, Text("at {layer} {problem}", layer=clean_text(key, 80), problem=problem))
    return TensorEntry(value["dtype"], tuple(value["shape"]), *value["data_offsets"])


def _problem(key: str, value: Any) -> Text:
    """Say what is wrong with the header's entry of a tensor; empty where it is right."""
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        return Text("its header is damaged")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not _whole_numbers(shape) or not _whole_numbers(offsets) or len(offsets) != 2:
        return Text("its header is damaged")
    if not isinstance(dtype, str) or dtype not in BYTES:
        kind = clean_text(dtype, 20) if isinstance(dtype, str) else Text("something else")
        return Text("it holds {kind}, a style holds {kinds}", kind=kind, kinds=", ".join(NUMBERS))
    if len(shape) > 4 or math.prod(shape) * BYTES[dtype] != offsets[1] - offsets[0]:
        return Text("the shape {shape} doesn't fit its bytes", shape=shape[:6])
    if shape and (min(shape) < 1 or max(shape) > LARGEST_SIDE):
        return Text("the shape {shape} is none that a style has", shape=shape)
    return Text("")


def _whole_numbers(values: Any) -> bool:
    """Whether this is a list of whole numbers up to the size of a file; True is none."""
    if not isinstance(values, list) or not WHOLE.issuperset(map(type, values)):
        return False
    return not values or (min(values) >= 0 and max(values) <= LARGEST_FILE)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError(Text("a name occurs twice"))
    return values


def _refused(name: str, reason: Text) -> StyleFileError:
    return StyleFileError(
        "“{name}” is not a style that can be opened: {reason}.",
        "Get the file again, or choose another.",
        name=name,
        reason=reason,
    )


class Hashing:
    """The sha256 of the tensors of some safetensors files, one after another."""

    def __init__(self, files: Iterable[Path]) -> None:
        self._digest = hashlib.sha256()
        self._files = list(files)
        self._at = 0  # where to go on in the first of them; 0: not begun

    def go_on(self, until: float) -> str:
        """Return the id; empty where `until` (of `time.monotonic`) comes first. At least one block is hashed.

        Raises OSError.
        """
        while self._files:
            with open_file(self._files[0]) as file:
                self._at = self._at or 8 + int.from_bytes(file.read(8), "little")
                file.seek(self._at)
                while block := file.read(BLOCK_BYTES):
                    self._digest.update(block)
                    self._at += len(block)
                    if len(block) == BLOCK_BYTES and time.monotonic() >= until:
                        return Text("")
            self._files.pop(0)
            self._at = 0
        return self._digest.hexdigest()
