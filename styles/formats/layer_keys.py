"""Which tensors of a file make up one layer, and which ways of writing a change that is.

The names of the parts are kohya's and LyCORIS's (https://github.com/KohakuBlueleaf/LyCORIS, docs/Algo-List.md);
other schemes are brought to them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from styles.errors import StyleFileError
from styles.storage.names import clean_text

LORA = frozenset(["down", "up", "mid"])
LOHA = frozenset(["hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2"])
LOKR = frozenset(["lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2"])

FULL = frozenset(["diff"])
# What a tensor's name ends with, and the part that it is; an open PEFT model puts the adapter's name into it.
ENDING = re.compile(
    r"(.+)\.(?:lora_(down|up|mid|A|B)(?:\.[\w-]{1,64})?\.weight|(?:lora|lora_linear_layer)\.(down|up)\.weight|"
    rf"(alpha|diff)|({'|'.join(sorted(LOHA | LOKR, reverse=True))})(?:\.weight)?)"
)
OF_PEFT = {"A": "down", "B": "up"}
LONGEST_NAME = 200  # characters of a layer's name


@dataclass(frozen=True)
class LayerKeys:
    """The tensor names of one layer by their parts, and what is told of its strength elsewhere than in a tensor.

    The parts are `down`, `up` and perhaps `mid`, those of LOHA or of LOKR, or `diff`, and perhaps `alpha`.
    """

    network: str
    path: str
    parts: Mapping[str, str]
    told_alpha: float | None = None
    told_rank: int | None = None
    by_root: bool = False  # alpha is divided by sqrt(r) ("rsLoRA") instead of r, if it is a told one

    @property
    def kind(self) -> str:
        """How the change is written: LoRA, LoHa, LoKr or in full."""
        if self.parts.keys() & LOHA:
            return "LoHa"
        if self.parts.keys() & FULL:
            return "full"
        return "LoKr" if self.parts.keys() & LOKR else "LoRA"

    @property
    def alpha(self) -> str | None:
        """The name of the tensor that holds alpha."""
        return self.parts.get("alpha")

    def alpha_for(self, alpha: float, rank: int) -> float:
        """Return the alpha that is divided by the rank, given the one that the tensor holds (else 0).

        None, or 0, means alpha = rank. A LoKr of two whole factors has no rank, given as 0: LyCORIS gives it the
        strength 1, whatever its alpha, which is then the number of ranks that was asked for. Where the settings tell
        that number (`told_rank`) and another alpha, which the tensor has as well, the strength is theirs.
        """
        if rank == 0:
            told = self.told_alpha and self.told_rank and (not alpha or alpha == self.told_alpha)
            return self.told_alpha / self.told_rank if told and self.told_alpha and self.told_rank else 1.0
        if alpha or not self.told_alpha:
            return alpha or float(rank)
        return self.told_alpha * rank**0.5 if self.by_root else self.told_alpha


def grouped(split_keys: Iterable[tuple[str, str, str, str]]) -> list[LayerKeys]:
    """Group (network, path, part, tensor name) into layers, sorted.

    Raises StyleFileError for a layer that is there twice or in part.
    """
    layers: dict[tuple[str, str], dict[str, str]] = {}
    for network, path, part, key in split_keys:
        parts = layers.setdefault((network, path), {})
        if part in parts:
            raise StyleFileError(
                "It holds the layer {network}.{path} twice, as {first_key} and {key}.",
                "Get the file again.",
                network=network,
                path=path,
                first_key=_shown(parts[part]),
                key=_shown(key),
            )
        parts[part] = key
    for (network, path), parts in layers.items():
        if not _complete(parts.keys() - {"alpha"}):
            names = ", ".join(sorted(parts))
            raise StyleFileError(
                "It holds only half of the layer {network}.{path}, or too much of it: {names}.",
                "Get the file again.",
                network=network,
                path=path,
                names=names,
            )
    return [LayerKeys(network, path, layers[network, path]) for network, path in sorted(layers)]


def split(key: str) -> tuple[str, str] | None:
    """Return (name of the layer, part) of a tensor's name, None where it is no part of a layer."""
    match = ENDING.fullmatch(key)
    if match is None or len(match[1]) > LONGEST_NAME:
        return None
    part = match[2] or match[3] or match[4] or match[5]
    return match[1], OF_PEFT.get(part, part)


def _complete(parts: set[str]) -> bool:
    if parts & LOHA:
        return parts in (LOHA, LOHA - {"hada_t1", "hada_t2"})
    if parts & LOKR:
        first, second = (
            parts & {"lokr_w1", "lokr_w1_a", "lokr_w1_b"},
            parts - {"lokr_w1", "lokr_w1_a", "lokr_w1_b"},
        )
        return first in ({"lokr_w1"}, {"lokr_w1_a", "lokr_w1_b"}) and second in (
            {"lokr_w2"},
            {"lokr_w2_a", "lokr_w2_b"},
            {"lokr_w2_a", "lokr_w2_b", "lokr_t2"},
        )
    return parts in (LORA, LORA - {"mid"}, FULL)


def _shown(key: str) -> str:
    return clean_text(key, 120)
