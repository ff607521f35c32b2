"""The text of A1111, which Forge, SD.Next, Fooocus and Civitai write, too: prompt, negative prompt, a line of settings.

    a fox <lora:ink:0.8>
    Negative prompt: blurred
    Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 1, Size: 512x768, Lora hashes: "ink: 12ab"

A1111 looks for its settings in the last line alone; extensions write lines of their own behind it, and some programs
all of it in one line. https://github.com/AUTOMATIC1111/stable-diffusion-webui, `modules/infotext_utils.py`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from styles.errors import RecipeError
from styles.generation.foreign.found import FoundSettings, PictureStyle, number_from, text_from
from styles.generation.prompt_tags import without_tags
from styles.generation.recipe import Recipe
from styles.storage.names import clean_text
from styles.text import Text

FIELD = re.compile(r'([\w][\w \-/]{0,60}):\s*("(?:\\.|[^\\"])*"|[^,]*)(?:,|$)')
PIPED = re.compile(r"^\s*Steps:[^,|]*\|")
JSON_FIELD = re.compile(r"\b(Civitai resources|Civitai metadata|Hashes): ?(?=[\[{])")
ONE_LINE = re.compile(r"(?:^|[\s.,])(?=Steps:\s*\d+\s*[,|])")
NEGATIVE = "Negative prompt:"
# What SD.Next wrote before the prompt, and before the line of settings, for a while.
NAMED_PROMPT = re.compile(r"^prompt:\s*", re.IGNORECASE)
VERSION_LINE = re.compile(r"^Version: [^,\n]*, Pipeline: [^,\n]*,?\s*$")
# Draw Things: the negative prompt has a line of its own, behind a minus.
MINUS_LINE = re.compile(r"^-(?=\S)", re.MULTILINE)
LONGEST_LINE = 20_000
# A line that has three of these, or begins with the first and has another, is the one.
TELLING = ("Steps", "Sampler", "CFG scale", "Seed", "Size", "Model", "Model hash", "Schedule type")
# What has its place, and what changes nothing or only says how the file came to be.
TAKEN = frozenset({
    *TELLING, "CFG Rescale", "CFG rescale", "RescaleCFG phi", "Clip skip", "Lora hashes", "Lora weights", "Emphasis",
    "Denoising strength", "Hires upscale", "Hires scale", "Hires steps", "Hires resize", "Scheduler", "Guidance Scale",
})  # fmt: skip
HARMLESS = frozenset({
    "Version", "User", "App", "Backend", "Pipeline", "Parser", "Comment", "Operations", "Index", "Batch", "Batch size",
    "Batch pos", "Created Date", "Hashes", "VAE hash", "Refiner hash", "Base model hash", "Civitai resources",
    "Civitai metadata", "Template", "Negative Template", "Wildcard prompt", "Wildcard negative prompt", "Raw prompt",
    "Raw negative prompt", "Metadata scheme", "Performance", "Beta schedule", "Time taken", "Second pass",
    "Hires force", "Hires size", "workflow", "Generator", "Software", "baseModel", "Pad conds", "Resources",
})  # fmt: skip
# Draw Things' and Additional Networks' numbered fields: the style, and where its weight stands.
NUMBERED = (
    (re.compile(r"LoRA (\d) Model"), "LoRA {} Weight"),
    (re.compile(r"AddNet Model (\d)"), "AddNet Weight A {}"),
)
OF_NUMBERED = re.compile(r"LoRA \d (?:Model|Weight)|AddNet (?:Enabled|Module|Model|Weight [AB])(?: \d)?")
# What says that something was as it always is.
UNCHANGED = {
    ("Strength", "1.0"),
    ("Seed Mode", "Scale Alike"),
    ("VAE", "Default (model)"),
    ("VAE", "Automatic"),
}
LORA_TYPES = re.compile(r"lora|lycoris|locon|dora", re.IGNORECASE)


def parse_parameters(text: str) -> Recipe:
    """Read a text of A1111; what can't be taken over is said in the recipe's `notes`.

    Each part's style is the hash that the text gives for its name, else the name. Raises RecipeError where there is
    nothing to take.
    """
    if not text.strip():
        raise RecipeError("The picture's settings are empty.", "Type its prompt and seed by hand.")
    if _is_json(text):
        raise RecipeError(
            "The picture carries settings in a form that is not known here.",
            "Type its prompt and seed by hand.",
        )
    prompt, negative, line, behind = _parts(text.replace("\r\n", "\n").strip())
    settings, inside = _settings(line)
    if negative is None and "Guidance Scale" in settings and (match := MINUS_LINE.search(prompt)):
        prompt, negative = prompt[: match.start()].strip(), prompt[match.end() :].strip()
    found = FoundSettings(negative=negative if negative is not None or not settings else "")
    tagged = without_tags(prompt)
    found.prompt, found.notes = tagged.prompt, list(tagged.notes)
    found.styles = [PictureStyle(tag.name, tag.weight) for tag in tagged.styles]
    if found.negative:
        _strip_negative(found)
    _take(found, settings)
    _take_styles(found, settings, inside)
    if behind:
        found.notes.append(
            Text(
                "Behind the picture's settings stood “{words}”, which is left out.",
                words=clean_text(behind, 80),
            )
        )
    return found.recipe()


def has_settings(text: str) -> bool:
    """Whether a line of settings stands in a text."""
    return any(map(_is_settings, text.split("\n")))


def _is_json(text: str) -> bool:
    if text.lstrip()[:1] not in ("{", "["):
        return False
    try:
        return isinstance(json.loads(text), dict | list)
    except (ValueError, RecursionError):
        return text.lstrip().startswith(('{"', "[{"))


def _parts(text: str) -> tuple[str, str | None, str, str]:
    """Return prompt, negative prompt, the line of settings and what stands behind it."""
    lines = text.split("\n")
    place = next((at for at in range(len(lines) - 1, -1, -1) if _is_settings(lines[at])), None)
    body, line, behind = lines, "", ""
    if place is not None:
        body, line, behind = lines[:place], lines[place], "\n".join(lines[place + 1 :]).strip()
        starts = [match.end() for match in ONE_LINE.finditer(line[:LONGEST_LINE])]
        if starts and not line.lstrip().startswith(TELLING):  # all in one line
            body, line = [*body, line[: starts[-1]].rstrip()], line[starts[-1] :]
    if line and len(body) > 1 and VERSION_LINE.match(body[-1]):
        body = body[:-1]
    before = "\n".join(body)
    if line:
        before = NAMED_PROMPT.sub("", before)
    match = re.search(rf"^{NEGATIVE}", before, re.MULTILINE)
    if match is None and len(body) == 1:
        match = re.search(NEGATIVE, before)
    if match is None:
        return before, None, line, behind
    return before[: match.start()].strip(), before[match.end() :].strip(), line, behind


def _is_settings(line: str) -> bool:
    if sum(f"{name}:" in line for name in TELLING) < 2:
        return False
    names = {name for name, _ in _fields(line[-LONGEST_LINE:])}
    telling = sum(name in names for name in TELLING)
    return telling >= 3 or (telling == 2 and line.lstrip().startswith("Steps:"))


def _settings(line: str) -> tuple[dict[str, str], dict[str, Any]]:
    """Return the fields of a line as texts, and those that hold JSON without quotes."""
    inside: dict[str, Any] = {}
    while match := JSON_FIELD.search(line):
        try:
            inside[match[1]], length = json.JSONDecoder().raw_decode(line[match.end() :])
        except (ValueError, RecursionError):
            length = 0
        line = line[: match.start()] + line[match.end() + length :].lstrip(" ,")
    return dict(_fields(line)), inside


def _fields(line: str) -> Iterator[tuple[str, str]]:
    line = line[:LONGEST_LINE]
    if PIPED.match(line):  # SD.Next, for a while
        line = line.replace("|", ",")
    for match in FIELD.finditer(line):
        name, value = match[1].strip(), match[2].strip()
        if value.startswith('"') and value.endswith('"'):
            try:
                value = str(json.loads(value))
            except ValueError:
                value = value[1:-1]
        yield name, value


def _strip_negative(found: FoundSettings) -> None:
    tagged = without_tags(found.negative or "")
    found.negative = tagged.prompt
    found.notes += negative_notes(tagged.styles)


def negative_notes(styles: Any) -> list[Text]:
    """What to say of styles that a negative prompt names, where no program reads them."""
    return [
        Text("“{name}” stands in the negative prompt, where a tag changes nothing.", name=tag.name)
        for tag in styles
    ]


def _take(found: FoundSettings, settings: Mapping[str, str]) -> None:
    """Take over the fields that have a place here, and name the others."""
    found.base = settings.get("Model", "")
    found.sampler = settings.get("Sampler", "")
    found.schedule = settings.get("Schedule type", settings.get("Scheduler", ""))
    if found.sampler.strip().lower() == "default":  # SD.Next: the model's own
        found.sampler = ""
    places = {
        "steps": ("Steps",), "seed": ("Seed",), "guidance": ("CFG scale", "Guidance Scale"),
        "guidance_rescale": ("CFG Rescale", "CFG rescale", "RescaleCFG phi"),
    }  # fmt: skip
    for name, fields in places.items():
        value = next((settings[one] for one in fields if one in settings), None)
        if value is not None:
            found.numbers[name] = value
    if number_from(settings.get("Clip skip", "0"), int) != 0:
        found.numbers["clip_skip"] = settings["Clip skip"]
    if "Size" in settings:
        found.take_size(settings["Size"])
    _take_second_pass(found, settings)
    if settings.get("Emphasis", "Original") != "Original":
        found.notes.append(
            Text(
                "The picture was made with the emphasis “{emphasis}”; weights are read as with “Original” here.",
                emphasis=clean_text(settings["Emphasis"], 80),
            )
        )
    rest = [name for name in settings if name not in TAKEN | HARMLESS and not OF_NUMBERED.fullmatch(name)]
    found.leave_out(settings, [name for name in rest if (name, settings[name]) not in UNCHANGED])


def _take_second_pass(found: FoundSettings, settings: Mapping[str, str]) -> None:
    """Hires fix becomes the second pass; without it a denoising says that there was a picture to start from."""
    scale = settings.get("Hires upscale", settings.get("Hires scale", ""))
    if not scale and found.size and (wide := re.match(r"(\d{2,5})x\d", settings.get("Hires resize", ""))):
        width = number_from(found.numbers.get("width_px"), int)
        scale = f"{int(wide[1]) / width:g}" if width else ""
    if scale and "Denoising strength" in settings:
        found.numbers |= {"second_scale": scale, "second_strength": settings["Denoising strength"]}
        if number_from(settings.get("Hires steps"), int):
            found.numbers["second_steps"] = settings["Hires steps"]
    elif "Denoising strength" in settings:
        found.notes.append(Text("The picture was made from another one, which can't be taken over."))


def _take_styles(found: FoundSettings, settings: Mapping[str, str], inside: Mapping[str, Any]) -> None:
    """Give the styles of the prompt their hashes, and add those that stand in the settings alone."""
    hashes: dict[str, str] = {}
    said = inside.get("Hashes")
    for name, digits in said.items() if isinstance(said, dict) else ():
        if str(name).lower().startswith("lora:"):
            hashes[str(name)[5:]] = text_from(digits)
    for name, digits in _pairs(settings.get("Lora hashes", ""), found.notes):
        hashes[name] = digits.rpartition(":")[2] if digits.count(":") == 1 else digits
    found.styles = [PictureStyle(one.name, one.weight, hashes.get(one.name, "")) for one in found.styles]
    named = {one.name for one in found.styles}
    for name, weight in _pairs(settings.get("Lora weights", ""), found.notes):  # Fooocus
        if name not in named:
            found.styles.append(PictureStyle(name, weight, hashes.get(name, "")))
    for model, weight in NUMBERED:
        for name, value in settings.items():
            if match := model.fullmatch(name):
                style = re.sub(r"\([0-9a-f]+\)$", "", value)
                found.styles.append(PictureStyle(style, settings.get(weight.format(match[1]), "1")))
    resources = inside.get("Civitai resources")
    for one in resources if isinstance(resources, list) else ():
        if isinstance(one, dict):
            _take_resource(found, one, named)


def _take_resource(found: FoundSettings, resource: Mapping[str, Any], named: set[str]) -> None:
    """One of Civitai's resources; its kind stands under `type`, or in the name that it has for all the world."""
    kind = f"{resource.get('type', '')} {resource.get('air', '')}"
    version = resource.get("modelVersionId", "")
    name = text_from(resource.get("modelName")) or f"Civitai {version}".strip()
    if "checkpoint" in kind:
        found.base = found.base or text_from(resource.get("modelName"))
    elif LORA_TYPES.search(kind):
        if name not in named:
            found.styles.append(
                PictureStyle(name, resource.get("weight", 1.0), text_from(resource.get("hash")))
            )
    else:
        found.left_out.append(f"{clean_text(str(resource.get('type', '')), 20)}: {name}".strip(": "))


def _pairs(text: str, notes: list[Text]) -> Iterator[tuple[str, str]]:
    """Yield the names and values of `a: 1, b: 2`; what is no pair is noted."""
    for pair in text.split(",") if text.strip() else ():
        name, _, value = pair.partition(":")
        if name.strip() and value.strip():
            yield name.strip(), value.strip()
        else:
            notes.append(
                Text(
                    "“{pair}” among the picture's styles can't be read, and is left out.",
                    pair=clean_text(pair, 60),
                )
            )
