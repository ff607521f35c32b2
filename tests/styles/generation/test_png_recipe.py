"""Recipes and the PNGs that carry them, friendly and hostile ones."""

import io
import json
import os
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from styles.errors import BadInput, RecipeError
from styles.generation.foreign.a1111 import parse_parameters
from styles.generation.png_recipe import (
    parameters_text,
    png_bytes,
    read_recipe,
    save_picture,
)
from styles.generation.recipe import Recipe
from styles.mixing.blend import MAX_SEED, Blend, BlendPart

ONE, TWO = "a1" * 32, "b2" * 32
RECIPE = Recipe(
    prompt="a red cat, “quoted”\non two lines",
    negative="blurred: yes",
    base="stable-diffusion-v1-5/stable-diffusion-v1-5",
    base_fingerprint="c3" * 32,
    family="sd1",
    blend=Blend((BlendPart(ONE, 0.1), BlendPart(TWO, -1 / 3))),
    style_names=((ONE, "Café, ink"), (TWO, "dots")),
    seed=MAX_SEED,
    sampler="euler a",
    steps=31,
    guidance=7.1,
    guidance_rescale=0.3,
    width_px=640,
    height_px=512,
    device="cuda",
    dtype="bf16",
    batch_shape=(3, 4, 64, 80),
    batch_index=2,
    versions=(("atelier", "0.9.0"), ("torch", "2.13.0")),
)
SETTINGS = "Steps: 20, Sampler: Euler, CFG scale: 7, Seed: 1, Size: 512x512"


def picture() -> Image.Image:
    return Image.new("RGB", (8, 8), (10, 200, 30))


def png_with(*chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of one pixel with these chunks before its end."""
    plain = io.BytesIO()
    Image.new("RGB", (1, 1)).save(plain, "PNG")
    head, end = plain.getvalue()[:-12], plain.getvalue()[-12:]
    made = (struct.pack(">I4s", len(d), k) + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    return head + b"".join(made) + end


def test_a_recipe_survives_json_exactly() -> None:
    assert Recipe.from_json(RECIPE.to_json()) == RECIPE
    assert Recipe.from_json(Recipe("").to_json()) == Recipe("")


def test_prompts_of_before_are_letters_and_those_of_now_have_signs() -> None:
    """A recipe says how its prompts are read; one that doesn't is from before brackets were signs."""
    before = Recipe("a (red) cat [x] \\", "(blur:1.2)")
    assert not {"prompt_signs", "clip_skip"} & set(json.loads(before.to_json()))
    assert not Recipe.from_json(before.to_json()).prompt_signs
    written = before.with_signs()
    assert (written.prompt, written.negative) == ("a \\(red\\) cat \\[x\\] \\\\", "\\(blur:1.2\\)")
    assert written.prompt_signs and written.with_signs() == written
    assert Recipe.from_json(written.to_json()) == written
    # Others read signs, so they are told the text that says the same there.
    assert parameters_text(before) == parameters_text(written)
    assert parse_parameters(parameters_text(before)).prompt == written.prompt
    words = Recipe("BREAK AND " + "red " * 60).with_signs()
    assert words.prompt.startswith("break and red") and "left out then" in str(words.notes[-1])
    theirs = parse_parameters(f"a (cat:1.2) BREAK x\n{SETTINGS}, Clip skip: 2")
    assert theirs.prompt_signs and theirs.clip_skip == 2 and theirs.prompt == "a (cat:1.2) BREAK x"
    assert "Clip skip: 2" in parameters_text(theirs) and "Clip skip" not in parameters_text(before)
    assert parse_parameters("x\nSteps: 20, Seed: 1, Size: 512x512, Clip skip: 0").clip_skip == 1
    assert not theirs.notes
    (note,) = parse_parameters(f"(x:2)\n{SETTINGS}, Emphasis: No norm").notes
    assert "emphasis “No norm”" in note


def test_what_came_later_is_written_only_where_it_says_something() -> None:
    """Recipes of before schedules, sources and second passes read, and are written as they were."""
    old = json.loads(RECIPE.to_json())
    assert not {"source", "source_strength", "second_scale", "second_strength", "second_steps"} & set(old)
    assert old["blend"] == [{"style": ONE, "weight": 0.1}, {"style": TWO, "weight": -1 / 3}]
    blend = Blend((BlendPart(ONE, 1, ((0, 0.1), (1, 1)), 0.5, 2, solo=True), BlendPart(TWO, 1)), "take turns")
    new = replace(
        RECIPE,
        blend=blend,
        source="d4" * 32,
        source_strength=0.7,
        second_scale=1.5,
        second_strength=0.4,
        second_steps=9,
    )
    assert Recipe.from_json(new.to_json()) == new
    assert "dots" not in parameters_text(new) and "<lora:Cafe_ink:1>" in parameters_text(new)
    for changes in ({"source": "../x"}, {"source_strength": float("nan")}, {"second_scale": float("inf")}):
        with pytest.raises(RecipeError):
            replace(new, **changes)  # type: ignore[arg-type]
    again = parse_parameters(parameters_text(new))
    assert (again.second_scale, again.second_strength, again.second_steps) == (1.5, 0.4, 9)


@given(
    st.text(max_size=50),
    st.floats(0, 100, allow_nan=False),
    st.floats(-4, 4, allow_nan=False),
    st.integers(0, MAX_SEED),
)
def test_any_recipe_survives_its_png(prompt: str, guidance: float, weight: float, seed: int) -> None:
    prompt = prompt.encode("utf-8", "ignore").decode("utf-8")
    recipe = Recipe(prompt, blend=Blend((BlendPart(ONE, weight),)), guidance=guidance, seed=seed)
    assert Recipe.from_json(recipe.to_json()) == recipe


def test_a_picture_carries_its_recipe_for_us_and_others(tmp_path: Path) -> None:
    path = save_picture(picture(), RECIPE, tmp_path / "pictures")
    assert path.name == f"a red cat quoted on two lines {MAX_SEED}.png"
    assert read_recipe(path) == RECIPE
    with Image.open(path) as image:
        image.load()
        assert image.tobytes() == picture().tobytes()
        text = image.info["parameters"]
    assert "<lora:Cafe_ink:0.1>" in text and "<lora:dots:-0.333333>" in text
    assert "Negative prompt: blurred: yes" in text
    assert (
        "Steps: 31, Sampler: Euler a, Schedule type: Uniform, CFG scale: 7.1" in text
        and "Size: 640x512" in text
    )
    assert f'Lora hashes: "Cafe_ink: {ONE[:12]}, dots: {TWO[:12]}"' in text
    assert text.endswith(", Version: Atelier 0.9.0")
    assert path.read_bytes() == png_bytes(picture(), RECIPE)


def test_saving_never_overwrites_and_names_stay_inside(tmp_path: Path) -> None:
    first = save_picture(picture(), RECIPE, tmp_path)
    second = save_picture(picture(), RECIPE, tmp_path)
    assert first != second and first.exists() and second.exists()
    for prompt in ("../../etc/passwd", "C:\\x", "con", "😀", "", "x" * 500, ".hidden", "a\0b"):
        path = save_picture(picture(), Recipe(prompt, seed=1), tmp_path)
        assert path.parent == tmp_path and path.suffix == ".png" and len(path.name) < 100


def test_our_parameters_text_reads_back() -> None:
    recipe = parse_parameters(parameters_text(RECIPE))
    assert (recipe.prompt, recipe.negative) == (RECIPE.prompt, RECIPE.negative)
    assert (recipe.seed, recipe.steps, recipe.sampler) == (MAX_SEED, 31, "euler a")
    assert recipe.schedule == "normal" and not recipe.notes
    for sampler, schedule in (("dpm++ 2m", ""), ("dpm++ sde", "exponential"), ("unipc", "sgm uniform")):
        text = parameters_text(replace(RECIPE, sampler=sampler, schedule=schedule))
        recipe = parse_parameters(text)
        assert (recipe.sampler, recipe.schedule) == (sampler, schedule or "karras")
    assert (recipe.guidance, recipe.guidance_rescale) == (7.1, 0.3)
    assert (recipe.width_px, recipe.height_px) == (640, 512)
    assert recipe.blend.weight_of(ONE[:12]) == 0.1
    assert recipe.names[TWO[:12]] == "dots"


def test_a_picture_of_a1111_reads_back(tmp_path: Path) -> None:
    text = (
        "masterpiece, a (red:1.2) fox <lora:ink_wash:0.8> in snow\nsecond line\n"
        "Negative prompt: lowres, bad: hands\nmore of it\n"
        "Steps: 28, Sampler: DPM++ 2M Karras, CFG scale: 6.5, Seed: 4242, Size: 512x768, Model hash: 6ce0161689, "
        'Model: v1-5-pruned, Lora hashes: "ink_wash: 0123456789ab, other: ffffffffffff", Version: v1.9.4'
    )
    info = PngInfo()
    info.add_text("parameters", text)
    Image.new("RGB", (8, 8)).save(tmp_path / "a1111.png", pnginfo=info)
    recipe = read_recipe(tmp_path / "a1111.png")
    assert recipe.prompt == "masterpiece, a (red:1.2) fox in snow\nsecond line"
    assert recipe.negative == "lowres, bad: hands\nmore of it"
    assert (recipe.steps, recipe.sampler, recipe.guidance, recipe.seed) == (28, "dpm++ 2m", 6.5, 4242)
    assert recipe.schedule == "karras"
    assert (recipe.width_px, recipe.height_px, recipe.base) == (512, 768, "v1-5-pruned")
    assert recipe.blend == Blend((BlendPart("0123456789ab", 0.8),))
    assert recipe.names == {"0123456789ab": "ink_wash"}
    assert not recipe.notes and not recipe.batch_shape


def test_what_cannot_be_taken_over_is_said() -> None:
    recipe = parse_parameters(
        "x <lora:a:nan> <lora:b:1> <lora:b:2> <lora:c:99>\nSteps: 5, Sampler: DPM adaptive, CFG scale: 7, Seed: 1, Size: 64x64"
    )
    assert recipe.blend == Blend((BlendPart("b", 1.0),))
    assert len(recipe.notes) == 4 and any("DPM adaptive" in note for note in recipe.notes)
    odd = parse_parameters(
        "x\nSteps: 5, Sampler: Euler, Schedule type: Align Your Steps, CFG scale: 7, Seed: 1, Size: 64x64"
    )
    assert (odd.sampler, odd.schedule, odd.steps, odd.seed) == ("euler", "", 5, 1)
    assert len(odd.notes) == 1 and "Align Your Steps" in odd.notes[0]
    again = Recipe.from_json(recipe.to_json())
    assert again == recipe and [note.template for note in again.notes] == [
        note.template for note in recipe.notes
    ]
    sentences = json.dumps(json.loads(recipe.to_json()) | {"notes": list(recipe.notes)})
    assert Recipe.from_json(sentences) == recipe  # as they were written before
    assert parse_parameters("only a prompt").prompt == "only a prompt"


@pytest.mark.parametrize("hashes", ["ink: , b:", ": ", "a:, b: ,:", ",,,", "ink", "ink: 12, ink", "a: b: c"])
def test_odd_hashes_of_styles_lose_nothing_else(tmp_path: Path, hashes: str) -> None:
    settings = 'Steps: 5, Sampler: DDIM, Seed: 1, Size: 64x64, Lora hashes: "{}"'
    path = tmp_path / "odd.png"
    path.write_bytes(
        png_with((b"tEXt", b"parameters\0a fox <lora:ink:0.5>\n" + settings.format(hashes).encode()))
    )
    recipe = read_recipe(path)
    assert recipe.prompt == "a fox" and recipe.blend.parts[0].weight == 0.5


@pytest.mark.skipif(os.name != "posix", reason="Windows has no pipes in folders")
def test_a_pipe_is_no_picture(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(RecipeError, match="can't be read"):
        read_recipe(tmp_path / "pipe.png")


@pytest.mark.parametrize(
    "changes",
    [
        {"guidance": "7"}, {"guidance": None}, {"steps": 1.5}, {"steps": 10**9}, {"seed": -1}, {"seed": True},
        {"prompt": 3}, {"prompt": None}, {"blend": [{"style": "x"}]}, {"blend": 5}, {"blend": [{"style": "x", "weight": 99}]},
        {"batch_shape": [10**9, 4, 8, 8]}, {"batch_shape": [1]}, {"batch_index": 7}, {"style_names": ["x"]},
        {"width_px": 10**9}, {"notes": 3}, {"prompt": "half \ud800"},
    ],
)  # fmt: skip
def test_damaged_recipes_are_refused(changes: dict) -> None:
    values = json.loads(RECIPE.to_json()) | changes
    if changes == {"guidance": "7"}:
        assert Recipe.from_json(json.dumps(values)).guidance == 7.0
        return
    with pytest.raises(RecipeError):
        Recipe.from_json(json.dumps(values))


@pytest.mark.parametrize(
    "text", ["", "[]", "3", "null", "{", '{"prompt": "x", "guidance": NaN}', "[" * 100_000]
)
def test_what_is_no_recipe_is_refused(text: str) -> None:
    with pytest.raises(RecipeError):
        Recipe.from_json(text)


def test_unknown_keys_of_a_later_version_are_passed_over() -> None:
    assert Recipe.from_json('{"prompt": "x", "hologram": true}') == Recipe("x")


def test_hostile_pngs(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    bomb = zlib.compress(b"a" * (8 << 20), 9)
    ours = RECIPE.to_json().encode()
    for content in (
        b"", b"no png", b"\x89PNG\r\n\x1a\n", png_with(), png_with()[:40],
        png_with((b"zTXt", b"parameters\0\0" + bomb)),
        png_with((b"iTXt", b"atelier\0\1\0\0\0" + bomb)),
        png_with((b"zTXt", b"parameters\0\0not packed")),
        png_with((b"iTXt", b"atelier")), png_with((b"tEXt", b"atelier")),
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I4s", 0xFFFFFFFF, b"tEXt") + b"atelier\0{}",
        png_with((b"tEXt", b"atelier\0" + b"[" * 50_000)),
        png_with((b"tEXt", b"parameters\0" + b'x\nSteps: "' + b'\\"' * 50_000)),
    ):  # fmt: skip
        path.write_bytes(content)
        try:
            recipe = read_recipe(path)
        except BadInput:
            continue
        assert isinstance(recipe, Recipe) and len(recipe.prompt) < 1 << 20
    path.write_bytes(
        png_with((b"iTXt", b"atelier\0\1\0\0\0" + zlib.compress(ours)), (b"tEXt", b"parameters\0y"))
    )
    assert read_recipe(path) == RECIPE
    path.write_bytes(png_with((b"zTXt", b"atelier\0\0" + zlib.compress(Recipe("x").to_json().encode()))))
    assert read_recipe(path) == Recipe("x")
    path.write_bytes(
        png_with((b"tEXt", b"parameters\0a red house at the lake\nSteps: 20, Seed: 5, Size: 64x64"))[:70]
    )
    with pytest.raises(RecipeError, match="cut off inside its recipe"):
        read_recipe(path)
    path.write_bytes(png_with((b"tEXt", b"parameters\0 ")))
    with pytest.raises(RecipeError, match="are empty"):
        read_recipe(path)
    with pytest.raises(RecipeError, match="can't be read"):
        read_recipe(tmp_path / "missing.png")
    with pytest.raises(RecipeError, match="can't be read"):
        read_recipe(tmp_path)


@given(st.binary(max_size=300))
def test_any_bytes_give_a_recipe_or_a_clear_answer(data: bytes) -> None:
    for text in (data.decode("latin-1"), data.decode("utf-8", "replace")):
        try:
            parse_parameters(text)
        except BadInput as error:
            assert error.message
