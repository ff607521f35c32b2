"""Stopping is heard in every phase of a painting and inside a step, costs no bit of a picture, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from styles.bases import slices
from styles.bases.base import Base, open_base
from styles.bases.slices import _Slices
from styles.bases.stopping import at_most_every, models_of, stopped, stopping
from styles.errors import Cancelled
from styles.generation.effect_probe import walk
from styles.generation.generate import DenoisingStep, PictureDone, generate
from styles.generation.img2img import SourcePicture
from styles.generation.request import CreateRequest, SecondPass
from styles.storage.home import Home
from tests.styles.painting import apart, paint, style_for

LARGE = CreateRequest(
    "a cat", seeds=(1,), steps=2, source=SourcePicture.of(Image.new("RGB", (64, 64), "teal")),
    second_pass=SecondPass(1.5, 0.5),
)  # fmt: skip


@pytest.fixture(scope="module")
def base(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Base:
    return open_base(tiny_base, Home(tmp_path_factory.mktemp("home")).create(), device="cpu")


def hooks(base: Base) -> int:
    """How many hooks there are on a base's modules."""
    modules = [module for model in models_of(base) for module in model.modules()]
    return sum(len(module._forward_pre_hooks) + len(module._forward_hooks) for module in modules)


def test_it_is_asked_for_within_every_phase(base: Base) -> None:
    asked, before = [], 0

    def cancelled() -> bool:
        asked.append(None)
        return False

    blocks = sum(isinstance(module, torch.nn.Conv2d) for module in base.unet.modules())
    decoding = sum(isinstance(module, torch.nn.Conv2d) for module in base.vae.decoder.modules())
    for event in generate(base, LARGE, [style_for(base, 1)], cancelled=cancelled):
        looks, before = len(asked) - before, len(asked)
        assert looks >= (blocks if isinstance(event, DenoisingStep) else decoding)
        if isinstance(event, DenoisingStep) and event.step == 1:  # behind the words and the source
            assert looks >= blocks + base.text_encoders[0].config.num_hidden_layers
    assert hooks(base) == 0
    before = len(asked)
    walk(base, ("a cat", "a house"), places=1, cancelled=cancelled)
    assert len(asked) - before >= 2 * blocks


def test_it_ends_a_painting_at_the_very_next_look(base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    total = 0

    def counting() -> bool:
        nonlocal total
        total += 1
        return False

    whole = [*generate(base, LARGE, cancelled=counting)]
    assert isinstance(whole[-1], PictureDone)
    for last in (1, 2, 5, total // 3, total // 2, 2 * total // 3, total - 5, total):
        asked = 0

        def cancelled(last: int = last) -> bool:
            nonlocal asked
            asked += 1
            return asked >= last

        with pytest.raises(Cancelled):
            list(generate(base, LARGE, cancelled=cancelled))
        assert asked == last and hooks(base) == 0
    assert [one.image.tobytes() for one in paint(base, LARGE)] == [whole[-1].image.tobytes()]


def test_hooks_cost_no_bit_and_slices_nothing_that_is_seen(
    base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    styles = (style_for(base, 1),)
    (with_both,) = paint(base, LARGE, styles)
    monkeypatch.setattr("styles.generation.generate.stopping", lambda *_: nullcontext())
    (without,) = paint(base, LARGE, styles)
    monkeypatch.undo()
    monkeypatch.setattr(slices, "SLICE_FLOP", 1e5)
    sliced: list[Any] = []
    for function, slicer in slices._SLICED.items():
        monkeypatch.setitem(slices._SLICED, function, watched(slicer, sliced))
    (in_slices,) = paint(base, LARGE, styles)
    assert {one.__name__ for one in sliced} >= {"_product", "_convolution"}
    assert with_both.image.tobytes() == without.image.tobytes()
    # A convolution of a few rows only, as here, rounds otherwise; of what is really sliced it does not.
    assert apart(with_both, in_slices) <= 1


def watched(slicer: Callable[..., Any], sliced: list[Any]) -> Callable[..., Any]:
    """The slicer, noting itself where it did something."""

    def slice_it(*arguments: Any, **settings: Any) -> Any:
        result = slicer(*arguments, **settings)
        if result is not None:
            sliced.append(slicer)
        return result

    return slice_it


def operations() -> Iterator[Any]:
    """Operations of all forms that a UNet and a VAE have, large enough for several slices."""
    torch.manual_seed(0)
    queries, keys = torch.randn(2, 3, 2100, 16), torch.randn(2, 3, 900, 16)
    across = torch.randn(2, 1800, 3, 16).transpose(1, 2)  # as diffusers lays them out
    yield lambda: F.scaled_dot_product_attention(queries, keys, keys, dropout_p=0.0, is_causal=False)
    yield lambda: F.scaled_dot_product_attention(across, across, across, attn_mask=None, scale=0.3)
    rows, matrix, bias = torch.randn(2, 700, 40), torch.randn(90, 40), torch.randn(90)
    yield lambda: F.linear(rows, matrix)
    yield lambda: F.linear(rows, matrix, bias)
    picture, kernel, offset = torch.randn(2, 16, 61, 47), torch.randn(24, 16, 3, 3), torch.randn(24)
    yield lambda: F.conv2d(picture, kernel, offset, 1, 1)
    yield lambda: F.conv2d(picture, kernel, None, (2, 2), (1, 1))
    yield lambda: F.conv2d(picture, kernel, offset, stride=2, padding=0, dilation=2)
    yield lambda: F.conv2d(picture.to(memory_format=torch.channels_last), kernel[:, :8], offset, 1, 1, 1, 2)
    yield lambda: F.conv2d(picture, kernel[:, :, :1, :1], offset)


def test_slices_give_the_same_numbers_and_are_heard_between(monkeypatch: pytest.MonkeyPatch) -> None:
    for operation in operations():
        looks = 0

        def counting() -> bool:
            nonlocal looks
            looks += 1
            return False

        with torch.no_grad():
            whole = operation()
            monkeypatch.setattr(slices, "SLICE_FLOP", 2e5)
            with _Slices(counting):
                sliced = operation()
            assert torch.allclose(whole, sliced, rtol=1e-5, atol=1e-5) and whole.shape == sliced.shape
            assert torch.equal(whole, sliced) or (whole.dim() == 4 and whole.shape[1] == 24), (
                "only a convolution"
            )
            assert looks > 6
            monkeypatch.undo()
            looks = 0
            with _Slices(counting):
                operation()
            assert looks < 6, "a short one is done at once"
    monkeypatch.setattr(slices, "SLICE_FLOP", 2e5)
    with pytest.raises(Cancelled), _Slices(lambda: looks > 5 or counting()):
        next(operations())()


def test_what_slices_do_not_know_is_left_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "SLICE_FLOP", 1.0)
    torch.manual_seed(0)
    queries, picture = torch.randn(1, 2, 1600, 8), torch.randn(1, 4, 20, 20)
    kernel = torch.randn(4, 4, 3, 3)
    masked = torch.zeros(1600, 1600)
    for operation in (
        lambda: F.scaled_dot_product_attention(queries, queries, queries, masked),
        lambda: F.scaled_dot_product_attention(queries, queries, queries, is_causal=True),
        lambda: F.conv2d(picture, kernel, padding="same"),
        lambda: F.conv2d(picture[0], kernel, padding=1),
    ):
        with torch.no_grad():
            whole = operation()
            with _Slices(lambda: False):
                assert torch.equal(whole, operation())


def test_a_backward_is_heard_too_and_its_gradients_stay_the_same() -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        *(torch.nn.Sequential(torch.nn.Conv2d(2, 2, 3), torch.nn.SiLU()) for _ in range(4))
    )
    inputs = torch.randn(1, 2, 16, 16)

    def gradients() -> list[torch.Tensor]:
        model.zero_grad()
        model(inputs).square().sum().backward()
        return [parameter.grad for parameter in model.parameters() if parameter.grad is not None]

    alone, looks = gradients(), 0

    def counting() -> bool:
        nonlocal looks
        looks += 1
        return False

    with stopping([model], counting, stopped):
        model(inputs)
        forward, looks = looks, 0
        watched = gradients()
        assert looks > forward
        assert all(map(torch.equal, alone, watched))
    with stopping([model], lambda: looks > forward + 2 or counting(), stopped):
        looks = 0
        with pytest.raises(Cancelled):
            gradients()
    assert all(map(torch.equal, alone, gradients()))


def test_a_dear_question_is_asked_now_and_then() -> None:
    asked = []
    seldom = at_most_every(1e9, lambda: bool(asked.append(None)))
    assert not any(seldom() for _ in range(9)) and len(asked) == 1
    always = at_most_every(0.0, lambda: len(asked) > 2 or bool(asked.append(None)))
    assert [always() for _ in range(4)] == [False, False, True, True]


def test_a_small_picture_is_not_sliced(base: Base) -> None:
    assert isinstance(slices.in_slices(base, 16 * 16, 2, lambda: False), nullcontext)
    assert isinstance(slices.in_slices(base, 512 * 512, 2, lambda: False), _Slices)
    assert isinstance(
        slices.in_slices(replace(base, device=torch.device("meta")), 512 * 512, 2, lambda: False), nullcontext
    )
