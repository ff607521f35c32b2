"""The rules of A1111, Forge, ComfyUI and InvokeAI, one function for each, for files with names as kohya gives them."""

from __future__ import annotations

import re

from styles.families import family_of
from styles.library.base_guess import a1111_family, forge_family, invoke_family
from styles.library.compatibility.checks import (
    ATTENTION,
    DIFFUSERS_UNET,
    ORIGINAL_UNET,
    CompatibilityCheck,
    File,
    has_whole_layers,
    in_kohya_form,
    is_of,
    knows_names,
    lists_under,
    opens_base,
    reads_words,
    some,
    stands_in_tags,
)
from styles.library.compatibility.dotted_names import COMFYUI_LAYER, FORGE_LAYER, layers_of
from styles.text import Text

LARGEST_SHOWN_HEADER = 1 << 20  # bytes; ComfyUI
MOST_UNMATCHED = 12  # tensors; Forge
ENCODER = r"text_model_encoder_layers_\d+_(?:mlp_fc[12]|self_attn_(?:q|k|v|out)_proj)"


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
        *in_kohya_form(file, "A1111"),
        opens_base(file, "A1111"),
        CompatibilityCheck(
            "header", file.starts == b'{"', Text("A1111 reads no header that doesn't begin with `{{\"`.")
        ),
        has_whole_layers(file, "A1111", Text("refuses"), readable_keys),
        knows_names(file, "A1111", readable_keys),
        CompatibilityCheck(
            "attention",
            not torn,
            Text(
                "A1111 changes this text encoder's attention only where q, k, v and out are all there: {torn}.",
                torn=some(torn),
            ),
            "part",
        ),
        CompatibilityCheck(
            "words",
            not any("." in word for word in file.words),
            Text(
                "A1111 knows words only up to their first dot: {words}.",
                words=some([one for one in file.words if "." in one]),
            ),
            "note",
        ),
        stands_in_tags(file, "A1111"),
        lists_under(file, "A1111", a1111_family(file.metadata)),
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
        *in_kohya_form(file, "Forge", FORGE_LAYER),
        opens_base(file, "Forge"),
        CompatibilityCheck(
            "matched",
            tensors <= MOST_UNMATCHED,
            Text(
                "Forge leaves a file with more than {most_unmatched} tensors that it has no layer for; here are {tensors}.",
                most_unmatched=MOST_UNMATCHED,
                tensors=tensors,
            ),
        ),
        reads_words(file, "Forge"),
        knows_names(file, "Forge", _comfy_names(file)),
        has_whole_layers(file, "Forge", Text("leaves out"), _comfy_names(file)),
        stands_in_tags(file, "Forge"),
        lists_under(file, "Forge", forge_family(file.metadata)),
    ]


def comfyui(file: File) -> list[CompatibilityCheck]:
    """ComfyUI: names by a table of the open base's layers; what is not in it is left out with a warning."""
    return [
        *in_kohya_form(file, "ComfyUI", COMFYUI_LAYER),
        opens_base(file, "ComfyUI"),
        CompatibilityCheck(
            "words",
            not file.words,
            Text(
                "ComfyUI has its words ({words}) only as `embedding:{file}`, all at once, from a copy of the file in its folder of embeddings.",
                words=some(file.words),
                file=file.name,
            ),
            "part",
        ),
        knows_names(file, "ComfyUI", _comfy_names(file)),
        has_whole_layers(file, "ComfyUI", Text("leaves out"), _comfy_names(file)),
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
        *in_kohya_form(file, "InvokeAI"),
        opens_base(file, "InvokeAI"),
        CompatibilityCheck(
            "base",
            bool(guess) or not file.layers,
            Text("InvokeAI can't tell which base it is for, and refuses it."),
        ),
        CompatibilityCheck(
            "same base",
            not guess or is_of(file, guess),
            Text(
                "InvokeAI takes it for a style for {family}.",
                family=family_of(guess).name,
            ),
        ),
        reads_words(file, "InvokeAI"),
        knows_names(file, "InvokeAI", readable_keys),
        has_whole_layers(file, "InvokeAI", Text("refuses")),
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
                Text("InvokeAI refuses it for names such as {strange}.", strange=some(strange)),
            )
        )
    return checks


def _comfy_names(file: File) -> re.Pattern[str]:
    two = len(file.family.text_encoders) > 1
    projection = r"|lora_te[12]_text_projection" if two else ""
    second = rf"|lora_te2_{ENCODER}" if two else ""
    return re.compile(rf"{DIFFUSERS_UNET}|{ORIGINAL_UNET}|lora_te1?_{ENCODER}{second}{projection}")


def _torn_attention(file: File) -> list[str]:
    projections: dict[str, set[str]] = {}
    for name in file.layers:
        if at := ATTENTION.fullmatch(name):
            projections.setdefault(at[1], set()).add(at[2])
    return [name for name, parts in projections.items() if len(parts) < 4]
