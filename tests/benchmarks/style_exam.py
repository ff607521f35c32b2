"""The parts of the learning benchmark: prompts, references, trained styles and the distances between them."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from styles.bases.base import Base, open_base
from styles.formats.reader import read_style
from styles.formats.style import Style
from styles.storage.home import Home
from training.artworks.captions import full_caption
from training.artworks.collecting import collect
from training.distance import PARTS, StyleStatistics, distance, gap_closed, look
from training.events import Finished
from training.job import Job
from training.plan import plan_for
from training.starter.artworks import draw_artworks
from training.starter.captions import caption
from training.starter.classifier import Reader, open_reader, read, share_right
from training.starter.evaluate import PaintPlan, paint, through_vae
from training.starter.hands import draw
from training.starter.scenes import SUBJECTS, Scene, sample_scene

BUNDLED = Path(__file__).resolve().parents[2] / "training" / "bundled"
BARS = {"overall": 0.5, "palette": 1 / 3, "texture": 1 / 3}  # of the gap, each at least
SUBJECT_BAR = 0.85  # of how well subjects are read in true drawings
_UNSEEN = 20_000_000  # scenes and chance of drawings from here on are in no school book


@dataclass(frozen=True)
class Prompts:
    """What is to be painted, and what true drawings of it look like in a hand."""

    scenes: tuple[Scene, ...]
    numbers: range  # one for each scene: the seed that it is painted with

    @classmethod
    def of(cls, count: int, first: int = 0) -> Prompts:
        """`count` prompts from the number `first` on, over all subjects, each as often as the others."""
        order = np.random.default_rng(_UNSEEN).permutation(len(SUBJECTS))
        numbers = range(first, first + count)
        return cls(
            tuple(
                sample_scene(
                    np.random.default_rng([_UNSEEN + number, 5]),
                    subject=SUBJECTS[order[number % len(SUBJECTS)]],
                    pair_share=0.0,
                )
                for number in numbers
            ),
            numbers,
        )

    @property
    def subjects(self) -> list[str]:
        return [scene.subjects[0].subject for scene in self.scenes]

    def texts(self, trigger: str = "") -> list[str]:
        """The plain captions without any hand, as a training with this trigger word would have them."""
        return [full_caption(caption(scene, None, None), trigger) for scene in self.scenes]

    def drawn(self, hand: str, edition: int, size_px: int) -> np.ndarray:
        """Fresh square drawings (N, H, W, 3) uint8 of the same captions, each edition placed and drawn anew."""
        pictures = []
        for number, scene in zip(self.numbers, self.scenes, strict=True):
            placed, chance = scene.subjects[0], _UNSEEN + 1_000_000 * (1 + edition) + number
            again = sample_scene(
                np.random.default_rng([chance, 6]),
                subject=placed.subject,
                colour=placed.colour,
                background=scene.background,
                pair_share=0.0,
            )
            pictures.append(draw(again, hand, chance, size_px))
        return np.stack(pictures)


@dataclass(frozen=True)
class Bench:
    """An opened base with all that is needed to measure styles on it."""

    base: Base
    prompts: Prompts
    painting: PaintPlan
    trigger: str
    reader: Reader | None
    unstyled: np.ndarray  # (N, H, W, 3): weight 0, without the trigger word

    @classmethod
    def open(
        cls,
        base_folder: Path,
        home: Home,
        prompts: Prompts,
        painting: PaintPlan,
        trigger: str,
        state: Path,
        device: str,
    ) -> Bench:
        base = open_base(base_folder, home, device=device, safety_checker=False)
        reader = open_reader(state, base.device)[0] if (state / "classifier.pt").exists() else None
        unstyled = paint(base, prompts.texts(), list(prompts.numbers), painting)
        return cls(base, prompts, painting, trigger, reader, unstyled)

    def paint(self, style: Style, weight: float) -> np.ndarray:
        """The prompts' pictures at one weight; the same seeds at every weight.

        As in Create, the trigger word stands in front of them only where the weight is positive.
        """
        if weight == 0:
            return self.unstyled
        texts = self.prompts.texts(self.trigger if weight > 0 else "")
        return paint(self.base, texts, list(self.prompts.numbers), self.painting, (style,), (weight,))


@dataclass(frozen=True, eq=False)
class Reference:
    """A hand's true look: what d(w) is measured from, how near one can come, how well its subjects can be read."""

    hand: str
    pictures: np.ndarray
    look: StyleStatistics
    floor: dict[str, float]
    subject: float | None

    @classmethod
    def of(cls, bench: Bench, hand: str) -> Reference:
        drawn = [bench.prompts.drawn(hand, edition, bench.base.native_size_px) for edition in range(2)]
        first, second = (through_vae(bench.base, pictures) for pictures in drawn)
        measured = look(first)
        between = distance(look(second), measured)
        subject = None
        if bench.reader is not None:
            subject = share_right(
                read(bench.reader, np.concatenate(drawn))["subject"], bench.prompts.subjects * 2
            )
        return cls(hand, first, measured, {part: between.part(part) for part in PARTS}, subject)

    def distances(self, pictures: np.ndarray) -> dict[str, float]:
        """All parts of the pictures' distance from this reference."""
        found = distance(pictures, self.look)
        return {part: found.part(part) for part in PARTS}

    def closed(self, d0: dict[str, float], d1: dict[str, float]) -> dict[str, float]:
        """The share of the gap that is closed, in each part."""
        return {part: gap_closed(d0[part], d1[part], self.floor[part]) for part in PARTS}


def artworks_of(hand: str, folder: Path, shuffled: bool = False, captioned: bool = True) -> Path:
    """A folder with 8 artworks in the hand, drawn as the bundled ones are; or their shuffled pixels."""
    target = folder / (hand.replace(" ", "_") + (" shuffled" if shuffled else ""))
    bundled = BUNDLED / hand.replace(" ", "_")
    if not target.is_dir():
        if bundled.is_dir():
            shutil.copytree(bundled, target)
        else:
            draw_artworks(hand, target)
        for number, path in enumerate(sorted(target.glob("*.png"))):
            if shuffled:
                pixels = np.asarray(Image.open(path).convert("RGB"))
                mixed = np.random.default_rng(number).permutation(pixels.reshape(-1, 3)).reshape(pixels.shape)
                Image.fromarray(mixed).save(path)
            if not captioned:
                path.with_suffix(".txt").unlink()
    return target


def train_style(
    bench: Bench, home: Home, artworks: Path, preset: str, seed: int, **overrides: Any
) -> tuple[Style, float]:
    """Train a style as the app would, and return it with the seconds that its training took."""
    count = len(collect([artworks]).pictures)
    values = {"name": f"{artworks.name} {seed}", "trigger": bench.trigger, "seed": seed, **overrides}
    plan = plan_for(preset, bench.base.family, count, base=str(bench.base.folder), **values)
    job = Job.create(home.jobs, plan, [artworks])
    from training.loop import train

    with job.held():
        for event in train(job, base=bench.base):
            job.append(event)
    assert isinstance(event, Finished)
    return read_style(job.folder / "style.safetensors"), event.seconds


def untrained(style: Style) -> Style:
    """The same layers as they were before the first step: the second matrix is zero."""
    return replace(
        style, layers=tuple(replace(layer, up=torch.zeros_like(layer.up)) for layer in style.layers)
    )


def measure(
    bench: Bench, reference: Reference, style: Style, weights: Sequence[float]
) -> tuple[dict, np.ndarray]:
    """d(w) of one style, its share of the gap, how well subjects are read, and the pictures (weights, N, H, W, 3)."""
    painted = {weight: bench.paint(style, weight) for weight in sorted({*weights, 0.0, 1.0})}
    d = {weight: reference.distances(pictures) for weight, pictures in painted.items()}
    upward = [d[weight]["overall"] for weight in sorted(d) if weight >= 0]
    row: dict[str, Any] = {
        "d": {f"{weight:g}": parts for weight, parts in d.items()},
        "closed": reference.closed(d[0.0], d[1.0]),
        "falls": all(a > b for a, b in itertools.pairwise(upward)),
    }
    if -1.0 in d:
        row["rises at -1"] = d[-1.0]["overall"] > d[0.0]["overall"]
    if bench.reader is not None and reference.subject:
        right = {
            weight: share_right(read(bench.reader, pictures)["subject"], bench.prompts.subjects)
            for weight, pictures in painted.items()
        }
        row["subject"] = {f"{weight:g}": share for weight, share in right.items()}
        row["subject of true drawings"] = reference.subject
        row["subject share"] = right[1.0] / reference.subject
    row["passes"] = _passes(row)
    return row, np.stack(list(painted.values()))


def _passes(row: dict) -> bool | None:
    """Whether every bar is met; None where all that was measured is met, but not everything was measured."""
    met = [row["closed"][part] >= bar for part, bar in BARS.items()]
    met += [row["falls"], row.get("rises at -1")]
    met.append(row["subject share"] >= SUBJECT_BAR if "subject share" in row else None)
    if False in met:
        return False
    return None if None in met else True
