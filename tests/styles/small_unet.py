"""A network of the UNet's names and kinds of layers, small enough for fp64, random walks and tracing."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from styles.formats.style import Style, StyleCard, StyleLayer

WIDTH, WORDS = 16, 24


class Attention(nn.Module):
    def __init__(self, words: int) -> None:
        super().__init__()
        self.to_q, self.to_k, self.to_v = (
            nn.Linear(WIDTH, WIDTH),
            nn.Linear(words, WIDTH),
            nn.Linear(words, WIDTH),
        )
        self.to_out = nn.ModuleList([nn.Linear(WIDTH, WIDTH)])

    def forward(self, x: Tensor, words: Tensor) -> Tensor:
        return self.to_out[0](
            F.scaled_dot_product_attention(self.to_q(x), self.to_k(words), self.to_v(words))
        )


class Block(nn.Module):
    has_cross_attention = True

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        self.attn1, self.attn2 = Attention(WIDTH), Attention(WORDS)

    def forward(self, x: Tensor, words: Tensor) -> Tensor:  # (batch, WIDTH, H, W)
        x = x + self.conv(x)
        flat = x.flatten(2).transpose(1, 2)  # (batch, H * W, WIDTH)
        flat = flat + self.attn1(flat, flat)
        flat = flat + self.attn2(flat, words)
        return torch.tanh(flat).transpose(1, 2).reshape(x.shape)


class SmallUnet(nn.Module):
    """Two levels down, a middle, two levels up, all of one size."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.down_blocks = nn.ModuleList([Block(), Block()])
            self.mid_block = Block()
            self.up_blocks = nn.ModuleList([Block(), Block()])
        self.to(dtype).requires_grad_(False)

    def forward(self, x: Tensor, words: Tensor) -> Tensor:
        for block in (*self.down_blocks, self.mid_block, *self.up_blocks):
            x = block(x, words)
        return x


def small_style(name: str, seed: int, rank: int = 4, marks: Sequence[str] = ("attn2", "conv")) -> Style:
    """A random style for the small network."""
    generator = torch.Generator().manual_seed(seed)
    layers = []
    for path, module in SmallUnet().named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d) and any(mark in path for mark in marks):
            shape = module.weight.shape
            down = torch.randn(rank, *shape[1:], generator=generator) * 0.2
            up = torch.randn(shape[0], rank, *[1] * (len(shape) - 2), generator=generator) * 0.2
            layers.append(StyleLayer("unet", path, down, up, rank / 2))
    return Style(StyleCard(name, "sd1", rank, id=name), tuple(layers))


def small_inputs(batch: int = 2, seed: int = 0, side: int = 3, tokens: int = 5) -> tuple[Tensor, Tensor]:
    """(pixels, words) in fp64."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randn(batch, WIDTH, side, side, generator=generator, dtype=torch.float64)
    return pixels, torch.randn(batch, tokens, WORDS, generator=generator, dtype=torch.float64)


def by_weights(
    unet: SmallUnet,
    styles: Sequence[Style],
    rows: Sequence[Sequence[tuple[float, float]]],
    x: Tensor,
    words: Tensor,
) -> Tensor:
    """Compute the mix the slow way: for each picture its own weights, with the deltas written into a copy of them.

    `rows` holds, for each picture, (gain in the inner blocks, gain in the outer blocks) of each style.
    """
    pictures = []
    for number in range(len(x)):
        weights = {name: value.clone() for name, value in unet.named_parameters()}
        for style, (inner, outer) in zip(styles, rows[number % len(rows)], strict=True):
            for layer in style.layers:
                gain = (
                    inner
                    if layer.path.startswith(("mid_block.", "down_blocks.1.", "up_blocks.0."))
                    else outer
                )
                weight = weights[f"{layer.path}.weight"]
                delta = layer.up.double().flatten(1) @ layer.down.double().flatten(1)
                weight += delta.view_as(weight) * (layer.scale * gain)
        pictures.append(functional_call(unet, weights, (x[number : number + 1], words[number : number + 1])))
    return torch.cat(pictures)
