"""How strong a PEFT adapter is at each of its layers, from its settings.

They are beside the tensors (`adapter_config.json`) or in the file's metadata. PEFT scales a layer's change by
alpha / r, or by alpha / sqrt(r) with `use_rslora` (arXiv 2312.03732); `alpha_pattern` and `rank_pattern` name layers
that have their own (https://huggingface.co/docs/peft/package_reference/lora).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from styles.errors import StyleFileError
from styles.names import clean_text
from styles.patterns import Patterns, Work

KINDS = ("LORA", "LOHA", "LOKR")
USUAL = 8  # PEFT's own default of alpha
# What changes more than the tensors say, or says that they are to be used otherwise.
NOT_PLAIN = {
    "use_dora": "a DoRA: besides its ranks it sets the length of the base's own weights, which no ranks can do",
    "use_qalora": "a QA-LoRA: it reads groups of numbers together",
    "use_bdlora": "a block-diagonal LoRA",
    "kasa_config": "a KaSA: it cuts into the base's own weights",
    "monteclora_config": "a Monte Carlo LoRA",
    "arrow_config": "a mixture of several adapters",
    "alora_invocation_tokens": "a LoRA that is switched on by words",
    "layer_replication": "for a base whose layers are doubled",
    "target_parameters": "made for parameters that are no layers",
    "trainable_token_indices": "made for the table of words, not only for layers",
    "modules_to_save": "made of whole layers besides its ranks",
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
                f"It is written as {_shown(kind)}, which can't be read.", f"These can: {', '.join(KINDS)}."
            )
        for name, what in NOT_PLAIN.items():
            if values.get(name):
                raise StyleFileError(f"It is {what} ({name}).", "Ask for it as a plain LoRA.")
        start = values.get("init_lora_weights")
        if isinstance(start, str) and start.lower().startswith(MUTATED):
            raise StyleFileError(
                f"It started by changing the base's own weights ({_shown(start)}), and needs that changed base.",
                "Ask for it converted to a plain LoRA; PEFT can do so when it saves.",
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
        f"Its settings name {_shown(value)} as the strength or the rank of a layer.", "Get the file again."
    )


def _shown(value: Any) -> str:
    return clean_text(repr(value)[:60], 60)
