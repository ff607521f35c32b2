"""The pictures that were painted, as their folder has them: each with its recipe in plain words."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.i18n import say, say_count, translated
from styles.errors import BadInput, RecipeError
from styles.generation.png_recipe import read_recipe
from styles.generation.recipe import Recipe
from styles.mixing.blend import BlendPart
from styles.quantization.quantization import QUANTIZATIONS, quantization_words
from styles.storage.atomic import disk_errors, unused_name
from styles.storage.home import Home
from styles.storage.names import clean_text

PAGE = 24  # pictures that are shown at once
LONGEST_TITLE = 300  # characters of a prompt


@dataclass(frozen=True)
class Kept:
    """One picture of the folder; `recipe` is None for a sheet and for what others put there."""

    path: Path
    recipe: Recipe | None

    @property
    def title(self) -> str:
        """What it shows, as far as that is known."""
        return clean_text(self.recipe.prompt, LONGEST_TITLE) if self.recipe else self.path.stem

    def to_json(self) -> dict[str, Any]:
        """What a page shows of it, as plain JSON values."""
        return {
            "name": self.path.name,
            "path": str(self.path.absolute()),
            "title": self.title,
            "seed": str(self.recipe.seed) if self.recipe else "",
            "words": recipe_words(self.recipe) if self.recipe else [],
        }


class History:
    """The folder of pictures in a home; it is looked at anew each time, so that it can't be wrong."""

    def __init__(self, home: Home) -> None:
        self.home = home

    def page(self, start: int = 0, count: int = PAGE) -> tuple[list[Kept], int]:
        """The pictures from place `start` on, the newest first, and how many there are in all."""
        pictures = []
        for path in self.home.pictures.glob("[!.]*.png"):  # one with a dot is still being written
            try:
                pictures.append((path.stat().st_mtime_ns, path.name, path))
            except OSError:
                continue  # deleted since
        pictures.sort(reverse=True)
        return [_kept(path) for _, _, path in pictures[start : start + count]], len(pictures)

    def picture(self, name: str) -> Path:
        """The file of that name in the folder; raises BadInput for what is none of its pictures."""
        path = self.home.pictures / name
        if path.parent != self.home.pictures or path.suffix.lower() != ".png" or not os.path.isfile(path):
            raise BadInput(
                "The picture {name} is not there any more.", "Choose another one.", name=clean_text(name, 120)
            )
        return path

    def discard(self, name: str) -> Path:
        """Move a picture to the home's trash; its path there."""
        path = self.picture(name)
        folder = self.home.trash / "pictures"
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            target = unused_name(folder, path.stem, path.suffix)
            shutil.move(path, target)
        return target


def _kept(path: Path) -> Kept:
    try:
        return Kept(path, read_recipe(path))
    except RecipeError:
        return Kept(path, None)


def recipe_words(recipe: Recipe) -> list[str]:
    """What made a picture, line by line, as a person would tell it."""
    heard = {part.style for part in recipe.blend.sounding}
    parts = [_part_words(part, recipe) for part in recipe.blend.parts if part.style in heard]
    lines = [say("With {styles}.", styles=_listed(parts)) if parts else say("Without any style.")]
    if len(parts) > 1 and recipe.blend.mode == "take turns":
        lines.append(say("The styles took turns, one at each step."))
    if len(parts) > 1 and recipe.blend.mode == "average guidance":
        lines.append(say("Each step was painted with each style alone, and the mean taken."))
    if recipe.source:
        share = round(100 * recipe.source_strength)
        lines.append(say("Painted from another picture, {share} % away from it.", share=share))
    sampler = ", ".join(filter(None, (recipe.sampler, recipe.schedule)))
    said = {
        "width_px": say("{width} × {height} pixels", width=recipe.width_px, height=recipe.height_px),
        "steps": say_count(recipe.steps, "1 step", "{count} steps") + f" ({clean_text(sampler, 60)})",
        "guidance": say("guidance {number}", number=f"{recipe.guidance:g}"),
        "seed": say("seed {seed}", seed=recipe.seed),
    }
    numbers = [words for name, words in said.items() if name not in recipe.unsaid]
    if recipe.second_scale:
        numbers.append(say("a second pass at {scale} times the size", scale=f"{recipe.second_scale:g}"))
    if numbers:
        lines.append(", ".join(numbers) + ".")
    if recipe.negative:
        lines.append(say("Kept out: {words}", words=clean_text(recipe.negative, LONGEST_TITLE)))
    if recipe.base:
        base = clean_text(Path(recipe.base).name, 80)
        kept = recipe.quantize in QUANTIZATIONS
        words = translated(quantization_words(recipe.quantize)) if kept else ""
        lines.append(say("On {base}, {way}.", base=base, way=words) if kept else say("On {base}.", base=base))
    return lines


def _part_words(part: BlendPart, recipe: Recipe) -> str:
    name = clean_text(recipe.names.get(part.style) or part.style[:12], 80)
    said = [
        say("changing over the steps") if part.schedule else "",
        say("composition {number}", number=f"{part.composition:g}") if part.composition != 1 else "",
        say("texture {number}", number=f"{part.texture:g}") if part.texture != 1 else "",
    ]
    notes = ", ".join(filter(None, said))
    return say("{style} at {weight}", style=name, weight=f"{part.weight:.3g}") + (
        f" ({notes})" if notes else ""
    )


def _listed(words: list[str]) -> str:
    if len(words) < 2:
        return "".join(words)
    return say("{some} and {last}", some=", ".join(words[:-1]), last=words[-1])
