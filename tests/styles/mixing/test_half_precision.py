"""How much of a mix half precision loses, and the ranks that are multiplied in it."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from styles.formats.reader import read_style
from styles.formats.style import Style, StyleCard, StyleLayer
from styles.mixing.low_rank import SharedRanks, normalised
from styles.mixing.merged_weights import TOLERANCE
from styles.mixing.model_patcher import blended
from tests.conftest import REPOSITORY
from tests.styles.making import PlainBase, unet_of
from tests.styles.mixing_loss import deltas, loss, starter_predicted
from tests.styles.small_unet import SmallUnet, small_style

HALVES = (torch.float16, torch.bfloat16)


@pytest.fixture(autouse=True)
def no_grad() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.mark.parametrize("dtype", HALVES)
def test_the_starter_and_its_styles(starter: Path, dtype: torch.dtype) -> None:
    unet = unet_of(starter, dtype).requires_grad_(False)
    files = sorted((REPOSITORY / "styles" / "bundled").glob("*.safetensors"))
    styles = [read_style(file) for file in files]
    predicted = starter_predicted(unet)
    shares = {}
    for gain in (1.0, 0.1):
        off, shares[gain] = loss(unet, styles, [gain] * len(styles), predicted)
        assert off <= TOLERANCE[dtype]
    assert shares[1.0] == 0.5, "all but the layers that read the prompt"
    assert shares[0.1] < (0.5 if dtype == torch.bfloat16 else 0.51), "a weak mix stays with its ranks"


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize(("change", "gain"), [(0.2, 1.0), (0.05, 1.0), (0.05, 0.1)])
def test_random_weights_of_a_trained_size(
    tiny_sd1: Path, dtype: torch.dtype, change: float, gain: float
) -> None:
    """Nothing adds up here by training: the rounding of the weights weighs as much as it ever can."""
    unet = unet_of(tiny_sd1, dtype).requires_grad_(False)
    generator = torch.Generator().manual_seed(3)
    layers = []
    for path, module in unet.named_modules():
        if isinstance(module, torch.nn.Linear) and (".attn" in path or ".ff." in path):
            module.weight.copy_(torch.randn(module.weight.shape, generator=generator) * 0.04)
            down = torch.randn(8, module.in_features, generator=generator)
            up = torch.randn(module.out_features, 8, generator=generator)
            up *= change * module.weight.float().norm() / (up @ down).norm()
            layers.append(StyleLayer("unet", path, down, up, 8.0))
    style = Style(StyleCard("Random", "starter", 8, id="r"), tuple(layers))
    x = torch.randn(2, 4, 16, 16, generator=generator)
    words = torch.randn(2, 7, 768, generator=generator)

    def predicted(network: Any, dtype: torch.dtype, weights: dict[str, Tensor]) -> Tensor:
        return functional_call(network, weights, (x.to(dtype), 500, words.to(dtype))).sample.float()

    off, share = loss(unet, [style], [gain], predicted)
    assert off <= TOLERANCE[dtype]
    if change * gain >= 0.05:
        assert share == 0.8, "all but the layers that read the prompt"
    if change * gain < 0.01:
        assert share < 0.4


# Ranks in half precision


def test_no_product_of_ranks_overflows_that_does_not_in_fp32() -> None:
    """Files write the same change with a tiny `down` and a vast alpha, or the other way round."""
    unet, x = SmallUnet(torch.float16), torch.full((1, 5, 16), 3000.0).half()
    module = unet.mid_block.attn1.to_q
    down, up = torch.rand(2, 16), torch.rand(16, 2) / 64
    plain = module(x).double()
    results = []
    for factor, alpha in ((1.0, 2.0), (2.0**14, 2.0), (2.0**-16, 2.0**9), (1.0, 2.0**15)):
        layer = StyleLayer("unet", "mid_block.attn1.to_q", down * factor, up / factor * 2 / alpha, alpha)
        with blended(PlainBase(unet), [Style(StyleCard("a", "sd1", 2, id="a"), (layer,))]) as mix:
            mix.set_gains([0.5])
            results.append(module(x).double() - plain)
    exact = 0.5 * (x.double() @ down.double().T @ up.double().T)
    for result in results:
        assert (result - exact).norm() <= 0.01 * (exact.norm() + plain.norm())


def test_sizes_are_brought_together_without_rounding() -> None:
    generator = torch.Generator().manual_seed(0)
    down, up = (
        torch.randn(4, 9, 3, 3, generator=generator) * 1e-4,
        torch.randn(6, 4, generator=generator) * 1e5,
    )
    down[1] = 0
    up[:, 2] = 0
    new_down, new_up = normalised(down, up)
    assert new_down.shape == down.shape and new_up.shape == up.shape
    assert new_up.abs().max() <= 2048 and new_down[3].abs().sum() < 100
    products = [u @ d.flatten(1) for d, u in ((down, up), (new_down, new_up))]
    assert torch.equal(*products)


def test_q_k_and_v_share_what_they_read_and_nothing_else_does() -> None:
    generator = torch.Generator().manual_seed(0)
    downs = [torch.randn(rank, 6, generator=generator) for rank in (2, 2, 2)]
    ups = torch.randn(3, 2, 5, generator=generator)
    spans = [slice(0, 2), slice(2, 4), slice(4, 6)]
    x, other = torch.randn(2, 4, 6, generator=generator), torch.randn(2, 4, 6, generator=generator)
    for up in (None, ups):
        shared = SharedRanks(torch.cat(downs), spans, up)

        def expected(member: int, x: Tensor, up: Tensor | None = up) -> Tensor:
            h = F.linear(x, downs[member])
            return h if up is None else (h @ up[member]).view(-1, 5)

        def check(member: int, x: Tensor, shared: SharedRanks = shared) -> None:
            got = shared.product(member, x)
            assert torch.allclose(got, expected(member, x), atol=1e-6)
            # It is theirs to write into.
            got.fill_(torch.nan)

        for member in (0, 1, 2, 0, 0, 2, 1, 1):
            check(member, x)
        check(0, x)
        check(1, other)
        check(2, x)
        check(0, x)
        x.mul_(2.0)
        check(1, x)
        check(2, x)
        check(0, x)
        seen = x.clone()
        check(0, seen)
        parts = [weakref.ref(part) for part in shared._parts]
        del seen
        gc.collect()
        assert parts and all(part() is None for part in parts), "let go with the input"
        check(0, x)
        check(1, x)
        check(2, x)
        assert not shared._parts, "let go with the last"


@pytest.mark.parametrize("rows", [[[0.5, -1.0]], [[0.5, -1.0], [1.0, 0.0]], [[0.0, 1.0]]])
@pytest.mark.parametrize("dtype", HALVES)
def test_an_attention_that_shares_is_right(dtype: torch.dtype, rows: list[list[float]]) -> None:
    unet = SmallUnet(dtype)
    styles = [
        small_style("a", 1, marks=("attn1",)),
        small_style("b", 2, rank=3, marks=("attn1.to_q", "attn1.to_v")),
    ]
    x = torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(0)).to(dtype)
    attention = unet.mid_block.attn1
    plain = [module(x).double() for module in (attention.to_q, attention.to_k, attention.to_v)]
    with blended(PlainBase(unet), styles) as mix:
        mix.set_gains(rows)
        for _ in range(2):
            for base, name in zip(plain, "qkv", strict=True):
                got = getattr(attention, f"to_{name}")(x).double()
                for picture, row in enumerate(rows):
                    delta = deltas(styles, row)[f"mid_block.attn1.to_{name}"]
                    change = x[picture].double() @ delta.T
                    exact = base[picture] + change
                    eps = torch.finfo(dtype).eps
                    assert (got[picture] - exact).norm() <= eps * (exact.norm() + change.norm())


def test_silent_styles_cost_nothing() -> None:
    unet = SmallUnet(torch.float16)
    styles = [
        small_style("a", 1, rank=4, marks=("attn1",)),
        small_style("b", 2, rank=7, marks=("attn1", "conv")),
    ]
    x = torch.randn(2, 5, 16).half()
    with blended(PlainBase(unet), styles) as mix:
        for gains, ranks in (
            ([1.0, 0.0], 4),
            ([0.0, 1.0], 7),
            ([1.0, 1.0], 11),
            ([[0.0, 0.0], [0.0, 2.0]], 7),
        ):
            mix.set_gains(gains)
            unet.mid_block.attn1.to_out[0](x)
            active = {name: patch.active_ranks for name, patch in mix.patches.items()}
            assert len(active["unet.mid_block.attn1.to_out.0"].down) == ranks
            assert (active["unet.mid_block.conv"] is None) == (ranks == 4)
