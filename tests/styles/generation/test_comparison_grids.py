"""Strips, maps and leaving one out: the right weights in one batch, and each picture as if painted alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image

from styles.bases.base import Base, open_base
from styles.errors import AtelierError, BlendError, RecipeError
from styles.generation.comparison_grids import blend_map, leave_one_out, strength_strip
from styles.generation.img2img import SourcePicture
from styles.generation.request import CreateRequest, SecondPass
from styles.mixing.blend import MODES, Blend, BlendPart
from styles.storage.home import Home
from tests.styles.painting import apart, paint, style_for

A, B, C, D = (letter * 64 for letter in "abcd")
NAMES = {A: "Ink", B: "Dots", C: "Chalk"}
REQUEST = CreateRequest("a cat", seeds=(7,), blends=(Blend((BlendPart(A, 0.5), BlendPart(B, -1.0))),))


def weights(sheet, style: str) -> list[float]:  # type: ignore[no-untyped-def]
    return [blend.weight_of(style) for blend in sheet.request.blends]


def test_a_strip_varies_one_style_and_keeps_the_rest() -> None:
    sheet = strength_strip(REQUEST, A, (-1, 0, 0.25, 2), NAMES)
    assert weights(sheet, A) == [-1, 0, 0.25, 2] and weights(sheet, B) == [-1] * 4
    assert sheet.labels == ("Ink -1", "Ink 0", "Ink 0.25", "Ink 2") and (sheet.columns, sheet.rows) == (4, 1)
    assert sheet.request.seeds == (7,) * 4 and sheet.request.together and sheet.request.prompt == "a cat"
    # A style that isn't in the blend, is muted or not solo is heard all the same.
    request = replace(REQUEST, blends=(Blend((BlendPart(A, 1, muted=True), BlendPart(B, 1, solo=True))),))
    for style in (A, C):
        for blend in strength_strip(request, style, (0.5, 1)).request.blends:
            assert {part.style for part in blend.sounding} == {style, B}


def test_a_map_of_two_has_two_axes_and_of_four_four_corners() -> None:
    sheet = blend_map(REQUEST, (A, C), columns=3, rows=2, strongest=0.8, names=NAMES)
    assert weights(sheet, A) == [0, 0.4, 0.8] * 2 and weights(sheet, C) == [0] * 3 + [0.8] * 3
    assert sheet.labels[4] == "Ink 0.4 · Chalk 0.8" and (sheet.columns, sheet.rows) == (3, 2)
    four = blend_map(REQUEST, (A, B, C, D), 3, 3)
    corners = [four.request.blends[corner].gains_at(0, (A, B, C, D)) for corner in (0, 2, 6, 8)]
    assert corners == [(1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)]
    assert four.request.blends[4].gains_at(0, (A, B, C, D)) == (0.25,) * 4
    three = blend_map(REQUEST, (A, B, C), 2, 2)
    assert [blend.gains_at(0, (A, B, C)) for blend in three.request.blends] == [
        (1, 0, 0),
        (0, 1, 0),
        (0, 0, 1),
        (0, 0, 0),
    ]


def test_leaving_one_out_mutes_each_that_sounds() -> None:
    sheet = leave_one_out(REQUEST, NAMES)
    assert sheet.labels == ("all", "without Dots", "without Ink")
    assert [{part.style for part in blend.sounding} for blend in sheet.request.blends] == [{A, B}, {A}, {B}]
    assert weights(sheet, A) == [0.5] * 3


@pytest.mark.parametrize(
    ("ask", "error", "said"),
    [
        (lambda: strength_strip(REQUEST, A, (1,)), BlendError, "strip of 1 weights"),
        (lambda: strength_strip(REQUEST, A, (0, 9)), BlendError, r"9\.0 is not a weight"),
        (lambda: blend_map(REQUEST, (A,)), BlendError, "map of 1 styles"),
        (lambda: blend_map(REQUEST, (A, A)), BlendError, "twice"),
        (lambda: blend_map(REQUEST, (A, B), rows=1), BlendError, "map of 1 rows"),
        (lambda: blend_map(REQUEST, (A, B), strongest=float("nan")), BlendError, "nan is not a weight"),
        (lambda: leave_one_out(replace(REQUEST, blends=())), BlendError, "no style in the blend"),
        (lambda: leave_one_out(replace(REQUEST, seeds=(1, 2))), RecipeError, "for 2 pictures"),
        (lambda: strength_strip(CreateRequest("", weights=((1.0,),)), A), BlendError, "needs one blend"),
    ],
)
def test_sheets_that_can_not_be_made_are_refused(ask, error: type[AtelierError], said: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error, match=said):
        ask()


@pytest.fixture(scope="module", params=["starter", "sdxl"])
def base(
    tiny_base: Path, tiny_sdxl: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Base:
    folder = tiny_base if request.param == "starter" else tiny_sdxl
    return open_base(folder, Home(tmp_path_factory.mktemp("home")).create(), device="cpu")


@pytest.mark.parametrize("mode", MODES)
def test_a_sheet_is_one_batch_and_each_picture_as_if_alone(
    mode: str, base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    styles = (style_for(base, 1), style_for(base, 2))
    one, two = (style.id for style in styles)
    noise = numpy.random.default_rng(0).integers(0, 255, (6, 9, 3), dtype=numpy.uint8)
    request = CreateRequest(
        "a boat",
        "red",
        seeds=(5,),
        steps=4,
        guidance=4.0,
        source=SourcePicture.of(Image.fromarray(noise).resize((90, 60))),
        strength=0.75,
        width_px=32,
        height_px=32,
        second_pass=SecondPass(1.5, 0.5),
        blends=(Blend((BlendPart(one, 0.8, ((0, 0.2), (1, 1))), BlendPart(two, 0.6, texture=0.5)), mode),),
    )
    for sheet in (strength_strip(request, one, (0, 0.5, 1)), leave_one_out(request)):
        done = paint(base, sheet.request, styles)
        assert [picture.recipe.batch_shape[0] for picture in done] == [len(sheet.labels)] * len(sheet.labels)
        for picture in done:
            own = replace(request, blends=(sheet.request.blends[picture.index],))
            assert apart(paint(base, own, styles)[0], picture) <= 2
        assert apart(done[0], done[1]) > 5 and apart(done[0], done[2]) > 5

    forward, room = base.unet.forward, 2

    def small(inputs: torch.Tensor, *arguments: object, **settings: object) -> object:
        if len(inputs) // 2 > room:
            raise torch.OutOfMemoryError("out of memory")
        return forward(inputs, *arguments, **settings)

    monkeypatch.setattr(base.unet, "forward", small)
    split = paint(base, sheet.request, styles)
    assert [picture.recipe.batch_shape[0] for picture in split] == [1, 1, 1]
    assert all(apart(picture, whole) <= 2 for picture, whole in zip(split, done, strict=True))
