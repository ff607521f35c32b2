"""The blend by stacked ranks: exact, linear, per picture, and gone without a trace."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from styles.errors import BlendError, WrongFamilyError
from styles.families import FAMILIES, family_of
from styles.formats.style import Style, StyleCard
from styles.mixing.model_patcher import blended
from tests.styles.making import PlainBase, inputs, noise_pred, random_layer, random_style, unet_of, written


@pytest.fixture(scope="module")
def unet(tiny_sd1: Path) -> Any:
    return unet_of(tiny_sd1)


@pytest.fixture(scope="module")
def base(unet: Any) -> PlainBase:
    return PlainBase(unet)


@pytest.fixture(scope="module")
def styles(unet: Any, tmp_path_factory: pytest.TempPathFactory) -> list[Style]:
    return styles_for(PlainBase(unet), tmp_path_factory.mktemp("styles"))


def styles_for(base: PlainBase, folder: Path) -> list[Style]:
    """Three styles of different rank and scale, as they come from their files."""

    def style(name: str, **about: Any) -> Style:
        return written(folder, random_style(base.unet, name, family=base.family, **about))

    return [
        style("Ink", seed=1, rank=4, alpha=2.0),
        style("Chalk", seed=2, rank=8, alpha=8.0),
        style("Neon", seed=3, rank=1, alpha=0.5, marks=("attn2", "attn1")),
    ]


@pytest.fixture(scope="module", params=["sd1", "sdxl"])
def either(
    tiny_sd1: Path, tiny_sdxl: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> tuple[Path, PlainBase, list[Style]]:
    """The folder of a base, its UNet, and styles for it: one that reads text states alone, and one that reads more."""
    folder = tiny_sd1 if request.param == "sd1" else tiny_sdxl
    base = PlainBase(unet_of(folder), request.param)
    return folder, base, styles_for(base, tmp_path_factory.mktemp("styles"))


def fingerprint(unet: Any) -> str:
    digest = hashlib.sha256()
    for name, tensor in unet.state_dict().items():
        digest.update(name.encode() + tensor.contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def mixed(base: PlainBase, styles: list[Style], weights: Any, batch: int = 2) -> torch.Tensor:
    with blended(base, styles) as mix:
        mix.set_gains(weights)
        return predicted(base.unet, batch)


def predicted(unet: Any, batch: int = 2) -> torch.Tensor:
    return noise_pred(unet, *inputs(batch, unet.config.cross_attention_dim))


def close(a: torch.Tensor, b: torch.Tensor, tolerance: float = 2e-5) -> None:
    assert (a - b).abs().max() <= tolerance * b.abs().max()


@pytest.mark.filterwarnings(
    "ignore:Already found a `peft_config`:UserWarning"
)  # several adapters is the point
@pytest.mark.parametrize("weights", [(1.0, 0.0, 0.0), (0.7, 0.4, 0.9), (-0.8, 1.5, 0.25)])
def test_equals_the_weighted_sum_of_peft(
    either: tuple[Path, PlainBase, list[Style]], weights: tuple[float, ...]
) -> None:
    folder, base, styles = either
    from peft import LoraConfig

    theirs = unet_of(folder)
    for style in styles:
        targets = [layer.path for layer in style.layers]
        rank, alpha = style.layers[0].rank, style.layers[0].alpha
        theirs.add_adapter(
            LoraConfig(r=rank, lora_alpha=alpha, target_modules=targets), adapter_name=style.name
        )
        for layer in style.layers:
            module = theirs.get_submodule(layer.path)
            module.lora_A[style.name].weight.data = layer.down.float()
            module.lora_B[style.name].weight.data = layer.up.float()
    theirs.set_adapters([style.name for style in styles], list(weights))
    reference = predicted(theirs)
    plain = predicted(base.unet)
    assert (reference - plain).abs().max() > 0.01  # the styles do something
    close(mixed(base, styles, weights), reference)


def test_equals_the_sum_in_the_weights(either: tuple[Path, PlainBase, list[Style]]) -> None:
    folder, base, styles = either
    weights = (0.5, -1.0, 2.0)
    merged = unet_of(folder)
    for style, weight in zip(styles, weights, strict=True):
        for layer in style.layers:
            delta = layer.up.double() @ layer.down.double() * (layer.scale * weight)
            target = merged.get_submodule(layer.path).weight.data
            target.copy_((target.double() + delta).float())
    close(mixed(base, styles, weights), predicted(merged))


def test_weight_0_is_no_style_and_the_base_is_bit_identical_afterwards(
    either: tuple[Path, PlainBase, list[Style]],
) -> None:
    _, base, styles = either
    before, plain = fingerprint(base.unet), predicted(base.unet)
    names = list(base.unet.state_dict())
    with blended(base, styles) as mix:
        assert torch.equal(predicted(base.unet), plain)  # nothing until a weight is set
        mix.set_gains([0.8, 0.3, -0.5])
        assert not torch.equal(predicted(base.unet), plain)
        assert list(base.unet.state_dict()) == names
        mix.set_gains([0.0, 0.0, 0.0])
        assert torch.equal(predicted(base.unet), plain)
        mix.set_gains([0.8, 0.3, -0.5])
        mix.active = False
        assert torch.equal(predicted(base.unet), plain)
    assert torch.equal(predicted(base.unet), plain)
    assert fingerprint(base.unet) == before
    assert not any("forward" in vars(module) for module in base.unet.modules())


def test_an_exception_inside_leaves_the_base_as_it_was(base: PlainBase, styles: list[Style]) -> None:
    before, plain = fingerprint(base.unet), noise_pred(base.unet, *inputs())
    with pytest.raises(KeyError), blended(base, styles) as mix:
        mix.set_gains([1.0, 1.0, 1.0])
        raise KeyError
    assert torch.equal(noise_pred(base.unet, *inputs()), plain) and fingerprint(base.unet) == before


def test_a_forward_that_was_there_before_comes_back(base: PlainBase, styles: list[Style]) -> None:
    """accelerate puts its hooks there."""
    module = base.unet.get_submodule(styles[0].layers[0].path)
    mine = module.forward
    module.forward = lambda x: mine(x) * 1.0
    hooked = module.forward
    try:
        with blended(base, styles[:1]), blended(base, styles[1:]):
            assert module.forward is not hooked
        assert module.forward is hooked
    finally:
        del module.forward


def test_each_picture_of_a_batch_has_its_own_weights(base: PlainBase, styles: list[Style]) -> None:
    rows = [[0.0, 0.0, 0.0], [1.0, -0.5, 0.3], [0.2, 0.9, 0.0]]
    latents, words = inputs(3)
    together = mixed(base, styles, torch.tensor(rows), batch=3)
    for i, row in enumerate(rows):
        with blended(base, styles) as mix:
            mix.set_gains(row)
            close(together[i : i + 1], noise_pred(base.unet, latents[i : i + 1], words[i : i + 1]))


def test_with_guidance_both_halves_get_the_gains(base: PlainBase, styles: list[Style]) -> None:
    latents, words = inputs(4)  # [negative, negative, positive, positive]
    rows = [[1.0, 0.0, 0.5], [0.0, -1.0, 0.0]]
    with blended(base, styles) as mix:
        mix.set_gains(rows)
        both = noise_pred(base.unet, latents, words)
        mix.set_gains(rows[0])
        close(both[0::2], noise_pred(base.unet, latents[0::2], words[0::2]))
        mix.set_gains(rows[1])
        close(both[1::2], noise_pred(base.unet, latents[1::2], words[1::2]))


def test_moving_a_slider_writes_into_the_same_memory(base: PlainBase, styles: list[Style]) -> None:
    with blended(base, styles) as mix:
        mix.set_gains([1.0, 0.0, 0.0])
        first = noise_pred(base.unet, *inputs())
        patch = next(iter(mix.patches.values()))
        memory = patch.rank_gains.data_ptr()
        mix.set_gains([0.0, 1.0, 0.0])
        assert not torch.equal(noise_pred(base.unet, *inputs()), first)
        mix.set_gains([1.0, 0.0, 0.0])
        assert torch.equal(noise_pred(base.unet, *inputs()), first)
        assert patch.rank_gains.data_ptr() == memory


def test_gains_set_in_inference_mode_can_be_set_outside_it(base: PlainBase, styles: list[Style]) -> None:
    with blended(base, styles) as mix:
        with torch.inference_mode():
            mix.set_gains(torch.tensor([[0.5, 0.0, 0.0]]) * 2)
            inside = base.unet(inputs()[0], 500, inputs()[1]).sample
        mix.set_gains([1.0, 0.0, 0.0])
        assert torch.equal(noise_pred(base.unet, *inputs()), inside)


def test_a_layer_is_linear_in_the_gains(base: PlainBase, styles: list[Style]) -> None:
    path = styles[0].layers[0].path
    module = base.unet.get_submodule(path)
    x = torch.randn(2, 5, module.in_features)
    with torch.no_grad(), blended(base, styles) as mix:
        plain = module(x)

        def change(*weights: float) -> torch.Tensor:
            mix.set_gains(weights)
            return module(x) - plain

        one, two = change(1.0, 0.0, 0.0), change(0.0, 1.0, 0.0)
        close(change(0.3, -1.7, 0.0), 0.3 * one - 1.7 * two, 1e-5)
        close(change(-1.0, 0.0, 0.0), -one, 1e-5)


def test_the_order_of_the_styles_changes_not_one_bit(base: PlainBase, styles: list[Style]) -> None:
    weights = [0.7, 0.4, -0.9]
    assert torch.equal(mixed(base, styles, weights), mixed(base, styles[::-1], weights[::-1]))


def test_convolutions_and_1x1_projections(tiny_sd1: Path, tiny_sd2: Path, tmp_path: Path) -> None:
    unet = unet_of(tiny_sd1)
    marks = (
        "conv1",
        "conv_shortcut",
        "downsamplers",
        "proj_in",
        "proj_out",
        "time_emb_proj",
        "ff.net",
        "attn1.to_q",
    )
    style = written(tmp_path, random_style(unet, "LoCon", seed=5, marks=marks))
    merged = unet_of(tiny_sd1)
    kernels = set()
    for layer in style.layers:
        target = merged.get_submodule(layer.path).weight.data
        delta = layer.up.double().flatten(1) @ layer.down.double().flatten(1) * layer.scale * 0.6
        target.copy_((target.double() + delta.view_as(target)).float())
        kernels.add(tuple(layer.down.shape[2:]))
    assert kernels == {(), (1, 1), (3, 3)}
    close(mixed(PlainBase(unet), [style], [0.6]), noise_pred(merged, *inputs()))


def test_linear_and_1x1_factors_stand_for_each_other(tiny_sd1: Path, tiny_sd2: Path) -> None:
    """SD1 projects with 1x1 convolutions, SD2 with Linear layers, and files write either."""
    for folder, family, width in ((tiny_sd1, "sd1", 768), (tiny_sd2, "sd2", 1024)):
        unet = unet_of(folder)
        flat = random_style(unet, family=family, marks="proj_in")
        flat = replace(
            flat, layers=tuple(replace(x, down=x.down.flatten(1), up=x.up.flatten(1)) for x in flat.layers)
        )
        square = replace(
            flat,
            layers=tuple(
                replace(x, down=x.down[:, :, None, None], up=x.up[..., None, None]) for x in flat.layers
            ),
        )
        base, results = PlainBase(unet, family), []
        for style in (flat, square):
            with blended(base, [style]) as mix:
                mix.set_gains([1.0])
                results.append(noise_pred(unet, *inputs(width=width)))
        assert torch.equal(*results)


def test_half_precision_loses_no_more_than_its_own_rounding(tiny_sd1: Path, styles: list[Style]) -> None:
    unet = unet_of(tiny_sd1, torch.bfloat16)
    layer = styles[0].layers[0]
    module = unet.get_submodule(layer.path)
    x = torch.randn(2, 5, module.in_features, dtype=torch.bfloat16)
    with torch.no_grad(), blended(PlainBase(unet), styles[:1]) as mix:
        plain = module(x)
        mix.set_gains([1.0])
        delta = x.double() @ layer.down.double().T @ layer.up.double().T * layer.scale
        exact = plain.double() + delta
        assert module(x).dtype == torch.bfloat16
        # The sum is rounded once, and before it each factor of what is added.
        rounding = exact.to(torch.bfloat16).double() - exact
        assert (module(x).double() - exact).norm() <= 1.01 * rounding.norm() + 2**-8 * delta.norm()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2**-5)])
def test_pictures_of_one_batch_are_predicted_as_if_alone(
    tiny_sd1: Path, styles: list[Style], dtype: torch.dtype, tolerance: float
) -> None:
    """With guidance: in [negative, positive] each picture has its row in both halves."""
    unet = unet_of(tiny_sd1, dtype)
    rows = [[0.0, 0.0, 0.0], [0.7, -0.4, 0.0], [1.2, 0.5, -1.0]]
    latents, words = inputs(2, dtype=dtype)
    together = latents[:1].repeat(6, 1, 1, 1), words.repeat_interleave(3, 0)
    for kept in (False, True):
        with blended(PlainBase(unet), styles) as mix:
            mix.set_gains(rows)
            mix.prompt(together[1] if kept else None)
            batch = noise_pred(unet, *together).unflatten(0, (2, 3))
            for picture, row in enumerate(rows):
                mix.set_gains(row)
                mix.prompt(words if kept else None)
                alone = noise_pred(unet, latents[:1].repeat(2, 1, 1, 1), words)
                assert (batch[:, picture] - alone).norm() <= tolerance * alone.norm()


def test_text_encoder_layers_find_their_place_in_either_layout(tiny_sd1: Path) -> None:
    from transformers import CLIPTextModel

    encoder = CLIPTextModel.from_pretrained(tiny_sd1, subfolder="text_encoder").eval()
    own = next(path for path, _ in encoder.named_modules() if path.endswith("layers.0.self_attn.q_proj"))
    layer = random_layer(
        "text_model.encoder.layers.0.self_attn.q_proj", encoder.get_submodule(own), 4, 4.0, "te"
    )
    style = Style(StyleCard("PromptStates", "sd1", 4, id="w"), (layer,))
    ids = torch.tensor([[1, 2, 3], [4, 5, 6]])
    base = PlainBase(None, text_encoders=(encoder,))
    with torch.no_grad():
        plain = encoder(ids).last_hidden_state
        with blended(base, [style]) as mix:
            mix.set_gains([[1.0], [0.0]])
            changed = encoder(ids).last_hidden_state
            with pytest.raises(BlendError, match="2 pictures"):
                encoder(ids[:1])
            mix.set_gains([[1.0], [1.0]])
            close(encoder(ids[:1]).last_hidden_state, changed[:1])
    assert (changed[0] - plain[0]).abs().max() > 1e-3
    close(changed[1], plain[1])


def test_no_style_at_all_is_the_base(base: PlainBase) -> None:
    with blended(base, []) as mix:
        mix.set_gains([])
        assert mix.active and not mix.patches


def test_refuses_a_style_of_another_family(either: tuple[Path, PlainBase, list[Style]]) -> None:
    _, base, styles = either
    for family in (FAMILIES.keys() | {"own-32-64x96-4"}) - {base.family}:
        other = replace(styles[0], card=replace(styles[0].card, name="Other", family=family))
        made_for, here = family_of(family).made_for, family_of(base.family).name
        said = re.escape(f"“Other” is a {made_for}; the open base “tiny” is {here}.")
        with pytest.raises(WrongFamilyError, match=said), blended(base, [other]):
            pass
    # One that doesn't say so has other layers, or none of their shape.
    narrow = replace(styles[0].layers[0], down=styles[0].layers[0].down[:, :-1])
    unsaid = Style(StyleCard("Other", "unknown", 4), (narrow,))
    with pytest.raises(WrongFamilyError, match="1 of 1 layers"), blended(base, [unsaid]):
        pass


def test_refuses_layers_that_the_base_lacks_by_name(base: PlainBase, styles: list[Style]) -> None:
    far = replace(styles[0].layers[0], path="down_blocks.3.attentions.1.transformer_blocks.0.attn2.to_k")
    narrow = replace(styles[0].layers[1], down=styles[0].layers[1].down[:, :-1])
    style = Style(StyleCard("Half", "sd1", 4), (*styles[0].layers[2:], far, narrow))
    said = r"2 of 28.*down_blocks\.3\.attentions\.1"
    with pytest.raises(WrongFamilyError, match=said), blended(base, [style]):
        pass
    assert not any("forward" in vars(module) for module in base.unet.modules())


@pytest.mark.parametrize(
    "weights",
    [
        [1.0],
        [1.0, float("nan"), 0.0],
        [float("inf"), 0.0, 0.0],
        [[[1.0, 0.0, 0.0]]],
        [],
        [[1.0], [1.0, 0.0, 0.0]],
        ["a", "b", "c"],
    ],
)
def test_refuses_weights_that_are_none(base: PlainBase, styles: list[Style], weights: Any) -> None:
    with blended(base, styles) as mix, pytest.raises(BlendError):
        mix.set_gains(weights)


def test_refuses_a_style_twice(base: PlainBase, styles: list[Style]) -> None:
    with pytest.raises(BlendError, match="twice"), blended(base, [styles[0], styles[0]]):
        pass


def test_two_hundred_slider_moves_then_off(base: PlainBase, styles: list[Style]) -> None:
    latents, words = inputs()
    before, plain = fingerprint(base.unet), noise_pred(base.unet, latents, words)
    generator = torch.Generator().manual_seed(0)
    with blended(base, styles) as mix:
        mix.prompt(words)
        for move in range(200):
            mix.set_gains(*(torch.rand(3, 1, 3, generator=generator) * 4 - 2))
            if move % 100 == 99:
                assert not torch.equal(noise_pred(base.unet, latents, words), plain)
        mix.set_gains([0.0, 0.0, 0.0])
        assert torch.equal(noise_pred(base.unet, latents, words), plain)
    assert torch.equal(noise_pred(base.unet, latents, words), plain)
    assert fingerprint(base.unet) == before
