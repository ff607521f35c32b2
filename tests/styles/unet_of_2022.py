"""Networks whose modules are registered as in late 2022 (diffusers 0.9 to 0.14, transformers 4.25), and a walk over them.

Only classes, names, shapes and the order of registration are those of the day; nothing here computes. The files that
number their layers were made by walking such networks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

DEFAULT = ("CrossAttention", "Attention", "GEGLU")
EXTENDED = ("ResnetBlock2D", *DEFAULT)
TEXT = ("CLIPAttention",)


class CrossAttention(nn.Module):
    def __init__(self, width: int, words: int) -> None:
        super().__init__()
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(words, width, bias=False)
        self.to_v = nn.Linear(words, width, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(width, width), nn.Dropout()])


class GEGLU(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, 8 * width)


class FeedForward(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.ModuleList([GEGLU(width), nn.Dropout(), nn.Linear(4 * width, width)])


class BasicTransformerBlock(nn.Module):
    def __init__(self, width: int, words: int) -> None:
        super().__init__()
        self.attn1 = CrossAttention(width, width)
        self.ff = FeedForward(width)  # before the second attention, until diffusers 0.15
        self.attn2 = CrossAttention(width, words)


class Transformer2DModel(nn.Module):
    def __init__(self, width: int, words: int) -> None:
        super().__init__()
        self.proj_in = nn.Conv2d(width, width, 1)
        self.transformer_blocks = nn.ModuleList([BasicTransformerBlock(width, words)])
        self.proj_out = nn.Conv2d(width, width, 1)


class ResnetBlock2D(nn.Module):
    def __init__(self, into: int, out: int, time: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(into, out, 3)
        self.time_emb_proj = nn.Linear(time, out)
        self.conv2 = nn.Conv2d(out, out, 3)
        if into != out:
            self.conv_shortcut = nn.Conv2d(into, out, 1)


class Block(nn.Module):
    def __init__(self, resnets: Sequence[tuple[int, int]], attentions: int, words: int, time: int) -> None:
        super().__init__()
        width = resnets[-1][1]
        if attentions:
            self.attentions = nn.ModuleList(Transformer2DModel(width, words) for _ in range(attentions))
        self.resnets = nn.ModuleList(ResnetBlock2D(into, out, time) for into, out in resnets)
        self.sampler = nn.Conv2d(width, width, 3)  # of its own class, which no file names


class UNet(nn.Module):
    """A UNet of Stable Diffusion 1: (320, 640, 1280, 1280) channels, words of 768 numbers."""

    def __init__(self, widths: Sequence[int] = (320, 640, 1280, 1280), words: int = 768) -> None:
        super().__init__()
        time = 4 * widths[0]
        self.conv_in = nn.Conv2d(4, widths[0], 3)
        self.time_embedding = nn.Linear(widths[0], time)
        self.down_blocks = nn.ModuleList()
        before, skips = widths[0], [widths[0]]
        for level, width in enumerate(widths):
            pairs = [(before, width), (width, width)]
            self.down_blocks.append(Block(pairs, 2 if level < 3 else 0, words, time))
            before = width
            skips += [width] * (3 if level < 3 else 2)
        self.up_blocks = nn.ModuleList()
        for level, width in enumerate(reversed(widths)):
            pairs = [((before if number == 0 else width) + skips.pop(), width) for number in range(3)]
            self.up_blocks.append(Block(pairs, 3 if level else 0, words, time))
            before = width
        last = widths[-1]
        # Set last, so it is walked last.
        self.mid_block = Block([(last, last), (last, last)], 1, words, time)
        self.conv_out = nn.Conv2d(widths[0], 4, 3)


class CLIPAttention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.q_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)


class CLIPMLP(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)


class CLIPEncoderLayer(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.self_attn = CLIPAttention(width)
        self.mlp = CLIPMLP(width)


class TextEncoder(nn.Module):
    def __init__(self, width: int = 768, layers: int = 12) -> None:
        super().__init__()
        self.text_model = nn.Module()
        self.text_model.encoder = nn.Module()
        self.text_model.encoder.layers = nn.ModuleList(CLIPEncoderLayer(width) for _ in range(layers))


def walk(
    network: nn.Module, classes: Iterable[str], kinds: tuple[type[nn.Module], ...] = (nn.Linear,)
) -> list[tuple[str, nn.Module]]:
    """The layers inside the classes of those names, as torch walks the network, with their paths."""
    names = set(classes)
    return [
        (f"{outer}.{inner}", module)
        for outer, ancestor in network.named_modules()
        if type(ancestor).__name__ in names
        for inner, module in ancestor.named_modules()
        if isinstance(module, kinds)
    ]


def numbered_tensors(
    network: str, layers: Sequence[tuple[str, nn.Module]], ranks: Sequence[int], seed: int = 0
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors (random, fp16) and the metadata of a file over these layers; the ranks take turns."""
    generator = torch.Generator().manual_seed(seed)
    tensors, metadata = {}, {}
    for number, (_, module) in enumerate(layers):
        rank = ranks[number % len(ranks)]
        if isinstance(module, nn.Conv2d):
            down = torch.randn(rank, module.in_channels, *module.kernel_size, generator=generator)
            up = torch.randn(module.out_channels, rank, 1, 1, generator=generator)
        else:
            assert isinstance(module, nn.Linear)
            down = torch.randn(rank, module.in_features, generator=generator)
            up = torch.randn(module.out_features, rank, generator=generator)
        tensors[f"{network}:{number}:down"] = (down * 0.1).half()
        tensors[f"{network}:{number}:up"] = (up * 0.1).half()
        metadata[f"{network}:{number}:rank"] = str(rank)
    return tensors, metadata
