"""A style as a folder of PEFT's: `adapter_config.json` beside `adapter_model.safetensors`.

One network's adapter stands in the folder itself, others in `unet/`, `text_encoder/` and `text_encoder_2/` below it
(https://huggingface.co/docs/peft/developer_guides/checkpoint). How strong it is at a layer is in its settings: PEFT
scales a layer's change by alpha / r, or by alpha / sqrt(r) with `use_rslora` (arXiv 2312.03732); `alpha_pattern` and
`rank_pattern` name layers that have their own (https://huggingface.co/docs/peft/package_reference/lora). diffusers'
`load_lora_adapter` takes the same settings from the file's own header.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from styles.errors import StyleFileError
from styles.formats.patterns import Patterns, Work
from styles.formats.safetensors_header import Header, open_header, open_style_file
from styles.storage.names import clean_text
from styles.text import Text

KINDS = ("LORA", "LOHA", "LOKR")
USUAL = 8  # PEFT's own default of alpha
# What changes more than the tensors say, or says that they are to be used otherwise.
NOT_PLAIN = {
    "use_dora": Text(
        "a DoRA: besides its ranks it sets the length of the base's own weights, which no ranks can do"
    ),
    "use_qalora": Text("a QA-LoRA: it reads groups of numbers together"),
    "use_bdlora": Text("a block-diagonal LoRA"),
    "kasa_config": Text("a KaSA: it cuts into the base's own weights"),
    "monteclora_config": Text("a Monte Carlo LoRA"),
    "arrow_config": Text("a mixture of several adapters"),
    "alora_invocation_tokens": Text("a LoRA that is switched on by words"),
    "layer_replication": Text("for a base whose layers are doubled"),
    "target_parameters": Text("made for parameters that are no layers"),
    "trainable_token_indices": Text("made for the table of words, not only for layers"),
    "modules_to_save": Text("made of whole layers besides its ranks"),
}
MUTATED = (
    "pissa",
    "olora",
    "corda",
    "loftq",
    "lora_ga",
)  # starts that take something out of the base's weights


@dataclass(frozen=True, eq=False)
class PeftSettings:
    """The strengths that PEFT's settings tell; an alpha that is not told is PEFT's own default."""

    alpha: float
    rank: int | None
    alphas: Mapping[str, float]  # by pattern
    ranks: Mapping[str, int]
    by_root: bool
    alpha_patterns: Patterns
    rank_patterns: Patterns

    @classmethod
    def read(cls, values: Mapping[str, Any], work: Work | None = None) -> PeftSettings:
        """Read the settings of one network; raises StyleFileError for any that can't be followed.

        Networks of one style share the `work` that their patterns may take.
        """
        kind = values.get("peft_type", "LORA")
        if kind not in KINDS:
            raise StyleFileError(
                "It is written as {kind}, which can't be read.",
                "These can: {kinds}.",
                kind=_shown(kind),
                kinds=", ".join(KINDS),
            )
        for name, what in NOT_PLAIN.items():
            if values.get(name):
                raise StyleFileError(
                    "It is {what} ({name}).", "Ask for it as a plain LoRA.", what=what, name=name
                )
        start = values.get("init_lora_weights")
        if isinstance(start, str) and start.lower().startswith(MUTATED):
            raise StyleFileError(
                "It started by changing the base's own weights ({start}), and needs that changed base.",
                "Ask for it converted to a plain LoRA; PEFT can do so when it saves.",
                start=_shown(start),
            )
        alphas = _pattern(values, "alpha_pattern", _alpha)
        ranks = _pattern(values, "rank_pattern", _rank)
        work = work or Work()
        return cls(
            _alpha(values.get("lora_alpha" if kind == "LORA" else "alpha", USUAL)),
            _rank(values["r"]) if "r" in values else None,
            alphas,
            ranks,
            bool(values.get("use_rslora")),
            Patterns(alphas, work),
            Patterns(ranks, work),
        )

    def at(self, path: str) -> tuple[float, int | None]:
        """Return (alpha, rank or None) of the layer with that path, as its network names it; raises StyleFileError."""
        alpha, rank = self.alpha_patterns.first(path), self.rank_patterns.first(path)
        return (
            self.alpha if alpha is None else self.alphas[alpha],
            self.rank if rank is None else self.ranks[rank],
        )


def _pattern(values: Mapping[str, Any], name: str, read: Any) -> dict[str, Any]:
    table = values.get(name) or {}
    if not isinstance(table, dict):
        raise _unreadable(table)
    return {str(key): read(value) for key, value in table.items()}


def _alpha(value: Any) -> float:
    if type(value) not in (int, float) or not (0 < value < 1e6) or not math.isfinite(value):
        raise _unreadable(value)
    return float(value)


def _rank(value: Any) -> int:
    if type(value) is not int or not 0 < value < 1e6:
        raise _unreadable(value)
    return int(value)


def _unreadable(value: Any) -> StyleFileError:
    return StyleFileError(
        "Its settings name {value} as the strength or the rank of a layer.",
        "Get the file again.",
        value=_shown(value),
    )


def _shown(value: Any) -> str:
    return clean_text(repr(value)[:60], 60)


PEFT_ROOT = "base_model.model"  # what PEFT's own names begin with
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
    adapters = [
        _opened(path / place, root, work)
        for place, root in PLACES.items()
        if os.path.isfile(path / place / CONFIG)
    ]
    if not adapters:
        raise StyleFileError(
            "{path} is a folder, and no style: it holds no {config}.",
            "Choose a .safetensors file, or a folder that PEFT wrote.",
            path=clean_text(str(path), 300),
            config=CONFIG,
        )
    return adapters


def _opened(folder: Path, root: str, work: Work) -> Adapter:
    values = _values(folder / CONFIG)
    if not os.path.exists(folder / WEIGHTS) and os.path.exists(folder / PICKLED):
        raise StyleFileError(
            "{file} is a pickle file, which could run code when it is opened.",
            "Ask for it as {weights}; PEFT writes that with safe_serialization=True.",
            file=clean_text(str(folder / PICKLED), 300),
            weights=WEIGHTS,
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
            "The settings of the style, {file}, can't be read.",
            "Get the folder again.",
            file=clean_text(str(file), 300),
        )
    return values
