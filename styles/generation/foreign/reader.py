"""Which program wrote a picture's settings, told by where they stand and what names they have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from styles.errors import RecipeError
from styles.generation.foreign.a1111 import has_settings, parse_parameters
from styles.generation.foreign.comfyui import not_plain, read_graph
from styles.generation.foreign.invokeai import read_line, read_metadata, read_older
from styles.generation.foreign.objects import read_draw_things, read_fooocus, read_novelai, read_swarmui
from styles.generation.recipe import Recipe
from styles.storage.file_reading import json_of

# Where a text of settings may stand, those of programs that write both first.
PLAIN = (
    "parameters",
    "generation_data",
    "UserComment",
    "XPComment",
    "Comment",
    "Description",
    "ImageDescription",
)


def foreign_recipe(texts: Mapping[str, str], name: str) -> Recipe:
    """Return the recipe that another program's texts make up; raises RecipeError."""
    if "invokeai_metadata" in texts:
        return read_metadata(_object(texts["invokeai_metadata"]))
    if "sd-metadata" in texts:
        return read_older(_object(texts["sd-metadata"]))
    for place in ("XMP", *PLAIN):
        text = texts.get(place, "")
        values = _object(text)
        if values and (recipe := _of_object(values)):
            return recipe
        # A camera writes comments, too.
        if text.strip() and not values and (place == "parameters" or has_settings(text)):
            return parse_parameters(text)
    for line in ("Dream", "dream"):
        if line in texts:
            return read_line(texts[line])
    graph = texts.get("prompt") or _behind(texts, "prompt:")
    if graph:
        return read_graph(_object(graph))
    if "workflow" in texts or _behind(texts, "workflow:"):
        raise not_plain()
    if "parameters" in texts:
        return parse_parameters(texts["parameters"])
    if "XMP" in texts and not texts["XMP"].strip():
        raise RecipeError(
            "{file} carries a description (XMP), but no settings of a program that is known here.",
            "Type its prompt and seed by hand.",
            file=name,
        )
    raise RecipeError(
        "{file} carries no recipe.",
        "Only pictures straight from the program that made them do; other programs often drop it.",
        file=name,
    )


def _of_object(values: Mapping[str, Any]) -> Recipe | None:
    """Return the recipe of an object whose program its names tell, None for another."""
    inside = values.get("sui_image_params")
    if isinstance(inside, dict):
        return read_swarmui(inside)
    if "c" in values and ("uc" in values or "scale" in values):
        return read_draw_things(values)
    if "positive_prompt" in values:
        return read_metadata(values)
    if "uc" in values or "v4_prompt" in values:
        return read_novelai(values)
    if "base_model" in values or "guidance_scale" in values or values.get("metadata_scheme") == "fooocus":
        return read_fooocus(values)
    if any(isinstance(one, dict) and "class_type" in one for one in values.values()):
        return read_graph(values)
    return None


def _object(text: str) -> dict[str, Any]:
    """Return the JSON object that a text is, an empty one for anything else."""
    if not text.lstrip().startswith("{"):
        return {}
    try:
        values = json_of(text)
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def _behind(texts: Mapping[str, str], mark: str) -> str:
    """Return what stands behind a mark in one of EXIF's texts, as ComfyUI writes WebP."""
    for text in texts.values():
        if text[: len(mark)].lower() == mark:
            return text[len(mark) :]
    return ""
