"""Styles that stay at hand between pictures: the same bits as on a bare base, and a bare base in between."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from styles.errors import BlendError, Failure, OutOfMemory, WrongFamilyError
from styles.formats.style import Style
from styles.mixing.kept_patcher import KeptPatcher
from styles.mixing.layer_patch import LayerPatch
from styles.mixing.model_patcher import ModelPatcher, blended
from tests.styles.making import PlainBase, random_layer
from tests.styles.small_unet import SmallUnet, small_inputs, small_style


@pytest.fixture(autouse=True)
def no_grad() -> Iterator[None]:
    with torch.no_grad():
        yield


def is_bare(base: PlainBase) -> bool:
    parts = (base.unet, *base.text_encoders)
    return not any("forward" in vars(module) for part in parts for module in part.modules())


class PromptStates(nn.Module):
    """A text encoder of one layer that styles may change."""

    def __init__(self) -> None:
        super().__init__()
        self.q_proj = nn.Linear(24, 24).double().requires_grad_(False)


def shelf_for(words: PromptStates) -> list[Style]:
    """Styles of several ranks, over overlapping layers: of words alone, of convolutions, and wide enough to be full."""
    shelf = [small_style(f"s{seed}", seed, rank=rank) for seed, rank in enumerate((1, 2, 4, 7, 9))]
    shelf += [small_style(f"c{seed}", seed, rank=3, marks=("conv",)) for seed in (5, 6)]
    torch.manual_seed(7)
    layer = random_layer("q_proj", words.q_proj, 2, 2.0, "te")
    shelf.append(replace(small_style("w", 7), layers=(layer,)))
    shelf.append(replace(small_style("b", 8, marks=("attn1",)), layers=(*small_style("b", 8).layers, layer)))
    return shelf


@pytest.mark.parametrize("seed", range(3))
def test_every_picture_is_bit_for_bit_that_of_a_bare_base(seed: int) -> None:
    """Whatever was painted before it, broken off, or edited in a file."""
    chance = random.Random(seed)
    words = PromptStates()
    base = PlainBase(SmallUnet(), text_encoders=(words,))
    carried, shelf = KeptPatcher(), shelf_for(words)
    x, states = small_inputs(seed=seed)

    def painted(mix: ModelPatcher, gains: list[list[float]]) -> list[Tensor]:
        mix.set_gains(gains, texture=[0.5] * len(gains[0]))
        read = words.q_proj(states)
        mix.prompt(states)
        return [read, base.unet(x, states)]

    plain = [words.q_proj(states), base.unet(x, states)]
    for _ in range(25):
        styles = chance.sample(shelf, chance.randrange(len(shelf) + 1))
        gains = [[chance.choice((0.0, 0.5, -1.0, 1.7)) for _ in styles] for _ in range(chance.choice((1, 2)))]
        if chance.random() < 0.2 and styles:
            # The same file with another alpha in its header: the id stays, as the tensors do.
            at = shelf.index(styles[0])
            layers = tuple(replace(layer, alpha=layer.alpha * 2) for layer in styles[0].layers)
            shelf[at] = styles[0] = replace(styles[0], layers=layers)
        with blended(base, styles) as mix:
            fresh = painted(mix, gains)
        if chance.random() < 0.2:
            with pytest.raises(KeyError), carried.blended(base, styles[::-1]) as mix:
                mix.set_gains([1.0] * len(styles))
                raise KeyError
            assert is_bare(base)
        with carried.blended(base, styles) as mix:
            assert mix.styles == tuple(styles) and mix.active
            silent = [words.q_proj(states), base.unet(x, states)]
            assert all(map(torch.equal, silent, plain))  # nothing until a weight is set
            assert all(map(torch.equal, painted(mix, gains), fresh))
            mix.active = False
            assert torch.equal(base.unet(x, states), plain[1])
        assert is_bare(base)
        assert all(map(torch.equal, [words.q_proj(states), base.unet(x, states)], plain))


def test_what_stays_is_neither_read_nor_stacked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    base, carried = PlainBase(SmallUnet()), KeptPatcher()
    a, b, c = (small_style(name, seed) for seed, name in enumerate("abc"))
    put: list[str] = []
    real = LayerPatch.put
    monkeypatch.setattr(
        LayerPatch, "put", lambda patch, key, layer: (put.append(key), real(patch, key, layer))
    )

    def brought(*styles: Style) -> set[str]:
        put.clear()
        with carried.blended(base, styles) as mix:
            mix.set_gains([1.0] * len(styles))
        return set(put)

    assert brought(a, c) == {"a", "c"}
    assert brought(c, a) == set()
    assert brought(c, b, a) == {"b"}
    assert brought(b) == set()
    assert brought(b, a) == {"a"}
    assert brought(b, replace(a, layers=tuple(a.layers))) == set()  # another card of the same layers
    assert brought() == set()
    assert brought(a) == {"a"}  # without styles nothing was kept


def test_a_base_that_somebody_changed_meanwhile_is_begun_anew() -> None:
    base, carried, style = PlainBase(SmallUnet()), KeptPatcher(), small_style("a", 1)
    x, words = small_inputs()

    def picture() -> Tensor:
        with carried.blended(base, [style]) as mix:
            mix.set_gains([1.0])
            return base.unet(x, words)

    def expected() -> Tensor:
        with blended(base, [style]) as mix:
            mix.set_gains([1.0])
            return base.unet(x, words)

    assert torch.equal(picture(), expected())
    module = base.unet.mid_block.attn2.to_k
    module.weight = nn.Parameter(module.weight * 2, requires_grad=False)
    assert torch.equal(picture(), expected())
    module.weight.mul_(2)
    assert torch.equal(picture(), expected())
    real = module.forward
    module.forward = lambda x: real(x) * 2
    hooked = module.forward
    assert torch.equal(picture(), expected())
    assert module.forward is hooked
    del module.forward
    assert torch.equal(picture(), expected())
    base = PlainBase(SmallUnet())  # another base is never given what the first one carries
    assert torch.equal(picture(), expected()) and is_bare(base)


def test_refused_styles_and_an_end_of_memory_leave_nothing_on(monkeypatch: pytest.MonkeyPatch) -> None:
    base, carried = PlainBase(SmallUnet()), KeptPatcher()
    a, b = small_style("a", 1), small_style("b", 2)
    x, words = small_inputs()
    plain = base.unet(x, words)
    wrong = replace(b, layers=(*b.layers, replace(b.layers[0], path="down_blocks.7.conv")))
    real = LayerPatch.tidy

    def full(patch: LayerPatch) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")

    for styles, error in (((a, wrong), WrongFamilyError), ((a, a), BlendError), ((a, b), OutOfMemory)):
        with carried.blended(base, [a]) as mix:
            mix.set_gains([1.0])
        monkeypatch.setattr(LayerPatch, "tidy", full if error is OutOfMemory else real)
        with pytest.raises(error), carried.blended(base, styles):
            raise AssertionError("it was not to come to that")
        monkeypatch.setattr(LayerPatch, "tidy", real)
        assert is_bare(base) and torch.equal(base.unet(x, words), plain)
    with carried.blended(base, [a, b]) as mix:
        mix.set_gains([0.5, 1.0])
        mixed = base.unet(x, words)
    with blended(base, [a, b]) as mix:
        mix.set_gains([0.5, 1.0])
        assert torch.equal(mixed, base.unet(x, words))


def test_one_picture_at_a_time() -> None:
    base: Any = PlainBase(SmallUnet(), name="Tiny")
    carried, style = KeptPatcher(), small_style("a", 1)
    with carried.blended(base, [style]):
        with pytest.raises(Failure, match="“Tiny” is painting something else"), carried.blended(base, []):
            raise AssertionError("two at once")
        assert not is_bare(base)
    assert is_bare(base)
    with carried.blended(base, []) as mix:
        assert mix.styles == ()


def test_nothing_of_a_prompt_is_kept_between_pictures() -> None:
    base, carried, style = PlainBase(SmallUnet()), KeptPatcher(), small_style("a", 1)
    x, words = small_inputs()
    with carried.blended(base, [style]) as mix:
        mix.set_gains([1.0])
        mix.prompt(words)
        base.unet(x, words)
    for patch in mix.patches.values():
        kept = patch.base_states, patch.rank_states, patch.mixed_states, patch.mixed_weight
        assert kept == (None,) * 4
    words.mul_(2.0)
    with carried.blended(base, [style]) as mix:
        mix.set_gains([1.0])
        again = base.unet(x, words)
    with blended(base, [style]) as mix:
        mix.set_gains([1.0])
        assert torch.equal(again, base.unet(x, words))
