"""Where a style is read from: its one file, or the files of its PEFT folder as if they were one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from styles.formats.layer_inspection import Judged, judge
from styles.formats.peft import Adapter, PeftSettings, open_adapters
from styles.formats.safetensors_header import (
    Header,
    TensorEntry,
    open_header,
    open_style_file,
    read_tensors,
    tensor_hash,
)

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Source:
    """A style's file or files, with their headers judged; nothing else is read yet."""

    path: Path
    name: str
    header: Header  # of all files together, as one
    adapters: tuple[Adapter, ...] = ()  # PEFT's
    settings: Mapping[str, PeftSettings] = field(default_factory=dict)

    @classmethod
    def of(cls, path: Path) -> Source:
        if not os.path.isdir(path):
            return cls(path, path.name, open_header(path))
        adapters = open_adapters(path)
        tensors: dict[str, TensorEntry] = {}
        metadata: dict[str, str] = {}
        for adapter in adapters:
            tensors |= {adapter.key(name): entry for name, entry in adapter.header.tensors.items()}
            metadata = adapter.header.metadata | metadata
            if adapter.base_name:
                metadata.setdefault("ss_sd_model_name", adapter.base_name)
        settings = {adapter.root: adapter.settings for adapter in adapters}
        return cls(path, path.name, Header(metadata, tensors, 0), tuple(adapters), settings)

    def judged(self) -> Judged:
        return judge(self.header, self.name, self.settings)

    def tensors(self) -> Iterator[tuple[str, Tensor, bytearray]]:
        """Yield (name, tensor, its bytes) in the order that the id is made in."""
        if not self.adapters:
            with open_style_file(self.path) as file:
                yield from read_tensors(file, self.header, self.name)
        for adapter in self.adapters:
            with open_style_file(adapter.file) as file:
                for name, tensor, data in read_tensors(file, adapter.header, self.name):
                    yield adapter.key(name), tensor, data

    def sha256(self) -> str:
        files = [(adapter.file, adapter.header) for adapter in self.adapters]
        return tensor_hash(files or [(self.path, self.header)])

    @contextmanager
    def alphas(self) -> Iterator[BinaryIO | None]:
        """Open the file that holds the alphas, None for one that has none."""
        if self.adapters:
            yield None
        else:
            with open_style_file(self.path) as file:
                yield file
