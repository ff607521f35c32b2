"""The Create room's form, without a page: what a browser kept, what becomes of it, and a recipe put back into it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from app.create.advice import Advice
from app.create.form import CreateForm, Paper, entered, entry, recalled, recalled_words
from app.create.history import History
from app.create.mix_form import MOST_ROWS, MixForm, MixRow
from app.create.mixing import mix_of as resolved
from app.studio import Studio
from styles.errors import BadInput
from styles.generation.png_recipe import read_recipe
from styles.generation.recipe import Recipe
from styles.generation.settings import PassSettings, PictureSettings
from styles.mixing.blend import Blend, BlendPart
from styles.storage.home import Home
from styles.storage.setting import Declared, Setting
from tests.app.mixing import home_for_mixing


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Studio:
    """A studio with the styles Ink, Oil and Anti, which is Ink's opposite."""
    return Studio(Home(home_for_mixing(tmp_path_factory.mktemp("form") / "home", tiny_base)))


def _names(studio: Studio, mix: MixForm) -> list[str]:
    return [studio.library.find(row.style).name for row in mix.rows]


def mix_of(studio: Studio, mode: str = "sum", **weights: float) -> MixForm:
    ids = {name: studio.library.find(name).id for name in weights}
    return MixForm(tuple(MixRow(BlendPart(ids[name], weight)) for name, weight in weights.items()), mode)


def test_a_mix_survives_the_browser_and_junk_does_no_harm() -> None:
    rows = (
        MixRow(BlendPart("b" * 64, -0.25, ((0, 0), (0.5, 1.5)), 0.5, 2.0, solo=True), word=False),
        MixRow(BlendPart("a" * 64, 0.7, muted=True)),
    )
    mix = MixForm(rows, "take turns")
    assert MixForm.from_json(mix.to_json()) == mix  # in the order of the page
    for junk in (None, [], 3, "x", {"rows": {"a": 1}}, {"rows": [None, {}, {"style": "x"}], "mode": []}):
        assert MixForm.from_json(junk) == MixForm()
    odd = [{"style": "x", "weight": weight} for weight in (float("nan"), 99, "much", None)]
    many = [{"style": str(number), "weight": 1} for number in range(MOST_ROWS + 3)]
    twice = [{"style": "x", "weight": 0.5}, {"style": "x", "weight": 1}]
    assert MixForm.from_json({"rows": odd}).rows == ()
    assert len(MixForm.from_json({"rows": many}).rows) == MOST_ROWS
    assert [row.part.weight for row in MixForm.from_json({"rows": twice}).rows] == [0.5]


def test_a_schedule_given_in_weights_moves_its_peak_into_the_slider() -> None:
    blend = Blend((BlendPart("a", 1, ((0, 0), (1, 0.5))), BlendPart("b", 0.5, ((0, 1),)), BlendPart("c", 1)))
    form = MixForm.of_blend(blend)
    first = form.rows[0].part
    assert first.weight == 0.5 and first.schedule == ((0, 0), (1, 1))
    for at in (0, 0.3, 1):
        ids = ("a", "b", "c")
        assert form.blend.gains_at(at, ids) == blend.gains_at(at, ids)


def test_paper_says_sizes_and_refuses_what_is_no_number() -> None:
    assert Paper().size_px(128) == (None, None)
    assert Paper("portrait").size_px(128) == (96, 128) and Paper("landscape").size_px(0) == (512, 384)
    # As Stable Diffusion XL was trained: about the same area, in steps of 64 (arXiv 2307.01952, appendix I).
    assert Paper("portrait").size_px(1024, 64) == (896, 1152)
    assert Paper("landscape").size_px(64, 64) == (64, 48), "a small one made for tests has no such steps"
    assert Paper("own", "64", "").size_px(128) == (64, None)
    with pytest.raises(BadInput, match="12x"):
        Paper("own", "12x").size_px(128)
    with pytest.raises(BadInput, match="Write digits only") as refused:
        Paper("own", "9" * 5000).size_px(128)
    assert len(refused.value.message) < 100
    assert Paper.from_json({"shape": "round", "count": True, "seed": 0, "width": None}) == Paper(seed="0")
    paper = Paper("own", "64", "96", 4, str(2**63 - 1), True)
    assert Paper.from_json(paper.to_json()) == paper and Paper.from_json("junk") == Paper()


@pytest.mark.parametrize(("kind", "value", "wrong"), [(int, 2, "2.5"), (float, 0.25, "a bit")])
def test_a_number_that_is_typed_comes_back(kind: type, value: float, wrong: str) -> None:
    """As a setting of either kind that somebody adds, without a slider, would be."""
    one = Declared("clip_skip", kind | None, None, Setting("CLIP skip", low=0, high=9, group="More settings"))
    assert entry(one, None) == "" and entered(one, "") is None
    assert entered(one, entry(one, value)) == value and type(entered(one, entry(one, value))) is kind
    with pytest.raises(BadInput, match="CLIP skip"):
        entered(one, wrong)


def test_chips_say_which_trigger_words_go_into_the_prompt(studio: Studio) -> None:
    mix = mix_of(studio, Ink=0.7, Oil=0.0, Anti=-1)
    form = CreateForm("  a boat ", mix=mix, paper=Paper(seed="7"))
    order = form.order(studio)
    assert order.prompt == "ink, a boat" and order.add_triggers is False and order.settings.seed == 7
    silent = MixForm((replace(mix.rows[0], word=False), *mix.rows[1:]))
    assert replace(form, mix=silent).order(studio).prompt == "a boat"
    for there in ("a (ink:1.2) boat", "[Ink] boat, ((cat, ink))"):
        assert replace(form, prompt=there).order(studio).prompt == there
        recipe = Recipe(there, blend=mix.blend, prompt_signs=True)
        again = recalled(studio, recipe).form
        assert again.prompt == there and again.mix.rows[0].word and again.order(studio).prompt == there
    strip = form.sheet(studio, "strength strip", mix.rows[1].style)
    assert strip.prompt == "ink, oil, a boat" and strip.sheet is not None
    typed = form.to_json() | {"guidance": "a lot", "second_denoise": 2}
    with pytest.raises(BadInput, match="Guidance"):
        CreateForm.from_json(typed, as_far_as_possible=False)
    kept = CreateForm.from_json(typed | {"steps": "many"})
    assert (kept.settings.guidance, kept.settings.steps, kept.passes.second_denoise) == (None, None, None)


def test_a_style_is_looked_up_once_on_its_way_into_a_picture(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    mix, asked, card = mix_of(studio, Ink=0.7, Oil=0.4), list[str](), studio.library.card
    monkeypatch.setattr(studio.library, "card", lambda name: (asked.append(name), card(name))[1])
    order = CreateForm("a boat", mix=mix).order(studio)
    assert dict(resolved(order.whole_mix, studio.library).names) == dict(order.mix.names)
    assert sorted(asked) == sorted(row.style for row in mix.rows)


def test_a_recipe_of_before_brackets_were_signs_comes_back_as_the_letters_that_it_painted(
    studio: Studio,
) -> None:
    recipe = Recipe("a boat (red) [x]", "fog (thick:1.2)", base=studio.base_source(""), seed=4)
    order = recalled(studio, recipe).form.order(studio)
    assert order.prompt == r"a boat \(red\) \[x\]" and order.settings.negative == r"fog \(thick:1.2\)"
    now = replace(recipe, prompt_signs=True)
    order = recalled(studio, now).form.order(studio)
    assert order.prompt == now.prompt and order.settings.negative == now.negative


def test_a_recipe_comes_back_into_the_form_and_out_again(studio: Studio) -> None:
    mix = mix_of(studio, "take turns", Ink=0.7, Oil=0.4)
    rows = (
        replace(mix.rows[0], part=replace(mix.rows[0].part, schedule=((0, 1), (1, 0)), muted=True)),
        mix.rows[1],
    )
    blend = MixForm(rows, "take turns").blend
    recipe = Recipe(
        "oil, a boat", "fog", base=studio.base_source(""), blend=blend, seed=2**62 + 1, sampler="euler a", schedule="sgm uniform", steps=9, clip_skip=2,
        guidance=4.5, width_px=96, height_px=64, second_scale=1.5, second_strength=0.4,
    )  # fmt: skip
    done = recalled(studio, recipe)
    assert done.missing == () and done.form.paper.locked
    assert done.form.prompt == "a boat", "its chip says the trigger word"
    order = done.form.order(studio)
    base = order.settings.base
    assert order.prompt == "oil, a boat"
    assert order.settings == PictureSettings(
        "fog", base, 2**62 + 1, 1, 9, 4.5, "euler a", "sgm uniform", 2, 96, 64
    )
    assert order.passes == PassSettings(None, 1.5, 0.4)
    assert CreateForm.from_json(done.form.to_json()).order(studio) == order, "as it was kept"
    assert order.mix.start == blend
    assert all(row.word for row in done.form.mix.rows), "nobody has left the word of the muted one out"


def test_what_a_recipe_needs_and_is_not_here_is_named(studio: Studio) -> None:
    gone = "ab" * 32
    blend = Blend((BlendPart(gone, 1), BlendPart("Watercolour", 0.5), BlendPart("Oil", 0.3)))
    recipe = Recipe(
        "a boat", base="elsewhere", blend=blend, style_names=((gone, "Ink wash"),), source="0" * 64
    )
    many = tuple(BlendPart(f"{number:x}" * 64, 0.1) for number in range(9))
    assert "9 styles, of which there is room here for 8" in recalled_words(
        recalled(studio, Recipe("", blend=Blend(many)))
    )
    done = recalled(studio, replace(recipe, source_strength=0.5))
    assert "room here" not in recalled_words(done)
    assert sorted(done.missing) == ["Ink wash", "Watercolour"]
    assert len(done.form.mix.rows) == 3, "they keep their places, to be had back"
    order = done.form.order(studio)
    (part,) = order.mix.start.parts
    assert part.style == studio.library.find("Oil").id and part.weight == 0.3
    assert any("“Ink wash” is not in your library" in note for note in order.mix.notes)
    words = recalled_words(done)
    assert (
        "“Ink wash”" in words and "elsewhere" in words and "painted from" in words and done.form.image == ""
    )


def test_a_sampler_that_a_later_version_brought_is_named_and_nothing_else_is_lost(studio: Studio) -> None:
    recipe = Recipe("a boat", base=studio.base_source(""), sampler="er sde", schedule="beta", steps=9, seed=4)
    done = recalled(studio, recipe)
    settings = done.form.order(studio).settings
    assert (settings.sampler, settings.schedule, settings.steps, settings.seed) == (None, None, 9, 4)
    assert "“er sde”, which is not here" in recalled_words(done)
    done = recalled(studio, replace(recipe, sampler="euler"))
    settings = done.form.order(studio).settings
    assert (settings.sampler, settings.schedule) == ("euler", None)
    assert "“beta”, which is not here" in recalled_words(done)


def test_fighting_styles_are_told_before_anything_is_painted(studio: Studio) -> None:
    advice = Advice(studio)
    told = advice.tell(mix_of(studio, Ink=1, Anti=1))
    (hint,) = told["hints"]
    assert "pull against each other" in hint["words"] and hint["action"] == "turns" and not told["measured"]
    assert "in the composition" in hint["words"] or "in the texture" in hint["words"]
    assert advice.tell(mix_of(studio, "take turns", Ink=1, Anti=1))["hints"] == []
    assert "add up" in advice.tell(mix_of(studio, Ink=1, Anti=-1))["hints"][0]["words"]
    assert advice.tell(mix_of(studio, Ink=1, Oil=1))["hints"] == advice.tell(MixForm())["hints"] == []
    assert advice.tell(mix_of(studio, Ink=2, Oil=2))["hints"][0]["action"] == "balance"


def test_measured_strengths_are_known_from_then_on_and_balance_a_mix(studio: Studio) -> None:
    mix = mix_of(studio, Ink=1, Oil=1)
    told = Advice(studio).measure(mix)
    assert told["measured"] and told == Advice(studio).tell(mix)
    ink = mix.rows[0].style
    factor = 4 * told["limit"] / told["total"]
    strong = mix_of(studio, Ink=min(factor, 4), Oil=min(factor, 4))
    told = Advice(studio).tell(strong)
    assert told["burns"] and 0 < told["balanced"][ink] < strong.rows[0].part.weight


def test_the_history_is_the_folder(tmp_path: Path, studio: Studio) -> None:
    from PIL import Image

    from styles.generation.png_recipe import save_picture

    home = Home(tmp_path / "home").create()
    history = History(home)
    assert history.page() == ([], 0)
    blend = Blend((BlendPart("a" * 64, 0.7), BlendPart("b" * 64, 0.35, muted=True)))
    recipe = Recipe("a boat", "fog", "starter", blend=blend, style_names=(("a" * 64, "Ink"),), seed=8)
    path = save_picture(Image.new("RGB", (8, 8)), recipe, home.pictures)
    Image.new("RGB", (8, 8)).save(home.pictures / "other.png")
    (home.pictures / ".half.png").touch()
    (home.root / "outside.png").touch()
    kept, total = history.page()
    assert total == 2 and {one.path.name for one in kept} == {path.name, "other.png"}
    told = next(one.to_json() for one in kept if one.path == path)
    assert (
        told["title"] == "a boat" and told["words"][0] == "With Ink at 0.7." and "seed 8" in told["words"][1]
    )
    assert history.page(1, 1)[0] == kept[1:]
    for name in ("../outside.png", "nothing.png", str(home.root / "outside.png"), "sources"):
        with pytest.raises(BadInput, match="not there"):
            history.picture(name)
    gone = history.discard(path.name)
    assert read_recipe(gone) == recipe and gone.is_relative_to(home.trash) and history.page()[1] == 1
