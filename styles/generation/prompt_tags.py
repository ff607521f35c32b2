"""What A1111 writes into a prompt to add a network to it: `<lora:name:weight>`, which is no part of what is encoded.

<lora:name>  <lora:name:0.8>  <lora:name:0,8>    at 1, at 0.8 (a decimal comma counts)
<lora:name:0.5:0.8>  <lora:name:te=0.5:unet=0.8>  the text encoder's weight and the UNet's, of which ours has one
<lyco:...>                                       another name for the same since A1111 1.5
<hypernet:...>                                   a network of another kind, which is not read
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

from styles.errors import BlendError
from styles.mixing.blend import BlendPart
from styles.text import Text

TAG = re.compile(
    r"\\?(?:<|&lt;)(lora|lyco|lycoris|locon|loha|hypernet)\s*:([^<>\n]{0,400}?)(?:>|&gt;)", re.IGNORECASE
)
# One that is never closed, up to the next blank.
OPEN_TAG = re.compile(r"\\?(?:<|&lt;)(?:lora|lyco|lycoris|locon|loha|hypernet)\s*:[^<>\s,]*", re.IGNORECASE)
NUMBER = re.compile(r"[+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)")
FOLDERS = re.compile(r".*[/\\]", re.DOTALL)
MOST_TAGS = 100
SHOWN = 60  # characters of what is quoted


@dataclass(frozen=True)
class StyleTag:
    """A style that a prompt names, without folder and ending, and its weight."""

    name: str
    weight: float


@dataclass(frozen=True)
class TaggedPrompt:
    """A prompt without its tags, the styles that they name, and what of them is not taken over."""

    prompt: str
    styles: tuple[StyleTag, ...] = ()
    notes: tuple[Text, ...] = ()


def without_tags(prompt: str, unet_first: bool = False) -> TaggedPrompt:
    """Take the tags out of a prompt; where two weights stand in one, the second is the UNet's, else the first."""
    if "<" not in prompt and "&lt;" not in prompt:
        return TaggedPrompt(prompt)
    styles: dict[str, StyleTag] = {}
    notes: list[Text] = []
    tags = list(TAG.finditer(prompt))
    if len(tags) > MOST_TAGS:
        notes.append(
            Text("Of {count} tags of styles, the first {most} are read.", count=len(tags), most=MOST_TAGS)
        )
    for match in tags[:MOST_TAGS]:
        if match[1].lower() == "hypernet":
            notes.append(
                Text(
                    "The prompt names the hypernetwork “{name}”, which is not read here.",
                    name=_name(match[2].split(":")[0]),
                )
            )
            continue
        tag = _tag(match[2], unet_first, notes)
        if tag is None:
            continue
        if tag.name in styles:
            notes.append(Text("The style “{name}” is named twice; its first weight is taken.", name=tag.name))
        styles.setdefault(tag.name, tag)
    left = TAG.sub("", prompt)
    notes += [
        Text("“{tag}” is no whole tag of a style, and is left out of the prompt.", tag=match[0][:SHOWN])
        for match in itertools.islice(OPEN_TAG.finditer(left), MOST_TAGS)
    ]
    left = OPEN_TAG.sub("", left)
    if left != prompt:
        left = re.sub(r"[ \t]+", " ", left).strip()
    return TaggedPrompt(left, tuple(styles.values()), tuple(dict.fromkeys(notes)))


def tidied(prompt: str) -> str:
    """Return a prompt without the commas that stood around tags which were taken out."""
    return re.sub(r"^[\s,]+|[\s,]+$", "", re.sub(r"[ \t]*,(?:\s*,)*", ",", prompt))


def number_of(text: str) -> float | None:
    """Return a number that may have a decimal comma, None for anything else."""
    return float(text.strip().replace(",", ".")) if NUMBER.fullmatch(text.strip()) else None


def _name(text: str) -> str:
    return FOLDERS.sub("", text).strip().strip("\"'").removesuffix(".safetensors")


def _tag(text: str, unet_first: bool, notes: list[Text]) -> StyleTag | None:
    first, *rest = text.split(":")
    name = _name(first)
    if not name:
        notes.append(Text("A tag of the prompt names no style, and is left out."))
        return None
    named = {key.strip().lower(): value for key, sign, value in (one.partition("=") for one in rest) if sign}
    plain = [one for one in rest if "=" not in one]
    encoder = number_of(named.get("te", plain[0] if plain else "1"))
    unet = number_of(named["unet"]) if "unet" in named else encoder
    further = {f"{key}={value}" for key, value in named.items() if key not in ("te", "unet")}
    if len(plain) > 1 and "unet" not in named:
        second = number_of(plain[1])
        if second is None:
            further.add(plain[1])
        elif unet_first:
            encoder = second
        else:
            unet = second
    further |= set(plain[2:])
    try:
        weight = BlendPart(name, unet).weight if unet is not None else None
    except BlendError:
        weight = None
    if weight is None:
        said = named.get("unet") or (plain[0] if plain else named.get("te", ""))
        notes.append(
            Text("The weight “{weight}” of the style “{name}” can't be used.", weight=said[:SHOWN], name=name)
        )
        return None
    if encoder is not None and encoder != weight:
        notes.append(
            Text(
                "“{name}” has the weight {encoder:g} on the text encoder and {weight:g} on the UNet; here {weight:g} counts for both.",
                name=name,
                encoder=encoder,
                weight=weight,
            )
        )
    if further:
        notes.append(
            Text(
                "Of the tag of “{name}”, {further} is not taken over.",
                name=name,
                further=", ".join(sorted(further))[:SHOWN],
            )
        )
    return StyleTag(name, weight)
