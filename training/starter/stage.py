"""What the stages of the starter's build share: how much work each does, and how one is kept and taken up again."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn


@dataclass(frozen=True)
class BuildPlan:
    """How much work goes into each stage; the defaults are meant for about two hours of two idle cores."""

    drawings: int = 20_000  # captioned drawings
    textures: int = 1_500  # pictures without a caption, for the autoencoder alone
    vae_steps: int = 3_400
    vae_batch: int = 4  # crops of 64 px; many small steps get to colours sooner than few large ones
    decoder_steps: int = 2_400
    decoder_batch: int = 2  # whole drawings
    text_steps: int = 400
    text_batch: int = 48
    shape_steps: int = 1_500
    shape_batch: int = 64
    unet_steps: int = 6_000
    unet_batch: int = 16  # of each worker
    learning_rate: float = 1e-3  # of the UNet, after warm-up
    decay_share: float = 0.2  # the last share of the UNet's steps, over which the rate falls to nothing
    ema_half_life: int = 200  # steps
    mix_every: int = 16  # steps between two averagings of the workers' UNets
    workers: int = 2  # processes that draw, and on a CPU that train the UNet
    seed: int = 0


class Stage:
    """One network under training: its weights, optimizer and step count, saved every so often."""

    def __init__(
        self,
        path: Path,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        ema: nn.Module | None,
        keeps: bool = True,
    ):
        self.path, self.network, self.optimizer, self.ema, self.keeps = path, network, optimizer, ema, keeps
        self.step = 0
        if path.exists():
            state = torch.load(path, map_location="cpu", weights_only=True)
            network.load_state_dict(state["network"])
            optimizer.load_state_dict(state["optimizer"])
            if ema is not None:
                ema.load_state_dict(state["ema"])
            self.step = state["step"]

    def save(self) -> None:
        """Write the state beside itself and rename it into place."""
        state = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ema": self.ema.state_dict() if self.ema is not None else None,
            "step": self.step,
        }
        unfinished = self.path.with_suffix(".tmp")
        torch.save(state, unfinished)
        unfinished.replace(self.path)

    def steps(self, name: str, total: int, every: int = 100) -> Iterator[int]:
        """Count from the saved step to `total`, saving and telling the pace on the way."""
        started, first = time.monotonic(), self.step
        while self.step < total:
            yield self.step
            self.step += 1
            if self.keeps and (self.step % every == 0 or self.step == total):
                self.save()
                pace = (time.monotonic() - started) / (self.step - first)
                print(f"{name}: step {self.step} of {total}, {pace:.2f} s a step", flush=True)


def autocast(device: torch.device) -> torch.autocast:
    """bfloat16 where it is computed with: a CPU without AVX-512 only imitates it, twenty times slower."""
    fast = device.type != "cpu" or "AVX512" in torch.backends.cpu.get_cpu_capability()
    return torch.autocast(device.type, torch.bfloat16, enabled=fast)


def warm_then_cosine(step: int, total: int, warm_up: int = 50) -> float:
    return min(1.0, (step + 1) / warm_up) * 0.5 * (1 + math.cos(math.pi * step / total))


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
