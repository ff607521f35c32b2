"""Baking: equal to the live blend, the nearest of its rank, and honest about what it was made from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from styles.errors import BlendError, Cancelled, WrongFamilyError
from styles.families import family_of
from styles.formats.bake_record import BakeRecord
from styles.formats.kohya import kohya_name
from styles.formats.low_rank import Factors, halved
from styles.formats.reader import read_style
from styles.formats.style import Style, StyleCard, StyleLayer
from styles.formats.writer import write_style
from styles.mixing.bake import BakePlan, bake
from styles.mixing.blend import Blend, BlendPart
from styles.mixing.model_patcher import blended
from tests.styles.making import PlainBase, inputs, noise_pred, random_layer, random_style, unet_of, written

FP16 = 1e-3  # relative: two roundings of 2^-11, and what adds up over a whole UNet


@pytest.fixture(scope="module")
def base(tiny_sd1: Path) -> PlainBase:
    return opened(tiny_sd1, "sd1")


@pytest.fixture(scope="module")
def styles(base: PlainBase, tmp_path_factory: pytest.TempPathFactory) -> list[Style]:
    return styles_for(base, tmp_path_factory.mktemp("styles"))


@pytest.fixture(scope="module", params=["sd1", "sdxl"])
def either(
    base: PlainBase,
    styles: list[Style],
    tiny_sdxl: Path,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> tuple[PlainBase, list[Style]]:
    """A base and styles for it, of one text encoder and of two."""
    if request.param == "sd1":
        return base, styles
    xl = opened(tiny_sdxl, "sdxl")
    return xl, styles_for(xl, tmp_path_factory.mktemp("styles"))


def opened(folder: Path, family: str) -> PlainBase:
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    encoders = tuple(
        (CLIPTextModelWithProjection if encoder.projects else CLIPTextModel)
        .from_pretrained(folder, subfolder=encoder.part)
        .eval()
        for encoder in family_of(family).text_encoders
    )
    return PlainBase(unet_of(folder), family, text_encoders=encoders)


def styles_for(base: PlainBase, folder: Path) -> list[Style]:
    """Different ranks, alphas and layers: cross-attention, all attention, and convolutions with the text encoders."""

    def style(name: str, **about: Any) -> Style:
        return random_style(base.unet, name, family=base.family, **about)

    ink = style("Ink", seed=1, rank=4, alpha=2.0)
    chalk = style("Chalk", seed=2, rank=8, alpha=8.0, marks=("attn2", "attn1"))
    neon = style("Neon", seed=3, rank=2, alpha=0.5, marks=("attn2.to_k", "conv1", "proj_in"))
    words = [
        random_layer(f"text_model.{path.removeprefix('text_model.')}", module, 2, 1.0, kind.network)
        for kind, encoder in zip(family_of(base.family).text_encoders, base.text_encoders, strict=True)
        for path, module in encoder.named_modules()
        if path.endswith(("q_proj", "fc1"))
    ]
    assert words
    neon = replace(neon, layers=(*neon.layers, *words))
    cards = {"author": "Ana", "licence": "CC0-1.0"}
    ink = replace(ink, card=replace(ink.card, trigger="inkwash", **cards))
    chalk = replace(chalk, card=replace(chalk.card, trigger="chalky", licence="CC-BY-4.0"))
    return [written(folder, style) for style in (ink, chalk, neon)]


def blend_of(styles: list[Style], *weights: float, **more: Any) -> Blend:
    parts = [BlendPart(style.id, weight, **more) for style, weight in zip(styles, weights, strict=True)]
    return Blend(tuple(parts))


def deltas(styles: list[Style], *weights: float) -> dict[str, torch.Tensor]:
    """The full change of every layer, formed in fp64."""
    found: dict[str, torch.Tensor] = {}
    for style, weight in zip(styles, weights, strict=True):
        for layer in style.layers:
            name = kohya_name(layer.network, layer.path)
            delta = layer.up.double().flatten(1) @ layer.down.double().flatten(1) * (layer.scale * weight)
            found[name] = found[name] + delta if name in found else delta
    return found


def painted(base: PlainBase, styles: list[Style], weights: Any, **knobs: Any) -> tuple[torch.Tensor, ...]:
    """(noise prediction, text states of each encoder) with the styles live."""
    tokens = torch.arange(10).reshape(2, 5)
    with blended(base, styles) as mix, torch.no_grad():
        mix.set_gains(weights, **knobs)
        prediction = noise_pred(base.unet, *inputs(width=base.unet.config.cross_attention_dim))
        return prediction, *(encoder(tokens).last_hidden_state for encoder in base.text_encoders)


def close(a: torch.Tensor, b: torch.Tensor, tolerance: float = FP16) -> None:
    assert (a - b).norm() <= tolerance * b.norm()


def test_exact_equals_the_live_blend(either: tuple[PlainBase, list[Style]], tmp_path: Path) -> None:
    base, styles = either
    weights = (0.7, -0.4, 1.3)
    baked = written(tmp_path, bake(blend_of(styles, *weights), styles, BakePlan("All three")))
    live, plain = painted(base, styles, weights), painted(base, styles, (0, 0, 0))
    for mine, reference, bare in zip(painted(base, [baked], (1.0,)), live, plain, strict=True):
        close(mine, reference)
        # The styles do far more than rounding.
        assert (reference - bare).norm() > 50 * FP16 * reference.norm()
    wanted, got = deltas(styles, *weights), deltas([baked], 1.0)
    assert wanted.keys() == got.keys()
    for name in wanted:
        close(got[name], wanted[name], 2.0**-11)
    ranks = {layer.path: layer.rank for layer in baked.layers}
    shared = next(path for path in ranks if path.endswith("attn2.to_k"))
    assert ranks[shared] == 4 + 8 + 2
    assert 0 < baked.card.bake.error < 2.0**-11


def test_knobs_are_baked_as_they_are_live(either: tuple[PlainBase, list[Style]], tmp_path: Path) -> None:
    base, styles = either
    parts = (
        BlendPart(styles[0].id, 0.8, composition=0.2, texture=1.5),
        BlendPart(styles[2].id, 0.5, texture=0.0),
    )
    with pytest.raises(BlendError, match="without a base"):
        bake(Blend(parts), styles, BakePlan("Knobs"))
    baked = written(tmp_path, bake(Blend(parts), styles, BakePlan("Knobs"), base=base))
    live = painted(base, [styles[0], styles[2]], (0.8, 0.5), composition=(0.2, 1.0), texture=(1.5, 0.0))
    for mine, reference in zip(painted(base, [baked], (1.0,)), live, strict=True):
        close(mine, reference)
    assert not any(layer.rank == 6 and "down_blocks.0" in layer.path for layer in baked.layers)


@pytest.mark.parametrize("place", [0, -1], ids=["first", "last"])
def test_a_text_encoder_that_is_not_told_is_the_one_of_that_width(
    either: tuple[PlainBase, list[Style]], tmp_path: Path, place: int
) -> None:
    base, styles = either
    first = family_of(base.family).text_encoders[place].network
    # The small text encoders have the family's width in attention alone.
    words = [
        replace(layer, network="te")
        for layer in styles[2].layers
        if layer.network == first and "self_attn" in layer.path
    ]
    assert words
    unsaid = replace(styles[1], layers=tuple(words), card=replace(styles[1].card, family="unknown"))
    both = [styles[2], unsaid]
    baked = written(tmp_path, bake(blend_of(both, 0.5, 0.25), both, BakePlan("Both")))
    told = deltas([baked], 1.0)
    for name, delta in deltas(styles[2:], 0.75).items():
        if f"lora_{first}_" in name and "self_attn" in name:
            close(told[name], delta, 2.0**-10)
    if place == 0:  # a live mix takes it for the first alone
        for mine, live in zip(painted(base, [baked], (1.0,)), painted(base, both, (0.5, 0.25)), strict=True):
            close(mine, live)


def test_extreme_numbers_survive_fp16(base: PlainBase, tmp_path: Path) -> None:
    """Factors far apart in size, a huge and a tiny alpha: folded in plainly they would be infinite or zero."""
    torch.manual_seed(5)
    down, up = torch.randn(4, 64), torch.randn(32, 4)
    path = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
    for number, (a, b, alpha) in enumerate([(3e4, 1.0, 9e5), (1e-4, 1e-4, 1e-6), (2e4, 1e-6, 4.0)]):
        layer = StyleLayer(
            "unet", path, (down * a / down.abs().max()).half(), (up * b / up.abs().max()).half(), alpha
        )
        style = Style(StyleCard("Odd", "sd1", 4, id=f"{number:064x}"), (layer,))
        baked = written(
            tmp_path, bake(Blend((BlendPart(style.id, -3.0),)), [style], BakePlan(f"Odd {number}"))
        )
        name = kohya_name("unet", path)
        close(deltas([baked], 1.0)[name], deltas([style], -3.0)[name], 2.0**-11)
        assert baked.layers[0].alpha > 0


@pytest.mark.parametrize(
    ("row", "column"), [(1e4, 1e-9), (1e-7, 1e5), (1e-12, 1e-12), (3e6, 20.0), (0.1, 0.02)]
)
def test_halving_rounds_once_whatever_the_sizes(row: float, column: float) -> None:
    torch.manual_seed(7)
    sizes = torch.tensor([1.0, 1e-3, 30.0], dtype=torch.float64)
    down = torch.randn(3, 20, dtype=torch.float64) * row / sizes[:, None]
    change = Factors(down, torch.randn(10, 3, dtype=torch.float64) * column * sizes)
    half = halved(change)
    assert half.up.abs().max() < 60000 and half.down.abs().max() < 60000 and 0 < half.alpha < 1e6
    close(half.up @ half.down * half.scale, change.up @ change.down, 2.0**-11)
    nothing = halved(Factors(down * 0, change.up))
    assert nothing.down.abs().max() == 0 and nothing.alpha > 0


def test_ranks_beyond_the_width_and_styles_that_cancel_out_stay_exact(tmp_path: Path) -> None:
    torch.manual_seed(6)
    path = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    down, up = torch.randn(8, 12).half(), torch.randn(10, 8).half()

    def style(number: int, up: torch.Tensor) -> Style:
        layer = StyleLayer("unet", path, down[: up.shape[1]], up, 8.0)
        return Style(StyleCard("Odd", "sd1", 8, id=f"{number:064x}"), (layer,))

    other = torch.randn(10, 8).half()
    both = [style(1, up), style(2, other)]
    baked = bake(blend_of(both, 0.5, 0.25), both, BakePlan("Wide"))
    assert baked.layers[0].rank == 10  # of 16: no change of that shape has more
    name = kohya_name("unet", path)
    close(deltas([baked], 1.0)[name], deltas(both, 0.5, 0.25)[name], 2.0**-10)
    few = up[:, :4]  # ranks 4 + 4: fewer than the layer's width, so that nothing has to be squeezed
    near = [style(1, few), style(2, few + (torch.randn_like(few) * 0.003).half())]
    baked = bake(blend_of(near, 0.7, -0.7), near, BakePlan("Cancelled"))
    wanted = deltas(near, 0.7, -0.7)[name]
    assert wanted.norm() < 0.01 * deltas(near, 0.7, 0.0)[name].norm()
    close(deltas([baked], 1.0)[name], wanted, 2.0**-10)


def test_squeezed_is_the_best_of_its_rank_and_says_how_near_it_comes(styles: list[Style]) -> None:
    weights, rank = (0.7, -0.4, 1.3), 5
    baked = bake(blend_of(styles, *weights), styles, BakePlan("Small", "squeezed", rank))
    record = baked.card.bake
    assert record is not None
    wanted, got = deltas(styles, *weights), deltas([baked], 1.0)
    errors = dict(record.layer_errors)
    lost = whole = 0.0
    for layer in baked.layers:
        name = kohya_name(layer.network, layer.path)
        sizes = torch.linalg.svdvals(wanted[name])
        best = float(sizes[rank:].norm() / sizes.norm())
        error = float((got[name] - wanted[name]).norm() / wanted[name].norm())
        assert layer.rank <= rank and error <= best + 1e-3
        assert errors[layer.name] == pytest.approx(error, rel=6e-3, abs=1e-9)
        lost += float((got[name] - wanted[name]).square().sum())
        whole += float(wanted[name].square().sum())
    assert max(errors.values()) > 0.1  # something was lost at all
    assert record.error == pytest.approx((lost / whole) ** 0.5, rel=6e-3)
    bigger = bake(blend_of(styles, *weights), styles, BakePlan("Bigger", "squeezed", 9)).card.bake
    assert bigger is not None and bigger.error < record.error


@pytest.mark.filterwarnings("ignore:Already found a `peft_config`:UserWarning")
@pytest.mark.parametrize("method", ["squeezed", "ties"])
def test_equals_peft(tiny_sd1: Path, styles: list[Style], method: str) -> None:
    """PEFT's own `add_weighted_adapter` on the same two styles, layer by layer."""
    from peft import LoraConfig, get_peft_model

    theirs: Any = None
    pair = styles[:2]
    for style in pair:
        targets = [layer.path for layer in pair[0].layers if "down_blocks.0" in layer.path]
        config = LoraConfig(r=style.layers[0].rank, lora_alpha=style.layers[0].alpha, target_modules=targets)
        if theirs is None:
            theirs = get_peft_model(unet_of(tiny_sd1), config, adapter_name=style.name)
        else:
            theirs.add_adapter(style.name, config)
        layers = {layer.path: layer for layer in style.layers}
        for path in targets:
            module = theirs.base_model.model.get_submodule(path)
            module.lora_A[style.name].weight.data = layers[path].down.float()
            module.lora_B[style.name].weight.data = layers[path].up.float()
    kind = {"squeezed": "svd", "ties": "ties_svd"}[method]
    names = [style.name for style in pair]
    theirs.base_model.add_weighted_adapter(
        names, [0.7, 0.4], "merged", combination_type=kind, svd_rank=6, density=0.3, svd_full_matrices=False
    )
    baked = bake(blend_of(pair, 0.7, 0.4), pair, BakePlan("Merged", method, 6, density=0.3))
    ours = {layer.path: layer for layer in baked.layers}
    for path in targets:
        module = theirs.base_model.model.get_submodule(path)
        layer = ours[path]
        mine = layer.up.double() @ layer.down.double() * layer.scale
        close(mine, module.get_delta_weight("merged").double(), 2e-3)


def test_a_negative_weight_votes_for_the_sign_that_it_pulls_to(styles: list[Style]) -> None:
    """Bottom line of TIES: with weight -1 a style is merged as its own opposite would be with weight 1."""
    first, second = styles[:2]
    flipped = tuple(replace(layer, up=-layer.up) for layer in second.layers)
    opposite = replace(second, layers=flipped, card=replace(second.card, id="f" * 64))
    plan = BakePlan("Merged", "ties", 6)
    mine = bake(blend_of([first, second], 1.0, -1.0), [first, second], plan)
    theirs = bake(blend_of([first, opposite], 1.0, 1.0), [first, opposite], plan)
    for name, delta in deltas([theirs], 1.0).items():
        close(deltas([mine], 1.0)[name], delta)


@pytest.mark.slow
def test_dare_has_its_own_chance(styles: list[Style]) -> None:
    blend = blend_of(styles, 0.7, 0.4, 1.0)
    plan = BakePlan("Dare", "dare", 8, density=0.4, seed=3)
    before = torch.get_rng_state()
    once, again = bake(blend, styles, plan), bake(blend, list(reversed(styles)), plan)
    assert torch.equal(torch.get_rng_state(), before)
    other = bake(blend, styles, replace(plan, seed=4))
    assert all(torch.equal(a.up, b.up) for a, b in zip(once.layers, again.layers, strict=True))
    assert not all(torch.equal(a.up, b.up) for a, b in zip(once.layers, other.layers, strict=True))
    assert once.card.bake is not None and (once.card.bake.seed, once.card.bake.density) == (3, 0.4)
    # Kept values are made larger, so that the sum stays what it was on average.
    wide = bake(blend, styles, BakePlan("Wide", "dare", density=0.5))
    wanted, got = deltas(styles, 0.7, 0.4, 1.0), deltas([wide], 1.0)
    name = max(wanted, key=lambda name: wanted[name].numel())
    share = float((got[name] * wanted[name]).sum() / wanted[name].square().sum())
    assert share == pytest.approx(1.0, abs=0.35)


def test_the_file_tells_parents_licences_and_errors(styles: list[Style], tmp_path: Path) -> None:
    baked = bake(blend_of(styles, 0.7, -0.4, 1.3), styles, BakePlan("Told", description="For a poster."))
    path = tmp_path / "Told.safetensors"
    write_style(baked, path)
    read = read_style(path)
    record = read.card.bake
    assert record == baked.card.bake and record is not None and record.method == "exact"
    assert {(parent.name, parent.weight, parent.licence) for parent in record.parents} == {
        ("Ink", 0.7, "CC0-1.0"),
        ("Chalk", -0.4, "CC-BY-4.0"),
        ("Neon", 1.3, ""),
    }
    assert {parent.id for parent in record.parents} == {style.id for style in styles}
    assert len(record.layer_errors) == len(read.layers) and record.error > 0
    assert "Neon: unknown" in read.card.licence and "Ink: CC0-1.0" in read.card.licence
    assert "For a poster." in read.card.description and "not every licence is known" in read.card.description
    assert set(read.card.trigger.split(", ")) == {"inkwash", "chalky"}
    import json

    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        merged = file.metadata()["modelspec.merged_from"]
    assert sorted(merged.split(", ")) == ["Chalk", "Ink", "Neon"]
    assert json.loads(json.dumps(read.card.to_json()))["bake"]["parents"]
    alike = [styles[0], replace(styles[1], card=replace(styles[1].card, licence="CC0-1.0"))]
    assert bake(blend_of(alike, 1.0, 1.0), alike, BakePlan("Alike")).card.licence == "CC0-1.0"


@pytest.mark.parametrize(
    "values",
    [None, [], {}, {"parents": []}, {"parents": [1], "layer_errors": {}, "method": "exact", "error": 0}]
    + [
        {"parents": [{"weight": weight}], "layer_errors": errors, "method": "exact", "error": error}
        for weight, errors, error in [
            ("a", {}, 0),
            (1, [], 0),
            (1, {}, float("nan")),
            (1, {"a": None}, 0),
            (True, {}, 0),
        ]
    ],
)
def test_a_strangers_record_that_is_none_is_left_out(values: object) -> None:
    assert BakeRecord.from_json(values) is None


def test_what_no_single_style_can_do_is_refused(styles: list[Style], base: PlainBase) -> None:
    plan, ids = BakePlan("No"), [style.id for style in styles]
    refused: list[tuple[str, Blend]] = [
        ("no style of the blend", Blend()),
        ("no style of the blend", blend_of(styles, 0.0, 0.0, 0.0)),
        ("no style of the blend", Blend((BlendPart(ids[0], 1.0, muted=True),))),
        ("are not here", Blend((BlendPart("0" * 64, 1.0),))),
        ("over the steps", Blend((BlendPart(ids[0], 1.0, schedule=((0.0, 1.0), (1.0, 0.0))),))),
        ("from step to step", replace(blend_of(styles, 1, 1, 1), mode="take turns")),
        ("on its own", replace(blend_of(styles, 1, 1, 1), mode="average guidance")),
    ]
    for words, blend in refused:
        with pytest.raises(BlendError, match=words):
            bake(blend, styles, plan)
    # One style alone is the same in every mode, and a schedule that never changes is a weight.
    alone = Blend((BlendPart(ids[0], 0.5, schedule=((0.0, 0.5), (1.0, 0.5))),), mode="take turns")
    close(
        *(
            deltas([style], w)[n]
            for style, w in ((bake(alone, styles, plan), 1.0), (styles[0], 0.25))
            for n in [NAME]
        )
    )
    empty = [
        replace(styles[0], layers=tuple(replace(x, up=torch.zeros_like(x.up)) for x in styles[0].layers))
    ]
    with pytest.raises(BlendError, match="changes nothing"):
        bake(blend_of(empty, 1.0), empty, plan)
    foreign = replace(styles[1], card=replace(styles[1].card, family="sd2"))
    with pytest.raises(WrongFamilyError, match="Stable Diffusion 2"):
        bake(blend_of(styles[:2], 1.0, 1.0), [styles[0], foreign], plan)
    narrow = tuple(replace(layer, down=layer.down[:, 1:]) for layer in styles[1].layers)
    with pytest.raises(WrongFamilyError, match="not the same shape"):
        bake(blend_of(styles[:2], 1.0, 1.0), [styles[0], replace(styles[1], layers=narrow)], plan)
    with pytest.raises(BlendError, match="Rank 5000"):
        bake(blend_of(styles, 1.0, 1.0, 1.0), styles, BakePlan("No", "squeezed", 5000))
    with pytest.raises(Cancelled):
        bake(blend_of(styles, 1.0, 1.0, 1.0), styles, plan, cancelled=lambda: True)


@pytest.mark.parametrize("method", ["squeezed", "ties"])
def test_it_is_stopped_in_front_of_the_next_long_operation_of_a_layer(
    styles: list[Style], method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []

    def noted(operation: Callable[..., Any]) -> Callable[..., Any]:
        def run(*given: Any, **how: Any) -> Any:
            begun.append(operation.__name__)
            return operation(*given, **how)

        return run

    for name in ("qr", "svd"):
        monkeypatch.setattr(torch.linalg, name, noted(getattr(torch.linalg, name)))
    one = [replace(style, layers=style.layers[:1]) for style in styles]
    blend, plan = blend_of(one, 1.0, 1.0, 1.0), BakePlan("No", method, 2)
    bake(blend, one, plan)
    long = tuple(begun)
    for heard in range(len(long)):
        begun.clear()
        with pytest.raises(Cancelled):
            bake(blend, one, plan, cancelled=lambda heard=heard: len(begun) >= heard)  # type: ignore[misc]
        assert tuple(begun) == long[:heard]
    with pytest.raises(Cancelled):  # nothing is added to the library any more
        begun.clear()
        bake(blend, one, plan, cancelled=lambda: len(begun) == len(long))


NAME = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k"


@pytest.mark.parametrize(
    ("words", "values"),
    [
        ("rank 0", {"method": "squeezed", "rank": 0}),
        ("to which rank", {"method": "squeezed"}),
        ("keeps all ranks", {"rank": 8}),
        ("no way to bake", {"method": "soup"}),
        ("can't be kept", {"method": "ties", "density": 0.0}),
        ("can't be kept", {"method": "dare", "density": float("nan")}),
        ("no seed", {"seed": -1}),
    ],
)
def test_a_plan_that_is_none_is_refused(words: str, values: dict[str, Any]) -> None:
    with pytest.raises(BlendError, match=words):
        BakePlan("No", **values)
