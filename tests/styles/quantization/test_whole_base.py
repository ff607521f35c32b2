"""A base in four bits is painted with and trained on as one of the same weights, and nothing of it changes."""

from __future__ import annotations

import hashlib
import logging
import subprocess
import sys
from dataclasses import replace
from functools import partial
from math import inf
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from styles.bases.base import Base, open_base
from styles.bases.compiled_blocks import CompiledBlocks
from styles.bases.conditioning import Conditioning
from styles.bases.prediction import predict
from styles.errors import Cancelled
from styles.generation.generate import PictureDone, generate
from styles.quantization.grouped_linear import GroupedLinear
from styles.quantization.layers import statistics
from styles.storage.home import Home
from tests.accelerator.painting import Way, ways
from tests.styles.painting import apart, paint
from tests.styles.quantization.test_quantized_base import BOTH
from tests.training.conftest import picture, small_plan
from training.events import Finished
from training.job import Job
from training.loop import train

WAYS = (
    "two styles", "schedule", "composition and texture", "take turns", "several pictures", "strip",
    "words and layers of text encoders",
)  # fmt: skip


def four_bit_layers(unet: nn.Module) -> dict[str, Any]:
    return {
        path: layer
        for path, layer in unet.named_modules()
        if isinstance(layer, nn.Linear) and layer.weight.dtype == torch.uint8
    }


def weights_of(layer: Any) -> Tensor:
    """What a layer's four bits stand for, (out, in)."""
    if isinstance(layer, GroupedLinear):
        return layer.dequantized()
    from bitsandbytes.functional import dequantize_4bit

    return dequantize_4bit(layer.weight.data, layer.weight.quant_state)


def plain_twin(folder: Path, home: Home, base: Base) -> Base:
    """A base as it is, with the weights that another one's four bits stand for."""
    twin = open_base(folder, home, device="cpu", dtype=base.dtype)
    for path, layer in four_bit_layers(base.unet).items():
        linear = twin.unet.get_submodule(path)
        assert type(linear) is nn.Linear
        linear.weight = nn.Parameter(weights_of(layer), requires_grad=False)
    return twin


def sha256_of(base: Base) -> str:
    """Of every number of its UNet, the scales among them."""
    found = hashlib.sha256()
    for tensor in (*base.unet.parameters(), *base.unet.buffers(), *statistics(base.unet)):
        found.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


@pytest.mark.parametrize("quantize", BOTH)
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_every_kind_of_mix_is_that_of_the_weights_it_stands_for(
    quantize: str, dtype: str, tiny_base: Path, home_folder: Path
) -> None:
    home = Home(home_folder).create()
    base = open_base(tiny_base, home, device="cpu", dtype=dtype, quantize=quantize)
    twin, before = plain_twin(tiny_base, home, base), sha256_of(base)
    assert len(four_bit_layers(base.unet)) > 20
    every = ways(base, True)
    for name in WAYS if dtype == "fp32" else WAYS[:1]:
        way: Way = every[name]
        ours, theirs = (paint(one, way.request, way.styles) for one in (base, twin))
        # In half precision the twin merges its mix, and so rounds otherwise.
        limit = 1 if dtype == "fp32" else 24
        assert max(apart(one, other) for one, other in zip(ours, theirs, strict=True)) <= limit, name
    assert sha256_of(base) == before


@pytest.mark.parametrize("quantize", BOTH)
def test_gradients_pass_and_a_training_changes_nothing_of_the_base(
    quantize: str, tiny_base: Path, home_folder: Path, tmp_path: Path
) -> None:
    home = Home(home_folder).create()
    base = open_base(tiny_base, home, device="cpu", quantize=quantize)
    before, twin = sha256_of(base), plain_twin(tiny_base, home, base)
    gradients = []
    for one in (base, twin):
        latents = torch.linspace(-1, 1, 4 * 16 * 16).view(1, 4, 16, 16).requires_grad_()
        states = torch.linspace(-1, 1, 7 * one.unet.config.cross_attention_dim).view(1, 7, -1)
        predict(one.unet, latents, torch.tensor(500), Conditioning(states)).square().sum().backward()
        gradients.append(latents.grad)
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-4)
    picture(64, 64).save(tmp_path / "one.png")
    plan = small_plan(tiny_base, steps=2, layers="transformer", quantize=quantize, opposite_every=2)
    job = Job.create(home.jobs, plan, [tmp_path / "one.png"])
    assert isinstance(list(train(job, base=base))[-1], Finished)
    assert sha256_of(base) == before


@pytest.mark.parametrize("quantize", BOTH)
def test_another_precision_is_given_back_and_moving_leaves_the_numbers(
    quantize: str, tiny_base: Path, home_folder: Path
) -> None:
    base = open_base(tiny_base, Home(home_folder).create(), device="cpu", quantize=quantize)
    layers = four_bit_layers(base.unet)
    before = {path: weights_of(layer) for path, layer in layers.items()}
    layer = next(layer for layer in layers.values() if layer.bias is not None)
    bias = layer.bias.clone()
    assert layer(torch.ones(2, layer.in_features, dtype=torch.bfloat16)).dtype == torch.bfloat16
    assert layer.bias.dtype == torch.float32 and torch.equal(layer.bias, bias)
    base.unet.to("cpu").to(torch.bfloat16)
    assert all(torch.equal(weights_of(layer), before[path]) for path, layer in layers.items())


@pytest.mark.parametrize("quantize", BOTH)
def test_compiled_blocks_paint_the_same(quantize: str, tiny_base: Path, home_folder: Path) -> None:
    base = open_base(tiny_base, Home(home_folder).create(), device="cpu", quantize=quantize)
    way = ways(base, False)["two styles"]
    plain = paint(base, way.request, way.styles)[0]
    blocks = CompiledBlocks(base.unet, backend="aot_eager")
    compiled = paint(replace(base, compiled_blocks=blocks), way.request, way.styles)[0]
    assert blocks.problem is None and apart(plain, compiled) <= 1


@pytest.mark.parametrize("sliced", [False, True])
@pytest.mark.parametrize("quantize", BOTH)
def test_it_is_stopped_in_the_middle_of_a_pass_and_paints_the_same_afterwards(
    quantize: str, sliced: bool, tiny_base: Path, home_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = open_base(tiny_base, Home(home_folder).create(), device="cpu", quantize=quantize)
    way, before, asked = ways(base, False)["two styles"], sha256_of(base), 0
    plain = paint(base, way.request, way.styles)[0]
    if sliced:
        monkeypatch.setattr("styles.bases.slices.SLICE_FLOP", 1e5)

    def asked_often(often: float) -> bool:
        nonlocal asked
        asked += 1
        return asked >= often

    whole = list(generate(base, way.request, way.styles, cancelled=lambda: asked_often(inf)))
    assert isinstance(whole[-1], PictureDone) and apart(whole[-1], plain) <= sliced
    convolutions = sum(isinstance(layer, nn.Conv2d) for layer in base.unet.modules())
    assert asked > way.request.steps * convolutions, "within each pass"
    for last in (asked // 3, asked // 2, asked):
        asked = 0
        with pytest.raises(Cancelled):
            list(generate(base, way.request, way.styles, cancelled=partial(asked_often, last)))
        assert asked == last, "at the very next look"
    (again,) = paint(base, way.request, way.styles)
    assert again.image.tobytes() == whole[-1].image.tobytes() and sha256_of(base) == before


def test_nothing_is_fetched_and_nothing_said_when_libraries_are_imported(tmp_path: Path) -> None:
    """Not even with `kernels` installed, which fetches compiled code from the Hub."""
    (tmp_path / "kernels.py").write_text("raise SystemExit('kernels was imported')\n", encoding="utf-8")
    script = "import sys; sys.path.insert(0, sys.argv[1]); import styles, bitsandbytes"
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert logging.getLogger("bitsandbytes.backends.cpu.ops").getEffectiveLevel() == logging.CRITICAL
