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
from styles.text import Text

LORA = frozenset(["down", "up", "mid"])
LOHA = frozenset(["hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2"])
LOKR = frozenset(["lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2"])
LYCORIS_PART = re.compile(rf"({'|'.join(sorted(LOHA | LOKR, reverse=True))})(?:\.weight)?")

# What can't be laid beside a base as ranks, or isn't one of the ways above.
OTHER_KINDS = {
    r"\.(dora_scale|lora_magnitude_vector(\.weight)?)$": (
        Text("a DoRA: besides its ranks it sets the length of the base's own weights, which no ranks can do")
    ),
    r"\.(oft|boft)_": Text("an OFT: it turns the base's own weights, which no ranks can do"),
    r"\.(diff|diff_b|w_norm|b_norm)$": Text("made of full weights (“diff”), not of ranks"),
    r"\.[ab][12]\.weight$": Text("a GLoRA"),
    r"\.on_input$": Text("an (IA)³"),
    r"lora_embedding_[AB]$": Text("made for the table of words, not only for layers"),
}
OTHER_MODELS = {
    r"(double|single)_blocks|single_transformer_blocks": "FLUX",
    r"joint_blocks|^transformer\.": Text("Stable Diffusion 3 or FLUX"),
    r"^lora_prior_": "Stable Cascade",
    r"^lllite_|^control_model\.": Text("a control model"),
}
# What bitsandbytes writes beside a weight in four bits; Forge's NF4 checkpoints have the same.
BITSANDBYTES = re.compile(r"\.(nested_)?(absmax|quant_map)$|\.quant_state\.bitsandbytes__\w+$")
GGUF = b"GGUF"  # how such a file begins, https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
# What to do with a model that another program has brought to few bits.
AS_IT_WAS = Text(
    "Get the same checkpoint as .safetensors in fp16 or fp32, and add it as a base: Atelier brings it to four bits itself."
)


@dataclass(frozen=True)
class LayerKeys:
    """The tensor names of one layer by their parts, and what is told of its strength elsewhere than in a tensor.

    The parts are `down`, `up` and perhaps `mid`, those of LOHA or of LOKR, and perhaps `alpha`.
    """

    network: str
    path: str
    parts: Mapping[str, str]
    told_alpha: float | None = None
    told_rank: int | None = None
    by_root: bool = False  # alpha is divided by sqrt(r) ("rsLoRA") instead of r, if it is a told one

    @property
    def kind(self) -> str:
        """How the change is written: LoRA, LoHa or LoKr."""
        if self.parts.keys() & LOHA:
            return "LoHa"
        return "LoKr" if self.parts.keys() & LOKR else "LoRA"

    @property
    def alpha(self) -> str | None:
        """The name of the tensor that holds alpha."""
        return self.parts.get("alpha")

    def alpha_for(self, alpha: float, rank: int) -> float:
        """Return the alpha that is divided by the rank, given the one that the tensor holds (else 0).

        None, or 0, means alpha = rank. A LoKr of two whole factors has no rank, given as 0: its alpha says nothing
        and counts as 1, unless PEFT's settings tell it with a rank.
        """
        if rank == 0:
            return self.told_alpha / self.told_rank if self.told_alpha and self.told_rank else 1.0
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


def check_precision(keys: Iterable[str], name: str) -> None:
    """Raise StyleFileError, saying what it is, for a file whose weights are in four bits; no style's are."""
    keys = set(keys)
    if any(BITSANDBYTES.search(key) for key in keys):
        raise StyleFileError(
            "“{name}” is a model in four bits, as bitsandbytes and Forge save them (NF4, FP4), and no style.",
            AS_IT_WAS,
            name=name,
        )
    if any(key.endswith(".offset") and f"{key.removesuffix('.offset')}.scale" in keys for key in keys):
        raise StyleFileError(
            "“{name}” is the UNet of a base that styles were merged into, and no style.",
            "Add the folder that it lies in as a base.",
            name=name,
        )


def unknown(key: str) -> StyleFileError:
    """Return the refusal of a tensor that belongs to no layer of a style, saying what it is known to be instead."""
    for mark, kind in OTHER_KINDS.items():
        if re.search(mark, key):
            return StyleFileError(
                "It is {kind}; it holds {key}.",
                "Ask for it as a plain LoRA; the tool that made it can extract one.",
                kind=kind,
                key=_shown(key),
            )
    for mark, model in OTHER_MODELS.items():
        if re.search(mark, key):
            return StyleFileError(
                "It is for {model}; it holds {key}.",
                "Atelier opens styles for Stable Diffusion 1, 2 and XL.",
                model=model,
                key=_shown(key),
            )
    if key.startswith(("model.diffusion_model.", "first_stage_model.")):
        return StyleFileError("It is a whole checkpoint, not a style.", "Add it as a base instead.")
    return StyleFileError(
        "It holds something that belongs to no style layer: {key}.",
        "It may be for another kind of model, or in a way of writing that can't be read.",
        key=_shown(key),
    )


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
    return parts in (LORA, LORA - {"mid"})


def _shown(key: str) -> str:
    return clean_text(key, 120)
