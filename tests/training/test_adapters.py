"""Going on with a style: also with others' styles, in whatever names and ranks they come."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from styles.errors import PlanError
from styles.formats.reader import read_style
from styles.formats.style import Style, StyleCard, StyleLayer
from styles.formats.writer import write_style
from styles.mixing.bake import BakePlan, bake
from styles.mixing.blend import Blend, BlendPart
from styles.mixing.model_patcher import blended
from tests.styles.making import PlainBase, inputs, noise_pred, random_layer, random_style, unet_of
from tests.tiny import tiny_base_folder
from tests.training.conftest import small_plan
from training.adapters import adapted, check_continued, check_ranks, continue_style, highest_rank

TRANSFORMER = ("attn", "ff.net", "proj_")


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_a_style_of_kohyas_scripts_is_continued_from_what_it_does(
    family: str, tiny_sd1: Path, tmp_path: Path
) -> None:
    folder = tiny_sd1 if family == "sd1" else tiny_base_folder(tmp_path / "xl", "sdxl", layers=2)
    unet, path = unet_of(folder), tmp_path / "theirs.safetensors"
    style = random_style(unet, family=family, rank=4, alpha=1.0, marks=TRANSFORMER)
    write_style(style, path)
    if family == "sdxl":  # as sd-scripts names its blocks
        names = {
            "down_blocks_1_attentions_": "input_blocks_{}_1",
            "up_blocks_0_attentions_": "output_blocks_{}_1",
        }
        tensors = {}
        for key, tensor in load_file(path).items():
            key = key.replace("mid_block_attentions_0", "middle_block_1")
            for number in range(3):
                for ours, theirs in names.items():
                    place = number + 4 if ours.startswith("down") else number
                    key = key.replace(f"{ours}{number}", theirs.format(place))
            tensors[key] = tensor
        assert not any("attentions" in key for key in tensors)
        save_file(tensors, path)
    begun = read_style(path)
    assert begun.card.family == family
    states = inputs(width=unet.config.cross_attention_dim)
    with blended(PlainBase(unet, family), [begun]) as mix:
        mix.set_gains([1.0])
        wanted = noise_pred(unet, *states)
    bare = noise_pred(unet, *states)
    for rank, alpha in ((4, 4.0), (6, 2.0)):
        with adapted(
            unet, small_plan(folder, family, rank=rank, alpha=alpha, layers="transformer")
        ) as weights:
            continue_style(
                weights, begun, small_plan(folder, family, rank=rank, alpha=alpha, layers="transformer")
            )
            got = noise_pred(unet, *states)
        assert (got - wanted).abs().max() < 1e-5 < 1e-2 < (wanted - bare).abs().max()
    assert torch.equal(noise_pred(unet, *states), bare)


def test_what_no_plan_can_go_on_with_is_said(tiny_sd1: Path) -> None:
    unet = unet_of(tiny_sd1)
    whole = random_style(unet, rank=4, marks=TRANSFORMER)
    conv = random_layer("conv_in", unet.conv_in, 4, 4.0)
    far = StyleLayer(
        "unet", "down_blocks.9.attentions.0.proj_in", torch.zeros(4, 32), torch.zeros(32, 4), 4.0
    )
    for layers, rank, more, said in (
        ("cross+self", 4, (), "layers that this plan does not train"),
        ("transformer", 4, (conv,), "unet.conv_in"),
        ("transformer", 2, (), "has rank 4, the plan only 2"),
        ("transformer", 4, (far,), "made for another base"),
    ):
        plan = small_plan(tiny_sd1, "sd1", rank=rank, layers=layers)
        style = Style(StyleCard("Theirs", "sd1", 4), whole.layers + more)
        with adapted(unet, plan) as weights, pytest.raises(PlanError, match=said):
            continue_style(weights, style, plan)


def test_a_style_of_more_ranks_than_a_plan_may_have_goes_on_once_it_is_baked_as_is_said(
    tiny_sd1: Path, tmp_path: Path
) -> None:
    """Neither with its own rank, which no plan may have, nor with the highest, which is too low for it."""
    layer = random_layer(
        "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k", torch.nn.Linear(768, 320), 160, 80.0
    )
    begun = write_style(Style(StyleCard("Wide", "sd1", 160), (layer,)), tmp_path / "Wide.safetensors")
    with pytest.raises(PlanError, match="rank is 160"):
        small_plan(tiny_sd1, "sd1", rank=160)
    for check in (check_ranks, lambda style: check_continued(style, small_plan(tiny_sd1, "sd1", rank=128))):
        with pytest.raises(
            PlanError, match="has rank 160, and a training can go on from at most 128"
        ) as refused:
            check(begun)
        assert 'styles bake NAME --style "Wide=1" --rank 128' in refused.value.hint
    baked = bake(Blend((BlendPart(begun.id, 1.0),)), [begun], BakePlan("Wide 128", "squeezed", 128))
    check_continued(baked, small_plan(tiny_sd1, "sd1", rank=highest_rank(baked)))
    # No more than the layers have numbers, where these are narrow.
    narrow = Style(begun.card, (random_layer(layer.path, torch.nn.Linear(768, 40), 160, 80.0),))
    with pytest.raises(PlanError) as refused:
        check_ranks(narrow)
    assert "--rank 40" in refused.value.hint
