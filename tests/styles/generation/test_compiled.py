"""Painting with compiled blocks: nothing is compiled anew for a slider, a style or a prompt, and pictures stay the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from styles.bases.base import Base, open_base
from styles.bases.compiled_blocks import CompiledBlocks
from styles.bases.stopping import _blocks
from styles.generation.request import CreateRequest
from styles.mixing.blend import Blend, BlendPart
from styles.mixing.kept_patcher import KeptPatcher
from styles.storage.home import Home
from tests.styles.painting import pixels, style_for

REQUEST = CreateRequest("a cat", seeds=(3,), steps=2, weights=((0.5, 0.25),))


@pytest.fixture(scope="module")
def plain(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Base:
    return open_base(tiny_base, Home(tmp_path_factory.mktemp("home")).create(), device="cpu")


@pytest.fixture
def compiler() -> Iterator[CompileCounterWithBackend]:
    torch._dynamo.reset()
    yield CompileCounterWithBackend("eager")
    torch._dynamo.reset()


@pytest.fixture
def base(plain: Base, compiler: CompileCounterWithBackend) -> Base:
    return replace(plain, compiled_blocks=CompiledBlocks(plain.unet, backend=compiler))


def painted(base: Base, request: CreateRequest, styles: Any = (), kept: KeptPatcher | None = None) -> Any:
    from styles.generation.generate import PictureDone, generate

    return [e for e in generate(base, request, styles, kept=kept) if isinstance(e, PictureDone)]


def test_no_slider_style_or_prompt_compiles_anew(
    base: Base, plain: Base, compiler: CompileCounterWithBackend
) -> None:
    one, two = style_for(base, 1), style_for(base, 2)
    kept = KeptPatcher()
    weights = {name: value.clone() for name, value in base.unet.state_dict().items()}
    painted(base, replace(REQUEST, weights=()), kept=kept)
    graphs, calls = compiler.frame_count, Counter()
    assert graphs > 0
    for block in base.compiled_blocks._blocks:
        compiled = block.compiled_call
        object.__setattr__(
            block, "compiled_call", lambda *a, c=compiled, **k: (calls.update(["compiled"]), c(*a, **k))[1]
        )
    orders = [
        (replace(REQUEST, weights=((0.5,),)), (one,)),
        (replace(REQUEST, weights=((0.9,),)), (one,)),
        (REQUEST, (one, two)),
        (replace(REQUEST, prompt="a boat in the snow", weights=((0.2, -0.3),)), (one, two)),
        (replace(REQUEST, prompt="a [cat:boat:0.5]", weights=((1.0,),)), (two,)),
        (replace(REQUEST, weights=()), ()),
    ]
    for request, styles in orders:
        calls.clear()
        ours = painted(base, request, styles, kept)[0]
        assert calls["compiled"] == 2 * len(base.compiled_blocks._blocks), "both steps"
        assert compiler.frame_count == graphs
        assert all(torch.equal(weights[name], value) for name, value in base.unet.state_dict().items())
        theirs = painted(plain, request, styles)[0]
        assert abs(pixels(ours.image) - pixels(theirs.image)).max() <= 1


def test_gains_that_differ_paint_as_without(base: Base, compiler: CompileCounterWithBackend) -> None:
    one = style_for(base, 1)
    per_picture = replace(REQUEST, seeds=(3, 3), weights=((0.0,), (1.0,)))
    schedule = replace(
        REQUEST, weights=(), blends=(Blend((BlendPart(one.id, 1.0, ((0.0, 0.0), (1.0, 1.0))),)),)
    )
    for request in (per_picture, schedule):
        painted(base, request, (one,))
    assert compiler.frame_count == 0


def test_stopping_is_asked_for_between_compiled_blocks(base: Base) -> None:
    compiled = [
        module for module in base.unet.modules() if type(module).__name__ in base.unet._repeated_blocks
    ]
    inside = {inner for block in compiled for inner in block.modules()}
    asked = set(_blocks([base.unet]))
    assert compiled and asked and not asked & inside


def test_a_compiler_that_fails_is_said_once(plain: Base) -> None:
    def fails(graph: Any, inputs: Any) -> Any:
        raise RuntimeError("no C++ compiler was found")

    torch._dynamo.reset()
    base = replace(plain, compiled_blocks=CompiledBlocks(plain.unet, backend=fails))
    first, second = (painted(base, REQUEST, (style_for(base, 1), style_for(base, 2)))[0] for _ in range(2))
    assert len(first.notes) == 1 and "can't be compiled here" in first.notes[0] and second.notes == ()
    assert "no C++ compiler" in first.notes[0]
    again = painted(plain, REQUEST, (style_for(base, 1), style_for(base, 2)))[0]
    assert abs(pixels(first.image) - pixels(again.image)).max() <= 1
    torch._dynamo.reset()
