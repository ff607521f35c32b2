"""Texts of A1111 and of those who write like it, as people met them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from styles.errors import BadInput, RecipeError
from styles.generation.foreign.a1111 import FIELD, parse_parameters
from styles.generation.recipe import Recipe
from styles.mixing.blend import MOST_STYLES, Blend, BlendPart
from tests.styles.generation.foreign.pictures import notes_of, recipe_of

SETTINGS = "Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 5, Size: 512x768"
SAID = (20, "dpm++ 2m", "karras", 7.0, 5, 512, 768)


def said(recipe: Recipe) -> tuple[object, ...]:
    """The numbers of a recipe."""
    return (
        recipe.steps, recipe.sampler, recipe.schedule, recipe.guidance, recipe.seed, recipe.width_px, recipe.height_px,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "prompt", "negative"),
    [
        (f"a fox\nNegative prompt: fog\n{SETTINGS}", "a fox", "fog"),
        (f"a fox\r\nNegative prompt: fog\r\n{SETTINGS}\r\n", "a fox", "fog"),
        (f"a fox\n\non two lines\n{SETTINGS}", "a fox\n\non two lines", ""),
        (SETTINGS, "", ""),
        (f"\nNegative prompt: fog\n{SETTINGS}", "", "fog"),
        # Some savers of ComfyUI, and editors of EXIF, write all of it in one line.
        (f"a fox Negative prompt: fog {SETTINGS}", "a fox", "fog"),
        (f"a fox.Negative prompt: fog.{SETTINGS}", "a fox.", "fog."),
        (f"a fox, {SETTINGS}", "a fox,", ""),
        # SD.Next, for a while.
        ("a fox\nNegative prompt: fog\n" + SETTINGS.replace(",", "|"), "a fox", "fog"),
        ("a fox\nNegative prompt: fog\n" + SETTINGS.replace(",", " |"), "a fox", "fog"),
        # https://github.com/vladmandic/sdnext/issues/1864 and /2216: with a name before the prompt, and a line more.
        (
            f"Prompt: a fox\nNegative prompt: fog\nVersion: aa62f6d, Pipeline: Original,\n{SETTINGS.replace(',', ' |')}",
            "a fox",
            "fog",
        ),
        # https://github.com/alexopus/ComfyUI-Image-Saver/issues/64: empty values.
        (
            f"a fox\nNegative prompt: fog\n{SETTINGS}, Model hash: , Model: , Comment: , Version: ComfyUI",
            "a fox",
            "fog",
        ),
        # https://github.com/cocktailpeanut/breadmachine/issues/2: Draw Things.
        (f"a fox\n-fog\n{SETTINGS.replace('CFG scale', 'Guidance Scale')}, Strength: 1.0", "a fox", "fog"),
        # Words that only look like settings.
        (
            f"Seed: a story, Steps: of a house\nNegative prompt: x\n{SETTINGS}",
            "Seed: a story, Steps: of a house",
            "x",
        ),
    ],
)
def test_the_line_of_settings_is_found(text: str, prompt: str, negative: str) -> None:
    recipe = parse_parameters(text)
    assert (recipe.prompt, recipe.negative) == (prompt, negative)
    assert said(recipe) == SAID and recipe.unsaid == () and recipe.notes == ()


def test_what_extensions_write_behind_the_settings_is_named() -> None:
    """https://github.com/adieyal/sd-dynamic-prompts/issues/177"""
    recipe = parse_parameters(
        f"a red house\nNegative prompt: bad\n{SETTINGS}\nTemplate: a {{red|blue}} house\nNegative Template: bad"
    )
    assert (recipe.prompt, recipe.negative) == ("a red house", "bad") and said(recipe) == SAID
    assert "“Template: a {red|blue} house Negative Template: bad”, which is left out" in notes_of(recipe)


def test_where_only_a_prompt_is_found_nothing_else_is_set() -> None:
    recipe = parse_parameters("a fox in the snow")
    assert recipe.prompt == "a fox in the snow"
    assert set(recipe.unsaid) == {
        "blend", "guidance", "height_px", "negative", "sampler", "seed", "steps", "width_px",
    }  # fmt: skip
    assert "Only a prompt was found" in notes_of(recipe)
    recipe = parse_parameters("a fox <lora:ink:0.5>\nNegative prompt: fog")
    assert recipe.negative == "fog" and recipe.blend.weight_of("ink") == 0.5
    assert not {"blend", "negative"} & set(recipe.unsaid)
    assert Recipe.from_json(recipe.to_json()) == recipe


@pytest.mark.parametrize(
    "text", ['{"a": "fox"}', '[{"a": 1}]', '{"a": "broken', ' {"prompt": {"x": [1, 2]}}']
)
def test_json_never_becomes_a_prompt(tmp_path: Path, text: str) -> None:
    with pytest.raises(RecipeError, match="not known here"):
        recipe_of(tmp_path, parameters=text)


def test_any_seed_is_drawn_and_said() -> None:
    recipe = parse_parameters("a fox\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: -1, Size: 512x512")
    assert (recipe.steps, recipe.sampler, recipe.guidance) == (20, "euler a", 7) and recipe.unsaid == ()
    (note,) = recipe.notes
    assert recipe.seed > 0 and f"{recipe.seed} was drawn" in note
    other = parse_parameters("an elk\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: -1, Size: 512x512")
    assert other.seed != recipe.seed


@pytest.mark.parametrize(
    ("field", "changed", "unsaid"),
    [
        ("Seed: 5", "Seed: words", {"seed"}),
        ("Seed: 5", "Seed: -7", {"seed"}),
        ("Seed: 5", "Seed: 99999999999999999999", {"seed"}),
        ("Size: 512x768", "Size: 0x0", {"width_px", "height_px"}),
        ("Size: 512x768", "Size: 1<8x128", {"width_px", "height_px"}),
        ("Size: 512x768", "Size: 511x768", {"width_px", "height_px"}),
        ("Size: 512x768", "Size: 99999x768", {"width_px", "height_px"}),
        # https://github.com/AUTOMATIC1111/stable-diffusion-webui/issues/11409
        ("Steps: 20", "Steps: 0.15", {"steps"}),
        ("Steps: 20", "Steps: 0", {"steps"}),
        ("CFG scale: 7", "CFG scale: nan", {"guidance"}),
        ("CFG scale: 7", "CFG scale: much", {"guidance"}),
    ],
)
def test_a_bad_value_is_named_and_left_out(field: str, changed: str, unsaid: set[str]) -> None:
    recipe = parse_parameters("a fox\n" + SETTINGS.replace(field, changed))
    assert set(recipe.unsaid) == unsaid and recipe.prompt == "a fox"
    value = changed.partition(": ")[2]
    assert f"“{value}” of the picture can't be used" in notes_of(recipe)
    assert "does not tell" in notes_of(recipe)


@pytest.mark.parametrize(
    "field",
    [
        "VAE: anything.vae.pt", "RNG: CPU", "ControlNet 0: \"Module: canny, Weight: 1\"", "Refiner: xl [1]", "ENSD: 31337",
        "Hires upscaler: R-ESRGAN 4x+", "Variation seed: 3", "Tiling: True", "ADetailer model: face.pt", "TI hashes: \"bad: 12\"",
        "Distilled CFG Scale: 3.5", "FreeU Stages: \"[]\"", "Eta: 0.5", "NGMS: 1.5", "SLG: 2", "Face restoration: GFPGAN",
    ],
)  # fmt: skip
def test_what_changes_the_picture_and_has_no_place_is_named(field: str) -> None:
    recipe = parse_parameters(f"a fox\n{SETTINGS}, {field}, Version: v1.10.1, Model hash: 1234, User: ada")
    assert said(recipe) == SAID
    (note,) = recipe.notes
    assert f"“{field.replace(chr(34), '')}”" in note and "User" not in note and "v1.10" not in note


def test_clip_skip_sampler_and_hires_fix_reach_their_controls() -> None:
    recipe = parse_parameters(
        f"a fox\n{SETTINGS}, Clip skip: 2, Denoising strength: 0.4, Hires upscale: 1.5, Hires steps: 10, Hires upscaler: Latent"
    )
    assert (recipe.clip_skip, recipe.second_scale, recipe.second_strength, recipe.second_steps) == (
        2,
        1.5,
        0.4,
        10,
    )
    resized = parse_parameters(f"a fox\n{SETTINGS}, Denoising strength: 0.4, Hires resize: 1024x1536")
    assert resized.second_scale == 2
    assert "another one" in notes_of(parse_parameters(f"a fox\n{SETTINGS}, Denoising strength: 0.4"))
    for odd in ("Hires upscale: 9", "Hires upscale: x"):
        recipe = parse_parameters(f"a fox\n{SETTINGS}, Denoising strength: 0.4, {odd}")
        assert recipe.second_scale == recipe.second_strength == 0 and "can't be used" in notes_of(recipe)


def test_odd_hashes_of_styles_are_named_and_the_rest_is_taken() -> None:
    recipe = parse_parameters(f'a <lora:x:1> b\n{SETTINGS}, Lora hashes: "x: ,bc, y: 0xA1B2C3D4E5F6"')
    assert said(recipe) == SAID and recipe.blend == Blend((BlendPart("x", 1),))
    assert "“x:” among the picture's styles" in notes_of(recipe) and "“bc” among" in notes_of(recipe)
    recipe = parse_parameters(f'a <lora:y:1>\n{SETTINGS}, Lora hashes: "y: 0xA1B2C3D4E5F6"')
    assert recipe.blend.weight_of("a1b2c3d4e5f6") == 1 and recipe.names == {"a1b2c3d4e5f6": "y"}
    by_json = parse_parameters(
        f'a <lora:y:1>\n{SETTINGS}, Hashes: {{"LORA:y": "a1b2c3d4e5", "model": ""}}, Version: ComfyUI'
    )
    assert by_json.names == {"a1b2c3d4e5": "y"} and by_json.notes == ()


@pytest.mark.parametrize(
    "resource",
    [
        '{"type":"lora","weight":0.8,"modelVersionId":2,"modelName":"cyanotype"}',
        # https://github.com/AUTOMATIC1111/stable-diffusion-webui/pull/15712
        '{"type":"ImageJobNetworkParams { Strength = 0.8, Type = lora }","weight":0.8,"modelName":"cyanotype"}',
        # https://github.com/alexopus/ComfyUI-Image-Saver/issues/140
        '{"modelName":"cyanotype","versionName":"v1","weight":0.8,"air":"urn:air:sdxl:lora:civitai:1@2"}',
    ],
)
def test_civitai_s_resources_are_styles_and_a_checkpoint(resource: str) -> None:
    recipe = parse_parameters(
        f"a fox\n{SETTINGS}, Clip skip: 2, Created Date: 2024-09-01T00:00:00.0Z, Civitai resources: "
        f'[{{"type":"checkpoint","modelVersionId":1,"modelName":"Dream"}},{resource}], Civitai metadata: {{"remixOfId":3}}'
    )
    assert said(recipe) == SAID and recipe.clip_skip == 2 and recipe.base == "Dream"
    assert recipe.blend == Blend((BlendPart("cyanotype", 0.8),)) and recipe.notes == ()


def test_civitai_s_resources_without_names_and_of_other_kinds_are_named() -> None:
    recipe = parse_parameters(
        f'a fox\n{SETTINGS}, Civitai resources: [{{"type":"lora","weight":0.4,"modelVersionId":135867}},'
        '{"type":"embed","weight":1,"modelVersionId":380277},3,{"type":"lora","weight":"x"}]'
    )
    assert recipe.blend == Blend((BlendPart("Civitai 135867", 0.4),))
    assert "embed: Civitai 380277" in notes_of(recipe) and "weight “x”" in notes_of(recipe)


def test_fooocus_names_its_styles_in_the_settings() -> None:
    """https://github.com/lllyasviel/Fooocus/issues/2545: and reads on where there are none."""
    text = (
        "a fox\nNegative prompt: fog\nSteps: 30, Sampler: DPM++ 2M SDE Karras, Seed: 5, Size: 1152x896, CFG scale: 4.0, "
        "Sharpness: 2.0, Performance: Speed, Scheduler: karras, VAE: Default (model)"
    )
    recipe = parse_parameters(
        f'{text}, Lora hashes: "ink: a1b2c3d4e5f6", Lora weights: "ink: 0.5", Version: Fooocus v2.5.5'
    )
    assert recipe.blend == Blend((BlendPart("a1b2c3d4e5f6", 0.5),)) and recipe.names == {
        "a1b2c3d4e5f6": "ink"
    }
    assert (recipe.sampler, recipe.schedule) == ("dpm++ 2m sde", "karras") and "Sharpness" in notes_of(recipe)
    assert parse_parameters(text).blend == Blend()


@pytest.mark.parametrize(
    "fields",
    [
        # https://github.com/LuqP2/Image-MetaHub/issues/169
        "LoRA 1 Model: ink_lora_f16.ckpt, LoRA 1 Weight: 0.6",
        # https://github.com/AUTOMATIC1111/stable-diffusion-webui/issues/10423
        "AddNet Enabled: True, AddNet Module 1: LoRA, AddNet Model 1: ink_lora_f16(a1b2c3d4e5f6), AddNet Weight A 1: 0.6, AddNet Weight B 1: 0.6",
    ],
)
def test_numbered_fields_name_styles(fields: str) -> None:
    recipe = parse_parameters(f"a fox\n{SETTINGS}, {fields}")
    assert recipe.blend == Blend((BlendPart("ink_lora_f16", 0.6),)) and recipe.notes == ()


def test_sdnext_s_second_pass_is_taken_over() -> None:
    """https://github.com/vladmandic/sdnext/issues/3202"""
    recipe = parse_parameters(
        f"a girl <lora:cla1re3 (20):1.0>\n{SETTINGS}, Parser: Full parser, Backend: Diffusers, App: SD.Next, Operations: upscale; "
        "hires; txt2img, Second pass: True, Hires force: True, Hires steps: 25, Hires upscaler: ESRGAN 4x Valar, Hires upscale: 1.5, "
        "Hires resize: 0x0, Hires size: 1152x1728, Denoising strength: 0.5, CFG rescale: 0.7, PAG scale: 4"
    )
    assert (recipe.second_scale, recipe.second_strength, recipe.guidance_rescale) == (1.5, 0.5, 0.7)
    assert recipe.blend == Blend((BlendPart("cla1re3 (20)", 1),))
    assert (
        "Valar" in notes_of(recipe) and "PAG scale: 4" in notes_of(recipe) and "App" not in notes_of(recipe)
    )


def test_names_of_the_horde_are_known() -> None:
    """https://github.com/daveschumaker/artbot-for-stable-diffusion/pull/147"""
    recipe = parse_parameters(
        "a robot\nSteps: 20, Sampler: k_euler, CFG scale: 9, Seed: 14, Size: 512x512, model: stable_diffusion"
    )
    assert (recipe.sampler, recipe.seed) == ("euler", 14)


@given(
    st.lists(
        st.one_of(
            st.text(max_size=30),
            st.sampled_from(
                [
                    "Steps: 20, ",
                    "Seed: ",
                    "Size: 5x",
                    "Negative prompt:",
                    "\n",
                    "<lora:a",
                    ":0,5>",
                    '"',
                    "Lora hashes: ",
                    "Civitai resources: [",
                    "]",
                    "|",
                    "{",
                ]
            ),
        ),
        max_size=25,
    )
)
def test_any_text_is_read_or_refused_in_words(pieces: list[str]) -> None:
    try:
        recipe = parse_parameters("".join(pieces))
    except BadInput as error:
        assert error.message and error.hint
    else:
        assert Recipe.from_json(recipe.to_json()) == recipe


def test_styles_beyond_what_a_blend_may_have_are_said() -> None:
    weights = ", ".join(f"ink {number}: 0.5" for number in range(MOST_STYLES + 1))
    recipe = parse_parameters(f'a fox\n{SETTINGS}, Lora weights: "{weights}"')
    assert len(recipe.blend.parts) == MOST_STYLES
    assert f"names {MOST_STYLES + 1} styles" in notes_of(recipe)


def test_a_line_of_blanks_is_looked_at_once() -> None:
    # A blank may begin no name, or each of them is tried with all that follow.
    assert FIELD.match(" Steps: 5") is None
    assert said(parse_parameters(f"a fox\n {SETTINGS}")) == SAID
