"""How styles are mixed over the steps: schedules, mute and solo, knobs, turns and averages, on a real base."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from styles.bases.base import Base, open_base
from styles.errors import BlendError, Cancelled
from styles.formats.style import Style
from styles.generation.generate import DenoisingStep, generate
from styles.generation.png_recipe import png_bytes, read_recipe, save_picture
from styles.generation.request import CreateRequest, request_again
from styles.mixing.blend import MODES, Blend, BlendPart
from styles.mixing.model_patcher import ModelPatcher
from styles.storage.home import Home
from tests.styles.painting import apart, paint, style_for, wording_style

ROUNDING = 1  # of 255


@pytest.fixture(scope="module", params=["starter", "sdxl"])
def base(
    tiny_base: Path, tiny_sdxl: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Base:
    folder = tiny_base if request.param == "starter" else tiny_sdxl
    return open_base(folder, Home(tmp_path_factory.mktemp("home")).create(), device="cpu")


@pytest.fixture(scope="module")
def styles(base: Base) -> tuple[Style, ...]:
    return (style_for(base, 1), style_for(base, 2), wording_style(base, 3))


def request_of(blend: Blend, **changes: object) -> CreateRequest:
    plain = CreateRequest("a cat", seeds=(4,), steps=3, width_px=32, height_px=32, blends=(blend,))
    return replace(plain, **changes)  # type: ignore[arg-type]


def blend_of(styles: tuple[Style, ...], *weights: float, mode: str = "sum") -> Blend:
    parts = (BlendPart(style.id, weight) for style, weight in zip(styles, weights, strict=False))
    return Blend(tuple(parts), mode)


def test_a_level_schedule_is_the_weight_and_a_late_one_is_not(base: Base, styles: tuple[Style, ...]) -> None:
    plain = blend_of(styles, 0.7, 0.0, 0.5)
    one = styles[0].id

    def picture(blend: Blend):  # type: ignore[no-untyped-def]
        return paint(base, request_of(blend), styles)[0]

    whole = picture(plain)
    level = picture(plain.changed(one, schedule=((0.2, 1.0), (0.8, 1.0))))
    scaled = picture(plain.changed(one, weight=1.4, schedule=((0.0, 0.5),)))
    late = picture(plain.changed(one, schedule=((0, 0), (0.5, 0), (0.5, 1))))
    never = picture(plain.changed(one, schedule=((0, 0),)))
    off = picture(plain.changed(one, weight=0.0))
    assert apart(whole, level) <= ROUNDING and apart(whole, scaled) <= ROUNDING
    assert apart(never, off) <= ROUNDING and apart(off, whole) > 5
    assert apart(late, whole) > 5 and apart(late, off) > 5
    # A style of the text encoder's follows its schedule too: what the prompt is at the first step doesn't stay.
    words = styles[2].id
    late_words = picture(plain.changed(words, schedule=((0, 0), (0.5, 0), (0.5, 1))))
    assert apart(late_words, picture(plain.changed(words, weight=0.0))) > 1 and apart(late_words, whole) > 1


def test_a_prompt_is_told_to_the_styles_once(
    base: Base, styles: tuple[Style, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    told, prompt = [], ModelPatcher.prompt
    monkeypatch.setattr(
        ModelPatcher, "prompt", lambda mix, states: (told.append(states), prompt(mix, states))
    )
    for mode in MODES:
        paint(base, request_of(blend_of(styles, 0.7, 0.9, mode=mode)), styles[:2])
    assert len(told) == len(MODES)
    paint(base, request_of(blend_of(styles, 0.7, 0.9, 1, mode="take turns")), styles)
    assert len(told) == len(MODES) + 2  # once without the style of words, once in its turn


def test_mute_and_solo_silence_without_losing_the_weight(base: Base, styles: tuple[Style, ...]) -> None:
    blend = blend_of(styles, 0.7, -0.8)
    one, two = styles[0].id, styles[1].id
    muted = paint(base, request_of(blend.changed(two, muted=True)), styles)[0]
    solo = paint(base, request_of(blend.changed(one, solo=True)), styles)[0]
    without = paint(base, request_of(blend.changed(two, weight=0.0)), styles)[0]
    assert apart(muted, without) <= ROUNDING and apart(solo, without) <= ROUNDING
    assert apart(without, paint(base, request_of(blend), styles)[0]) > 5
    assert muted.recipe.blend.weight_of(two) == -0.8


def test_composition_and_texture_share_out_a_style(base: Base, styles: tuple[Style, ...]) -> None:
    blend, one = blend_of(styles, 0.8), styles[0].id

    def picture(**knobs: float):  # type: ignore[no-untyped-def]
        return paint(base, request_of(blend.changed(one, **knobs)), styles)[0]

    whole, bare = picture(), picture(weight=0.0)
    inner, outer = picture(texture=0), picture(composition=0)
    assert min(apart(inner, whole), apart(outer, whole), apart(inner, outer)) > 5
    assert min(apart(inner, bare), apart(outer, bare)) > 5
    assert apart(picture(composition=0, texture=0), bare) <= ROUNDING
    assert apart(picture(weight=0.4, composition=2, texture=2), whole) <= ROUNDING


def test_the_modes_are_the_same_for_one_style_and_not_for_two(base: Base, styles: tuple[Style, ...]) -> None:
    alone = [paint(base, request_of(blend_of(styles, 0.7, 0, 0, mode=mode)), styles)[0] for mode in MODES]
    assert all(apart(alone[0], other) <= ROUNDING for other in alone[1:])
    both = [paint(base, request_of(blend_of(styles, 0.7, 0.9, 1, mode=mode)), styles)[0] for mode in MODES]
    assert min(apart(both[0], both[1]), apart(both[0], both[2]), apart(both[1], both[2])) > 5
    assert "3 passes" in both[2].notes[0] and not alone[2].notes and not both[1].notes
    none = [paint(base, request_of(Blend(mode=mode)), styles)[0] for mode in MODES]
    assert all(apart(none[0], other) == 0 for other in none[1:])


def test_one_step_of_turns_is_one_style_and_of_averages_their_mean(
    base: Base, styles: tuple[Style, ...]
) -> None:
    def clean(blend: Blend):  # type: ignore[no-untyped-def]
        """What the first step takes for the finished picture: linear in the prediction."""
        request = request_of(blend, steps=1, guidance=3.0, guidance_rescale=0.0, sampler="ddim")
        event = next(iter(generate(base, request, styles)))
        assert isinstance(event, DenoisingStep)
        return event.pixels.float()

    first, second = clean(blend_of(styles, 0.7)), clean(blend_of(styles, 0.0, 0.9))
    turns = clean(blend_of(styles, 0.7, 0.9, mode="take turns"))
    mean = clean(blend_of(styles, 0.7, 0.9, mode="average guidance"))
    assert (first - second).abs().max() > 3
    assert (turns - first).abs().max() == 0
    unclipped = ((first > 0) & (first < 255) & (second > 0) & (second < 255)).float()
    assert unclipped.mean() > 0.2
    assert ((mean - (first + second) / 2) * unclipped).abs().max() <= 2


@pytest.mark.parametrize("mode", MODES)
def test_the_same_picture_again_with_all_that_a_blend_can_say(
    mode: str, base: Base, styles: tuple[Style, ...], tmp_path: Path
) -> None:
    one, two, three = (style.id for style in styles)
    blend = Blend(
        (
            BlendPart(one, 0.8, schedule=((0, 0.1), (0.5, 1.3))),
            BlendPart(two, -0.6, composition=0.3, texture=1.7),
            BlendPart(three, 1.0, schedule=((0.2, 1), (0.9, 0))),
        ),
        mode,
    )
    none = Blend(tuple(BlendPart(style.id, 0) for style in styles), mode)
    others = (blend, blend.changed(two, muted=True), blend.changed(three, solo=True), none)
    request = request_of(blend, seeds=(1, 2, 3, 4), blends=others, sampler="euler a")
    first = paint(base, request, styles)
    for done in first:
        path = save_picture(done.image, done.recipe, tmp_path)
        recipe = read_recipe(path)
        assert recipe == done.recipe and recipe.blend == others[done.index]
        again = paint(base, request_again(recipe), styles[::-1])[0]
        assert png_bytes(again.image, again.recipe) == path.read_bytes()
        alone = paint(base, request_of(blend, seeds=(done.index + 1,), blends=(recipe.blend,), sampler="euler a"), styles)[0]  # fmt: skip
        assert apart(alone, done) <= 2


def test_averages_stop_between_two_passes(base: Base, styles: tuple[Style, ...]) -> None:
    # Before the batch, before the step, before the second pass.
    asked: Iterator[bool] = iter([False, False, True])
    request = request_of(blend_of(styles, 1, 1, mode="average guidance"))
    with pytest.raises(Cancelled, match="middle of a step"):
        next(generate(base, request, styles, cancelled=lambda: next(asked)))
    assert all("forward" not in vars(module) for module in base.unet.modules())


def test_blends_that_do_not_fit_the_request_are_refused(base: Base, styles: tuple[Style, ...]) -> None:
    blend = blend_of(styles, 1)
    with pytest.raises(BlendError, match="names a style that was not given"):
        generate(base, request_of(blend), styles[1:])
    with pytest.raises(BlendError, match="2 blends for 1"):
        request_of(blend, blends=(blend, blend))
    with pytest.raises(BlendError, match="only one"):
        request_of(blend, weights=((1.0,),))
    with pytest.raises(BlendError, match="several ways"):
        request_of(blend, seeds=(1, 2), blends=(blend, replace(blend, mode="take turns")))
