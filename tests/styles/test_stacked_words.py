"""Keys and values kept for a prompt: the same picture as without, whatever changes in between."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch

from styles.errors import BlendError
from styles.mixing.model_patcher import ModelPatcher, blended
from tests.styles.making import PlainBase, inputs, noise_pred, random_style, unet_of
from tests.styles.small_unet import SmallUnet, by_weights, small_inputs, small_style


def close(a: torch.Tensor, b: torch.Tensor, tolerance: float = 1e-11) -> None:
    assert (a - b).abs().max() <= tolerance * b.abs().max()


@torch.no_grad()
def test_the_words_are_read_once_per_prompt() -> None:
    """Their layers' weights could as well be gone afterwards: nothing asks for them again."""
    unet, style = SmallUnet(), small_style("Ink", 1)
    x, words = small_inputs()
    with blended(PlainBase(unet), [style]) as mix:
        mix.set_gains([0.7])
        expected = unet(x, words)
        mix.prompt(words)
        reading = [
            module for path, module in unet.named_modules() if path.endswith(("attn2.to_k", "attn2.to_v"))
        ]
        for module in reading:
            module.weight.fill_(torch.nan)
        close(unet(x, words), expected)
        close(unet(x * 1.0, words), expected)
        mix.set_gains([0.0])  # a move doesn't read them either
        assert unet(x, words).isfinite().all() and not torch.equal(unet(x, words), expected)
        assert unet(x, words.clone()).isnan().any()
        mix.prompt(None)
        assert unet(x, words).isnan().any()
    assert len(reading) == 10


def test_a_kept_prompt_paints_the_same_on_a_real_unet(tiny_sd1: Path) -> None:
    unet = unet_of(tiny_sd1)
    styles = [random_style(unet, name, seed=seed) for seed, name in enumerate(("Ink", "Chalk"))]
    latents, words = inputs(4)
    rows = [[0.7, -0.4], [0.0, 1.2]]
    with blended(PlainBase(unet), styles) as mix:
        mix.set_gains(rows, composition=[0.5, 1.0])
        fresh = noise_pred(unet, latents, words)
        mix.prompt(words)
        close(noise_pred(unet, latents, words), fresh, 2e-5)
        patch = mix.patches["unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k"]
        assert patch.mixed_at == mix.gains.moves  # it was really used


class Walk:
    """A mix with a prompt that is pulled about, beside what it should be."""

    def __init__(self, mix: ModelPatcher, unet: SmallUnet, seed: int) -> None:
        self.mix, self.unet, self.random = mix, unet, random.Random(seed)
        self.plain = SmallUnet()  # the same, without styles
        self.shelf = [small_style(f"s{number}", number, rank=1 + number) for number in range(6)]
        self.x, self.words = small_inputs()
        self.rows: list[list[tuple[float, float]]] = [[]]
        self.on = True

    def weights(self) -> list[float]:
        # Sixteenths, so that gains are exact in fp32 and all else can be compared in fp64.
        return [self.random.randint(-16, 32) / 16 for _ in self.mix.styles]

    def move(self) -> None:
        weights = self.weights()
        self.mix.set_gains(weights)
        self.rows = [[(weight, weight) for weight in weights]]

    def knobs(self) -> None:
        weights, inner, outer = self.weights(), self.weights(), self.weights()
        self.mix.set_gains(weights, composition=inner, texture=outer)
        self.rows = [[(w * a, w * b) for w, a, b in zip(weights, inner, outer, strict=True)]]

    def each_its_own(self) -> None:
        rows = [self.weights() for _ in range(len(self.x))]
        self.mix.set_gains(rows)
        self.rows = [[(weight, weight) for weight in row] for row in rows]

    def prompt(self) -> None:
        self.words = small_inputs(len(self.x), self.random.randrange(10**6))[1]
        self.mix.prompt(self.words)

    def same_prompt(self) -> None:
        self.mix.prompt(self.words)

    def words_in_place(self) -> None:
        self.words.mul_(1.5)

    def untold_words(self) -> None:
        self.words = small_inputs(len(self.x), self.random.randrange(10**6), tokens=4)[1]

    def size(self) -> None:
        self.x = small_inputs(len(self.x), self.random.randrange(10**6), side=self.random.choice((2, 4)))[0]

    def batch(self) -> None:
        self.x, self.words = small_inputs(self.random.choice((1, 2, 4)), self.random.randrange(10**6))
        self.mix.prompt(self.words)
        self.move()

    def add(self) -> None:
        absent = [style for style in self.shelf if style not in self.mix.styles]
        if absent:
            self.mix.add(self.random.choice(absent))
            self.rows = [[*row, (0.0, 0.0)] for row in self.rows]

    def remove(self) -> None:
        if self.mix.styles:
            column = self.random.randrange(len(self.mix.styles))
            self.mix.remove(self.mix.styles[column].id)
            self.rows = [[*row[:column], *row[column + 1 :]] for row in self.rows]

    def toggle(self) -> None:
        self.on = not self.on
        self.mix.active = self.on

    def forget(self) -> None:
        self.mix.prompt(None)

    def check(self) -> None:
        rows = self.rows if self.on else [[(0.0, 0.0)] * len(self.mix.styles)]
        close(
            self.unet(self.x, self.words), by_weights(self.plain, self.mix.styles, rows, self.x, self.words)
        )


STEPS = [
    "move",
    "knobs",
    "each_its_own",
    "prompt",
    "same_prompt",
    "words_in_place",
    "untold_words",
    "size",
    "batch",
    "add",
    "remove",
    "toggle",
    "forget",
]


@pytest.mark.parametrize("seed", range(4))
@torch.no_grad()
def test_nothing_kept_is_ever_stale(seed: int) -> None:
    """Prompt, size, style, batch, knobs and weights change in any order; the picture is always the right one."""
    unet = SmallUnet()
    with blended(PlainBase(unet), []) as mix:
        walk = Walk(mix, unet, seed)
        walk.add()
        for step in STEPS * 2 + walk.random.choices(STEPS, k=40):
            getattr(walk, step)()
            walk.check()
    assert torch.equal(unet(walk.x, walk.words), walk.plain(walk.x, walk.words))


@torch.no_grad()
def test_every_single_change_after_a_kept_step_is_seen() -> None:
    """Each kind of change on its own, right after a step for which everything was kept."""
    for step in STEPS:
        unet = SmallUnet()
        with blended(PlainBase(unet), []) as mix:
            walk = Walk(mix, unet, 0)
            for first in ("add", "add", "prompt", "move"):
                getattr(walk, first)()
            walk.check()
            getattr(walk, step)()
            walk.check()
            walk.move()
            walk.check()


def test_prompts_told_in_inference_mode_and_styles_added_there_serve_outside_it() -> None:
    unet, styles = SmallUnet(), [small_style("Ink", 1), small_style("Chalk", 2)]
    x, words = small_inputs()
    with torch.inference_mode():
        opened = blended(PlainBase(unet), styles[:1])
        mix = opened.__enter__()
        mix.prompt(words)
        mix.add(styles[1])
        mix.set_gains([0.5, 1.0])
        inside = unet(x, words)
    mix.set_gains([0.5, 0.9])
    mix.set_gains([0.5, 1.0])
    assert torch.equal(unet(x, words), inside)
    mix.prompt(words * 2)
    mix.remove("Ink")
    opened.__exit__(None, None, None)


def test_words_made_in_inference_mode_are_computed_afresh() -> None:
    """Nobody could tell whether they were written into."""
    unet = SmallUnet()
    with torch.inference_mode(), blended(PlainBase(unet), [small_style("Ink", 1)]) as mix:
        x, words = small_inputs()
        mix.set_gains([1.0])
        mix.prompt(words)
        unet(x, words)
        words.mul_(2)
        close(unet(x, words), by_weights(SmallUnet(), mix.styles, [[(1.0, 1.0)]], x, words))


def test_under_autocast_nothing_of_another_dtype_comes_back() -> None:
    unet, style = SmallUnet(torch.float32), small_style("Ink", 1)
    words = small_inputs()[1].float()
    module = unet.mid_block.attn2.to_k
    with torch.no_grad(), blended(PlainBase(unet), [style]) as mix:
        mix.set_gains([1.0])
        mix.prompt(words)
        exact = module(words)
        with torch.autocast("cpu", torch.bfloat16):
            half = module(words)
            assert half.dtype == torch.bfloat16
            close(half.float(), exact, 2**-7)
            mix.prompt(words)
        assert module(words).dtype == torch.float32
        close(module(words), exact, 1e-6)


def test_a_base_that_learns_still_learns() -> None:
    unet = SmallUnet().requires_grad_(True)
    x, words = small_inputs()
    with blended(PlainBase(unet), [small_style("Ink", 1)]) as mix:
        mix.set_gains([1.0])
        mix.prompt(words)
        unet(x, words).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in unet.mid_block.attn2.to_k.parameters())


@torch.no_grad()
def test_a_blend_over_a_blend_keeps_nothing_of_the_lower_one() -> None:
    """The lower one may move while the upper one is on."""
    unet, ink, chalk = SmallUnet(), small_style("Ink", 1), small_style("Chalk", 2)
    x, words = small_inputs()
    with blended(PlainBase(unet), [ink]) as lower, blended(PlainBase(unet), [chalk]) as upper:
        lower.prompt(words)
        upper.prompt(words)
        for one, other in ((1.0, 0.5), (-1.0, 0.5), (0.25, 0.75)):
            lower.set_gains([one])
            upper.set_gains([other])
            expected = by_weights(SmallUnet(), [ink, chalk], [[(one, one), (other, other)]], x, words)
            close(unet(x, words), expected)


def test_rows_that_do_not_fit_the_prompt_are_refused() -> None:
    unet = SmallUnet()
    x, words = small_inputs(2)
    with torch.no_grad(), blended(PlainBase(unet), [small_style("Ink", 1)]) as mix:
        mix.prompt(words)
        mix.set_gains([[1.0], [0.5], [0.2]])
        with pytest.raises(BlendError, match="3 pictures"):
            unet(x, words)
