"""Checkpoints and styles that were distilled to paint in a few steps, told by what they are called, and what suits them.

Nothing in their tensors tells: a distilled UNet has the layers of any other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from styles.text import Text


@dataclass(frozen=True)
class FewSteps:
    """One way of distillation, and what its makers paint with; the names are those of `styles.generation.samplers`."""

    name: str
    # In a file's, a style's or a scheduler's name.
    named: re.Pattern[str]
    sampler: str
    # None: the sampler's own.
    schedule: str | None
    steps: int
    guidance: float

    def about(self, name: str) -> Text:
        """What to say of a base or a style of that name."""
        return Text(
            "“{name}” is made for few steps ({kind}): {steps} steps, guidance {guidance:g} and the sampler “{sampler}” suit it, and are taken where you choose nothing.",
            name=name,
            kind=self.name,
            steps=self.steps,
            guidance=self.guidance,
            sampler=self.sampler,
        )


def _named(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


# LCM: arXiv 2310.04378. SDXL-Lightning: arXiv 2402.13929. Hyper-SD: arXiv 2404.13686. DMD2: arXiv 2405.14867. Turbo:
# arXiv 2311.17042. Where their makers turn guidance off, 1 does.
FEW_STEPS = (
    FewSteps("DMD2", _named(r"dmd2"), "lcm", None, 4, 1.0),
    FewSteps("Lightning", _named(r"lightning"), "euler", "sgm uniform", 4, 1.0),
    FewSteps(
        "Hyper-SD with guidance", _named(r"hyper.*(?<![a-z])cfg(?![a-z])"), "euler", "sgm uniform", 8, 5.0
    ),
    FewSteps("Hyper-SD", _named(r"hyper[-_ ]?(?:sd|vae|lora|\d+[-_ ]?step)"), "euler", "sgm uniform", 8, 1.0),
    FewSteps("Turbo", _named(r"turbo"), "euler", "sgm uniform", 4, 1.0),
    FewSteps("LCM", _named(r"(?<![a-z])lcm(?![a-z])|^LCMScheduler$|LatentConsistency"), "lcm", None, 6, 1.5),
)
STEPS = _named(r"(?<!\d)(\d{1,2})[-_ ]?steps?(?![a-z])")
FEWEST, MOST = 2, 16
# A style may be of lightning in the sky: one that is for a model says so.
FOR_A_MODEL = _named(r"sd(?![a-z])|sdxl|xl(?![a-z])|sdv?\d|lora|\d[-_ ]?steps?(?![a-z])")


def few_steps_of(names: Iterable[str]) -> FewSteps | None:
    """Return what a checkpoint with these names was distilled by, with the number of steps that they tell; else None."""
    names = [name for name in names if name]
    for way in FEW_STEPS:
        if any(way.named.search(name) for name in names):
            counts = [int(steps) for name in names for steps in STEPS.findall(name)]
            return replace(way, steps=next((steps for steps in counts if FEWEST <= steps <= MOST), way.steps))
    return None


def few_steps_of_style(names: Iterable[str]) -> FewSteps | None:
    """Return the same of a style, which has to be called after a model as well."""
    return few_steps_of(name for name in names if FOR_A_MODEL.search(name))
