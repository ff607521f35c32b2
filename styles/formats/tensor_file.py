"""Writing tensors into a safetensors file, block by block.

The library's own writer can't be stopped, and what the system says of a full disk comes through it as text alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from styles.formats.safetensors_header import header_bytes

BLOCK_BYTES = 16 << 20  # written at once
DTYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip


def write_tensors(
    path: Path,
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str] = MappingProxyType({}),
    look: Callable[[int], None] = lambda written_bytes: None,
) -> None:
    """Write tensors that are on the CPU into a new file; none is copied that lies in one piece.

    `look` is told how many bytes of tensors are written, before each block, and may raise. Raises OSError.
    """
    # Those with the largest numbers first, so that each begins at a multiple of its numbers' size.
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0]))
    entries, end = {}, 0
    for name, tensor in ordered:
        begin, end = end, end + tensor.nbytes
        entries[name] = {
            "dtype": DTYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [begin, end],
        }
    written = 0
    with path.open("xb") as file:
        file.write(header_bytes(entries, dict(metadata)))
        for _, tensor in ordered:
            data: Any = tensor.detach().contiguous().flatten().view(torch.uint8).numpy()
            for start in range(0, len(data), BLOCK_BYTES):
                look(written)
                written += file.write(data[start : start + BLOCK_BYTES])
