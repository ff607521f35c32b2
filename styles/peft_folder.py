"""A style as a folder that PEFT wrote: `adapter_config.json` beside `adapter_model.safetensors`.

One network's adapter stands in the folder itself, others in `unet/`, `text_encoder/` and `text_encoder_2/` below it
(https://huggingface.co/docs/peft/developer_guides/checkpoint). Read only; `peft_writing.py` writes them.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from styles.diffusers_keys import PEFT_ROOT
from styles.errors import StyleFileError
from styles.names import clean_text
from styles.patterns import Work
from styles.peft_settings import PeftSettings
from styles.tensor_header import Header, open_header, open_style_file

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PICKLED = "adapter_model.bin"
PLACES = {"": PEFT_ROOT, "unet": "unet", "text_encoder": "text_encoder", "text_encoder_2": "text_encoder_2"}
LARGEST_CONFIG = 4 << 20  # bytes; one with a pattern for each layer of SDXL has about 100 KiB


@dataclass(frozen=True, eq=False)
class Adapter:
    """One network's adapter: its file of tensors, and what PEFT's settings beside it say.

    `root` is what the names in the file begin with, once they are told apart: PEFT writes `base_model.model.` in
    all of them.
    """

    file: Path
    header: Header
    root: str
    settings: PeftSettings
    base_name: str

    def key(self, name: str) -> str:
        """Return a tensor's name as it is told apart from those of the other adapters."""
        return self.root + name.removeprefix(PEFT_ROOT) if name.startswith(f"{PEFT_ROOT}.") else name


def is_peft_folder(path: Path) -> bool:
    """Whether a folder holds an adapter that PEFT wrote."""
    return any(os.path.isfile(path / place / CONFIG) for place in PLACES)


def open_adapters(path: Path) -> list[Adapter]:
    """Read the settings and judge the headers of all adapters in a folder; raises StyleFileError."""
    work = Work()
    found = [
        _opened(path / place, root, work)
        for place, root in PLACES.items()
        if os.path.isfile(path / place / CONFIG)
    ]
    if not found:
        raise StyleFileError(
            f"{clean_text(str(path), 300)} is a folder, and no style: it holds no {CONFIG}.",
            "Choose a .safetensors file, or a folder that PEFT wrote.",
        )
    return found


def _opened(folder: Path, root: str, work: Work) -> Adapter:
    values = _values(folder / CONFIG)
    if not os.path.exists(folder / WEIGHTS) and os.path.exists(folder / PICKLED):
        raise StyleFileError(
            f"{clean_text(str(folder / PICKLED), 300)} is a pickle file, which could run code when it is opened.",
            f"Ask for it as {WEIGHTS}; PEFT writes that with safe_serialization=True.",
        )
    base = values.get("base_model_name_or_path")
    return Adapter(
        folder / WEIGHTS,
        open_header(folder / WEIGHTS),
        root,
        PeftSettings.read(values, work),
        base if isinstance(base, str) else "",
    )


def _values(file: Path) -> dict[str, Any]:
    with open_style_file(file) as opened:
        data = opened.read(LARGEST_CONFIG + 1)
    try:
        values = json.loads(data.decode("utf-8")) if len(data) <= LARGEST_CONFIG else None
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise StyleFileError(
            f"The settings of the style, {clean_text(str(file), 300)}, can't be read.",
            "Get the folder again.",
        )
    return values
