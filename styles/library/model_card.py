"""The page of a style on the Hub: README.md with front matter (https://huggingface.co/docs/hub/model-cards).

The Hub shows `instance_prompt` as the trigger words and `widget` as the pictures.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from styles.bases.hub import HUB_ID
from styles.bases.recommended import RECOMMENDED
from styles.families import family_of
from styles.formats.licences import spdx_name
from styles.formats.style import StyleCard
from styles.storage.picture_budget import check_shown

PICTURES = "images"  # the folder
LARGEST_SIDE_PX = 1024
# https://huggingface.co/docs/hub/repositories-licenses, those that people give to pictures and styles.
HUB_LICENCES = frozenset(
    [
        "apache-2.0",
        "mit",
        "cc0-1.0",
        "cc-by-2.0",
        "cc-by-2.5",
        "cc-by-3.0",
        "cc-by-4.0",
        "cc-by-sa-3.0",
        "cc-by-sa-4.0",
        "cc-by-nc-2.0",
        "cc-by-nc-3.0",
        "cc-by-nc-4.0",
        "cc-by-nd-4.0",
        "cc-by-nc-nd-3.0",
        "cc-by-nc-nd-4.0",
        "cc-by-nc-sa-2.0",
        "cc-by-nc-sa-3.0",
        "cc-by-nc-sa-4.0",
        "creativeml-openrail-m",
        "openrail",
        "openrail++",
        "unlicense",
        "bsd-2-clause",
        "bsd-3-clause",
        "wtfpl",
    ]
)


@dataclass(frozen=True)
class ExamplePicture:
    """A picture for the page, as the bytes of its file, and the prompt that it was painted with."""

    prompt: str
    data: bytes


def model_card(card: StyleCard, name: str, pictures: Sequence[ExamplePicture]) -> dict[str, bytes]:
    """Return README.md and its pictures, pixels only, by their path in the folder; `name` is the folder's."""
    from huggingface_hub import ModelCardData

    files: dict[str, bytes] = {}
    widget = []
    for number, picture in enumerate(pictures, 1):
        path = f"{PICTURES}/{number}.png"
        files[path] = _pixels(picture.data)
        widget.append({"text": picture.prompt or card.trigger or "-", "output": {"url": path}})
    base = base_model(card)
    values: dict[str, Any] = {
        **_licence(card.licence),
        "library_name": "diffusers",
        "pipeline_tag": "text-to-image",
        "tags": list(dict.fromkeys(["text-to-image", "diffusers", "lora", "template:sd-lora", *card.tags])),
    }
    if base:
        values |= {"base_model": base, "base_model_relation": "adapter"}
    if card.trigger:
        values["instance_prompt"] = card.trigger
    if widget:
        values["widget"] = widget
    head = ModelCardData(**values).to_yaml(line_break="\n")
    text = f"---\n{head.strip()}\n---\n\n{_page(card, name, base, bool(widget))}"
    return {"README.md": text.encode("utf-8"), **files}


def base_model(card: StyleCard) -> str:
    """Return the Hub id of the base that a style was trained on, else of the one of its family; empty where there is none."""
    if HUB_ID.fullmatch(card.base_name):
        return card.base_name
    ids = [one.hub_id for one in RECOMMENDED if one.family.id == card.family]
    return next((one for one in ids if one.split("/")[1] == card.base_name), ids[0] if ids else "")


def _licence(licence: str) -> Mapping[str, str]:
    name = spdx_name(licence).casefold()
    if name in HUB_LICENCES:
        return {"license": name}
    slug = re.sub(r"[^a-z0-9.]+", "-", name).strip("-.")
    return {"license": "other", "license_name": slug} if slug else {"license": "unknown"}


def _page(card: StyleCard, name: str, base: str, pictured: bool) -> str:
    facts = [
        f"Trigger: `{_code(card.trigger)}`" if card.trigger else "",
        f"Weight to begin with: {card.suggested_weight:g}",
        f"For: {_plain(card.base_name or family_of(card.family).name)}",
        f"By: {_plain(card.author)}" if card.author else "",
        f"Licence: {_plain(spdx_name(card.licence))}" if card.licence else "",
        _plain(card.rights),
    ]
    parts = [
        f"# {_plain(card.name)}",
        "<Gallery />" if pictured else "",
        _plain(card.description),
        "\n".join(f"- {fact}" for fact in facts if fact),
        _use(card, name, base) if base else "",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _use(card: StyleCard, name: str, base: str) -> str:
    prompt = ", ".join(filter(None, ("a red house in a meadow", card.trigger)))
    return f"""## With diffusers

```python
from diffusers import AutoPipelineForText2Image

pipe = AutoPipelineForText2Image.from_pretrained({base!r})
pipe.load_lora_weights({name!r}, adapter_name="style")  # this folder, or its id on the Hub
pipe.set_adapters("style", {card.suggested_weight:g})
pipe({prompt!r}).images[0].save("picture.png")
```"""


def _plain(text: str) -> str:
    """Text of a card in Markdown, where it could begin HTML, links or a block of its own."""
    return re.sub(r"([\\`*_\[\]<>#|])", r"\\\1", text)


def _code(text: str) -> str:
    return text.replace("`", "'")


def _pixels(data: bytes) -> bytes:
    """Return a picture's pixels as a PNG that tells nothing else; raises what Pillow does for one that can't be opened."""
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP")) as image:
        check_shown(image)
        upright = ImageOps.exif_transpose(image).convert("RGB")
    upright.thumbnail((LARGEST_SIDE_PX, LARGEST_SIDE_PX))
    out = io.BytesIO()
    Image.frombytes("RGB", upright.size, upright.tobytes()).save(out, "PNG", optimize=True)
    return out.getvalue()
