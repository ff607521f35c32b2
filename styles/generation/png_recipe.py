"""Pictures as PNG files that carry their recipe, ours as JSON and the text that other programs read; and read back."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from styles.errors import RecipeError
from styles.generation.foreign.file_texts import texts_of
from styles.generation.foreign.reader import foreign_recipe
from styles.generation.foreign.stealth import stealth_texts
from styles.generation.recipe import Recipe
from styles.generation.samplers import SAMPLERS, SCHEDULES
from styles.storage.atomic import write_new
from styles.storage.file_reading import open_file
from styles.storage.names import tag_name

if TYPE_CHECKING:
    from PIL.Image import Image

OURS, THEIRS = "atelier", "parameters"  # names of the PNG text chunks
PREFERRED_STEM = 60  # characters of the prompt in a file's name


def save_picture(image: Image, recipe: Recipe, folder: Path) -> Path:
    """Write the picture with its recipe into `folder` under a new name and return its path; whole or not at all.

    Raises DiskFullError, or BadInput where the folder can't be written.
    """
    words = re.sub(r"[^\w-]+", " ", recipe.prompt, flags=re.ASCII).strip()[:PREFERRED_STEM].strip()
    return write_new(folder, f"{words or 'picture'} {recipe.seed}".strip(), ".png", png_bytes(image, recipe))


def png_bytes(image: Image, recipe: Recipe) -> bytes:
    """Return the PNG file's bytes; the same picture and recipe give the same bytes."""
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text(THEIRS, parameters_text(recipe))
    info.add_text(OURS, recipe.to_json())
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", pnginfo=info)
    return buffer.getvalue()


def read_recipe(path: Path, pixels: bool = False) -> Recipe:
    """Return the recipe that a picture carries: ours, else what another program wrote.

    Only the file's texts are read, and with `pixels` what is hidden in an alpha channel where they say nothing. Raises
    RecipeError.
    """
    try:
        with open_file(path) as file:
            texts = texts_of(file)
    except OSError as error:
        raise RecipeError(
            "{file} can't be read ({reason}).", "Check the path.", file=path.name, reason=error.strerror
        ) from error
    if OURS in texts:
        return Recipe.from_json(texts[OURS])
    try:
        return foreign_recipe(texts, path.name)
    except RecipeError:
        if pixels and (hidden := stealth_texts(path)):
            return foreign_recipe(hidden, path.name)
        raise


def parameters_text(recipe: Recipe) -> str:
    """Return the recipe as A1111 writes it into its `parameters` chunk."""
    recipe = recipe.with_signs()
    tags, hashes = [], []
    heard = {part.style for part in recipe.blend.sounding}
    for part in recipe.blend.parts:
        if part.weight and part.style not in heard:
            continue  # muted: other programs know no such thing
        name = tag_name(recipe.names.get(part.style, part.style[:12]))
        tags.append(f"<lora:{name}:{part.weight:g}>")
        hashes.append(f"{name}: {part.style[:12]}")
    lines = [" ".join([recipe.prompt, *tags]).strip()]
    if recipe.negative:
        lines.append(f"Negative prompt: {recipe.negative}")
    sampler = SAMPLERS.get(recipe.sampler)
    schedule = recipe.schedule or (sampler.usual if sampler else "")
    fields = {
        "Steps": str(recipe.steps),
        "Sampler": sampler.a1111_name if sampler else recipe.sampler,
        "Schedule type": SCHEDULES[schedule].a1111_name if schedule in SCHEDULES else schedule,
        "CFG scale": f"{recipe.guidance:g}",
        "Seed": str(recipe.seed),
        "Size": f"{recipe.width_px}x{recipe.height_px}",
        "Model": recipe.base,
    }
    if recipe.guidance_rescale:
        fields["CFG Rescale"] = f"{recipe.guidance_rescale:g}"
    if recipe.clip_skip > 1:
        fields["Clip skip"] = str(recipe.clip_skip)
    if recipe.second_scale:
        fields["Denoising strength"] = f"{recipe.second_strength:g}"
        fields["Hires upscale"] = f"{recipe.second_scale:g}"
        fields["Hires steps"] = str(recipe.second_steps or recipe.steps)
    elif recipe.source:
        fields["Denoising strength"] = f"{recipe.source_strength:g}"
    if hashes:
        fields["Lora hashes"] = ", ".join(hashes)
    fields["Version"] = f"Atelier {dict(recipe.versions).get('atelier', '')}".strip()
    lines.append(", ".join(f"{name}: {_quoted(value)}" for name, value in fields.items() if value))
    return "\n".join(lines)


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if any(sign in value for sign in ",:\n") else value
