"""A size far beyond the base's is asked about with its time, one beyond the memory is refused; the work is counted as torch counts it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from styles.bases.base import Base, open_base
from styles.bases.conditioning import empty_conditioning
from styles.bases.prediction import predict
from styles.errors import Cancelled, OutOfMemory, TooLarge
from styles.generation import cost
from styles.generation.generate import generate
from styles.generation.request import CreateRequest, SecondPass
from styles.storage.home import Home
from tests.styles.painting import paint

PACE = 1e6  # operations a second
LARGE = CreateRequest("a cat", width_px=256, height_px=128, steps=1)


@pytest.fixture(scope="module")
def base(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Base:
    return open_base(tiny_base, Home(tmp_path_factory.mktemp("home")).create(), device="cpu")


def test_a_size_far_beyond_the_base_is_asked_about_with_its_time(
    base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost, "flop_per_second", lambda base, cancelled: 1e5)
    steps: list[object] = []
    handle = base.unet.register_forward_pre_hook(lambda *_: steps.append(None))
    for request in (LARGE, replace(LARGE, width_px=64, height_px=64, second_pass=SecondPass(3.0))):
        steps.clear()
        with pytest.raises(TooLarge, match=r"far beyond.* about \d+ (min|h) here") as told:
            generate(base, request)
        assert told.value.seconds > cost.SHORT_SECONDS and not steps
        size = (told.value.width_px, told.value.height_px)
        assert re.search(f"{size[0]}x{size[1]} px", told.value.hint)
        assert 0.7 < size[0] * size[1] / (2 * base.native_size_px) ** 2 <= 1
        # What is proposed is not asked about.
        paint(base, replace(LARGE, width_px=size[0], height_px=size[1]))
    steps.clear()
    (picture,) = paint(base, replace(LARGE, agreed=True))
    assert picture.image.size == (256, 128) and steps
    monkeypatch.setattr(cost, "flop_per_second", lambda base, cancelled: 1e15)
    paint(base, LARGE)  # it is done in no time
    handle.remove()


def test_a_size_beyond_the_memory_is_refused_with_numbers(
    base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost, "room_for", lambda base, model: 1e6)
    with pytest.raises(OutOfMemory, match=r"256x128 px need about \d+\.\d GB of memory, and cpu has 0\.0 GB"):
        generate(base, replace(LARGE, agreed=True))
    paint(base, replace(LARGE, width_px=64, height_px=64))


@pytest.mark.parametrize("folder", ["tiny_base", "tiny_sdxl"])
def test_the_work_is_counted_as_torch_counts_it(
    folder: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Also of a first level without attention, and several transformer layers in one."""
    base = open_base(request.getfixturevalue(folder), Home(tmp_path).create(), device="cpu")
    conditioning = empty_conditioning(base.unet, 1, 8, base.device, base.dtype)
    for side in (16, 32):
        inputs = torch.zeros(1, 4, side, side)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            predict(base.unet, inputs, torch.zeros(1), conditioning)
        # Torch does not count a CPU's attention, which alone grows with the square of the tokens.
        linear = 4 * cost.unet_flop(base, side * side // 2) - cost.unet_flop(base, side * side)
        assert 0.7 < linear / sum(counter.get_flop_counts()["Global"].values()) < 1.4
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            base.vae.decode(inputs)
        assert (
            0.7
            < cost.decoder_flop(base, side * side) / sum(counter.get_flop_counts()["Global"].values())
            < 1.4
        )


def test_the_pace_is_that_of_the_work_alone_when_all_is_ready(
    base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    sides: list[int] = []
    now = 0.0

    def spend(_: object, inputs: tuple[torch.Tensor, ...]) -> None:
        nonlocal now
        side = inputs[0].shape[-1]
        now += 0.5 + cost.unet_flop(base, side * side) / PACE + (0.0 if side in sides else 100.0)
        sides.append(side)

    monkeypatch.setattr(cost, "time", SimpleNamespace(monotonic=lambda: now))
    handle = base.unet.register_forward_pre_hook(spend)
    assert cost.flop_per_second(base, lambda: False) == pytest.approx(PACE)
    handle.remove()


def test_the_pace_is_measured_and_can_be_stopped(base: Base) -> None:
    assert 1e6 < cost.flop_per_second(base, lambda: False) < 1e16
    with pytest.raises(Cancelled):
        cost.flop_per_second(base, lambda: True)
