"""Styles that a prompt names as A1111 does, at each place where a prompt comes in; and pictures of other programs."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from app.create.form import CreateForm, Paper, recalled, recalled_words
from app.create.mix_form import MixForm, MixRow
from app.create.mix_orders import MixOrder, StyleOrder
from app.create.painting import Notice, PictureSaved
from app.create.prompt_tags import with_prompt_styles
from app.orders import PictureOrder
from app.studio import Studio
from styles.generation.foreign.a1111 import parse_parameters
from styles.generation.recipe import Recipe
from styles.generation.settings import PictureSettings
from styles.mixing.blend import Blend, BlendPart
from styles.storage.home import Home
from tests.app.mixing import home_for_mixing
from tests.styles.generation.foreign.pictures import png

SMALL = PictureSettings(seed=1, steps=1, width_px=64, height_px=64)


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Studio:
    """A studio with the styles Ink, Oil and Anti, and one whose name tags can't say."""
    studio = Studio(Home(home_for_mixing(tmp_path_factory.mktemp("tags") / "home", tiny_base)))
    style = studio.library.open("Oil")
    studio.library.add(
        replace(
            style,
            card=replace(style.card, name="Grünes Moos fein", trigger="moss"),
            layers=style.layers[:-1],
        )
    )
    return studio


def weights(studio: Studio, order: PictureOrder) -> dict[str, float]:
    return {studio.library.card(part.style).name: part.weight for part in order.mix.start.parts}


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("<lora:Ink:0.8>", {"Ink": 0.8}),
        ("<lora:ink:0,8> <lyco:Oil>", {"Ink": 0.8, "Oil": 1}),
        ("<lora:INK:te=0.2:unet=0.5>", {"Ink": 0.5}),
        ("<lora:Grunes_Moos_fein:0.5>", {"Grünes Moos fein": 0.5}),
        ("<lora:folder/Grunes_Moos_fein.safetensors:0.5>", {"Grünes Moos fein": 0.5}),
        ("<lora:nobody_has_it:0.5>", {}),
        ("<hypernet:Ink:0.5>", {}),
    ],
)
def test_the_window_and_the_command_line_read_the_same_tags(
    studio: Studio, tags: str, expected: dict[str, float]
) -> None:
    prompt = f"a boat, {tags}, on the sea"
    for order in (
        CreateForm(prompt).order(studio),
        with_prompt_styles(PictureOrder(prompt, SMALL), studio.library),
    ):
        assert weights(studio, order) == expected
        assert "<" not in order.prompt and order.prompt.endswith("a boat, on the sea")
        said = " ".join(order.mix.notes)
        assert all(f"“{name}” at {weight:g}" in said for name, weight in expected.items())
        if not expected:
            assert "is not in your library" in said or "hypernetwork" in said


def test_a_tag_moves_the_slider_that_is_there_and_is_no_trigger_word(studio: Studio) -> None:
    ink = studio.library.find("Ink")
    row = MixRow(BlendPart(ink.id, 0.3, composition=0.5), name="Ink")
    form, notes = CreateForm("a boat <lora:ink:0.9>", mix=MixForm((row,))).without_tags(studio)
    assert form.prompt == "a boat" and len(notes) == 1
    assert form.mix.rows == (replace(row, part=replace(row.part, weight=0.9)),)
    order = form.order(studio)
    assert ink.trigger and order.prompt == f"{ink.trigger}, a boat", "the tag did not count as the word"
    same = CreateForm("a boat", mix=MixForm((row,)))
    assert same.without_tags(studio) == (same, ())


def test_what_is_said_of_a_style_elsewhere_counts_more_than_a_tag(studio: Studio) -> None:
    library, ink = studio.library, studio.library.find("Ink")
    prompt = "a boat <lora:ink:0.9> <lora:oil:0.2>"
    for order in (
        PictureOrder(prompt, SMALL, weights=(("Ink", 0.4),)),
        PictureOrder(prompt, SMALL, mix=MixOrder((StyleOrder("Ink", 0.4),))),
    ):
        done = with_prompt_styles(order, library)
        assert weights(studio, done) == {"Oil": 0.2} and done.whole_mix.styles[0].weight == 0.4
        assert "“Ink” is in the mix already" in " ".join(done.mix.notes)
    started = PictureOrder(prompt, SMALL, mix=MixOrder(start=Blend((BlendPart(ink.id, 0.1),))))
    assert weights(studio, with_prompt_styles(started, library)) == {"Ink": 0.9, "Oil": 0.2}


def test_a_name_that_two_styles_have_is_said_to_be_two_s(studio: Studio) -> None:
    """https://github.com/AUTOMATIC1111/stable-diffusion-webui/pull/14655: there the one that was read last is taken."""
    source = studio.library.find("Oil").path
    assert source is not None
    for folder in ("a", "b"):
        (studio.home.styles / folder).mkdir()
        shutil.copy(source, studio.home.styles / folder / "Twin.safetensors")
        source = studio.library.find("Anti").path
        assert source is not None
    order = CreateForm("a boat <lora:twin:1>").order(studio)
    assert weights(studio, order) == {} and "2 styles are called “twin”" in " ".join(order.mix.notes)
    for folder in ("a", "b"):
        shutil.rmtree(studio.home.styles / folder)


def test_a_tag_in_the_negative_prompt_changes_nothing_and_is_no_word(studio: Studio) -> None:
    order = PictureOrder("a boat", replace(SMALL, negative="fog <lora:ink:1>"))
    done = with_prompt_styles(order, studio.library)
    assert done.settings.negative == "fog" and done.mix.start == Blend()
    assert "negative prompt" in done.mix.notes[0]


def test_a_picture_is_painted_with_the_styles_of_its_prompt_alone(studio: Studio, tmp_path: Path) -> None:
    """The tag is never encoded: the same picture as with the weight that is given beside the prompt."""

    def painted(order: PictureOrder) -> tuple[bytes, Recipe, str]:
        events = list(studio.create(order, tmp_path))
        (picture,) = [event for event in events if isinstance(event, PictureSaved)]
        said = " ".join(event.text for event in events if isinstance(event, Notice))
        from PIL import Image

        return Image.open(picture.path).tobytes(), picture.recipe, said

    tagged, recipe, said = painted(PictureOrder("a __colour__ boat <lora:ink:0.8> <lora:gone:1>", SMALL))
    plain, _, _ = painted(PictureOrder("a __colour__ boat", SMALL, weights=(("Ink", 0.8),)))
    assert tagged == plain and "<" not in recipe.prompt
    assert "“Ink” at 0.8" in said and "“gone” is not in your library" in said
    assert "“__colour__” is read as plain words" in said


SETTINGS = "Steps: 2, Sampler: Euler, CFG scale: 3, Seed: 9, Size: 64x96"


def test_what_a_picture_does_not_tell_stays_as_it_is_in_the_form(studio: Studio) -> None:
    before = CreateForm(
        "x", MixForm((MixRow(BlendPart(studio.library.find("Oil").id, 0.3)),)), Paper("own", "64", "80", 2, "77", True),
        settings=PictureSettings("dull", steps=7, guidance=2.5, sampler="heun", clip_skip=2),
    )  # fmt: skip
    done = recalled(studio, parse_parameters("a fox in the snow"), before)
    assert done.form == replace(before, prompt="a fox in the snow")
    assert recalled_words(done).startswith("The prompt of the picture is set. Only a prompt was found")
    done = recalled(studio, parse_parameters("a fox <lora:ink:0.5>\nNegative prompt: fog"), before)
    assert [row.name for row in done.form.mix.rows] == ["Ink"] and done.form.settings.negative == "fog"
    assert done.form.paper == before.paper and done.form.settings.steps == 7
    done = recalled(studio, parse_parameters("a fox\nSteps: 3, CFG scale: 4, Seed: words, Size: 0x0"), before)
    assert done.form.paper == replace(before.paper, count=1)
    assert (done.form.settings.steps, done.form.settings.guidance, done.form.settings.sampler) == (
        3,
        4,
        "heun",
    )
    assert "does not tell, so that it stays: Seed, Size, Sampler" in recalled_words(done)
    full = recalled(studio, parse_parameters(f"a fox\n{SETTINGS}"), before)
    assert full.form.mix == MixForm() and full.form.settings.negative == ""
    assert (full.form.paper.seed, full.form.paper.width, full.form.paper.height) == ("9", "64", "96")
    assert recalled_words(full) == "The settings of the picture are set."


def test_a_style_whose_hash_says_nothing_is_found_by_its_name_and_that_is_said(studio: Studio) -> None:
    recipe = parse_parameters(
        f'a fox <lora:Grunes_Moos_fein:0.5>\n{SETTINGS}, Lora hashes: "Grunes_Moos_fein: 0xffffffffff12"'
    )
    done = recalled(studio, recipe)
    assert [(row.name, row.part.weight) for row in done.form.mix.rows] == [("Grünes Moos fein", 0.5)]
    assert (
        "found by its name: no style here has the hash ffffffffff12" in recalled_words(done)
        and done.missing == ()
    )
    by_hash = parse_parameters(
        f'a fox <lora:x:0.5>\n{SETTINGS}, Lora hashes: "x: {studio.library.find("Ink").id[:12]}"'
    )
    done = recalled(studio, by_hash)
    assert [row.name for row in done.form.mix.rows] == ["Ink"] and "hash" not in recalled_words(done)


def test_a_picture_of_another_program_is_painted_from_the_command_line_as_far_as_it_goes(
    studio: Studio, tmp_path: Path
) -> None:
    def painted(text: str) -> tuple[Recipe, str]:
        events = list(studio.create_again(png(tmp_path / "theirs.png", parameters=text), tmp_path))
        (picture,) = [event for event in events if isinstance(event, PictureSaved)]
        return picture.recipe, " ".join(event.text for event in events if isinstance(event, Notice))

    recipe, said = painted(
        f"a fox <lora:ink:0.5> <lora:gone:1>\nNegative prompt: fog\n{SETTINGS}, VAE: other.pt"
    )
    assert (recipe.seed, recipe.steps, recipe.width_px, recipe.height_px, recipe.sampler) == (
        9,
        2,
        64,
        96,
        "euler",
    )
    assert recipe.prompt == "a fox" and recipe.negative == "fog" and list(recipe.names.values()) == ["Ink"]
    assert "“gone” is not in your library" in said and "“VAE: other.pt”" in said
    recipe, said = painted("a fox")
    assert recipe.prompt == "a fox" and "Only a prompt was found" in said and recipe.unsaid == ()
