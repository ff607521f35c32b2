"""Merging styles into a base in four bits with groups."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from styles.bases.base import Base, open_base
from styles.errors import AtelierError, BaseError, BlendError, WrongFamilyError
from styles.formats.style import Style, StyleCard, StyleLayer
from styles.mixing.group_merge import merge_styles
from styles.mixing.model_patcher import blended
from styles.quantization.column_groups import expanded_columns, grouped_columns
from styles.quantization.grouped_linear import GroupedLinear, packed, unpacked
from styles.storage.home import Home
from tests.styles.making import PlainBase, inputs, noise_pred, random_layer, random_style

TRANSFORMER = ("attn", "ff.net", "proj_")
FP16_HALF_ULP = 2.0**-11  # of a number's own size
FP16_SMALLEST = 2.0**-25


def opened(folder: Path, home: Path, quantize: str = "qa4-16") -> Base:
    return open_base(folder, Home(home).create(), device="cpu", quantize=quantize)


def grouped(style: Style, group: int, size: float = 0.2) -> Style:
    """The style as if it had been trained over such groups, of a size as styles have it."""
    layers = []
    for layer in style.layers:
        down = layer.down.half().float()
        if down.dim() == 2 and down.shape[1] % group == 0:
            down = expanded_columns(grouped_columns(down, group), group)
        layers.append(replace(layer, down=down, up=(size * layer.up).half().float()))
    return replace(style, layers=tuple(layers))


def grouped_styles(base: Base, group: int, count: int = 2) -> list[Style]:
    return [
        grouped(
            random_style(base.unet, f"ink {n}", family=base.family, seed=n, rank=4 - n, marks=TRANSFORMER),
            group,
        )
        for n in range(count)
    ]


def delta(layer: StyleLayer) -> Tensor:
    return layer.up.double().flatten(1) @ layer.down.double().flatten(1) * layer.scale


def weights_of(base: Base) -> dict[str, Tensor]:
    """What each linear layer and convolution multiplies with, in fp64."""
    return {
        path: (
            unpacked(module.weight, module.scale, module.offset)
            if isinstance(module, GroupedLinear)
            else module.weight.data.clone()
        ).double()
        for path, module in base.unet.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    }


@pytest.mark.parametrize("quantize", ["qa4-16", "qa4-64"])
def test_weights_are_those_of_the_unmerged_layers_within_one_rounding(
    quantize: str, tiny_base: Path, home_folder: Path
) -> None:
    base = opened(tiny_base, home_folder, quantize)
    before, bits = weights_of(base), {name: one.clone() for name, one in base.unet.state_dict().items()}
    styles = grouped_styles(base, int(quantize[-2:]))
    weights = (0.8, -0.5)
    merged = merge_styles(base, list(zip(styles, weights, strict=True)))
    after = weights_of(base)
    changed = {layer.path for layer in styles[0].layers}
    in_four_bits = sum(isinstance(base.unet.get_submodule(path), GroupedLinear) for path in changed)
    assert (merged.grouped, merged.plain) == (in_four_bits, len(changed) - in_four_bits)
    for path, wanted in before.items():
        parts = [
            (layer, w)
            for style, w in zip(styles, weights, strict=True)
            for layer in style.layers
            if layer.path == path
        ]
        for layer, weight in parts:
            wanted = wanted + (weight * delta(layer)).view_as(wanted)
        module = base.unet.get_submodule(path)
        if not isinstance(module, GroupedLinear):
            torch.testing.assert_close(module.weight.data, wanted.float(), rtol=1e-6, atol=1e-8)
            continue
        # Half a unit in the last place of the offset, and what fp32 rounds of the sum.
        offset = module.offset.double().abs().repeat_interleave(module.group, 1)
        limit = offset * FP16_HALF_ULP * 1.001 + FP16_SMALLEST + wanted.abs() * 2.0**-22
        assert bool(((after[path] - wanted).abs() <= limit).all())
        assert not parts or not torch.equal(after[path], before[path])
    # The four bits and the scales stay as they are, and so does all that no style changes.
    own = {f"{path}.{'offset' if f'{path}.offset' in bits else 'weight'}" for path in changed}
    assert {name for name, one in base.unet.state_dict().items() if not torch.equal(one, bits[name])} == own


def test_it_is_the_papers_merge() -> None:
    """arXiv 2309.14717, algorithm 1: W~ = alpha (Q - beta), and `beta_new = beta - s * (B @ A) / alpha`."""
    generator = torch.Generator().manual_seed(4)
    down, up = (torch.randn(shape, generator=generator).half().double() / 8 for shape in ((4, 3), (12, 4)))
    bits, alpha, offset = packed(torch.randn(12, 96, generator=generator), 32)
    layer = GroupedLinear(bits, alpha, offset, None, torch.float32)
    q = torch.stack((bits & 15, bits >> 4), dim=2).flatten(1).double()
    alpha = alpha.double()
    beta = 7.5 - offset.double() / alpha
    s = 3.0 / 4 * 0.8
    beta_new = beta - s * (up @ down) / alpha
    wide = [one.repeat_interleave(32, 1) for one in (alpha, beta_new)]
    theirs = wide[0] * (q - wide[1])
    style = Style(
        StyleCard("ink", "sd1", 4), (StyleLayer("unet", "to_q", expanded_columns(down, 32), up, 3.0),)
    )
    merge_styles(PlainBase(nn.ModuleDict({"to_q": layer})), [(style, 0.8)])
    ours = unpacked(layer.weight, layer.scale, layer.offset).double()
    torch.testing.assert_close(
        ours, theirs, rtol=0, atol=1.01 * FP16_HALF_ULP * float(layer.offset.abs().max())
    )


def test_the_merged_base_predicts_as_the_mix(tiny_sd1: Path, home_folder: Path) -> None:
    base = opened(tiny_sd1, home_folder)
    styles, given = grouped_styles(base, 16), inputs(width=768)
    plain = noise_pred(base.unet, *given)
    with blended(base, styles) as mix:
        mix.set_gains([0.7, 0.4])
        mixed = noise_pred(base.unet, *given)
    merge_styles(base, list(zip(styles, (0.7, 0.4), strict=True)))
    merged = noise_pred(base.unet, *given)
    assert (merged - mixed).norm() < 1e-3 * (mixed - plain).norm()


def test_what_can_not_be_merged_is_refused_with_the_base_as_it_was(
    tiny_base: Path, tiny_sd1: Path, home_folder: Path
) -> None:
    base = opened(tiny_base, home_folder, "qa4-32")
    before = {name: one.clone() for name, one in base.unet.state_dict().items()}
    (good,) = grouped_styles(base, 32, 1)
    ungrouped = random_style(base.unet, "loose", family="starter")
    smaller = grouped(random_style(base.unet, "fine", family="starter"), 16)
    other = grouped(random_style(opened(tiny_sd1, home_folder, "none").unet, "other"), 32)
    text = StyleLayer("te", "text_model.encoder.layers.0.mlp.fc1", torch.ones(1, 8), torch.ones(8, 1), 1.0)
    worded = replace(good, layers=(*good.layers, text))
    refused: Sequence[tuple[list[Any], type[AtelierError], str]] = (
        ([], BlendError, "no style to merge"),
        ([(good, 0.0)], BlendError, "can't be merged at weight 0"),
        ([(good, math.nan)], BlendError, "can't be merged at weight nan"),
        ([(good, 1.0), (good, 1.0)], BlendError, "twice"),
        ([(good, 1e9)], BlendError, "too large"),
        ([(good, 1.0), (ungrouped, 1.0)], WrongFamilyError, "groups of 32 inputs"),
        ([(smaller, 1.0)], WrongFamilyError, "groups of 32 inputs"),
        ([(other, 1.0)], WrongFamilyError, "starter"),
        ([(worded, 1.0)], WrongFamilyError, "changes the text encoder as well"),
    )
    for styles, kind, words in refused:
        with pytest.raises(kind, match=words):
            merge_styles(base, styles)
    assert all(torch.equal(one, before[name]) for name, one in base.unet.state_dict().items())
    for quantize in ("none", "nf4"):
        with pytest.raises(BaseError, match="not in four bits with groups"):
            merge_styles(opened(tiny_base, home_folder, quantize), [(good, 1.0)])
    conv = random_layer("conv_in", base.unet.conv_in, 2, 2.0)
    assert merge_styles(base, [(replace(good, layers=(conv,)), 1.0)]).plain == 1
