"""Pictures as PNG files that carry their recipe: ours as JSON, and the text that other programs read."""

from __future__ import annotations

import io
import json
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from styles.errors import AtelierError, BlendError, RecipeError
from styles.generation.recipe import Recipe
from styles.generation.samplers import DEFAULT_SAMPLER, SAMPLERS, SCHEDULES, missing_notes, sampler_named
from styles.mixing.blend import Blend, BlendPart
from styles.storage.atomic import write_new
from styles.storage.file_reading import open_file
from styles.storage.names import clean_text, tag_name
from styles.text import Text

if TYPE_CHECKING:
    from PIL.Image import Image

OURS, THEIRS = "atelier", "parameters"  # names of the PNG text chunks
SIGNATURE = b"\x89PNG\r\n\x1a\n"
LONGEST_TEXT = 256 << 10  # bytes, unpacked; a recipe has about one KiB
MOST_CHUNKS = 100_000
TAG = re.compile(r"<lora:([^:<>]{1,200}):([^:<>]{1,40})(?::[^<>]{0,100})?>")
FIELD = re.compile(r'\s*([\w][\w \-/]{0,60}):\s*("(?:\\.|[^\\"])*"|[^,]*)(?:,|$)')
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


def read_recipe(path: Path) -> Recipe:
    """Return the recipe that a PNG carries: ours, else what A1111 and its kin wrote.

    Only the file's text is read, never its pixels, and never more than a recipe can have. Raises RecipeError.
    """
    try:
        with open_file(path) as file:
            texts = dict(_texts(file))
    except OSError as error:
        raise RecipeError(
            "{file} can't be read ({reason}).", "Check the path.", file=path.name, reason=error.strerror
        ) from error
    if OURS in texts:
        return Recipe.from_json(texts[OURS])
    if THEIRS in texts:
        return parse_parameters(texts[THEIRS])
    raise RecipeError(
        "{file} carries no recipe.",
        "Only PNGs straight from Atelier or A1111 do; other programs often drop it.",
        file=path.name,
    )


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


def parse_parameters(text: str) -> Recipe:
    """Read an A1111 `parameters` text; what can't be taken over is said in the recipe's `notes`.

    Styles are the prompt's `<lora:name:weight>` tags: each part's style is the hash that the text gives for the
    name (12 hex digits), else the name. Raises RecipeError where there is nothing to take.
    """
    lines = text.strip().split("\n")
    if not lines[-1]:
        raise RecipeError("The picture's settings are empty.", "Type its prompt and seed by hand.")
    settings = dict(_fields(lines[-1])) if len(dict(_fields(lines[-1]))) >= 3 else {}
    body = lines[:-1] if settings else lines
    start = next(
        (number for number, line in enumerate(body) if line.startswith("Negative prompt:")), len(body)
    )
    prompt = "\n".join(body[:start])
    negative = "\n".join(body[start:]).removeprefix("Negative prompt:").strip()
    notes: list[Text] = []
    blend, names = _tags(prompt, settings.get("Lora hashes", ""), notes)
    if "Denoising strength" in settings:
        notes.append(
            Text("The picture was made from another one or in two passes, which can't be taken over.")
        )
    sampler, schedule = _sampler(settings, notes)
    if settings.get("Emphasis", "Original") != "Original":
        notes.append(
            Text(
                "The picture was made with the emphasis “{emphasis}”; weights are read as with “Original” here.",
                emphasis=settings["Emphasis"],
            )
        )
    try:
        width, _, height = settings.get("Size", "512x512").partition("x")
        return Recipe(
            prompt=re.sub(r"[ \t]+", " ", TAG.sub("", prompt)).strip(),
            negative=negative,
            base=settings.get("Model", ""),
            blend=blend,
            style_names=names,
            seed=int(settings.get("Seed", "0")),
            sampler=sampler,
            schedule=schedule,
            steps=int(settings.get("Steps", "20")),
            guidance=float(settings.get("CFG scale", "7.5")),
            guidance_rescale=float(settings.get("CFG Rescale", settings.get("RescaleCFG phi", "0"))),
            clip_skip=max(1, int(settings.get("Clip skip", "1"))),
            prompt_signs=True,
            width_px=int(width),
            height_px=int(height),
            notes=tuple(notes),
        )
    except (ValueError, OverflowError) as error:
        if isinstance(error, AtelierError):
            raise
        raise RecipeError(
            "The picture's settings can't be read ({reason}).",
            "Type its prompt and seed by hand.",
            reason=clean_text(str(error), 120),
        ) from error


def _sampler(settings: dict[str, str], notes: list[Text]) -> tuple[str, str]:
    """The sampler and the schedule type, "" for its usual one; what is not here is noted."""
    said, said_schedule = settings.get("Sampler", ""), settings.get("Schedule type", "")
    if not said:
        return DEFAULT_SAMPLER, ""
    sampler, schedule = sampler_named(said, said_schedule)
    notes += missing_notes(sampler or said, schedule or said_schedule)
    return sampler or DEFAULT_SAMPLER, schedule


def _tags(prompt: str, hashes: str, notes: list[Text]) -> tuple[Blend, tuple[tuple[str, str], ...]]:
    pairs = (pair.partition(":") for pair in hashes.split(","))
    styles = {name.strip(): style.strip() for name, _, style in pairs if style.strip()}
    parts: dict[str, BlendPart] = {}
    names: dict[str, str] = {}
    for name, weight in TAG.findall(prompt)[:100]:
        style = styles.get(name, name)
        try:
            part = BlendPart(style, float(weight))
        except (ValueError, BlendError):
            notes.append(
                Text("The weight “{weight}” of the style “{name}” can't be used.", weight=weight, name=name)
            )
            continue
        if style in parts:
            notes.append(Text("The style “{name}” is named twice; its first weight is taken.", name=name))
            continue
        parts[style], names[style] = part, name
    return Blend(tuple(parts.values())), tuple(sorted(names.items()))


def _fields(line: str) -> Iterator[tuple[str, str]]:
    for match in FIELD.finditer(line[:20_000]):
        name, value = match[1].strip(), match[2].strip()
        if value.startswith('"') and value.endswith('"'):
            try:
                value = str(json.loads(value))
            except ValueError:
                value = value[1:-1]
        yield name, value


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if any(sign in value for sign in ",:\n") else value


def _texts(file: io.BufferedReader) -> Iterator[tuple[str, str]]:
    """Yield our and A1111's text of a PNG (https://www.w3.org/TR/png-3/#11textinfo), passing over all else."""
    if file.read(8) != SIGNATURE:
        raise RecipeError(
            "This is not a PNG, and only PNGs carry recipes.", "Choose the file that Atelier saved."
        )
    for _ in range(MOST_CHUNKS):
        head = file.read(8)
        if len(head) < 8:
            return
        length, kind = struct.unpack(">I4s", head)
        if kind == b"IEND":
            return
        if kind in (b"tEXt", b"zTXt", b"iTXt") and length <= LONGEST_TEXT:
            data = file.read(length)
            if len(data) < length:
                raise RecipeError(
                    "The picture is cut off inside its recipe.", "Get it whole, or type its prompt and seed."
                )
            file.seek(4, io.SEEK_CUR)
            name, _, rest = data.partition(b"\0")
            if name in (OURS.encode(), THEIRS.encode()):
                text = _text(kind, rest)
                if text is not None:
                    yield name.decode(), text
        else:
            file.seek(length + 4, io.SEEK_CUR)


def _text(kind: bytes, rest: bytes) -> str | None:
    """Return a chunk's text, None where it is malformed or unpacks to more than a recipe can have."""
    packed = kind == b"zTXt"
    if packed:
        rest = rest[1:]
    elif kind == b"iTXt":
        packed, rest = rest[:1] == b"\1", rest[2:]
        rest = rest.split(b"\0", 2)[-1]  # after the language and the translated name
    if packed:
        unpacker = zlib.decompressobj()
        try:
            rest = unpacker.decompress(rest, LONGEST_TEXT)
        except zlib.error:
            return None
        if unpacker.unconsumed_tail:
            return None
    return rest.decode("utf-8" if kind == b"iTXt" else "latin-1", errors="replace")
