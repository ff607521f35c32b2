"""A painting step with styles, counted: styles without numbers, on a UNet on meta."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch

from styles.bases.prediction import predict
from styles.formats.style import Style, StyleCard, StyleLayer
from styles.mixing.merged_weights import MergedWeights
from styles.mixing.model_patcher import blended
from tests.accelerator.counting import META, Counting, as_on_cuda, meta_inputs
from tests.styles.making import PlainBase

ALL = r"attn[12]\.to_(q|k|v|out\.0)|ff\.net\.(0\.proj|2)|proj_in|proj_out"
# What styles of kohya's scripts change, by its options.
LAYERS = {
    "cross-attention": r"attn2\.to_(q|k|v|out\.0)",
    "all": ALL,
    "convolutions, too": ALL + r"|conv1|conv2|conv_shortcut|samplers\.0\.conv|time_emb_proj",
}
PLENTY = 10**12  # bytes


@dataclass
class StepCounts:
    """Kernels and bytes of a step: of the bare base, with styles, and what the first one after a move has on top."""

    plain: Counting
    step: Counting
    first: Counting
    merged_bytes: int

    @property
    def kernels(self) -> float:
        """The step's kernels over those without styles."""
        return self.step.kernels / self.plain.kernels

    @property
    def moved(self) -> float:
        """The step's bytes over those without styles."""
        return self.step.moved_bytes / self.plain.moved_bytes

    @property
    def move(self) -> float:
        """The bytes that a slider's move costs once, over those of a step without styles."""
        return (self.first.moved_bytes - self.step.moved_bytes) / self.plain.moved_bytes


def meta_style(unet: Any, name: str, rank: int, layers: str) -> Style:
    """Return a style without numbers over one of `LAYERS`."""
    pattern, made = re.compile(rf"(.*\.)?({LAYERS[layers]})"), []
    for path, module in unet.named_modules():
        if not isinstance(module, torch.nn.Linear | torch.nn.Conv2d) or not pattern.fullmatch(path):
            continue
        out, *reads = module.weight.shape
        ranks = min(rank, out)
        up = torch.empty(out, ranks, *[1] * (len(reads) - 1), device=META)
        made.append(StyleLayer("unet", path, torch.empty(ranks, *reads, device=META), up, float(rank)))
    return Style(StyleCard(name, "unknown", rank, id=name), tuple(made))


@contextmanager
def on_meta() -> Iterator[None]:
    """Count as on CUDA, where no numbers can be asked for: all layers may be merged, and there is no autocast."""
    enabled = torch.is_autocast_enabled
    with (
        as_on_cuda(),
        torch.no_grad(),
        patch.object(MergedWeights, "_how_many", lambda _, patches: len(patches)),
        patch.object(
            torch, "is_autocast_enabled", lambda kind="cpu": False if kind == "meta" else enabled(kind)
        ),
    ):
        yield


class MixCounter:
    """Guided steps of one picture on a UNet on meta, the prompt told before; without styles counted once."""

    def __init__(self, unet: Any, side_px: int, dtype: torch.dtype) -> None:
        self.unet = unet
        self._inputs = meta_inputs(unet, 1, side_px, side_px, dtype, 2)
        with on_meta():
            self.plain = self._step()

    def count(self, styles: Sequence[Style], *, merging: bool) -> StepCounts:
        """Count the first step after a move and the next one, with styles that have the same gains in both."""
        with on_meta(), blended(PlainBase(self.unet), styles) as mix:
            mix.allow_merging(PLENTY if merging else 0)
            mix.prompt(self._inputs[2].states)
            mix.set_gains([0.5 + 0.1 * number for number in range(len(styles))])
            return StepCounts(
                self.plain, first=self._step(), step=self._step(), merged_bytes=mix.merged_bytes
            )

    def _step(self) -> Counting:
        with Counting() as counted:
            predict(self.unet, *self._inputs, 7.0)
        return counted
