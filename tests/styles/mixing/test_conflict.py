"""The conflict meter: the cosines of the full changes, without ever forming one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from styles.errors import BlendError, WrongFamilyError
from styles.formats.style import Style, StyleCard, StyleLayer
from styles.mixing.conflict import overlap, place_of
from tests.styles.making import random_style, unet_of

TO_K = "mid_block.attentions.0.transformer_blocks.0.attn2.to_k"
TO_OUT = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_out.0"


@pytest.fixture(scope="module", params=["sd1", "sdxl"])
def unet(tiny_sd1: Path, tiny_sdxl: Path, request: pytest.FixtureRequest) -> Any:
    return unet_of(tiny_sd1 if request.param == "sd1" else tiny_sdxl)


@pytest.fixture(scope="module")
def styles(unet: Any) -> list[Style]:
    made = [
        random_style(unet, "Ink", seed=1, rank=4, alpha=2.0),
        random_style(unet, "Chalk", seed=2, rank=8, marks=("attn2", "conv1")),
        random_style(unet, "Neon", seed=3, rank=1, alpha=-0.5, marks=("attn1", "conv1", "attn2.to_k")),
    ]
    # A style that shares a part of another's change.
    shared = tuple(
        replace(layer, up=layer.up + 0.03 * torch.randn_like(layer.up)) for layer in made[0].layers
    )
    made.append(Style(StyleCard("Brush", "sd1", 4), shared))
    return [with_id(style, number) for number, style in enumerate(made)]


def with_id(style: Style, number: int) -> Style:
    return replace(style, card=replace(style.card, id=f"{number:064x}"))


def opposite(style: Style, name: str, number: int, only: str = "") -> Style:
    layers = tuple(
        replace(layer, up=-layer.up)
        if only in layer.path
        else replace(layer, up=0.1 * torch.randn_like(layer.up))
        for layer in style.layers
    )
    return with_id(replace(style, layers=layers, card=replace(style.card, name=name)), number)


def full(style: Style, name: str) -> torch.Tensor | None:
    layer = next((layer for layer in style.layers if layer.name == name), None)
    if layer is None:
        return None
    return (layer.up.double().flatten(1) @ layer.down.double().flatten(1) * layer.scale).flatten()


def test_equals_the_cosines_of_the_full_changes(styles: list[Style]) -> None:
    found = overlap(styles)
    assert set(found.layers) == {layer.name for style in styles for layer in style.layers}
    for row, name in enumerate(found.layers):
        changes = [full(style, name) for style in styles]
        for a, one in enumerate(changes):
            for b, other in enumerate(changes):
                wanted = 0.0
                if one is not None and other is not None:
                    wanted = float(one @ other / one.norm() / other.norm())
                assert float(found.cosines[row, a, b]) == pytest.approx(wanted, abs=1e-5)
    whole = [
        [
            sum(
                float(full(one, n) @ full(two, n))
                for n in found.layers
                if full(one, n) is not None and full(two, n) is not None
            )
            for two in styles
        ]  # type: ignore[operator]
        for one in styles
    ]
    verdict = found.judge([1.0, 1.0, 1.0, 1.0])
    pair = next(pair for pair in verdict.pairs if {pair.first, pair.second} == {styles[0].id, styles[3].id})
    assert pair.cosine == pytest.approx(whole[0][3] / (whole[0][0] * whole[3][3]) ** 0.5, abs=1e-5)
    assert pair.same_way and verdict.pairs[-1] == pair


def test_never_forms_a_full_change() -> None:
    width = 500_000  # a full change would take a terabyte
    layer = StyleLayer("unet", TO_K, torch.randn(2, width), torch.randn(width, 2), 2.0)
    styles = [with_id(Style(StyleCard("Wide", "sd1", 2), (layer,)), number) for number in range(2)]
    assert overlap(styles).judge([1.0, 1.0]).pairs[0].cosine == pytest.approx(1.0)


def test_says_who_fights_and_where_and_what_to_do(styles: list[Style]) -> None:
    ink, chalk = styles[:2]
    anti = opposite(ink, "Anti-ink", 9)
    found = overlap([ink, chalk, anti])
    verdict = found.judge([0.5, 1.0, 2.0])
    worst = verdict.pairs[0]
    assert {worst.first, worst.second} == {ink.id, anti.id} and worst.fights
    assert worst.cosine == pytest.approx(-1.0, abs=1e-6)
    assert verdict.mode == "take turns" and "Ink" in verdict.reason and "Anti-ink" in verdict.reason
    assert not any(pair.fights or pair.same_way for pair in verdict.pairs[1:])
    # With the sign of a weight turned, the two pull the same way.
    turned = found.judge([0.5, 1.0, -2.0])
    assert turned.mode == "sum" and turned.pairs[-1].same_way and "add up" in turned.reason
    # A silent style fights nobody.
    assert found.judge([0.5, 1.0, 0.0]).mode == "sum"
    assert found.judge([0.0, 1.0, 0.0]).pairs == ()
    assert "simply be added" in found.judge([0.5, 1.0, 0.0]).reason
    assert verdict.to_json()["pairs"][0]["fights"] is True


def test_names_the_layers_where_it_happens(styles: list[Style]) -> None:
    ink = styles[0]
    partly = opposite(ink, "Partly", 9, only="mid_block")
    worst = overlap([ink, partly]).judge([1.0, 1.0]).pairs[0].worst
    assert worst and all("mid_block" in at.layer and at.cosine < -0.99 for at in worst)
    assert all("the middle block" in at.place for at in worst)
    assert 0.5 < sum(at.share for at in worst) <= 1.0


def test_places_in_words() -> None:
    assert place_of(f"unet.{TO_K}") == "the middle block (which words are heard)"
    assert place_of(f"unet.{TO_OUT}") == "down block 0 (what is painted)"
    assert place_of("te.text_model.encoder.layers.0.mlp.fc1") == "the reading of the words"
    assert place_of("unet.conv_in") == "the rest of the UNet"


def test_bad_input_is_refused(styles: list[Style]) -> None:
    found = overlap(styles)
    for weights in ([1.0], [1.0, 1.0, 1.0, float("nan")], [1.0] * 5):
        with pytest.raises(BlendError):
            found.judge(weights)
    narrow = tuple(replace(layer, down=layer.down[:, 1:]) for layer in styles[0].layers)
    with pytest.raises(BlendError, match="not the same shape"):
        overlap([styles[0], replace(styles[1], layers=narrow)])
    other = replace(styles[1], card=replace(styles[1].card, name="Far", family="sdxl"))
    with pytest.raises(WrongFamilyError, match="“Far” for Stable Diffusion XL"):
        overlap([styles[0], other])
    empty = with_id(replace(styles[0], layers=tuple(replace(x, up=x.up * 0) for x in styles[0].layers)), 8)
    verdict = overlap([styles[0], empty]).judge([1.0, 1.0])
    assert verdict.pairs[0].cosine == 0.0 and verdict.pairs[0].worst == ()
    assert overlap([]).judge([]).pairs == ()
