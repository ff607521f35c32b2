"""The rules of each program, one function for each: what it must find in a file, and what it makes of the rest.

`styles/library/compatibility.py` names the sources. A rule that is kept is a tick; one that isn't says in a sentence what follows.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from styles.families import UNKNOWN, Family, family_of
from styles.formats.safetensors_header import TensorEntry
from styles.library.base_guess import a1111_family, forge_family, invoke_family
from styles.library.compatibility_names import (
    COMFYUI_LAYER,
    FORGE_LAYER,
    has_other_strength,
    is_known_scheme,
    layers_of,
)
from styles.storage.names import clean_text, export_name
from styles.text import Text, few

DOWN, UP, MID, ALPHA = "lora_down.weight", "lora_up.weight", "lora_mid.weight", "alpha"
LARGEST_SHOWN_HEADER = 1 << 20  # bytes; ComfyUI
MOST_UNMATCHED = 12  # tensors; Forge
TAG = re.compile(r"[A-Za-z0-9_.-]+")
OTHER_KINDS = ("hada_w1_a", "lokr_w1", "diff", "w_norm", "on_input", "oft_", "a1.weight")
INNER = (
    r"(?:norm|proj_in|proj_out"
    r"|transformer_blocks_\d+_(?:norm[123]|attn[12]_to_(?:q|k|v|out_0)|ff_net_(?:0_proj|2)))"
)
RESNET = r"(?:norm[12]|conv1|conv2|time_emb_proj|conv_shortcut)"
DIFFUSERS_UNET = (
    r"lora_unet_(?:conv_in|conv_norm_out|conv_out|(?:time|add)_embedding_linear_[12]"
    rf"|(?:down|up)_blocks_\d_(?:attentions_\d_{INNER}|resnets_\d_{RESNET})|down_blocks_\d_downsamplers_0_conv"
    rf"|up_blocks_\d_upsamplers_0_conv|mid_block_(?:attentions_0_{INNER}|resnets_[01]_{RESNET}))"
)
ORIGINAL_UNET = r"lora_unet_(?:input_blocks|middle_block|output_blocks|time_embed|label_emb|out)_\d.*"
ENCODER = r"text_model_encoder_layers_\d+_(?:mlp_fc[12]|self_attn_(?:q|k|v|out)_proj)"
# diffusers takes the first two for one text encoder.
ENCODER_PREFIXES = (("lora_te_", "lora_te1_"), ("lora_te2_",))
ATTENTION = re.compile(r"(.+_self_attn)_(q|k|v|out)_proj")


@dataclass(frozen=True)
class CompatibilityCheck:
    """One rule of a program: whether the file keeps it, and if not, what follows.

    `matters`: all (it does not open), part (layers are left out or changed), note (it opens all the same), unknown.
    """

    rule: str
    kept: bool
    says: Text
    matters: str = "all"


@dataclass(frozen=True)
class File:
    """What the rules look at. `layers` maps a name such as `lora_unet_..._to_k` to its parts, in the file's order."""

    name: str  # of the file, without its extension
    starts: bytes  # the first two bytes of the header
    header_bytes: int
    metadata: Mapping[str, str]
    layers: Mapping[str, Mapping[str, TensorEntry]]
    alphas: Mapping[str, float]
    odd: tuple[str, ...]  # tensors that belong to no layer in the kohya form, and are no words
    words: tuple[str, ...]  # that it brings along for prompts, in tensors `bundle_emb.<word>.*`
    family: Family

    def having(self, *marks: str) -> list[str]:
        """The layers with a part whose name begins with one of the marks."""
        return [name for name, parts in self.layers.items() if any(part.startswith(marks) for part in parts)]


@dataclass(frozen=True)
class Source:
    """What a program's rules were read in: the version or commit, and the days of that and of the reading."""

    version: str
    of: str  # ISO date, empty where it is not known
    read: str  # ISO date


SOURCES: Mapping[str, Source] = {
    "A1111": Source("1.10.1", "2025-02-09", "2026-12-01"),
    "Forge": Source("dfdcbab", "2025-06-26", "2026-12-01"),
    "ComfyUI": Source("0.8.1", "", "2026-12-01"),
    "InvokeAI": Source("6.14.0-alpha", "2026-08-19", "2026-12-01"),
    "diffusers": Source("0.42.1", "", "2026-12-01"),
}


def a1111(file: File) -> list[CompatibilityCheck]:
    """AUTOMATIC1111 1.10: names by patterns, what matches nothing is left out without a word."""
    two = len(file.family.text_encoders) > 1
    encoders = rf"lora_te1_text_model_.+|lora_te2_{ENCODER}" if two else rf"lora_te1?_{ENCODER}"
    readable_keys = re.compile(
        r"lora_unet_(?:conv_in|conv_out|time_embedding_linear_[12]|down_blocks_\d+_downsamplers_0_conv"
        r"|(?:down|up)_blocks_\d+_(?:attentions|resnets)_\d+_.+|mid_block_(?:attentions|resnets)_\d+_.+"
        rf"|up_blocks_{'[1-9]' if two else '[0-9]'}_upsamplers_0_conv)|{ORIGINAL_UNET}|{encoders}"
    )
    whole_attention = tuple(f"lora_{one.network}_" for one in file.family.text_encoders if one.open_clip)
    torn = [name for name in _torn_attention(file) if name.startswith(whole_attention)]
    return [
        *_in_kohya_form(file, "A1111"),
        _base(file, "A1111"),
        CompatibilityCheck(
            "header", file.starts == b'{"', Text("A1111 reads no header that doesn't begin with `{{\"`.")
        ),
        _whole(file, "A1111", Text("refuses"), readable_keys),
        _names(file, "A1111", readable_keys),
        CompatibilityCheck(
            "attention",
            not torn,
            Text(
                "A1111 changes this text encoder's attention only where q, k, v and out are all there: {torn}.",
                torn=_some(torn),
            ),
            "part",
        ),
        CompatibilityCheck(
            "words",
            not any("." in word for word in file.words),
            Text(
                "A1111 knows words only up to their first dot: {words}.",
                words=_some([one for one in file.words if "." in one]),
            ),
            "note",
        ),
        _tag(file, "A1111"),
        _listed(file, "A1111", a1111_family(file.metadata)),
    ]


def forge(file: File) -> list[CompatibilityCheck]:
    """Forge: ComfyUI's names; more than 12 tensors that match none, and the whole file is left."""
    missed = [name for name in file.layers if not _comfy_names(file).fullmatch(name)]
    of_words = len(file.words) * max(1, len(file.family.text_encoders))
    odd = [
        key for name, keys in layers_of(file.odd).items() for key in keys if not FORGE_LAYER.fullmatch(name)
    ]
    tensors = sum(len(file.layers[name]) for name in missed) + len(odd) + of_words
    return [
        *_in_kohya_form(file, "Forge", FORGE_LAYER),
        _base(file, "Forge"),
        CompatibilityCheck(
            "matched",
            tensors <= MOST_UNMATCHED,
            Text(
                "Forge leaves a file with more than {most_unmatched} tensors that it has no layer for; here are {tensors}.",
                most_unmatched=MOST_UNMATCHED,
                tensors=tensors,
            ),
        ),
        _words(file, "Forge"),
        _names(file, "Forge", _comfy_names(file)),
        _whole(file, "Forge", Text("leaves out"), _comfy_names(file)),
        _tag(file, "Forge"),
        _listed(file, "Forge", forge_family(file.metadata)),
    ]


def comfyui(file: File) -> list[CompatibilityCheck]:
    """ComfyUI: names by a table of the open base's layers; what is not in it is left out with a warning."""
    return [
        *_in_kohya_form(file, "ComfyUI", COMFYUI_LAYER),
        _base(file, "ComfyUI"),
        CompatibilityCheck(
            "words",
            not file.words,
            Text(
                "ComfyUI has its words ({words}) only as `embedding:{file}`, all at once, from a copy of the file in its folder of embeddings.",
                words=_some(file.words),
                file=file.name,
            ),
            "part",
        ),
        _names(file, "ComfyUI", _comfy_names(file)),
        _whole(file, "ComfyUI", Text("leaves out"), _comfy_names(file)),
        CompatibilityCheck(
            "header size",
            file.header_bytes <= LARGEST_SHOWN_HEADER,
            Text(
                "ComfyUI shows metadata only of headers up to 1 MiB; this one has {header_bytes} bytes.",
                header_bytes=file.header_bytes,
            ),
            "note",
        ),
    ]


def invokeai(file: File) -> list[CompatibilityCheck]:
    """InvokeAI 6: it takes the base from the first tensor that tells a width, and files it under that base."""
    encoders = r"lora_te[12]_.+" if len(file.family.text_encoders) > 1 else r"lora_te_.+"
    readable_keys = re.compile(
        rf"{DIFFUSERS_UNET}|{encoders}" + (rf"|{ORIGINAL_UNET}" if file.family.original_block_names else "")
    )
    guess = invoke_family(file.layers)
    checks = [
        *_in_kohya_form(file, "InvokeAI"),
        _base(file, "InvokeAI"),
        CompatibilityCheck(
            "base",
            bool(guess) or not file.layers,
            Text("InvokeAI can't tell which base it is for, and refuses it."),
        ),
        CompatibilityCheck(
            "same base",
            not guess or _is_of(file, guess),
            Text(
                "InvokeAI takes it for a style for {family}.",
                family=family_of(guess).name,
            ),
        ),
        _words(file, "InvokeAI"),
        _names(file, "InvokeAI", readable_keys),
        _whole(file, "InvokeAI", Text("refuses")),
    ]
    if file.family.original_block_names:
        original = [name for name in file.layers if re.match(ORIGINAL_UNET, name)]
        mixed = bool(original) and any(re.match(DIFFUSERS_UNET, name) for name in file.layers)
        strange = [name for name in file.layers if name.startswith("lora_te_")]
        checks.append(
            CompatibilityCheck(
                "one scheme", not mixed, Text("InvokeAI refuses two ways of naming blocks in one file.")
            )
        )
        checks.append(
            CompatibilityCheck(
                "prefixes",
                not strange,
                Text("InvokeAI refuses it for names such as {strange}.", strange=_some(strange)),
            )
        )
    return checks


def diffusers(file: File) -> list[CompatibilityCheck]:
    """diffusers 0.42, `load_lora_weights(..., use_safetensors=True)`."""
    if file.odd and not file.layers:
        own = all(key.startswith(("unet.", "text_encoder.", "text_encoder_2.")) for key in file.odd)
        has_alphas = "lora_adapter_metadata" in file.metadata or any(
            key.endswith(".alpha") for key in file.odd
        )
        return [
            CompatibilityCheck(
                "names", own, Text("diffusers doesn't know names such as {odd}.", odd=_some(file.odd))
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
            Text("diffusers refuses a file with other tensors in it: {odd}.", odd=_some(file.odd)),
        ),
        CompatibilityCheck(
            "words",
            not file.words,
            Text(
                "diffusers refuses a file with words in it ({words}): export it with its words apart.",
                words=_some(file.words),
            ),
        ),
        CompatibilityCheck(
            "kinds", not others, Text("diffusers opens plain LoRA only, not {others}.", others=_some(others))
        ),
        CompatibilityCheck(
            "mid",
            not file.having(MID),
            Text("diffusers refuses middle factors (LoCon): {names}.", names=_some(file.having(MID))),
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
                "diffusers knows the original block names only of SDXL: {original}.", original=_some(original)
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
            Text("diffusers leaves out {lost}, which it takes for others.", lost=_some(lost)),
            "all" if lost == of_unet else "part",
        ),
        CompatibilityCheck(
            "text encoder",
            not torn,
            Text(
                "diffusers finds a text encoder's attention only where one of its layers is `out`: {torn}.",
                torn=_some(name for names in torn.values() for name in names),
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
                uneven=_some(uneven),
            ),
            "part",
        ),
    ]


TOOLS: Mapping[str, Callable[[File], list[CompatibilityCheck]]] = {
    "A1111": a1111,
    "Forge": forge,
    "ComfyUI": comfyui,
    "InvokeAI": invokeai,
    "diffusers": diffusers,
}


def _in_kohya_form(
    file: File, tool: str, other_names: re.Pattern[str] | None = None
) -> list[CompatibilityCheck]:
    """Whether the names are kohya's; `other_names` are those of layers that the program finds beside them."""
    kohya = bool(file.layers)
    if not kohya and is_known_scheme(file.odd):
        return _by_other_names(file, tool, other_names)
    return [
        CompatibilityCheck(
            "form",
            kohya,
            Text(
                "Whether {tool} reads this way of writing is not known: export it for the kohya form.",
                tool=tool,
            ),
            "unknown",
        ),
        CompatibilityCheck(
            "only layers",
            not kohya or not file.odd,
            Text("{tool} leaves out what is no layer: {odd}.", tool=tool, odd=_some(file.odd)),
            "part",
        ),
    ]


def _by_other_names(file: File, tool: str, names: re.Pattern[str] | None) -> list[CompatibilityCheck]:
    layers = layers_of(file.odd)
    missed = [name for name in layers if names is None or not names.fullmatch(name)]
    return [
        CompatibilityCheck(
            "names",
            not missed,
            Text(
                "{tool} leaves out {count} of {layers} layers, whose names it doesn't know: {missed}.",
                tool=tool,
                count=len(missed),
                layers=len(layers),
                missed=_some(missed),
            ),
            "all" if len(missed) == len(layers) else "part",
        ),
        CompatibilityCheck(
            "strength",
            not has_other_strength(file.metadata),
            Text("{tool} doesn't read the strength that it tells, and takes it to be 1.", tool=tool),
            "part",
        ),
    ]


def _base(file: File, tool: str) -> CompatibilityCheck:
    return CompatibilityCheck(
        "base",
        file.family.known_elsewhere,
        Text("{tool} can't open {family}, which this style is for.", tool=tool, family=file.family.name),
    )


def _words(file: File, tool: str) -> CompatibilityCheck:
    says = Text(
        "{tool} leaves out its words ({words}): export it with its words apart.",
        tool=tool,
        words=_some(file.words),
    )
    return CompatibilityCheck("words", not file.words, says, "part")


def _names(file: File, tool: str, readable_keys: re.Pattern[str]) -> CompatibilityCheck:
    missed = [name for name in file.layers if not readable_keys.fullmatch(name)]
    says = Text(
        "{tool} leaves out {count} of {layers} layers, whose names it doesn't know: {missed}.",
        tool=tool,
        count=len(missed),
        layers=len(file.layers),
        missed=_some(missed),
    )
    return CompatibilityCheck(
        "names", not missed, says, "all" if missed and len(missed) == len(file.layers) else "part"
    )


def _whole(
    file: File, tool: str, does: str, readable_keys: re.Pattern[str] | None = None
) -> CompatibilityCheck:
    """Whether each layer has what makes one; `known` narrows it to the layers that the program looks at."""
    names = [name for name in file.layers if readable_keys is None or readable_keys.fullmatch(name)]
    torn = [
        name
        for name in names
        if not {DOWN, UP} <= file.layers[name].keys()
        and not any(part.startswith(OTHER_KINDS) for part in file.layers[name])
    ]
    says = Text(
        "{tool} {does} layers with half of their tensors: {torn}.", tool=tool, does=does, torn=_some(torn)
    )
    return CompatibilityCheck("whole layers", not torn, says, "all" if does == "refuses" else "part")


def _tag(file: File, tool: str) -> CompatibilityCheck:
    says = Text(
        "Its file name may not stand in {tool}'s prompts as <lora:NAME:1>: an export has a name that does.",
        tool=tool,
    )
    return CompatibilityCheck("tag", export_name(file.name, "") == file.name, says, "note")


def _listed(file: File, tool: str, family: str) -> CompatibilityCheck:
    says = Text(
        "{tool} lists it under {family}, so its card may be hidden; its name in a prompt works.",
        tool=tool,
        family=family_of(family).name,
    )
    return CompatibilityCheck("listed", _is_of(file, family), says, "note")


def _is_of(file: File, family: str) -> bool:
    """Whether a program that takes the file for a style of that family is right, as far as can be told."""
    return family == file.family.id or file.family is UNKNOWN or not file.family.known_elsewhere


def _comfy_names(file: File) -> re.Pattern[str]:
    two = len(file.family.text_encoders) > 1
    projection = r"|lora_te[12]_text_projection" if two else ""
    second = rf"|lora_te2_{ENCODER}" if two else ""
    return re.compile(rf"{DIFFUSERS_UNET}|{ORIGINAL_UNET}|lora_te1?_{ENCODER}{second}{projection}")


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


def _torn_attention(file: File) -> list[str]:
    projections: dict[str, set[str]] = {}
    for name in file.layers:
        if at := ATTENTION.fullmatch(name):
            projections.setdefault(at[1], set()).add(at[2])
    return [name for name, parts in projections.items() if len(parts) < 4]


def _some(names: Iterable[str]) -> str:
    listed = sorted(names)
    return few([clean_text(name, 120) for name in listed], 2)
