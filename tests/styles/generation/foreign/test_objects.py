"""Settings as JSON objects: InvokeAI's, Fooocus', SwarmUI's, NovelAI's and Draw Things'."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from styles.errors import BadInput, RecipeError
from styles.generation.foreign.invokeai import read_line, with_our_weights
from styles.generation.foreign.objects import novelai_weights
from styles.generation.foreign.reader import foreign_recipe
from styles.generation.png_recipe import read_recipe
from styles.generation.recipe import Recipe
from styles.mixing.blend import Blend, BlendPart
from tests.styles.generation.foreign.pictures import notes_of, recipe_of, with_exif

INK = Blend((BlendPart("ink", 0.75),))
INVOKE = {
    "app_version": "5.4.3", "generation_mode": "txt2img", "positive_prompt": "a red house", "negative_prompt": "fog", "width": 512,
    "height": 768, "seed": 5, "rand_device": "cpu", "cfg_scale": 7.5, "cfg_rescale_multiplier": 0.0, "steps": 30,
    "scheduler": "dpmpp_2m_k", "clip_skip": 1, "seamless_x": False, "positive_style_prompt": "a red house",
    "model": {"key": "x", "hash": "blake3:12", "name": "dream", "base": "sd-1", "type": "main"},
    "loras": [{"model": {"key": "y", "name": "ink", "type": "lora"}, "weight": 0.75}],
}  # fmt: skip
FOOOCUS = {
    "prompt": "a red house", "negative_prompt": "fog", "seed": "5", "steps": 30, "resolution": "(512, 768)", "guidance_scale": 7.5,
    "sampler": "dpmpp_2m", "scheduler": "karras", "base_model": "dream", "loras": [["ink", 0.75, "a1b2c3d4e5"]],
    "lora_combined_1": "ink : 0.75", "full_prompt": ["a red house", "best"], "version": "Fooocus v2.5.5", "metadata_scheme": "fooocus",
}  # fmt: skip
SWARM = {
    "sui_image_params": {
        "prompt": "a red house", "negativeprompt": "fog", "model": "sd15/dream.safetensors", "images": 1, "seed": 5, "steps": 30,
        "cfgscale": 7.5, "aspectratio": "Custom", "width": 512, "height": 768, "sampler": "dpmpp_2m", "scheduler": "karras",
        "loras": ["illustrious/ink"], "loraweights": ["0.75"], "automaticvae": True, "swarm_version": "0.9.5",
    },
    "sui_extra_data": {"date": "2025-01-01"},
}  # fmt: skip
NOVELAI = {
    "prompt": "a red house", "uc": "fog", "steps": 30, "height": 768, "width": 512, "scale": 7.5, "seed": 5, "sampler": "k_dpmpp_2m",
    "noise_schedule": "karras", "cfg_rescale": 0.0, "sm": False, "request_type": "PromptGenerateRequest",
}  # fmt: skip
DRAW_THINGS = {
    "c": "a red house", "uc": "fog", "seed": 5, "steps": 30, "scale": 7.5, "size": "512x768", "sampler": "DPM++ 2M Karras",
    "model": "dream_f16.ckpt", "strength": 1, "lora": [{"model": "ink_lora_f16.ckpt", "weight": 0.75}],
}  # fmt: skip
XMP = '<x:xmpmeta><rdf:Description><exif:UserComment><rdf:Alt><rdf:li xml:lang="x-default">{}</rdf:li></rdf:Alt></exif:UserComment>'
PROGRAMS: dict[str, tuple[dict[str, str], Blend]] = {
    "InvokeAI": ({"invokeai_metadata": json.dumps(INVOKE)}, INK),
    "Fooocus": ({"parameters": json.dumps(FOOOCUS), "fooocus_scheme": "fooocus"}, INK),
    "SwarmUI": ({"parameters": json.dumps(SWARM)}, INK),
    "NovelAI": (
        {"Software": "NovelAI", "Description": "a red house", "Comment": json.dumps(NOVELAI)},
        Blend(),
    ),
    "Draw Things": ({"XML:com.adobe.xmp": XMP.format(json.dumps(DRAW_THINGS).replace('"', "&quot;"))}, INK),
}


@pytest.mark.parametrize(("texts", "blend"), PROGRAMS.values(), ids=PROGRAMS)
def test_each_program_s_settings_are_taken_over(tmp_path: Path, texts: dict[str, str], blend: Blend) -> None:
    recipe = recipe_of(tmp_path, **texts)
    assert (recipe.prompt, recipe.negative) == ("a red house", "fog")
    assert (recipe.seed, recipe.steps, recipe.guidance) == (5, 30, 7.5)
    assert (recipe.width_px, recipe.height_px) == (512, 768)
    assert (recipe.sampler, recipe.schedule) == ("dpm++ 2m", "karras")
    assert recipe.blend == blend and recipe.unsaid == () and recipe.notes == ()


@pytest.mark.parametrize(
    "values", [SWARM, FOOOCUS, NOVELAI, DRAW_THINGS], ids=["SwarmUI", "Fooocus", "NovelAI", "Draw Things"]
)
@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_they_stand_in_exif_as_well(tmp_path: Path, values: dict[str, Any], kind: str) -> None:
    """https://github.com/Aaalice233/Aaalice_NAI_Launcher/pull/103: in UTF-8 behind the mark of ASCII."""
    (tmp_path / "x").write_bytes(
        with_exif(b"ASCII\0\0\0" + json.dumps(values | {"é": "京"}, ensure_ascii=False).encode(), kind)
    )
    assert read_recipe(tmp_path / "x").seed == 5


def test_what_has_no_place_is_named(tmp_path: Path) -> None:
    def said(values: dict[str, Any], name: str = "parameters") -> str:
        return notes_of(recipe_of(tmp_path, **{name: json.dumps(values)}))

    invoke = INVOKE | {
        "vae": {"name": "mse"},
        "controlnets": [{"x": 1}],
        "rand_device": "cuda",
        "positive_style_prompt": "oil",
    }
    told = said(invoke, "invokeai_metadata")
    assert all(
        words in told
        for words in ("vae: mse", "controlnets", "rand_device: cuda", "positive_style_prompt: oil")
    )
    assert "refiner_model: xl" in said(FOOOCUS | {"refiner_model": "xl", "styles": "['Fooocus V2']"})
    assert "refinerupscale: 2" in said(
        {"sui_image_params": SWARM["sui_image_params"] | {"refinerupscale": 2}}
    )
    assert "sm: True" in said(NOVELAI | {"sm": True}, "Comment")
    assert "hires_fix: True" in said(DRAW_THINGS | {"hires_fix": True}, "Comment")
    assert "“er_sde”, which is not here" in said(INVOKE | {"scheduler": "er_sde"}, "invokeai_metadata")


def test_older_versions_of_invokeai_are_read(tmp_path: Path) -> None:
    """https://github.com/invoke-ai/InvokeAI/issues/4571, and those before version 3."""
    three = INVOKE | {
        "model": {"model_name": "dream", "base_model": "sd-1"}, "loras": [{"lora": {"model_name": "ink", "base_model": "sd-1"}, "weight": 0.75}],
    }  # fmt: skip
    recipe = recipe_of(tmp_path, invokeai_metadata=json.dumps(three))
    assert recipe.blend == INK and recipe.base == "dream" and recipe.clip_skip == 2, (
        "it counts the layers left out"
    )
    image = {
        "prompt": [{"prompt": "a (red)1.3 house [fog]", "weight": 1}], "steps": 30, "cfg_scale": 7.5, "seed": 5, "sampler": "k_euler_a",
        "width": 512, "height": 768, "postprocessing": [{"type": "gfpgan"}], "threshold": 0,
    }  # fmt: skip
    two = {"model": "stable diffusion", "model_weights": "dream", "app_version": "2.3.5", "image": image}
    line = '"a (red)1.3 house [fog]" -s 30 -S 5 -W 512 -H 768 -C 7.5 -A k_euler_a -G 0.8'
    for recipe in (
        recipe_of(tmp_path, **{"sd-metadata": json.dumps(two), "Dream": line}),
        recipe_of(tmp_path, Dream=line),
        read_line(line.replace("-S ", "-S")),
    ):
        assert (recipe.prompt, recipe.negative) == (
            "a (red:1.3) house",
            "fog",
        ) and recipe.sampler == "euler a"
        assert (recipe.seed, recipe.steps, recipe.guidance, recipe.width_px, recipe.height_px) == (
            5,
            30,
            7.5,
            512,
            768,
        )
        assert recipe.unsaid == () and "not taken over" in notes_of(recipe)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("a red++ house-- here", "a (red:1.21) house-- here".replace("house--", "(house:0.81)")),
        ("(a red house)+, old-fashioned", "(a red house:1.1), old-fashioned"),
        ("(red)1.4 and [x] \\(y\\)", "(red:1.4) and \\[x\\] \\(y\\)"),
        ("plain words- and 1+1", "plain words- and 1+1"),
    ],
)
def test_weights_of_invokeai_become_ours(theirs: str, ours: str) -> None:
    assert with_our_weights(theirs) == ours


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("{red} house", "(red:1.05) house"),
        ("{{red}} [house]", "(red:1.103) (house:0.9524)"),
        ("a (b) c", "a \\(b\\) c"),
        ("1.5::red house:: x", "(red house:1.5) x"),
    ],
)
def test_weights_of_novelai_become_ours(theirs: str, ours: str) -> None:
    assert novelai_weights(theirs) == ours


def test_characters_of_novelai_stand_behind_its_prompt(tmp_path: Path) -> None:
    four = {
        "caption": {
            "base_caption": "two people, ",
            "char_captions": [{"char_caption": "a boy"}, {"char_caption": "a girl"}],
        }
    }
    recipe = recipe_of(tmp_path, Comment=json.dumps(NOVELAI | {"v4_prompt": four}))
    assert recipe.prompt == "two people, a boy, a girl"


def test_weights_of_swarmui_stand_by_their_styles(tmp_path: Path) -> None:
    """https://github.com/mcmonkeyprojects/SwarmUI/issues/41 and /500: by place, as text, too few, and in the prompt."""
    params = SWARM["sui_image_params"] | {
        "prompt": "<lora:illustrious/dots:0.3:0.5>, a fox", "loras": "a/ink,oil.safetensors,dusk", "loraweights": "0.75,-0.5",
    }  # fmt: skip
    recipe = recipe_of(tmp_path, parameters=json.dumps({"sui_image_params": params}))
    assert recipe.blend == Blend(
        (BlendPart("ink", 0.75), BlendPart("oil", -0.5), BlendPart("dusk", 1), BlendPart("dots", 0.3))
    )
    assert "<" not in recipe.prompt


def test_fooocus_lists_its_styles_in_two_ways(tmp_path: Path) -> None:
    older = {name: value for name, value in FOOOCUS.items() if name != "loras"} | {
        "lora_combined_2": "False : oil : 1.0"
    }
    assert recipe_of(tmp_path, parameters=json.dumps(older)).blend == INK


def test_bad_values_are_named_and_left_out(tmp_path: Path) -> None:
    bad = INVOKE | {
        "seed": "words",
        "width": 0,
        "steps": [1],
        "cfg_scale": None,
        "loras": [{"weight": "x"}, 3, {"model": 3}],
    }
    recipe = recipe_of(tmp_path, invokeai_metadata=json.dumps(bad))
    assert recipe.prompt == "a red house" and set(recipe.unsaid) == {
        "seed",
        "width_px",
        "height_px",
        "steps",
        "guidance",
    }
    assert "“words” of the picture can't be used" in notes_of(recipe) and "no name" in notes_of(recipe)


def test_what_is_unknown_is_no_prompt(tmp_path: Path) -> None:
    for texts in (
        {"Comment": '{"a": 1}'},
        {"Comment": "made with a camera"},
        {"XML:com.adobe.xmp": "<x/>"},
        {"Description": "a fox"},
    ):
        with pytest.raises(RecipeError):
            recipe_of(tmp_path, **texts)
    (tmp_path / "photo.jpg").write_bytes(with_exif(b"ASCII\0\0\0Screenshot"))
    with pytest.raises(RecipeError, match="carries no recipe"):
        read_recipe(tmp_path / "photo.jpg")
    with pytest.raises(RecipeError, match="XMP"):
        recipe_of(tmp_path, **{"XML:com.adobe.xmp": "<x/>"})


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(
    st.sampled_from([INVOKE, FOOOCUS, SWARM["sui_image_params"], NOVELAI, DRAW_THINGS]),
    st.lists(st.tuples(st.integers(0, 30), VALUES), min_size=1, max_size=6),
)
def test_any_object_is_read_or_refused_in_words(
    whole: dict[str, Any], changes: list[tuple[int, Any]]
) -> None:
    values = whole | {sorted(whole)[place % len(whole)]: value for place, value in changes}
    for texts in (
        {"parameters": json.dumps(values)}, {"parameters": json.dumps({"sui_image_params": values})},
        {"invokeai_metadata": json.dumps(values)}, {"sd-metadata": json.dumps({"image": values})},
    ):  # fmt: skip
        try:
            recipe = foreign_recipe(texts, "x.png")
        except BadInput as error:
            assert error.message and error.hint
        else:
            assert Recipe.from_json(recipe.to_json()) == recipe


@given(st.text(max_size=60))
def test_any_line_of_the_first_invokeai_is_read(line: str) -> None:
    for text in (line, f'"{line}" -s {line} -S 5'):
        recipe = read_line(text)
        assert Recipe.from_json(recipe.to_json()) == recipe
