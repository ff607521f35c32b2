"""What the rules of the programs look at, and the checks that several of them share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from styles.families import UNKNOWN, Family, family_of
from styles.formats.safetensors_header import TensorEntry
from styles.library.compatibility.dotted_names import has_other_strength, is_known_scheme, layers_of
from styles.storage.names import clean_text, export_name
from styles.text import Text, few

DOWN, UP, MID, ALPHA = "lora_down.weight", "lora_up.weight", "lora_mid.weight", "alpha"
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


def in_kohya_form(
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
            Text("{tool} leaves out what is no layer: {odd}.", tool=tool, odd=some(file.odd)),
            "part",
        ),
    ]


def _by_other_names(file: File, tool: str, names: re.Pattern[str] | None) -> list[CompatibilityCheck]:
    layers = layers_of(file.odd)
    missed = [name for name in layers if names is None or not names.fullmatch(name)]
    return [
        _none_missed(tool, missed, len(layers)),
        CompatibilityCheck(
            "strength",
            not has_other_strength(file.metadata),
            Text("{tool} doesn't read the strength that it tells, and takes it to be 1.", tool=tool),
            "part",
        ),
    ]


def opens_base(file: File, tool: str) -> CompatibilityCheck:
    """Whether the program has such a base at all."""
    return CompatibilityCheck(
        "base",
        file.family.known_elsewhere,
        Text("{tool} can't open {family}, which this style is for.", tool=tool, family=file.family.name),
    )


def reads_words(file: File, tool: str) -> CompatibilityCheck:
    """Whether there are no words in the file, which the program leaves out."""
    says = Text(
        "{tool} leaves out its words ({words}): export it with its words apart.",
        tool=tool,
        words=some(file.words),
    )
    return CompatibilityCheck("words", not file.words, says, "part")


def knows_names(file: File, tool: str, readable_keys: re.Pattern[str]) -> CompatibilityCheck:
    """Whether the program looks up all names of the layers."""
    missed = [name for name in file.layers if not readable_keys.fullmatch(name)]
    return _none_missed(tool, missed, len(file.layers))


def _none_missed(tool: str, missed: list[str], layers: int) -> CompatibilityCheck:
    says = Text(
        "{tool} leaves out {count} of {layers} layers, whose names it doesn't know: {missed}.",
        tool=tool,
        count=len(missed),
        layers=layers,
        missed=some(missed),
    )
    return CompatibilityCheck("names", not missed, says, "all" if len(missed) == layers else "part")


def has_whole_layers(
    file: File, tool: str, does: str, readable_keys: re.Pattern[str] | None = None
) -> CompatibilityCheck:
    """Whether each layer has what makes one; `readable_keys` narrows it to the layers that the program looks at."""
    names = [name for name in file.layers if readable_keys is None or readable_keys.fullmatch(name)]
    torn = [
        name
        for name in names
        if not {DOWN, UP} <= file.layers[name].keys()
        and not any(part.startswith(OTHER_KINDS) for part in file.layers[name])
    ]
    says = Text(
        "{tool} {does} layers with half of their tensors: {torn}.", tool=tool, does=does, torn=some(torn)
    )
    return CompatibilityCheck("whole layers", not torn, says, "all" if does == "refuses" else "part")


def stands_in_tags(file: File, tool: str) -> CompatibilityCheck:
    """Whether the file's name may stand in a prompt's tag."""
    says = Text(
        "Its file name may not stand in {tool}'s prompts as <lora:NAME:1>: an export has a name that does.",
        tool=tool,
    )
    return CompatibilityCheck("tag", export_name(file.name, "") == file.name, says, "note")


def lists_under(file: File, tool: str, family: str) -> CompatibilityCheck:
    """Whether the program takes the file for a style of its own family."""
    says = Text(
        "{tool} lists it under {family}, so its card may be hidden; its name in a prompt works.",
        tool=tool,
        family=family_of(family).name,
    )
    return CompatibilityCheck("listed", is_of(file, family), says, "note")


def is_of(file: File, family: str) -> bool:
    """Whether a program that takes the file for a style of that family is right, as far as can be told."""
    return family == file.family.id or file.family is UNKNOWN or not file.family.known_elsewhere


def some(names: Iterable[str]) -> str:
    """Name the first two of some names."""
    listed = sorted(names)
    return few([clean_text(name, 120) for name in listed], 2)
