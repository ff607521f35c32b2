"""Recipes in PNGs: ours, and what A1111 and its kin write."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path
from random import Random

from app.create.history import History
from styles.generation.png_recipe import parameters_text, read_recipe
from styles.generation.recipe import Recipe
from styles.mixing.blend import Blend, BlendPart
from styles.storage.home import Home
from tests.fuzzing.kinds import Kind, asked, shown
from tests.fuzzing.spoiling import replace_oddly, spoiled_bytes, spoiled_text
from tests.styles.mutations import TEXTS, spoil_text

IDS = ("a1" * 32, "b2" * 32)
SIGNATURE = b"\x89PNG\r\n\x1a\n"
THEIRS = (
    "a fox <lora:ink:0.8> <lora:café wash:-1:0.5>, <lora:ink:1>\nNegative prompt: blurred\nSteps: 20, Sampler: DPM++ 2M "
    'Karras, CFG scale: 7.5, Seed: 42, Size: 512x768, Model: "a, b", Lora hashes: "ink: a1b2c3d4e5f6, café wash: 0"',
    "a cat\nSteps: 5, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 64x64, Denoising strength: 0.5, Hires upscale: 2",
)
# By the names of the texts that they stand in.
THEIR_OBJECTS: dict[bytes, dict[str, object]] = {
    b"prompt": {
        "3": {"class_type": "KSampler", "inputs": {"seed": 5, "steps": 4, "cfg": 2, "sampler_name": "euler", "scheduler": "karras", "model": ["9", 0], "positive": ["6", 0], "negative": ["6", 0], "latent_image": ["5", 0]}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a fox", "clip": ["9", 1]}},
        "9": {"class_type": "LoraLoader", "inputs": {"lora_name": "ink.safetensors", "strength_model": 0.8}},
    },
    b"invokeai_metadata": {"positive_prompt": "a fox++", "seed": 5, "loras": [{"model": {"name": "ink"}, "weight": 0.5}], "width": 64},
    b"Comment": {"prompt": "{a fox}", "uc": "fog", "seed": 5, "v4_prompt": {"caption": {"char_captions": [{"char_caption": "x"}]}}},
    b"parameters": {"sui_image_params": {"prompt": "a fox", "loras": ["ink"], "loraweights": ["0.5"], "seed": 5}},
}  # fmt: skip
MARKS = [
    ", ",
    ": ",
    ":",
    ",",
    '"',
    "\\",
    "<lora:",
    ">",
    "\n",
    "x",
    "Lora hashes: ",
    "Size: ",
    "Seed: ",
    "\0",
    "é",
    " ",
]


def prepare(folder: Path) -> list[dict[str, object]]:
    """Return two recipes as the values of their JSON, after making sure that they are read."""
    parts = (
        BlendPart(IDS[0], 0.7, composition=0.5),
        BlendPart(IDS[1], -1.0, schedule=((0.0, 0.0), (1.0, 1.0))),
    )
    rich = Recipe(
        "a fox", negative="blurred", base="starter", base_fingerprint="c3" * 32, family="starter", blend=Blend(parts),
        style_names=((IDS[0], "ink"), (IDS[1], "wash")), seed=5, batch_shape=(2, 4, 8, 8), batch_index=1, device="cpu",
        dtype="fp32", versions=(("torch", "2"),), source="d4" * 32, source_strength=0.5, second_scale=2.0,
    )  # fmt: skip
    plain = Recipe("a cat")
    assert Recipe.from_json(rich.to_json()) == rich
    return [json.loads(recipe.to_json()) for recipe in (rich, plain)]


def attempt(rng: Random, seeds: list[dict[str, object]], folder: Path) -> None:
    """Read a PNG's recipe, list it, and write it again."""
    home = Home(folder).create()
    path = home.pictures / "x.png"
    chunks = []
    if rng.random() < 0.6:
        chunks.append(
            _chunk(rng, b"atelier", spoiled_text(rng, rng.choice(seeds)).encode("utf-8", "surrogatepass"))
        )
    if not chunks or rng.random() < 0.3:
        chunks.append(_chunk(rng, b"parameters", _theirs(rng).encode("utf-8", "surrogatepass")))
    if rng.random() < 0.3:
        name = rng.choice(list(THEIR_OBJECTS))
        text = spoiled_text(rng, THEIR_OBJECTS[name]).encode("utf-8", "surrogatepass")
        chunks = [_chunk(rng, name, text)]
    data = SIGNATURE + b"".join(chunks) + b"\0\0\0\0IEND\xaeB`\x82"
    path.write_bytes(spoiled_bytes(rng, data) if rng.random() < 0.1 else data)
    if rng.random() < 0.01:
        replace_oddly(rng, path)
    recipe = asked(lambda: read_recipe(path, pixels=True))
    for kept in History(home).page()[0]:
        told = json.dumps(kept.to_json(), allow_nan=False, ensure_ascii=False)
        shown(told.replace("\\n", " "))
    if recipe is not None:
        assert Recipe.from_json(recipe.to_json()) == recipe
        parameters_text(recipe).encode("utf-8")


def _theirs(rng: Random) -> str:
    text = rng.choice(THEIRS)
    for _ in range(rng.choice((1, 2, 3, 6))):
        place = rng.randrange(len(text) + 1)
        match rng.randrange(4):
            case 0:
                text = spoil_text(rng, text)
            case 1:
                text = text[:place] + rng.choice(MARKS) + text[place:]
            case 2:
                text = text[:place] + text[place + rng.randrange(1, 12) :]
            case 3:
                text = text[:place] + rng.choice(TEXTS)[:6000] + text[place:]
    return text


def _chunk(rng: Random, name: bytes, text: bytes) -> bytes:
    kind = rng.choice((b"tEXt", b"iTXt", b"zTXt", b"iTXt"))
    if kind == b"zTXt":
        data = name + b"\0\0" + zlib.compress(text)
    elif kind == b"iTXt":
        packed = rng.random() < 0.5
        data = name + (b"\0\1\0\0\0" if packed else b"\0\0\0\0\0") + (zlib.compress(text) if packed else text)
    else:
        data = name + b"\0" + text
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


KIND = Kind("recipes", prepare, attempt, few=200)
