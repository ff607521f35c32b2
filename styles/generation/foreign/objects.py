"""Programs that write their settings as one JSON object of plain names: Fooocus, SwarmUI, NovelAI, Draw Things."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from styles.generation.foreign.found import (
    FoundSettings,
    PictureStyle,
    number_from,
    text_from,
    with_plain_squares,
)
from styles.generation.prompt_tags import without_tags
from styles.generation.recipe import Recipe

ROUND = re.compile(r"(?<!\\)[()]")
# NovelAI: each curly bracket makes stronger, each square one weaker, by the same factor.
NOVELAI_STEP = 1.05
BRACES = re.compile(r"(\{{1,8})([^{}\[\]]{1,400})\}{1,8}|(\[{1,8})([^{}\[\]]{1,400})\]{1,8}")
NUMBERED = re.compile(r"(-?\d+(?:\.\d+)?)::([^:]{1,400})::")
FOOOCUS_LEFT_OUT = (
    "refiner_model", "refiner_switch", "refiner_swap_method", "sharpness", "adm_guidance", "adaptive_cfg", "freeu", "vae",
    "styles", "overwrite_switch", "inpaint_mode", "uov_method",
)  # fmt: skip
SWARM_LEFT_OUT = (
    "vae", "refinermethod", "refinermodel", "refinercontrolpercentage", "refinerupscale", "refinerupscalemethod",
    "initimage", "initimagecreativity", "variationseed", "variationseedstrength", "controlnetmodel", "controlnetstrength",
    "freeublockone", "seamlesstileable", "cfgrescale",
)  # fmt: skip
DRAW_THINGS_LEFT_OUT = (
    "refiner", "upscaler", "controls", "control", "hires_fix", "hires fix", "mask_blur", "shift", "tiled_diffusion", "seed_mode",
    "image_guidance", "face_restoration",
)  # fmt: skip


def read_fooocus(values: Mapping[str, Any]) -> Recipe:
    """Read Fooocus' own scheme."""
    found = FoundSettings(text_from(values.get("prompt")), text_from(values.get("negative_prompt")))
    found.base = text_from(values.get("base_model"))
    found.sampler, found.schedule = text_from(values.get("sampler")), text_from(values.get("scheduler"))
    names = {"seed": "seed", "steps": "steps", "guidance_scale": "guidance", "clip_skip": "clip_skip"}
    found.take_numbers(values, names)
    if "resolution" in values:
        found.take_size(str(values["resolution"]))
    loras = values.get("loras")
    for one in loras if isinstance(loras, list) else ():
        if isinstance(one, list) and len(one) >= 2:
            found.styles.append(PictureStyle(str(one[0]), one[1]))  # the third is a hash of the whole file
    if not found.styles:
        for name, value in values.items():
            parts = text_from(value).split(" : ") if name.startswith("lora_combined_") else []
            if len(parts) >= 2 and parts[0] != "False":
                found.styles.append(PictureStyle(parts[-2], parts[-1]))
    found.leave_out(values, FOOOCUS_LEFT_OUT)
    return found.recipe()


def read_swarmui(values: Mapping[str, Any]) -> Recipe:
    """Read what SwarmUI writes under `sui_image_params`; a tag's first weight is the UNet's there."""
    tagged = without_tags(text_from(values.get("prompt")), unet_first=True)
    found = FoundSettings(with_plain_squares(tagged.prompt), notes=list(tagged.notes))
    found.negative = with_plain_squares(without_tags(text_from(values.get("negativeprompt"))).prompt)
    found.base = text_from(values.get("model"))
    found.sampler, found.schedule = text_from(values.get("sampler")), text_from(values.get("scheduler"))
    names = {
        "seed": "seed",
        "steps": "steps",
        "cfgscale": "guidance",
        "width": "width_px",
        "height": "height_px",
    }
    found.take_numbers(values, names)
    layer = number_from(values.get("clipstopatlayer"), int)
    found.numbers |= {"clip_skip": -layer} if layer is not None and layer < 0 else {}
    names_of, weights = _listed(values.get("loras")), _listed(values.get("loraweights"))
    weights += [1.0] * (len(names_of) - len(weights))
    found.styles = [PictureStyle(str(name), weight) for name, weight in zip(names_of, weights, strict=False)]
    named = {one.name.rpartition("/")[2].removesuffix(".safetensors") for one in found.styles}
    found.styles += [PictureStyle(tag.name, tag.weight) for tag in tagged.styles if tag.name not in named]
    found.leave_out(values, SWARM_LEFT_OUT)
    return found.recipe()


def _listed(value: Any) -> list[Any]:
    """A list, which some versions write as a text with commas."""
    if isinstance(value, str):
        return [one.strip() for one in value.split(",") if one.strip()]
    return list(value) if isinstance(value, list) else []


def read_novelai(values: Mapping[str, Any]) -> Recipe:
    """Read NovelAI's comment; what its characters say of themselves stands behind the prompt."""
    found = FoundSettings(
        _novelai_text(values, "v4_prompt", "prompt"), _novelai_text(values, "v4_negative_prompt", "uc")
    )
    found.sampler, found.schedule = text_from(values.get("sampler")), text_from(values.get("noise_schedule"))
    names = {
        "seed": "seed", "steps": "steps", "scale": "guidance", "cfg_rescale": "guidance_rescale", "width": "width_px",
        "height": "height_px",
    }  # fmt: skip
    found.take_numbers(values, names)
    found.base = "NovelAI"
    found.leave_out(
        values,
        ("sm", "sm_dyn", "dynamic_thresholding", "uncond_scale_", "reference_strength_multiple", "strength"),
    )
    return found.recipe()


def _novelai_text(values: Mapping[str, Any], name: str, older: str) -> str:
    caption = values.get(name)
    caption = caption.get("caption") if isinstance(caption, dict) else None
    if not isinstance(caption, dict):
        return novelai_weights(text_from(values.get(older)))
    texts = [text_from(caption.get("base_caption"))]
    characters = caption.get("char_captions")
    for one in characters if isinstance(characters, list) else ():
        texts.append(text_from(one.get("char_caption")) if isinstance(one, dict) else "")
    return novelai_weights(", ".join(text.strip(" ,") for text in texts if text.strip(" ,")))


def novelai_weights(prompt: str) -> str:
    """Return a prompt of NovelAI with its weights as ours; round brackets mean nothing there."""
    prompt = NUMBERED.sub(r"\2", prompt) if "::" in prompt and ROUND.search(prompt) else prompt
    prompt = ROUND.sub(r"\\\g<0>", prompt)
    prompt = NUMBERED.sub(r"(\2:\1)", prompt)

    def weighed(match: re.Match[str]) -> str:
        power = len(match[1]) if match[1] else -len(match[3])
        return f"({match[2] or match[4]}:{NOVELAI_STEP**power:.4g})"

    return BRACES.sub(weighed, prompt)


def read_draw_things(values: Mapping[str, Any]) -> Recipe:
    """Read the comment of Draw Things, whose names are short: `c` the prompt, `uc` the negative one."""
    found = FoundSettings(text_from(values.get("c")), text_from(values.get("uc")))
    found.base = text_from(values.get("model"))
    found.sampler = text_from(values.get("sampler"))
    names = {"seed": "seed", "steps": "steps", "scale": "guidance", "clip_skip": "clip_skip"}
    found.take_numbers(values, names)
    if "size" in values:
        found.take_size(str(values["size"]))
    loras = values.get("lora") or values.get("loras")
    for one in loras if isinstance(loras, list) else ():
        if isinstance(one, dict):
            name = text_from(one.get("model") or one.get("file"))
            found.styles.append(
                PictureStyle(
                    re.sub(r"_lora_f(16|32)(?=\.ckpt$)|_f16(?=\.ckpt$)", "", name), one.get("weight", 1.0)
                )
            )
    strength = number_from(values.get("strength"), float)
    if strength is not None and strength < 1:
        found.left_out.append(f"strength: {strength:g}")
    found.leave_out(values, DRAW_THINGS_LEFT_OUT)
    return found.recipe()
