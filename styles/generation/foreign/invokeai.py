"""InvokeAI's settings: one JSON object since version 3, another one before, and before that a line of options.

    {"positive_prompt": "...", "seed": 5, "scheduler": "dpmpp_2m_k", "loras": [{"model": {"name": "ink"}, "weight": 0.75}]}
    {"model_weights": "...", "image": {"prompt": [{"prompt": "...", "weight": 1}], "sampler": "k_euler_a", ...}}
    "a fox" -s 50 -S 1234 -W 512 -H 768 -C 7.5 -A k_lms

Weights in its prompts are compel's, `word++` and `(word)1.2`, which are written as ours here.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from styles.generation.foreign.found import (
    FoundSettings,
    PictureStyle,
    number_from,
    text_from,
    with_plain_squares,
)
from styles.generation.recipe import Recipe

LEFT_OUT = (
    "vae", "refiner_model", "controlnets", "ipAdapters", "t2iAdapters", "control_layers", "regions", "canvas_v2_metadata",
    "hrf_enabled", "hrf_method", "hrf_strength", "seamless_x", "seamless_y", "rand_device", "upscale_model", "strength",
    "init_image", "positive_style_prompt", "negative_style_prompt", "ref_images",
)  # fmt: skip
OLD_LEFT_OUT = (
    "postprocessing",
    "variations",
    "threshold",
    "perlin",
    "seamless",
    "hires_fix",
    "init_image_path",
    "strength",
)
OPTIONS = {"-s": "steps", "-S": "seed", "-C": "guidance", "-W": "width_px", "-H": "height_px"}
SIGNS = re.compile(
    r"(?P<inner>\((?:[^()\\]|\\.){1,400}\)|[^\s,()+\-\\]{1,80})(?P<signs>\+{1,8}|-{1,8})(?=[\s,.)]|$)"
)
NUMBERS = re.compile(r"(\((?:[^()\\]|\\.){1,400})\)(\d*\.\d+|\d)(?=[\s,.)+]|$)")
STRONGER, WEAKER = 1.1, 0.9  # of one sign
IN_BRACKETS = re.compile(r"\[([^\[\]]*)\]")  # what version 2 wrote its negative prompt in


def read_metadata(values: Mapping[str, Any]) -> Recipe:
    """Read the settings that versions 3 to 6 write."""
    found = FoundSettings(with_our_weights(text_from(values.get("positive_prompt"))))
    found.negative = with_our_weights(text_from(values.get("negative_prompt")))
    found.sampler = text_from(values.get("scheduler"))
    names = {
        "seed": "seed", "steps": "steps", "cfg_scale": "guidance", "cfg_rescale_multiplier": "guidance_rescale",
        "width": "width_px", "height": "height_px",
    }  # fmt: skip
    found.take_numbers(values, names)
    # There it counts the layers that are left out.
    if (skipped := number_from(values.get("clip_skip"), int)) is not None:
        found.numbers["clip_skip"] = skipped + 1
    found.base = _model_name(values.get("model"))
    loras = values.get("loras")
    for one in loras if isinstance(loras, list) else ():
        if isinstance(one, dict):
            model = one.get("model") or one.get("lora") or one.get("model_name")
            found.styles.append(PictureStyle(_model_name(model), one.get("weight", 0.75)))
    shown = {name: _model_name(value) or value for name, value in values.items()}
    same = ("positive_style_prompt", "positive_prompt"), ("negative_style_prompt", "negative_prompt")
    shown |= {style: "" for style, plain in same if values.get(style) == values.get(plain)}
    shown |= {"rand_device": "" if values.get("rand_device") == "cpu" else values.get("rand_device")}
    found.leave_out(shown, LEFT_OUT)
    return found.recipe()


def read_older(values: Mapping[str, Any]) -> Recipe:
    """Read the settings that version 2 wrote."""
    image = values.get("image")
    about: Mapping[str, Any] = image if isinstance(image, dict) else values
    prompt = about.get("prompt")
    if isinstance(prompt, list):
        prompt = ", ".join(text_from(one.get("prompt")) for one in prompt if isinstance(one, dict))
    found = _split(text_from(prompt))
    found.sampler = text_from(about.get("sampler"))
    names = {
        "seed": "seed", "steps": "steps", "cfg_scale": "guidance", "width": "width_px", "height": "height_px",
    }  # fmt: skip
    found.take_numbers(about, names)
    found.base = text_from(values.get("model_weights"))
    found.leave_out(about, OLD_LEFT_OUT)
    return found.recipe()


def read_line(line: str) -> Recipe:
    """Read the line of options that the first versions wrote."""
    prompt, _, options = (
        line.strip().removeprefix('"').rpartition('"') if line.strip().startswith('"') else (line, "", "")
    )
    found = _split(prompt)
    try:
        words = shlex.split(options)
    except ValueError:
        words = options.split()
    words = [
        part
        for word in words
        for part in ((word[:2], word[2:]) if re.match(r"-[sSCWHA]\d", word) else (word,))
    ]
    for option, value in pairwise(words):
        if option in OPTIONS:
            found.numbers[OPTIONS[option]] = value
        elif option == "-A":
            found.sampler = value
        elif re.fullmatch(r"-[IfGUVv]|--\w+", option):
            found.left_out.append(f"{option} {value}")
    return found.recipe()


def with_our_weights(prompt: str) -> str:
    """Return a prompt of compel with its weights as ours; square brackets mean nothing there."""
    prompt = with_plain_squares(prompt)
    prompt = SIGNS.sub(_by_signs, prompt)
    return NUMBERS.sub(r"\1:\2)", prompt)


def _by_signs(match: re.Match[str]) -> str:
    inner, signs = match["inner"], match["signs"]
    factor = (STRONGER if signs[0] == "+" else WEAKER) ** len(signs)
    if signs == "-" and not inner.startswith("("):
        return match[0]  # a hyphen at the end of a word
    return f"({inner[1:-1] if inner.startswith('(') else inner}:{factor:.4g})"


def _split(prompt: str) -> FoundSettings:
    """What stands in square brackets is the negative prompt."""
    negative = ", ".join(IN_BRACKETS.findall(prompt))
    found = FoundSettings(with_our_weights(IN_BRACKETS.sub("", prompt).strip()))
    found.negative = with_our_weights(negative)
    return found


def _model_name(model: Any) -> str:
    if isinstance(model, dict):
        return text_from(model.get("name")) or text_from(model.get("model_name"))
    return text_from(model)
