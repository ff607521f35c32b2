"""Graphs of ComfyUI: plain ones are read, the others named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from styles.errors import BadInput, RecipeError
from styles.generation.foreign.comfyui import read_graph
from styles.generation.png_recipe import read_recipe
from styles.generation.recipe import Recipe
from styles.mixing.blend import Blend, BlendPart
from tests.styles.generation.foreign.pictures import notes_of, recipe_of


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def plain() -> dict[str, Any]:
    """Checkpoint, two LoRA loaders, texts, an empty picture and a sampler."""
    return {
        "3": node(
            "KSampler", seed=5, steps=21, cfg=6.5, sampler_name="dpmpp_2m", scheduler="karras", denoise=1.0, model=["11", 0],
            positive=["6", 0], negative=["7", 0], latent_image=["5", 0],
        ),
        "4": node("CheckpointLoaderSimple", ckpt_name="sd15/dream.safetensors"),
        "5": node("EmptyLatentImage", width=512, height=768, batch_size=1),
        "6": node("CLIPTextEncode", text="a (red:1.2) house [x]", clip=["12", 0]),
        "7": node("CLIPTextEncode", text="fog", clip=["12", 0]),
        "10": node("LoraLoader", lora_name="folder\\ink.safetensors", strength_model=0.8, strength_clip=1.0, model=["4", 0]),
        "11": node("LoraLoaderModelOnly", lora_name="oil.safetensors", strength_model=-0.5, model=["10", 0]),
        "12": node("CLIPSetLastLayer", stop_at_clip_layer=-2, clip=["10", 1]),
        "8": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
        "9": node("SaveImage", images=["8", 0]),
    }  # fmt: skip


def test_a_plain_graph_is_read() -> None:
    recipe = read_graph(plain())
    assert (recipe.prompt, recipe.negative) == ("a (red:1.2) house \\[x\\]", "fog")
    assert (recipe.seed, recipe.steps, recipe.guidance, recipe.clip_skip) == (5, 21, 6.5, 2)
    assert (recipe.sampler, recipe.schedule, recipe.base) == ("dpm++ 2m", "karras", "dream")
    assert (recipe.width_px, recipe.height_px) == (512, 768)
    assert recipe.blend == Blend((BlendPart("ink", 0.8), BlendPart("oil", -0.5)))
    assert recipe.notes == () and recipe.unsaid == ()


def test_it_is_found_in_png_and_webp_and_with_numbers_that_are_none(tmp_path: Path) -> None:
    """https://github.com/Comfy-Org/ComfyUI/issues/6915: NaN stands where a node was not looked at."""
    graph = plain() | {"20": node("Other", is_changed=float("nan"))}
    text = json.dumps(graph)
    assert "NaN" in text
    expected = read_graph(plain())
    assert recipe_of(tmp_path, prompt=text, workflow="{}") == expected
    assert recipe_of(tmp_path, parameters=text) == expected
    exif = Image.Exif()
    exif[0x0110], exif[0x010F] = f"prompt:{text}", "workflow:{}"
    Image.new("RGB", (1, 1)).save(tmp_path / "x.webp", exif=exif)
    assert read_recipe(tmp_path / "x.webp") == expected
    with pytest.raises(RecipeError, match="workflow of ComfyUI"):
        recipe_of(tmp_path, workflow='{"nodes": []}')
    with pytest.raises(RecipeError, match="workflow of ComfyUI"):
        recipe_of(tmp_path, prompt='{"1": {"class_type": "SaveImage", "inputs": {}}}')


def test_the_sides_of_a_sampler_tell_which_text_is_which() -> None:
    """https://github.com/PanicTitan/ComfyUI-Gallery/issues/13: not the order of the nodes."""
    graph = plain()
    graph["3"]["inputs"] |= {"positive": ["7", 0], "negative": ["6", 0]}
    recipe = read_graph(graph)
    assert (recipe.prompt, recipe.negative) == ("fog", "a (red:1.2) house \\[x\\]")


def test_custom_samplers_are_read_where_they_are_plain() -> None:
    """https://github.com/civitai/civitai/issues/4623, with a seed that another node hands on."""
    graph = plain()
    graph["3"] = node(
        "SamplerCustomAdvanced", noise=["30", 0], guider=["31", 0], sampler=["32", 0], sigmas=["33", 0], latent_image=["5", 0]
    )  # fmt: skip
    graph |= {
        "30": node("RandomNoise", noise_seed=["34", 0]),
        "31": node("CFGGuider", cfg=6.5, model=["11", 0], positive=["6", 0], negative=["7", 0]),
        "32": node("KSamplerSelect", sampler_name="dpmpp_2m"),
        "33": node("BasicScheduler", scheduler="karras", steps=21, denoise=1.0, model=["11", 0]),
        "34": node("Seed (rgthree)", seed=5),
    }
    assert read_graph(graph) == read_graph(plain())
    graph = plain()
    old = graph["3"]["inputs"]
    graph["3"] = node(
        "SamplerCustom", noise_seed=5, cfg=6.5, sampler=["32", 0], sigmas=["33", 0],
        **{name: old[name] for name in ("model", "positive", "negative", "latent_image")},
    )  # fmt: skip
    graph |= {
        "32": node("KSamplerSelect", sampler_name="dpmpp_2m"),
        "33": node("BasicScheduler", scheduler="karras", steps=21, denoise=1.0, model=["11", 0]),
    }
    assert read_graph(graph) == read_graph(plain())


def test_texts_come_through_other_nodes_and_two_passes_are_named() -> None:
    graph = plain()
    graph["6"]["inputs"]["text"] = ["40", 0]
    graph["40"] = node("PrimitiveStringMultiline", value="a boat <lora:ink:0.1> <lora:dots:0.3:0.5>")
    graph["3"]["class_type"] = "KSamplerAdvanced"
    graph["3"]["inputs"]["noise_seed"] = graph["3"]["inputs"].pop("seed")
    graph["41"] = node("LatentUpscaleBy", samples=["3", 0], scale_by=1.5)
    graph["2"] = node(
        "KSampler", seed=9, steps=10, cfg=3, sampler_name="euler", scheduler="normal", denoise=0.5, model=["11", 0],
        positive=["6", 0], negative=["7", 0], latent_image=["41", 0],
    )  # fmt: skip
    graph["42"] = node("ControlNetApply", conditioning=["6", 0], strength=1)
    graph["3"]["inputs"]["positive"] = ["42", 0]
    recipe = read_graph(graph)
    assert (recipe.prompt, recipe.seed, recipe.steps) == ("a boat", 5, 21), "of the first pass"
    assert (
        recipe.names == {"ink": "ink", "oil": "oil", "dots": "dots"} and recipe.blend.weight_of("dots") == 0.3
    )
    said = notes_of(recipe)
    assert "2 samplers" in said and "ControlNetApply" in said and "LatentUpscaleBy" in said


def test_loaders_of_several_styles_are_read() -> None:
    graph = plain()
    graph["10"] = node(
        "Power Lora Loader (rgthree)", model=["4", 0], clip=["4", 1],
        lora_1={"on": True, "lora": "ink.safetensors", "strength": 0.8}, lora_2={"on": False, "lora": "x.safetensors", "strength": 1},
    )  # fmt: skip
    graph["11"] = node(
        "Lora Loader Stack (rgthree)",
        model=["10", 0],
        lora_01="oil.safetensors",
        strength_01=-0.5,
        lora_02="None",
        strength_02=1,
    )
    assert read_graph(graph).blend == Blend((BlendPart("ink", 0.8), BlendPart("oil", -0.5)))


def test_a_picture_to_start_from_and_a_text_that_is_computed_are_named() -> None:
    graph = plain()
    graph["5"] = node("VAEEncode", pixels=["50", 0], vae=["4", 2])
    graph["7"] = node("TextOfAMachine", seed=["51", 0])
    graph["3"]["inputs"]["denoise"] = 0.6
    recipe = read_graph(graph)
    said = notes_of(recipe)
    assert "made from another one" in said and "TextOfAMachine" in said and "denoise: 0.6" in said
    assert set(recipe.unsaid) == {"width_px", "height_px"} and recipe.negative == ""


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.sampled_from([["3", 0], ["6", 0], ["4", 1]])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
    max_leaves=6,
)  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from(sorted(plain())), st.integers(0, 12), VALUES), max_size=6))
def test_any_graph_is_read_or_refused_in_words(changes: list[tuple[str, int, Any]]) -> None:
    graph = plain()
    for place, number, value in changes:
        if isinstance(graph[place], dict) and isinstance(graph[place].get("inputs"), dict) and number < 10:
            inputs = graph[place]["inputs"]
            inputs[sorted(inputs)[number % len(inputs)]] = value
        else:
            graph[place] = value
    try:
        recipe = read_graph(graph)
    except BadInput as error:
        assert error.message and error.hint
    else:
        assert Recipe.from_json(recipe.to_json()) == recipe


def test_the_first_pass_counts_wherever_its_node_stands_and_a_loader_at_0_is_none() -> None:
    graph = plain()
    second = node("KSampler", **graph["3"]["inputs"] | {"seed": 9, "steps": 4, "latent_image": ["3", 0]})
    graph["10"]["inputs"]["strength_model"] = 0
    recipe = read_graph({"1": second} | graph)
    assert (recipe.seed, recipe.steps, recipe.width_px) == (5, 21, 512)
    assert recipe.blend == Blend((BlendPart("oil", -0.5),))
