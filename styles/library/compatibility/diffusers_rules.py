"""The rules of diffusers: what `load_lora_weights` finds in a file, and what it refuses."""

from __future__ import annotations

import re
from collections import Counter

from styles.library.compatibility.checks import (
    ALPHA,
    ATTENTION,
    DIFFUSERS_UNET,
    DOWN,
    MID,
    ORIGINAL_UNET,
    UP,
    CompatibilityCheck,
    File,
    some,
)
from styles.text import Text

# diffusers takes the first two for one text encoder.
ENCODER_PREFIXES = (("lora_te_", "lora_te1_"), ("lora_te2_",))


def diffusers(file: File) -> list[CompatibilityCheck]:
    """diffusers 0.42, `load_lora_weights(..., use_safetensors=True)`."""
    if file.odd and not file.layers:
        own = all(key.startswith(("unet.", "text_encoder.", "text_encoder_2.")) for key in file.odd)
        has_alphas = "lora_adapter_metadata" in file.metadata or any(
            key.endswith(".alpha") for key in file.odd
        )
        return [
            CompatibilityCheck(
                "names", own, Text("diffusers doesn't know names such as {odd}.", odd=some(file.odd))
            ),
            CompatibilityCheck(
                "alpha",
                has_alphas,
                Text("It doesn't tell its strength, which diffusers then takes to be 1."),
                "note",
            ),
        ]
    others = [
        name
        for name, parts in file.layers.items()
        if not {DOWN, UP} <= parts.keys() <= {DOWN, UP, MID, ALPHA, "dora_scale"}
    ]
    original = [name for name in file.layers if re.match(ORIGINAL_UNET, name)]
    ours = [name for name in file.layers if re.match(DIFFUSERS_UNET, name)]
    lost = [name for name in file.layers if name.startswith("lora_unet_add_embedding_")]
    of_unet = [name for name in file.layers if name.startswith("lora_unet_")]
    torn = _without_out(file)
    uneven = _uneven_alphas(file)
    return [
        CompatibilityCheck(
            "only layers",
            not file.odd,
            Text("diffusers refuses a file with other tensors in it: {odd}.", odd=some(file.odd)),
        ),
        CompatibilityCheck(
            "words",
            not file.words,
            Text(
                "diffusers refuses a file with words in it ({words}): export it with its words apart.",
                words=some(file.words),
            ),
        ),
        CompatibilityCheck(
            "kinds", not others, Text("diffusers opens plain LoRA only, not {others}.", others=some(others))
        ),
        CompatibilityCheck(
            "mid",
            not file.having(MID),
            Text("diffusers refuses middle factors (LoCon): {names}.", names=some(file.having(MID))),
        ),
        CompatibilityCheck(
            "one alpha source",
            "lora_adapter_metadata" not in file.metadata or not file.alphas,
            Text(
                "diffusers refuses a file that tells its strength twice, as alphas and as `lora_adapter_metadata`."
            ),
        ),
        CompatibilityCheck(
            "block names",
            not original or file.family.original_block_names,
            Text(
                "diffusers knows the original block names only of SDXL: {original}.", original=some(original)
            ),
        ),
        CompatibilityCheck(
            "one scheme",
            not (original and ours),
            Text("diffusers leaves out the layers with original block names."),
            "part",
        ),
        CompatibilityCheck(
            "names",
            not lost,
            Text("diffusers leaves out {lost}, which it takes for others.", lost=some(lost)),
            "all" if lost == of_unet else "part",
        ),
        CompatibilityCheck(
            "text encoder",
            not torn,
            Text(
                "diffusers finds a text encoder's attention only where one of its layers is `out`: {torn}.",
                torn=some(name for names in torn.values() for name in names),
            ),
            "part" if all(_has_mlp(file, encoder) for encoder in torn) else "all",
        ),
        CompatibilityCheck(
            "DoRA", not file.having("dora_scale"), Text("diffusers leaves out what makes it a DoRA."), "part"
        ),
        CompatibilityCheck(
            "one alpha",
            not uneven,
            Text(
                "diffusers gives {count} layers the alpha that most have, so they come out too strong or too weak: {uneven}.",
                count=len(uneven),
                uneven=some(uneven),
            ),
            "part",
        ),
    ]


def _uneven_alphas(file: File) -> list[str]:
    """The layers that diffusers gives another strength: their alpha is not the one that most of their network have."""
    uneven = []
    for prefix in ("lora_unet_", "lora_te_", "lora_te1_", "lora_te2_"):
        names = [name for name, parts in file.layers.items() if name.startswith(prefix) and DOWN in parts]
        counts = Counter(file.alphas[name] for name in names if name in file.alphas)
        if not counts:
            continue
        common = counts.most_common(1)[0][0]
        for name in names:
            alpha = file.alphas.get(name) or float(file.layers[name][DOWN].shape[0])
            by_name = prefix == "lora_unet_" and "_attn" not in name  # these are found by their names
            if alpha != common and not (by_name and name in file.alphas):
                uneven.append(name)
    return uneven


def _without_out(file: File) -> dict[tuple[str, ...], list[str]]:
    """The attention layers of each text encoder of which no layer tells diffusers how they are named."""
    torn: dict[tuple[str, ...], list[str]] = {}
    for encoder in ENCODER_PREFIXES:
        attention = [name for name in file.layers if name.startswith(encoder) and ATTENTION.fullmatch(name)]
        if attention and not any(name.endswith("_out_proj") for name in attention):
            torn[encoder] = attention
    return torn


def _has_mlp(file: File, encoder: tuple[str, ...]) -> bool:
    return any(name.startswith(encoder) and "_mlp_" in name for name in file.layers)
