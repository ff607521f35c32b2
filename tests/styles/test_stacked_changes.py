"""Styles that come and go, block knobs, graphs that stay valid, and bases whose weights are packed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from styles.errors import BlendError, OutOfMemory, WrongFamilyError
from styles.formats.style import Style, StyleCard, StyleLayer
from styles.mixing.layer_matching import inner_blocks, inner_blocks_of
from styles.mixing.layer_patch import LayerPatch
from styles.mixing.model_patcher import blended
from tests.styles.making import PlainBase, random_layer
from tests.styles.small_unet import WIDTH, SmallUnet, by_weights, small_inputs, small_style

ROUNDING = 1e-14  # of the same sums in float64, over weights that lie elsewhere in memory


@pytest.fixture(autouse=True)
def no_grad() -> Iterator[None]:
    with torch.no_grad():
        yield


def close(a: Tensor, b: Tensor, tolerance: float = 1e-11) -> None:
    assert (a - b).abs().max() <= tolerance * b.abs().max()


def both(*gains: float) -> list[list[tuple[float, float]]]:
    """One row for `by_weights` with the same gains in inner and outer blocks."""
    return [[(gain, gain) for gain in gains]]


# Coming and going


def test_a_style_that_is_added_leaves_the_others_as_they_are() -> None:
    unet, styles = SmallUnet(), [small_style("a", 1, rank=4), small_style("c", 2, rank=2)]
    x, words = small_inputs()
    more = small_style("b", 3, rank=2, marks=("attn2",))
    with blended(PlainBase(unet), styles) as mix:
        mix.set_gains([0.5, -1.0])
        before = unet(x, words)
        patch = mix.patches["unet.mid_block.attn2.to_q"]
        memory = patch.down.data_ptr(), patch.up.data_ptr(), patch.rank_gains.data_ptr()
        theirs = patch.down[:6].clone()
        mix.add(more)
        assert torch.equal(unet(x, words), before)  # not a bit changes before it has a weight
        assert mix.styles == (*styles, more)
        assert (patch.down.data_ptr(), patch.up.data_ptr(), patch.rank_gains.data_ptr()) == memory
        assert torch.equal(patch.down[:6], theirs)
        mix.set_gains([0.5, -1.0, 2.0])
        close(unet(x, words), by_weights(SmallUnet(), mix.styles, both(0.5, -1.0, 2.0), x, words))
        mix.remove("b")
        assert torch.equal(unet(x, words), before)
        mix.remove("a")
        close(unet(x, words), by_weights(SmallUnet(), styles[1:], both(-1.0), x, words))
        mix.remove("c")
        close(unet(x, words), SmallUnet()(x, words), ROUNDING)


def test_budgets_grow_by_doubling_and_freed_ranks_are_used_again() -> None:
    unet = SmallUnet()
    x, words = small_inputs()
    with blended(PlainBase(unet), []) as mix:
        sizes = []
        for number in range(9):
            mix.add(small_style(f"s{number}", number, rank=4))
            sizes.append(len(mix.patches["unet.mid_block.attn2.to_q"].down))
        assert sizes == [8, 8, 16, 16, 32, 32, 32, 32, 64]
        for number in (1, 4, 6):
            mix.remove(f"s{number}")
        mix.add(small_style("wide", 20, rank=11))  # into places that don't lie side by side
        assert len(mix.patches["unet.mid_block.attn2.to_q"].down) == 64
        gains = [number / 4 for number in range(7)]
        mix.set_gains(gains)
        close(unet(x, words), by_weights(SmallUnet(), mix.styles, both(*gains), x, words))


def test_a_style_over_other_layers_brings_them_along_and_is_refused_as_a_whole() -> None:
    unet = SmallUnet()
    x, words = small_inputs()
    with blended(PlainBase(unet), [small_style("a", 1, marks=("attn2.to_q",))]) as mix:
        mix.set_gains([1.0])
        mix.prompt(words)
        before, layers = unet(x, words), set(mix.patches)
        good = small_style("b", 2, marks=("attn1", "conv"))
        wrong = replace(good.layers[-1], path="down_blocks.7.conv")
        for bad in (replace(good, layers=(*good.layers, wrong)), small_style("a", 1)):
            with pytest.raises((WrongFamilyError, BlendError)):
                mix.add(bad)
            assert torch.equal(unet(x, words), before) and set(mix.patches) == layers
        with pytest.raises(BlendError, match="nobody"):
            mix.remove("nobody")
        mix.add(good)
        mix.set_gains([1.0, 0.5])
        close(unet(x, words), by_weights(SmallUnet(), mix.styles, both(1.0, 0.5), x, words))
    assert not any("forward" in vars(module) for module in unet.modules())


@pytest.mark.parametrize("where", ["reserve", "put", "keep"])
def test_an_addition_for_which_memory_ends_changes_nothing(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    unet, style = SmallUnet(), small_style("a", 1)
    more = small_style("b", 2, rank=6, marks=("attn1", "attn2"))  # more ranks than there is room for
    x, words = small_inputs()
    real, left = getattr(LayerPatch, where), [7]

    def fails_later(patch: LayerPatch, *arguments: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise torch.OutOfMemoryError
        real(patch, *arguments)

    with blended(PlainBase(unet), [style]) as mix:
        mix.set_gains([1.0])
        mix.prompt(words)
        before, ranks = unet(x, words), {name: patch.down.data_ptr() for name, patch in mix.patches.items()}
        with monkeypatch.context() as patched, pytest.raises(OutOfMemory, match="“b”"):
            patched.setattr(LayerPatch, where, fails_later)
            mix.add(more)
        assert mix.styles == (style,) and not any("attn1" in name for name in mix.patches)
        assert {name: patch.down.data_ptr() for name, patch in mix.patches.items()} == ranks
        assert all("b" not in patch.owners for patch in mix.patches.values())
        close(unet(x, words), before, 1e-14)
        mix.set_gains([0.5])
        close(unet(x, words), by_weights(SmallUnet(), [style], both(0.5), x, words))
        mix.prompt(words)
        mix.add(more)
        mix.set_gains([1.0, 0.5])
        close(unet(x, words), by_weights(SmallUnet(), mix.styles, both(1.0, 0.5), x, words))
    assert not any("forward" in vars(module) for module in unet.modules())


def test_a_style_of_no_numbers_is_gone_when_it_is_taken_off() -> None:
    """Even a gain of 0 would not silence it."""
    unet, broken = SmallUnet(), small_style("b", 2)
    for layer in broken.layers:
        layer.down.fill_(torch.nan)
    x, words = small_inputs()
    with blended(PlainBase(unet), [small_style("a", 1), broken]) as mix:
        mix.set_gains([1.0, 1.0])
        assert unet(x, words).isnan().any()
        mix.remove("b")
        close(unet(x, words), by_weights(SmallUnet(), mix.styles, both(1.0), x, words))


def test_forty_styles_at_once() -> None:
    unet, styles = SmallUnet(), [small_style(f"s{number:02}", number, rank=3) for number in range(40)]
    x, words = small_inputs()
    gains = [(number - 20) / 64 for number in range(40)]
    with blended(PlainBase(unet), styles) as mix:
        mix.set_gains(gains)
        mix.prompt(words)
        close(unet(x, words), by_weights(SmallUnet(), styles, both(*gains), x, words))
    close(unet(x, words), SmallUnet()(x, words), ROUNDING)


def test_many_styles_are_the_same_as_ranks_and_as_a_weight_of_their_own() -> None:
    """Where ranks aren't low any more their product is used; never the base's own memory."""
    unet, styles = SmallUnet(), [small_style(f"s{number}", number) for number in range(8)]
    x, words = small_inputs()
    gains = [(number - 3) / 8 for number in range(8)]
    unet.requires_grad_(True)  # of a base that learns, in a moment without gradients, nothing is recorded
    before = {name: value.clone() for name, value in unet.state_dict().items()}
    plain = unet(x, words)
    with blended(PlainBase(unet), styles) as mix:
        mix.set_gains(gains)
        patch = mix.patches["unet.mid_block.attn2.to_q"]
        expected = by_weights(SmallUnet(), styles, both(*gains), x, words)
        close(unet(x, words), expected)
        assert patch.mixed_weight is not None and not patch.mixed_weight.requires_grad
        assert all(torch.equal(value, before[name]) for name, value in unet.state_dict().items())
        mix.set_gains([gains, gains])  # a row for each picture: the ranks serve all of them together
        patch.mixed_weight.fill_(torch.nan)
        close(unet(x, words), expected)
        mix.set_gains(gains)
        close(unet(x, words), expected)
        patch.module.weight.mul_(2.0)  # whatever happens to the base is heard
        doubled = unet(x, words)
        patch.module.weight.mul_(0.5)
        assert (doubled - expected).abs().max() > 1e-3
        close(unet(x, words), expected)
        mix.active = False
        assert torch.equal(unet(x, words), plain)


@pytest.mark.parametrize(("rank", "alpha"), [(0, 1.0), (WIDTH * 9 + 1, 1.0), (2, float("nan"))])
def test_refuses_ranks_that_are_none(rank: int, alpha: float) -> None:
    layer = StyleLayer(
        "unet", "mid_block.conv", torch.ones(rank, WIDTH, 3, 3), torch.ones(WIDTH, rank, 1, 1), alpha
    )
    style = Style(StyleCard("Odd", "sd1", rank), (layer,))
    if rank == 0:  # which has no alpha / rank either
        with pytest.raises(ZeroDivisionError):
            _ = layer.scale
    with (
        pytest.raises(BlendError, match=rf"“Odd” has rank {rank}.*mid_block\.conv"),
        blended(PlainBase(SmallUnet()), [style]),
    ):
        pass


# Composition and texture


def test_composition_and_texture_are_factors_on_the_inner_and_the_outer_blocks() -> None:
    unet, styles = SmallUnet(), [small_style("a", 1), small_style("b", 2)]
    x, words = small_inputs()
    plain = SmallUnet()
    with blended(PlainBase(unet), styles) as mix:
        mix.set_gains([1.0, 0.5], composition=[0.0, 2.0], texture=[0.5, 1.0])
        close(unet(x, words), by_weights(plain, styles, [[(0.0, 0.5), (1.0, 0.5)]], x, words))
        mix.set_gains([1.0, 0.5], texture=[[0.0, 0.0], [1.0, 2.0]])  # a row for each picture
        rows = [[(1.0, 0.0), (0.5, 0.0)], [(1.0, 1.0), (0.5, 1.0)]]
        close(unet(x, words), by_weights(plain, styles, rows, x, words))
        mix.set_gains([1.0, 0.5])
        close(unet(x, words), by_weights(plain, styles, both(1.0, 0.5), x, words))
        before = unet(x, words)
        for bad in ([1.0], [1.0, float("nan")], [[1.0, 1.0]] * 3, [1e300, 0.0]):
            with pytest.raises(BlendError):
                mix.set_gains([[9.0, 9.0]] * 2, composition=bad)
        with pytest.raises(BlendError, match="finite"):
            mix.set_gains([1e30, 0.0], texture=[1e30, 0.0])
        assert torch.equal(unet(x, words), before)


@pytest.mark.parametrize(
    ("family", "crossed", "first", "up"),
    [
        ("starter", (True, True, True), 2, (0,)),
        # The lowest level has no attention: with it alone a style's inner part would be the middle only.
        ("sd1", (True, True, True, False), 2, (0, 1)),
        ("sdxl", (False, True, True), 2, (0,)),
        ("own-32-64x32-2", (False, False), 1, (0,)),
    ],
)
def test_which_blocks_are_inner(
    family: str, crossed: tuple[bool, ...], first: int, up: tuple[int, ...]
) -> None:
    blocks = [SimpleNamespace(has_cross_attention=cross) for cross in crossed]
    inner = inner_blocks(PlainBase(SimpleNamespace(down_blocks=blocks), family))
    last = len(crossed) - 1
    places = {f"down_blocks.{level}": level >= first for level in range(len(crossed))}
    places |= {f"up_blocks.{last - level}": last - level in up for level in range(len(crossed))}
    for place, holds in ({"mid_block": True} | places).items():
        assert inner.hold(f"{place}.resnets.0.conv1") is inner.hold(f"{place}.attentions.0.proj_in") is holds
        # The colour and brushwork of SDXL, in the midst of what lays out.
        surface = family == "sdxl" and place == "up_blocks.0"
        assert inner.hold(f"{place}.attentions.1.proj_in") is (holds and not surface)
    attended = [f"down_blocks.{level}.attentions.0.x" for level, cross in enumerate(crossed) if cross]
    attended += [f"up_blocks.{last - level}.attentions.1.x" for level, cross in enumerate(crossed) if cross]
    if attended:
        assert inner_blocks_of(attended, family) == inner


def test_the_knobs_leave_text_encoders_alone() -> None:
    encoder = nn.ModuleDict({"q_proj": nn.Linear(8, 8)}).requires_grad_(False)
    layer = random_layer("q_proj", encoder["q_proj"], 2, 2.0, "te")
    style = replace(small_style("a", 2), layers=(*small_style("a", 2).layers, layer))
    x = torch.randn(2, 8)
    with blended(PlainBase(SmallUnet(), text_encoders=(encoder,)), [style]) as mix:
        mix.set_gains([0.5])
        read = encoder["q_proj"](x)
        mix.set_gains([0.5], composition=[0.0], texture=[2.0])
        assert torch.equal(encoder["q_proj"](x), read)
        mix.set_gains([1.0])
        assert not torch.equal(encoder["q_proj"](x), read)


def test_two_names_of_one_layer_of_a_text_encoder_are_one_place() -> None:
    """Files name it with and without its first level; neither style may be lost for the other."""
    encoder = nn.ModuleDict({"encoder": nn.ModuleDict({"q_proj": nn.Linear(8, 8)})}).requires_grad_(False)
    module, x = encoder["encoder"]["q_proj"], torch.randn(2, 8)
    names = ("encoder.q_proj", "text_model.encoder.q_proj")
    layers = [random_layer(name, module, 2, 2.0, "te") for name in names]
    one, two = (x @ layer.down.T @ layer.up.T for layer in layers)
    a, b = (Style(StyleCard(id, "sd1", 2, id=id), (layer,)) for id, layer in zip("ab", layers, strict=True))
    plain = module(x)
    for base in (encoder, nn.ModuleDict({"text_model": encoder})):  # a base has it either way, too
        with blended(PlainBase(SmallUnet(), text_encoders=(base,)), [a, b]) as mix:
            mix.set_gains([0.5, -1.0])
            close(module(x), plain + 0.5 * one - two, 1e-5)
            mix.remove("a")
            close(module(x), plain - two, 1e-5)
            mix.add(a)
            mix.set_gains([-1.0, 0.25])
            close(module(x), plain - two + 0.25 * one, 1e-5)
        assert "forward" not in vars(module) and torch.equal(module(x), plain)


# Graphs


def test_sliders_prompts_and_styles_that_come_and_go_recompile_nothing() -> None:
    from torch._dynamo.testing import CompileCounterWithBackend

    unet, compiler = SmallUnet(), CompileCounterWithBackend("aot_eager")
    block = unet.mid_block  # has all kinds of layers
    x, words = small_inputs()
    shelf = [small_style(f"s{number}", number, rank=2) for number in range(8)]
    torch._dynamo.reset()
    with blended(PlainBase(unet), shelf[:3]) as mix:
        compiled = torch.compile(block, backend=compiler, fullgraph=True)
        mix.prompt(words)

        def check() -> None:
            close(compiled(x, words), block(x, words))

        check()
        assert compiler.frame_count == 1
        for move in range(4):
            mix.set_gains([0.5 * move, -1.0, 0.0], composition=[1.0, 0.5 * move, 0.0])
            check()
        mix.set_gains([0.0, 0.0, 0.0])
        check()
        words = small_inputs(seed=5)[1]
        mix.prompt(words)
        check()
        mix.add(shelf[3])  # 8 ranks of 8
        mix.set_gains([0.5, 1.0, -1.0, 2.0])
        check()
        mix.remove("s1")
        check()
        mix.add(shelf[4])
        mix.set_gains([0.5, -1.0, 2.0, 1.0])
        check()
        assert compiler.frame_count == 1
        mix.add(shelf[5])  # 16 ranks
        mix.set_gains([0.5, -1.0, 2.0, 1.0, 1.0])
        check()
        assert compiler.frame_count == 2
        mix.add(shelf[6])
        mix.add(shelf[7])
        mix.set_gains([0.5, -1.0, 2.0, 1.0, 1.0, 0.25, 0.75])
        check()
        assert compiler.frame_count == 2
        close(compiled(x, words * 2), block(x, words * 2))  # words that it wasn't told are no kept ones
    torch._dynamo.reset()


def test_a_captured_graph_would_find_everything_where_it_was() -> None:
    unet = SmallUnet()
    x, words = small_inputs()
    with blended(PlainBase(unet), [small_style("a", 1, rank=2), small_style("b", 2, rank=2)]) as mix:
        mix.prompt(words)

        def places() -> list[int]:
            tensors = (
                (s.down, s.up, s.rank_gains, s.base_states, s.rank_states) for s in mix.patches.values()
            )
            return [tensor.data_ptr() for five in tensors for tensor in five if tensor is not None]

        before = places()
        assert len(before) == 3 * len(mix.patches) + 2 * 10  # ten layers read the words
        mix.set_gains([0.5, 1.0], composition=[2.0, 0.0])
        unet(x, words)
        mix.prompt(small_inputs(seed=3)[1])
        mix.add(small_style("c", 3, rank=4))
        mix.set_gains([1.0, 1.0, 1.0])
        mix.remove("a")
        assert places() == before


# Bases of other kinds


class FourBitLinear(nn.Linear):
    """A layer whose weight is two 4-bit numbers to a byte, in a column, as bitsandbytes keeps them."""

    def __init__(self, dense: nn.Linear) -> None:
        super().__init__(dense.in_features, dense.out_features, bias=True, dtype=dense.weight.dtype)
        self.scale = dense.weight.abs().max() / 7
        codes = (dense.weight / self.scale).round().clamp(-7, 7).to(torch.int16).flatten() + 8
        packed = (codes[0::2] * 16 + codes[1::2]).to(torch.uint8)[:, None]
        self.weight = nn.Parameter(packed, requires_grad=False)
        self.bias = nn.Parameter(dense.bias.clone(), requires_grad=False)

    def dense(self) -> Tensor:
        codes = torch.stack([self.weight[:, 0] // 16, self.weight[:, 0] % 16], 1).flatten()
        return ((codes.to(self.scale.dtype) - 8) * self.scale).view(self.out_features, self.in_features)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.dense().to(x.dtype), self.bias.to(x.dtype))


def packed(unet: SmallUnet) -> tuple[SmallUnet, SmallUnet]:
    """Return the network with 4-bit layers, and the same with the weights that those stand for."""
    dense = SmallUnet()
    for path, module in list(unet.named_modules()):
        if isinstance(module, nn.Linear):
            four_bit = FourBitLinear(module)
            parent, _, name = path.rpartition(".")
            setattr(unet.get_submodule(parent), name, four_bit)
            dense.get_submodule(path).weight.copy_(four_bit.dense())
    return unet, dense


def test_works_the_same_over_a_4_bit_base() -> None:
    unet, dense = packed(SmallUnet())
    x, words = small_inputs()
    styles = [small_style("a", 1), small_style("b", 2)]
    before = {name: value.clone() for name, value in unet.state_dict().items()}
    plain = unet(x, words)
    with blended(PlainBase(unet), styles) as mix:
        assert unet.mid_block.attn2.to_k.weight.dtype == torch.uint8
        rows = [[(0.5, 0.5), (1.0, 1.0)], [(-1.0, -1.0), (0.0, 0.0)]]
        mix.set_gains([[0.5, 1.0], [-1.0, 0.0]])
        expected = by_weights(dense, styles, rows, x, words)
        assert (expected - plain).abs().max() > 0.05
        close(unet(x, words), expected, 1e-6)  # the ranks are in fp32 over a weight that is none
        mix.prompt(words)
        close(unet(x, words), expected, 1e-6)
        assert mix.patches["unet.mid_block.attn2.to_k"].base_states is not None
    assert torch.equal(unet(x, words), plain)
    assert all(torch.equal(value, before[name]) for name, value in unet.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kept", [False, True])
def test_half_precision_rounds_like_the_base_and_no_more(dtype: torch.dtype, kept: bool) -> None:
    """Sixteen styles over one layer: the sum is rounded once, and each factor of what is added, however many there are."""
    unet = SmallUnet(dtype)
    styles = [small_style(f"s{number:02}", number) for number in range(16)]
    gains = [(number - 7) / 8 for number in range(16)]
    _, words = small_inputs()
    words, module = words.to(dtype), unet.mid_block.attn2.to_k
    x = torch.randn(2, WIDTH, 3, 3, generator=torch.Generator().manual_seed(0)).to(dtype)
    with blended(PlainBase(unet), styles) as mix:
        plain, plain_conv = module(words), unet.mid_block.conv(x)
        mix.set_gains(gains)
        mix.prompt(words if kept else None)
        mixed, mixed_conv = module(words), unet.mid_block.conv(x)
    delta, delta_conv = torch.zeros(()), torch.zeros(())
    for style, gain in zip(styles, gains, strict=True):
        of = {layer.path: layer for layer in style.layers}
        layer, conv = of["mid_block.attn2.to_k"], of["mid_block.conv"]
        delta = delta + words.double() @ layer.down.double().T @ layer.up.double().T * layer.scale * gain
        low = F.conv2d(x.double(), conv.down.double(), padding=1)
        delta_conv = delta_conv + F.conv2d(low, conv.up.double()) * conv.scale * gain
    for got, base, change in ((mixed, plain, delta), (mixed_conv, plain_conv, delta_conv)):
        exact = base.double() + change
        rounding = exact.to(dtype).double() - exact
        assert got.dtype == dtype
        assert (got.double() - exact).norm() <= 1.01 * rounding.norm() + torch.finfo(
            dtype
        ).eps * change.norm()
        assert change.abs().max() > 0.5  # which would be lost in a sum of sixteen rounded ones
