"""Painting in half precision: the mix in weights of its own while the steps go on, and only where that pays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import styles.generation.generate as generation
from styles.bases.base import Base, open_base
from styles.formats.style import Style
from styles.generation.generate import DenoisingStep, generate
from styles.generation.request import CreateRequest
from styles.mixing.blend import Blend, BlendPart
from styles.mixing.merged_weights import MergedWeights
from styles.mixing.model_patcher import ModelPatcher
from styles.storage.home import Home
from tests.styles.making import random_style
from tests.styles.painting import apart, paint

IDS = ("a" * 64, "b" * 64)


@pytest.fixture(scope="module")
def base(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Base:
    home = Home(tmp_path_factory.mktemp("home")).create()
    return open_base(tiny_base, home, device="cpu", dtype="fp16")


@pytest.fixture(scope="module")
def styles(base: Base) -> tuple[Style, ...]:
    made = [
        random_style(base.unet, f"style {seed}", family="starter", seed=seed, marks="attn") for seed in (1, 2)
    ]
    return tuple(
        replace(style, card=replace(style.card, id=key)) for style, key in zip(made, IDS, strict=True)
    )


@pytest.fixture
def merges(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many weights were made in each renewal."""
    made: list[int] = []
    real = MergedWeights._renew

    def renew(merged: MergedWeights) -> None:
        real(merged)
        made.append(sum(patch.merged_weight is not None for patch in merged._patches))

    monkeypatch.setattr(MergedWeights, "_renew", renew)
    return made


def request(*blends: Blend, **changes: object) -> CreateRequest:
    plain = CreateRequest("a cat", seeds=tuple(range(len(blends))), steps=3, width_px=32, height_px=32)
    return replace(plain, blends=blends, **changes)  # type: ignore[arg-type]


def blend(*weights: float, mode: str = "sum") -> Blend:
    return Blend(tuple(BlendPart(key, weight) for key, weight in zip(IDS, weights, strict=False)), mode)


def test_weights_are_made_once_for_the_steps_and_gone_before_the_decoding(
    base: Base, styles: tuple[Style, ...], merges: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    mixes: list[ModelPatcher] = []
    real = ModelPatcher.allow_merging

    def allow(mix: ModelPatcher, budget_bytes: int) -> None:
        mixes.append(mix)
        real(mix, budget_bytes)

    monkeypatch.setattr(ModelPatcher, "allow_merging", allow)
    for event in generate(base, request(blend(1.0, 0.5)), styles):
        assert (mixes[-1].merged_bytes > 0) is isinstance(event, DenoisingStep)
    assert len(merges) == 1 and merges[0] > 10
    merged = paint(base, request(blend(1.0, 0.5)), styles)[0]
    monkeypatch.setattr(generation, "_spare_bytes", lambda *_: 0)
    ranks = paint(base, request(blend(1.0, 0.5)), styles)[0]
    plain = paint(base, request(blend(0.0, 0.0)), styles)[0]
    assert merges[-1] == 0
    assert apart(merged, ranks) < apart(ranks, plain) / 4


def test_ranks_stay_where_the_gains_do_not(base: Base, styles: tuple[Style, ...], merges: list[int]) -> None:
    fading = blend(1.0).changed(IDS[0], schedule=((0.0, 1.0), (1.0, 0.0)))
    for painted in (
        request(fading),
        request(blend(1.0, 0.5, mode="take turns")),
        request(blend(1.0, 0.5, mode="average guidance")),
        request(blend(1.0, 0.5), blend(0.5, 1.0), batch=2),
        request(blend(1.0), steps=1),
    ):
        merges.clear()
        paint(base, painted, styles)
        assert merges and not any(merges)
    late = blend(1.0).changed(IDS[0], schedule=((0.0, 1.0), (0.4, 1.0), (0.4, 0.5)))
    merges.clear()
    paint(base, request(late, steps=4), styles)
    assert len(merges) == 2 and all(merges), "each level part has its own"


def test_where_memory_ends_the_weights_go_before_the_pictures(
    base: Base, styles: tuple[Style, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    mixed = request(blend(1.0, 0.5), blend(1.0, 0.5), batch=2)
    forward, sizes = base.unet.forward, []

    def full(inputs: torch.Tensor, *arguments: object, **settings: object) -> object:
        sizes.append(len(inputs) // 2)
        if any(
            getattr(vars(module).get("forward"), "merged_weight", None) is not None
            for module in base.unet.modules()
        ):
            raise torch.OutOfMemoryError("out of memory")
        return forward(inputs, *arguments, **settings)

    with monkeypatch.context() as patched:
        patched.setattr(generation, "_spare_bytes", lambda *_: 0)
        expected = [done.image.tobytes() for done in paint(base, mixed, styles)]
    monkeypatch.setattr(base.unet, "forward", full)
    assert [done.image.tobytes() for done in paint(base, mixed, styles)] == expected
    assert sizes == [2] * 5, "merged in the first step, and all again without"
    assert not any("forward" in vars(module) for module in base.unet.modules() if module is not base.unet)


def test_no_more_than_is_free_beside_the_pictures(
    base: Base, styles: tuple[Style, ...], merges: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generation, "free_bytes", lambda device: 10_000)
    paint(base, request(blend(1.0, 0.5)), styles)
    monkeypatch.setattr(generation, "free_bytes", lambda device: None)
    paint(base, request(blend(1.0, 0.5)), styles)
    assert merges == [0, 0]
