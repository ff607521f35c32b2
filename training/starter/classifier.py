"""A small network that reads drawings: which subject, colour, background and hand.

It is the judge of the starter model and of styles trained on it, so it learns every hand, also those that the
starter never sees, and it must read pictures that are a little soft, as an autoencoder leaves them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.starter.captions import caption
from training.starter.drawings import read_drawn, sample
from training.starter.hands import HANDS, HELD_OUT, TONED, draw
from training.starter.scenes import BACKGROUNDS, COLOURS, SUBJECTS, Scene, sample_scene
from training.starter.stage import autocast

INPUT_PX = 64
UNKNOWN = -100  # a label that doesn't count: held-out hands have colours of their own

PARTS: dict[str, tuple[str, ...]] = {
    "subject": tuple(SUBJECTS),
    "colour": tuple(COLOURS),
    "background": tuple(BACKGROUNDS),
    "hand": (*HANDS, *HELD_OUT),
}
_EXAM_SEED = 10_000_000  # no drawing of the school book uses seeds from here on


@dataclass(frozen=True)
class ReaderPlan:
    """How the reader is trained; the defaults take about five minutes of one core."""

    held_out_drawings: int = 3_200
    epochs: float = 4.0
    batch: int = 64
    learning_rate: float = 4e-3  # at the top of one cycle
    exam_drawings: int = 1_200  # unseen drawings in the training hands
    held_out_exam_drawings: int = 400
    seed: int = 0


class Reader(nn.Module):
    """Pictures (B, 3, 64, 64) in -1..1 to one row of logits for each of PARTS; 0.75 M parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.PixelUnshuffle(2), _convolution(12, 48))  # (B, 48, 32, 32)
        self.body = nn.Sequential(
            _Residual(48, 1),
            _convolution(48, 96, stride=2),  # (B, 96, 16, 16)
            _Residual(96, 2),
            _convolution(96, 160, stride=2),  # (B, 160, 8, 8)
            _Residual(160, 2),
        )
        self.heads = nn.ModuleList(nn.Linear(320, len(names)) for names in PARTS.values())

    def forward(self, pictures: Tensor) -> list[Tensor]:
        features = self.body(self.stem(pictures))
        pooled = torch.cat([features.mean((2, 3)), features.amax((2, 3))], 1)  # (B, 320)
        return [head(pooled) for head in self.heads]


class _Residual(nn.Module):
    def __init__(self, width: int, convolutions: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(*(_convolution(width, width) for _ in range(convolutions)))

    def forward(self, features: Tensor) -> Tensor:
        return features + self.inner(features)


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


# --- what it reads ---------------------------------------------------------------------------------------


@torch.no_grad()
def read(reader: Reader, pictures: np.ndarray) -> dict[str, list[str]]:
    """The names that the reader gives to pictures (N, H, W, 3) uint8, square and of any size, for each of PARTS."""
    device = next(reader.parameters()).device
    labels: dict[str, list[str]] = {part: [] for part in PARTS}
    for first in range(0, len(pictures), 64):
        small = to_input(pictures[first : first + 64])
        answers = reader(torch.from_numpy(small).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1)
        for (part, names), logits in zip(PARTS.items(), answers, strict=True):
            labels[part] += [names[row] for row in logits.argmax(1).tolist()]
    return labels


def to_input(pictures: np.ndarray) -> np.ndarray:
    """Pictures (N, H, W, 3) uint8 as (N, 64, 64, 3) uint8, by the mean of each area."""
    if pictures.shape[1] != 2 * INPUT_PX:
        resized = F.interpolate(
            torch.from_numpy(pictures).permute(0, 3, 1, 2).float(),
            (2 * INPUT_PX, 2 * INPUT_PX),
            mode="bilinear",
            antialias=True,
        )
        pictures = resized.round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    quarters = pictures.reshape(-1, INPUT_PX, 2, INPUT_PX, 2, 3).sum((2, 4), dtype=np.uint16)
    return ((quarters + 2) // 4).astype(np.uint8)


def share_right(answers: Sequence[str], truth: Sequence[str]) -> float:
    """The share of answers that are right; with no truth at all, nothing is right."""
    return sum(a == b for a, b in zip(answers, truth, strict=True)) / max(1, len(truth))


# --- what it learns from ---------------------------------------------------------------------------------


def held_out_drawing(number: int, hand: str) -> tuple[Scene, np.ndarray]:
    """A single-subject scene drawn in a held-out hand, (128, 128, 3) uint8; a number is always the same picture."""
    scene = sample_scene(np.random.default_rng([number, 2]), pair_share=0.0)
    return scene, draw(scene, hand, number)


def exam_drawing(number: int) -> tuple[Scene, str, str, np.ndarray]:
    """A kept-back scene, its hand and caption, and the drawing, made with chance that no school drawing had."""
    scene, hand, text = sample(number, exam=True)
    return scene, hand, text, draw(scene, hand, _EXAM_SEED + number)


def _row(subjects: Sequence[tuple[str, str]], background: str, hand: str) -> list[int]:
    """The numbers of what a drawing shows; UNKNOWN where its hand doesn't tell, or is in no exam."""
    subject, colour = subjects[0]
    if hand in HELD_OUT:
        colour = background = ""
    if hand in TONED:
        colour = hand = ""
    shown = zip(PARTS.values(), (subject, colour, background, hand), strict=True)
    return [names.index(name) if name else UNKNOWN for names, name in shown]


def _school(state: Path, plan: ReaderPlan) -> tuple[np.ndarray, Tensor]:
    """All single-subject drawings of the school book and new ones in held-out hands, (N, 64, 64, 3), and labels."""
    records = read_drawn(state)
    drawings = np.load(state / "drawings.npy", mmap_mode="r")
    rows = [number for number, drawn in enumerate(records) if len(drawn.subjects) == 1]
    pictures = [to_input(drawings[rows[first : first + 500]]) for first in range(0, len(rows), 500)]
    labels = []
    for number in rows:
        drawn = records[number]
        labels.append(_row(drawn.subjects, drawn.background, drawn.hand))
    for number in range(plan.held_out_drawings):
        hand = tuple(HELD_OUT)[number % len(HELD_OUT)]
        scene, picture = held_out_drawing(number, hand)
        pictures.append(to_input(picture[None]))
        labels.append(_row(scene.told, scene.background, hand))
    return np.concatenate(pictures), torch.tensor(labels)


def _augmented(pictures: np.ndarray, rng: np.random.Generator) -> Tensor:
    """Pictures (B, 64, 64, 3) uint8 as (B, 3, 64, 64) in -1..1: mirrored, shifted, softened and a little noisy."""
    batch = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    if rng.random() < 0.5:
        batch = batch.flip(3)
    x, y = rng.integers(0, 7, 2).tolist()
    batch = F.pad(batch, (3, 3, 3, 3), mode="replicate")[..., y : y + INPUT_PX, x : x + INPUT_PX]
    if rng.random() < 0.6:  # an autoencoder softens: a blur of up to about 2 px of the whole picture
        side = float(rng.uniform(0.05, 0.3))
        kernel = torch.tensor([side, 1 - 2 * side, side])
        kernel = (kernel[:, None] * kernel).expand(3, 1, 3, 3)
        batch = F.conv2d(F.pad(batch, (1, 1, 1, 1), mode="replicate"), kernel, groups=3)
    noise = torch.Generator().manual_seed(int(rng.integers(2**31)))
    batch = batch * float(rng.uniform(0.93, 1.04)) + float(rng.uniform(-0.04, 0.04))
    return batch + float(rng.uniform(0, 0.06)) * torch.randn(batch.shape, generator=noise)


# --- training and keeping it -----------------------------------------------------------------------------


def train_reader(state: Path, plan: ReaderPlan, device: torch.device) -> Reader:
    """Train a reader on the school book in `state` and save it as `classifier.pt` there, with its accuracy."""
    torch.manual_seed(plan.seed)
    pictures, labels = _school(state, plan)
    reader = Reader().to(device)
    optimizer = torch.optim.AdamW(reader.parameters(), lr=plan.learning_rate, weight_decay=0.02)
    steps = max(2, int(plan.epochs * len(pictures) / plan.batch))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, plan.learning_rate, total_steps=steps, pct_start=0.2, div_factor=10, final_div_factor=100
    )
    print(f"classifier: {len(pictures)} drawings, {steps} steps of {plan.batch}", flush=True)
    started = time.process_time()
    for step, rows in enumerate(_batches(len(pictures), steps, plan)):
        batch = _augmented(pictures[rows], np.random.default_rng([plan.seed, step, 3]))
        batch = batch.to(device, memory_format=torch.channels_last)
        with autocast(device):
            answers = reader(batch)
        truth = labels[torch.from_numpy(rows)].to(device)
        losses = [_part_loss(answer.float(), truth[:, part]) for part, answer in enumerate(answers)]
        loss = torch.stack(losses).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == steps - 1:
            each = ", ".join(f"{name} {part.item():.2f}" for name, part in zip(PARTS, losses, strict=True))
            print(f"classifier: step {step}, {each}, {time.process_time() - started:.0f} s", flush=True)
    reader.eval().requires_grad_(False)
    right = accuracy(reader, plan)
    unfinished = state / "classifier.tmp"
    torch.save({"network": reader.state_dict(), "accuracy": right}, unfinished)
    unfinished.replace(state / "classifier.pt")
    return reader


def _batches(count: int, steps: int, plan: ReaderPlan) -> Iterator[np.ndarray]:
    """Row numbers (B,): every drawing once before any comes again."""
    order, epoch = np.empty(0, np.int64), 0
    for _ in range(steps):
        if len(order) < plan.batch:
            order = np.concatenate([order, np.random.default_rng([plan.seed, epoch, 4]).permutation(count)])
            epoch += 1
        rows, order = order[: plan.batch], order[plan.batch :]
        yield rows


def _part_loss(logits: Tensor, truth: Tensor) -> Tensor:
    if bool((truth == UNKNOWN).all()):
        return logits.sum() * 0
    return F.cross_entropy(logits, truth, ignore_index=UNKNOWN, label_smoothing=0.05)


def accuracy(reader: Reader, plan: ReaderPlan) -> dict[str, dict[str, float]]:
    """Shares read right on unseen drawings: `training` and `held out` hands apart, and each hand's subjects."""
    groups: dict[str, list[tuple[Scene, str, np.ndarray]]] = {"training": [], "held out": []}
    for number in range(plan.exam_drawings):
        scene, hand, _, picture = exam_drawing(number)
        groups["training"].append((scene, hand, picture))
    for number in range(plan.held_out_exam_drawings):
        hand = tuple(HELD_OUT)[number % len(HELD_OUT)]
        scene, picture = held_out_drawing(_EXAM_SEED + number, hand)
        groups["held out"].append((scene, hand, picture))
    result: dict[str, dict[str, float]] = {}
    subjects: dict[str, list[bool]] = {hand: [] for hand in PARTS["hand"]}
    for group, drawn in groups.items():
        answers = read(reader, np.stack([picture for _, _, picture in drawn]))
        truth = [_row(scene.told, scene.background, hand) for scene, hand, _ in drawn]
        result[group] = {}
        for part, name in enumerate(PARTS):
            pairs = [
                (answer, PARTS[name][row[part]])
                for answer, row in zip(answers[name], truth, strict=True)
                if row[part] != UNKNOWN
            ]
            if pairs:
                result[group][name] = share_right([a for a, _ in pairs], [b for _, b in pairs])
        for answer, (scene, hand, _) in zip(answers["subject"], drawn, strict=True):
            subjects[hand].append(answer == scene.subjects[0].subject)
    result["subject in hand"] = {hand: float(np.mean(right)) for hand, right in subjects.items() if right}
    return result


def open_reader(state: Path, device: torch.device) -> tuple[Reader, dict[str, dict[str, float]]]:
    """The reader in `state/classifier.pt` and its accuracy; trained first when there is none."""
    path = state / "classifier.pt"
    if not path.exists():
        train_reader(state, ReaderPlan(), device)
    stored = torch.load(path, map_location="cpu", weights_only=True)
    reader = Reader().to(device)
    reader.load_state_dict(stored["network"])
    return reader.eval().requires_grad_(False), stored["accuracy"]


def plain_prompt(scene: Scene) -> str:
    """The canonical caption of a scene, without any hand."""
    return caption(scene, None, None)
