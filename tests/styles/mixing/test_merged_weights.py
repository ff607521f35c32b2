"""Weights with a mix in them: rounded once, from the untouched base, only where they fit and hold, and never stale."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from styles.formats.style import Style
from styles.mixing.kept_patcher import KeptPatcher
from styles.mixing.merged_weights import MergedWeights
from styles.mixing.model_patcher import ModelPatcher, blended
from tests.styles.making import PlainBase
from tests.styles.small_unet import SmallUnet, small_inputs, small_style

PLENTY = 10**9  # bytes
HALVES = (torch.float16, torch.bfloat16)
ALL = ("attn", "conv")


@pytest.fixture(autouse=True)
def no_grad() -> Iterator[None]:
    with torch.no_grad():
        yield


def half_inputs(dtype: torch.dtype, batch: int = 2, seed: int = 0) -> tuple[Tensor, Tensor]:
    x, words = small_inputs(batch, seed)
    return x.to(dtype), words.to(dtype)


def weights_of(unet: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in unet.state_dict().items()}


def merged_names(mix: ModelPatcher) -> set[str]:
    return {name for name, patch in mix.patches.items() if patch.merged_weight is not None}


def delta_of(styles: list[Style], gains: list[float], path: str, shape: torch.Size) -> Tensor:
    """What the styles change at one layer, exactly."""
    total = torch.zeros(shape, dtype=torch.float64)
    for style, gain in zip(styles, gains, strict=True):
        for layer in style.layers:
            if layer.path == path:
                product = layer.up.double().flatten(1) @ layer.down.double().flatten(1)
                total += product.view(shape) * (layer.scale * gain)
    return total


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_every_layer_is_rounded_once_and_the_base_stays(
    dtype: torch.dtype, order: torch.memory_format
) -> None:
    unet, styles, gains = SmallUnet(dtype), [small_style("a", 1, marks=ALL), small_style("b", 2)], [1.0, -0.5]
    unet.to(memory_format=order)
    x, words = half_inputs(dtype)
    before, plain = weights_of(unet), unet(x, words)
    with blended(PlainBase(unet), styles) as mix:
        mix.set_gains(gains)
        ranks = unet(x, words)
        assert mix.merged_bytes == 0, "nothing was allowed"
        mix.allow_merging(PLENTY)
        merged = unet(x, words)
        # Cross-attention's keys and values are kept for the prompt instead.
        assert merged_names(mix) == {
            name for name in mix.patches if not name.endswith(("attn2.to_k", "attn2.to_v"))
        }
        for name in merged_names(mix):
            patch = mix.patches[name]
            weight, ours = before[f"{patch.name.removeprefix('unet.')}.weight"], patch.merged_weight
            assert ours is not None and ours.stride() == patch.weight.stride()
            delta = delta_of(styles, gains, name.removeprefix("unet."), weight.shape)
            exact = weight.double() + delta
            rounding = (exact.to(dtype).double() - exact).norm()
            # Beside the one rounding there are those of the factors of what is added.
            assert (ours.double() - exact).norm() <= 1.01 * rounding + torch.finfo(dtype).eps * delta.norm()
        difference = (merged.double() - ranks.double()).norm() / (ranks.double() - plain.double()).norm()
        assert difference < 8 * torch.finfo(dtype).eps
        mix.active = False
        assert torch.equal(unet(x, words), plain)
    after = weights_of(unet)
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert torch.equal(unet(x, words), plain) and not any("forward" in vars(m) for m in unet.modules())


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("dtype", HALVES)
def test_the_same_mix_is_the_same_bits_whatever_was_before(dtype: torch.dtype, seed: int) -> None:
    chance = random.Random(seed)
    unet, styles = SmallUnet(dtype), [small_style("a", 1, marks=ALL), small_style("b", 2)]
    x, words = half_inputs(dtype)
    final = [0.7, -0.3]

    def painted(mix: ModelPatcher, words: Tensor) -> Tensor:
        mix.allow_merging(PLENTY)
        mix.prompt(words)
        mix.set_gains(final, texture=[1.0, 0.5])
        return unet(x, words)

    with blended(PlainBase(unet), styles) as mix:
        expected = painted(mix, words)
        assert mix.merged_bytes > 0
    with blended(PlainBase(unet), styles) as mix:
        for _ in range(30):
            way = chance.randrange(7)
            gains = [chance.choice((0.0, chance.uniform(-1, 2))) for _ in styles]
            if way == 0:
                mix.set_gains([gains, final])
            elif way == 1:
                mix.allow_merging(chance.choice((0, 3_000, PLENTY)))
            elif way == 2:
                mix.set_gains(gains, composition=[1.0, chance.random()], lasting=False)
            elif way == 3:
                mix.prompt(chance.choice((words, None)))
            elif way == 4:
                mix.active = not mix.active
            else:
                mix.set_gains(gains)
            if chance.random() < 0.7:
                unet(x, words)
        mix.active = True
        assert torch.equal(painted(mix, words), expected)


@pytest.mark.parametrize("seed", range(3))
def test_every_mix_is_right_after_any_change(seed: int) -> None:
    """Against ranks that were put on a bare base, in fp16, where merging differs from them by rounding alone."""
    chance = random.Random(seed)
    unet, other = SmallUnet(torch.float16), SmallUnet(torch.float16)
    shelf = [small_style(name, number, marks=ALL) for number, name in enumerate("abcd")]
    plain = weights_of(unet)
    with blended(PlainBase(unet), shelf[:1]) as mix:
        mix.allow_merging(PLENTY)
        rows: list[list[float]] = [[0.0]]
        for _ in range(24):
            x, words = half_inputs(torch.float16, seed=chance.randrange(1000))
            absent = [style for style in shelf if style not in mix.styles]
            way = chance.randrange(5)
            if way == 0 and absent:
                mix.add(chance.choice(absent))
                rows = [[*row, 0.0] for row in rows]
            elif way == 1 and mix.styles:
                column = chance.randrange(len(mix.styles))
                mix.remove(mix.styles[column].id)
                rows = [[*row[:column], *row[column + 1 :]] for row in rows]
            elif way == 2:
                rows = [[chance.uniform(-1, 1) for _ in mix.styles] for _ in range(2)]
                mix.set_gains(rows)
            elif way == 3:
                mix.prompt(words)
            else:
                rows = [[chance.choice((0.0, 0.5, chance.uniform(-1, 1))) for _ in mix.styles]]
                mix.set_gains(rows, lasting=chance.random() < 0.8)
            got = unet(x, words)
            with blended(PlainBase(other), mix.styles) as fresh:
                fresh.set_gains(rows)
                expected = other(x, words)
            assert (got.double() - expected.double()).norm() <= 0.02 * expected.double().norm()
    assert all(torch.equal(unet.state_dict()[name], value) for name, value in plain.items())


def test_no_more_memory_than_allowed_smallest_layers_first() -> None:
    unet, style = SmallUnet(torch.float16), small_style("a", 1, marks=ALL)
    x, words = half_inputs(torch.float16)
    one = unet.mid_block.attn1.to_q.weight.nbytes
    with blended(PlainBase(unet), [style]) as mix:
        mix.set_gains([1.0])
        for budget, count in ((0, 0), (one - 1, 0), (3 * one, 3), (3 * one + 1, 3), (PLENTY, 35), (one, 1)):
            mix.allow_merging(budget)
            unet(x, words)
            assert len(merged_names(mix)) == count and mix.merged_bytes <= budget
            assert not any(name.endswith("conv") for name in merged_names(mix)) or budget == PLENTY
        mix.set_gains([[1.0], [0.5]])
        unet(x, words)
        assert mix.merged_bytes == 0, "no weight serves pictures with gains of their own"
        mix.set_gains([0.5])
        mix.allow_merging(PLENTY)
        unet(x, words)
        memory = {name: mix.patches[name].merged_weight for name in merged_names(mix)}
        mix.set_gains([0.25])
        unet(x, words)
        assert all(mix.patches[name].merged_weight is weight for name, weight in memory.items())
        mix.set_gains([0.5], lasting=False)
        unet(x, words)
        assert mix.merged_bytes == 0
    assert mix.merged_bytes == 0


def test_a_burst_of_moves_is_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    passes = []
    real = MergedWeights._renew
    monkeypatch.setattr(MergedWeights, "_renew", lambda merged: (passes.append(1), real(merged)))
    unet, style = SmallUnet(torch.float16), small_style("a", 1, marks=ALL)
    x, words = half_inputs(torch.float16)
    with blended(PlainBase(unet), [style]) as mix:
        mix.allow_merging(PLENTY)
        for gain in range(20):
            mix.set_gains([gain / 10])
        for _ in range(3):
            unet(x, words)
        mix.set_gains([1.9])
        unet(x, words)
        assert passes == [1]


def test_where_memory_ends_while_merging_the_ranks_do(monkeypatch: pytest.MonkeyPatch) -> None:
    unet, style = SmallUnet(torch.float16), small_style("a", 1, marks=ALL)
    x, words = half_inputs(torch.float16)
    real, left = MergedWeights._merge, [9]

    def fails_later(merged: MergedWeights, patch: Any) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        real(merged, patch)

    with blended(PlainBase(unet), [style]) as mix:
        mix.set_gains([0.5])
        ranks = unet(x, words)
        monkeypatch.setattr(MergedWeights, "_merge", fails_later)
        mix.allow_merging(PLENTY)
        assert torch.equal(unet(x, words), ranks) and mix.merged_bytes == 0
        mix.set_gains([0.7])
        unet(x, words)
        assert mix.merged_bytes == 0, "it is not tried again before somebody allows it"
        mix.set_gains([0.5])
        assert torch.equal(unet(x, words), ranks)
        mix.allow_merging(PLENTY)
        unet(x, words)
        assert mix.merged_bytes > 0


def test_what_happens_to_the_base_is_heard() -> None:
    """A weight written into, replaced, or brought to another precision, and autocast, while the mix is on."""
    unet, style = SmallUnet(torch.float16), small_style("a", 1, marks=("attn1.to_q",))
    module = unet.mid_block.attn1.to_q
    x = torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(0)).half()

    def delta() -> Tensor:
        return module(x).double() - nn.functional.linear(x, module.weight, module.bias).double()

    with blended(PlainBase(unet), [style]) as mix:
        mix.set_gains([1.0])
        mix.allow_merging(PLENTY)
        expected = delta()
        assert merged_names(mix) and expected.norm() > 0.1

        def check(tolerance: float = 0.03) -> None:
            assert (delta() - expected).norm() <= tolerance * expected.norm()

        module.weight.mul_(2.0)
        check()
        mix.set_gains([0.0])
        mix.set_gains([1.0])
        check()
        weight = module.weight
        module.weight = nn.Parameter(weight * 0.5, requires_grad=False)
        check()
        module.weight = weight
        with torch.autocast("cpu", torch.bfloat16):
            assert module(x).dtype == torch.bfloat16
        unet.float()
        x = x.float()
        check()
        assert module(x).dtype == torch.float32


def test_only_layers_that_compute_with_their_weight_alone() -> None:
    class Doubled(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * 2

    class Named(nn.Linear):
        pass

    unet, style = SmallUnet(torch.float16), small_style("a", 1, marks=("attn1",))
    for block, kind in ((unet.mid_block, Doubled), (unet.up_blocks[0], Named)):
        other = kind(16, 16).half().requires_grad_(False)
        other.load_state_dict(block.attn1.to_q.state_dict())
        block.attn1.to_q = other
    hooked = unet.up_blocks[1].attn1.to_q
    own = hooked.forward
    hooked.forward = lambda x: own(x)
    x, words = half_inputs(torch.float16)
    with blended(PlainBase(unet), [style]) as mix:
        mix.set_gains([1.0])
        ranks = unet(x, words)
        mix.allow_merging(PLENTY)
        merged = unet(x, words)
        assert {name for name in mix.patches if name not in merged_names(mix)} == {
            f"unet.{path}.attn1.to_q" for path in ("mid_block", "up_blocks.0", "up_blocks.1")
        }
    assert (merged.double() - ranks.double()).norm() <= 0.01 * ranks.double().norm()


def test_nothing_is_merged_on_a_cpu_in_full_precision() -> None:
    unet, style = SmallUnet(torch.float32), small_style("a", 1, rank=1, marks=ALL)
    x, words = half_inputs(torch.float32)
    with blended(PlainBase(unet), [style]) as mix:
        mix.set_gains([1.0])
        before = unet(x, words)
        mix.allow_merging(PLENTY)
        assert torch.equal(unet(x, words), before) and mix.merged_bytes == 0
        assert all(patch.active_ranks is None for patch in mix.patches.values())


def test_between_pictures_no_memory_is_held() -> None:
    base, patcher, style = PlainBase(SmallUnet(torch.float16)), KeptPatcher(), small_style("a", 1, marks=ALL)
    x, words = half_inputs(torch.float16)
    pictures = []
    for _ in range(2):
        with patcher.blended(base, [style]) as mix:
            mix.allow_merging(PLENTY)
            mix.set_gains([0.5])
            pictures.append(base.unet(x, words))
            assert mix.merged_bytes > 0
        assert mix.merged_bytes == 0
    assert torch.equal(*pictures)


@pytest.mark.parametrize("dtype", HALVES)
def test_a_compiled_model_never_compiles_anew(dtype: torch.dtype) -> None:
    from torch._dynamo.testing import CompileCounterWithBackend

    unet, compiler = SmallUnet(dtype), CompileCounterWithBackend("aot_eager")
    block, styles = unet.mid_block, [small_style("a", 1, marks=ALL), small_style("b", 2)]
    x, words = half_inputs(dtype)
    torch._dynamo.reset()
    with blended(PlainBase(unet), styles) as mix:
        mix.allow_merging(PLENTY)
        mix.prompt(words)
        compiled = torch.compile(block, backend=compiler, fullgraph=True)
        for gains in ([1.0, 0.5], [0.0, 1.0], [0.0, 0.0], [0.01, 0.0], [-1.0, 0.7]):
            mix.set_gains(gains)
            expected = block(x, words).double()
            assert (compiled(x, words).double() - expected).norm() <= 0.02 * expected.norm()
            mix.allow_merging(PLENTY if gains[0] else 0)
        assert compiler.frame_count == 1
    torch._dynamo.reset()


def test_a_mix_that_spares_memory_holds_its_ranks_alone_and_says_the_same() -> None:
    unet, styles = SmallUnet(torch.bfloat16), [small_style("a", 1, marks=ALL), small_style("b", 2)]
    x, words = half_inputs(torch.bfloat16)
    plain = unet(x, words)
    with blended(PlainBase(unet), styles) as mix:
        mix.set_gains([1.0, -0.5])
        usual = unet(x, words)
        assert any(
            patch.active_ranks is not None and patch.active_ranks.shared for patch in mix.patches.values()
        )
        mix.spare_memory()
        sparing = unet(x, words)
        for patch in mix.patches.values():
            ranks = patch.active_ranks
            assert ranks is not None and ranks.shared is None
            assert (
                ranks.up.data_ptr() == patch.up.data_ptr() and ranks.down.data_ptr() == patch.down.data_ptr()
            )
        difference = (sparing.double() - usual.double()).norm() / (usual.double() - plain.double()).norm()
        assert difference < 8 * torch.finfo(torch.bfloat16).eps
        mix.change_to(styles)
        mix.set_gains([1.0, -0.5])
        assert torch.equal(unet(x, words), usual), "the next picture is as before"
