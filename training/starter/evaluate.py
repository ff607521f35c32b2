"""How good the starter model is: does it paint what the words say, and does its autoencoder keep what it sees?"""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from styles.bases.base import Base, open_base
from styles.families import STARTER
from styles.generation.generate import PictureDone, generate
from styles.generation.request import CreateRequest
from styles.storage.home import Home
from training.starter.classifier import PARTS, Reader, held_out_drawing, open_reader, read
from training.starter.drawings import sample
from training.starter.hands import HANDS, HELD_OUT, draw
from training.starter.scenes import Scene, sample_scene
from training.starter.sheet import contact_sheet

if TYPE_CHECKING:
    from styles.formats.style import Style

_PAIR_NUMBERS = 5_000_000  # drawings from this number on are in no school book
_FIDELITY_SEED = 6_000_000
_WINDOW_PX, _WINDOW_TOPS = 72, (0, 14, 28, 42, 56)


@dataclass(frozen=True)
class PaintPlan:
    """How the pictures of an exam are painted, and how many."""

    count: int = 300  # single-subject pictures
    pairs: int = 60  # two-subject pictures
    steps: int = 20
    guidance: float = STARTER.guidance
    guidance_rescale: float = STARTER.guidance_rescale
    sampler: str = "dpm++ 2m"
    batch: int = 16
    drawings_per_hand: int = 8  # through the autoencoder


def evaluate(
    state: Path,
    model_folder: Path,
    device: torch.device,
    plan: PaintPlan | None = None,
    pictures: Path | None = None,
) -> dict:
    """Examine the model in `model_folder`, print a table, and write `evaluation.json` and `grid.png` into `state`.

    `state` holds the classifier, or the school book to train it on first. `pictures` is a folder of the
    reader's own pictures that the autoencoder is to restore as well.
    """
    plan = plan or PaintPlan()
    reader, accuracy = open_reader(state, device)
    base = open_base(model_folder, Home(state), device=device, safety_checker=False)
    result: dict = {"plan": asdict(plan), "device": str(base.device), "dtype": str(base.dtype)}
    result["classifier"] = accuracy
    result["autoencoder"] = fidelity(base, plan)
    if pictures is not None:
        result["autoencoder"]["own pictures"] = own_pictures(base, pictures)
    result["single"] = _examine_singles(base, reader, plan, state / "grid.png")
    result["pairs"] = _examine_pairs(base, reader, plan)
    started = time.monotonic()
    paint(base, ["a red house in a meadow"], [0], plan)
    result["seconds for one picture"] = round(time.monotonic() - started, 2)
    (state / "evaluation.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    _report(result)
    return result


def paint(
    base: Base,
    prompts: list[str],
    seeds: list[int],
    plan: PaintPlan,
    styles: tuple[Style, ...] = (),
    weights: tuple[float, ...] = (),
) -> np.ndarray:
    """Pictures (N, H, W, 3) uint8 of the prompts, with the styles at the given weights."""
    request = CreateRequest(
        prompt=tuple(prompts),
        weights=(weights,) if styles else (),
        seeds=tuple(seeds),
        steps=plan.steps,
        guidance=plan.guidance,
        guidance_rescale=plan.guidance_rescale,
        sampler=plan.sampler,
        batch=plan.batch,
        safety_checker=False,
    )
    done = [event for event in generate(base, request, styles) if isinstance(event, PictureDone)]
    return np.stack([np.asarray(one.image) for one in sorted(done, key=lambda one: one.index)])


# --- does it paint what the words say? -------------------------------------------------------------------


def _examine_singles(base: Base, reader: Reader, plan: PaintPlan, grid: Path) -> dict:
    """Single subjects in combinations of subject, colour, background and hand that were never trained."""
    samples: list[tuple[Scene, str, str]] = [sample(number, exam=True) for number in range(plan.count)]
    painted = paint(base, [text for _, _, text in samples], list(range(plan.count)), plan)
    contact_sheet(painted[:64], [text for _, _, text in samples[:64]], columns=8).save(grid)
    answers = read(reader, painted)
    truth = {
        "subject": [scene.subjects[0].subject for scene, _, _ in samples],
        "colour": [scene.subjects[0].colour for scene, _, _ in samples],
        "background": [scene.background for scene, _, _ in samples],
        "hand": [hand for _, hand, _ in samples],
    }
    right = {part: [a == b for a, b in zip(answers[part], truth[part], strict=True)] for part in PARTS}
    result: dict = {part: _mean(right[part]) for part in PARTS}
    result["hands"] = {}
    for hand in HANDS:
        rows = [row for row, name in enumerate(truth["hand"]) if name == hand]
        if rows:
            result["hands"][hand] = {"pictures": len(rows)} | {
                part: _mean([right[part][row] for row in rows]) for part in PARTS
            }
    mistakes = {
        part: Counter(f"{b} read as {a}" for a, b in zip(answers[part], truth[part], strict=True) if a != b)
        for part in PARTS
    }
    result["commonest mistakes"] = {part: counts.most_common(8) for part, counts in mistakes.items()}
    return result


def _examine_pairs(base: Base, reader: Reader, plan: PaintPlan) -> dict:
    """Two subjects side by side, read in the left and the right half; beside it how well true drawings are read."""
    samples = [sample(_PAIR_NUMBERS + number, exam=True, pair_share=1.0) for number in range(plan.pairs)]
    if not samples:
        return {}
    painted = paint(base, [text for _, _, text in samples], list(range(plan.pairs)), plan)
    drawn = np.stack(
        [draw(scene, hand, _PAIR_NUMBERS + number) for number, (scene, hand, _) in enumerate(samples)]
    )
    return {
        "painted": _read_pairs(reader, painted, [scene for scene, _, _ in samples]),
        "drawn": _read_pairs(reader, drawn, [scene for scene, _, _ in samples]),
    }


def _read_pairs(reader: Reader, pictures: np.ndarray, scenes: list[Scene]) -> dict[str, float]:
    """Shares of halves with the right subject and colour, of pictures with both subjects in either order."""
    sides = [_read_half(reader, pictures, left) for left in (0, pictures.shape[2] - _WINDOW_PX)]
    subject, colour, both, swapped = [], [], [], []
    for row, scene in enumerate(scenes):
        names = [placed.subject for placed in scene.subjects]
        answers = [side[row][0] for side in sides]
        subject += [a == b for a, b in zip(answers, names, strict=True)]
        colour += [side[row][1] == placed.colour for side, placed in zip(sides, scene.subjects, strict=True)]
        both.append(answers == names)
        swapped.append(answers == names[::-1])
    return {
        "subject": _mean(subject),
        "colour": _mean(colour),
        "both subjects in place": _mean(both),
        "both subjects changed over": _mean(swapped),
    }


@torch.no_grad()
def _read_half(reader: Reader, pictures: np.ndarray, left: int) -> list[tuple[str, str]]:
    """Subject and colour in square windows down one side of each picture, as the surest window reads them."""
    device = next(reader.parameters()).device
    readings: list[list[Tensor]] = []
    for top in _WINDOW_TOPS:
        window = pictures[:, top : top + _WINDOW_PX, left : left + _WINDOW_PX]
        batch = torch.from_numpy(window.copy()).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
        logits = reader(F.interpolate(batch, (64, 64), mode="bilinear", antialias=True))
        readings.append([part.softmax(1).cpu() for part in logits[:2]])
    subjects = torch.stack([subject for subject, _ in readings])  # (windows, N, 24)
    colours = torch.stack([colour for _, colour in readings])
    surest = subjects.amax(2).argmax(0)  # (N,)
    rows = torch.arange(len(pictures))
    pairs = zip(subjects[surest, rows].argmax(1), colours[surest, rows].argmax(1), strict=True)
    return [(PARTS["subject"][subject], PARTS["colour"][colour]) for subject, colour in pairs]


# --- does the autoencoder keep what it sees? -------------------------------------------------------------


@torch.no_grad()
def through_vae(base: Base, pictures: np.ndarray) -> np.ndarray:
    """Pictures (N, H, W, 3) uint8, sides multiples of the factor, encoded (the mean) and decoded again."""
    parameter = next(base.vae.parameters())
    parts = []
    for first in range(0, len(pictures), 16):
        batch = torch.from_numpy(pictures[first : first + 16].copy()).permute(0, 3, 1, 2)
        batch = (batch.float() / 127.5 - 1).to(parameter.device, parameter.dtype)
        restored = base.vae.decode(base.vae.encode(batch).latent_dist.mean).sample
        pixels = ((restored.float().clamp(-1, 1) + 1) * 127.5).round().byte()
        parts.append(pixels.permute(0, 2, 3, 1).cpu().numpy())
    return np.concatenate(parts)


def psnr_db(restored: np.ndarray, original: np.ndarray) -> list[float]:
    """Peak signal-to-noise ratio of each picture (N, H, W, 3) uint8, in decibels."""
    error = ((restored.astype(np.float32) - original) ** 2).mean((1, 2, 3))
    return [10 * math.log10(255**2 / max(float(one), 1e-3)) for one in error]


def ssim(restored: np.ndarray, original: np.ndarray) -> list[float]:
    """Structural similarity of each picture's lightness, 11 px Gaussian window of 1.5 px (Wang et al. 2004)."""
    x = torch.arange(11) - 5.0
    bell = torch.exp(-(x**2) / (2 * 1.5**2))
    kernel = (bell[:, None] * bell / bell.sum() ** 2)[None, None]
    grey = torch.tensor([0.299, 0.587, 0.114])
    a, b = (torch.from_numpy(p.astype(np.float32)) @ grey for p in (restored, original))  # (N, H, W)

    def smooth(values: Tensor) -> Tensor:
        return F.conv2d(values[:, None], kernel)[:, 0]

    mean_a, mean_b = smooth(a), smooth(b)
    spread_a, spread_b = smooth(a * a) - mean_a**2, smooth(b * b) - mean_b**2
    common = smooth(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    likeness = (2 * mean_a * mean_b + c1) * (2 * common + c2)
    likeness = likeness / ((mean_a**2 + mean_b**2 + c1) * (spread_a + spread_b + c2))
    return likeness.mean((1, 2)).tolist()


def fidelity(base: Base, plan: PaintPlan) -> dict:
    """PSNR and SSIM of unseen drawings restored by the autoencoder: mean, worst hand, held-out hands, each hand."""
    hands: dict[str, dict[str, float]] = {}
    for place, hand in enumerate((*HANDS, *HELD_OUT)):
        first = _FIDELITY_SEED + 1000 * place
        originals = np.stack([_unseen(hand, first + number) for number in range(plan.drawings_per_hand)])
        hands[hand] = _fidelity_of(base, originals)
    worst = min(HANDS, key=lambda hand: hands[hand]["psnr_db"])
    return {
        "mean": {
            key: round(float(np.mean([hands[hand][key] for hand in HANDS])), 4) for key in ("psnr_db", "ssim")
        },
        "worst hand": {"hand": worst, **hands[worst]},
        "held out": {hand: hands[hand] for hand in HELD_OUT},
        "hands": hands,
    }


def _unseen(hand: str, number: int) -> np.ndarray:
    if hand in HELD_OUT:
        return held_out_drawing(number, hand)[1]
    return draw(sample_scene(np.random.default_rng([number, 2])), hand, number)


def _fidelity_of(base: Base, originals: np.ndarray) -> dict[str, float]:
    restored = through_vae(base, originals)
    return {
        "psnr_db": round(float(np.mean(psnr_db(restored, originals))), 2),
        "ssim": round(float(np.mean(ssim(restored, originals))), 4),
    }


def own_pictures(base: Base, folder: Path) -> dict[str, dict[str, float]]:
    """PSNR and SSIM of a folder's pictures, each made small to 256 px on its shorter side, and their mean."""
    from training.artworks.collecting import collect
    from training.artworks.opening import open_artwork

    result = {}
    for path in [picture.file.path for picture in collect([folder]).pictures]:
        image = open_artwork(path)
        share = 256 / min(image.size)
        width, height = (max(256, round(side * share) // 8 * 8) for side in image.size)
        small = image.resize((width, height), Image.Resampling.LANCZOS)
        result[path.name] = _fidelity_of(base, np.asarray(small)[None])
    keys = ("psnr_db", "ssim")
    mean = {key: round(float(np.mean([one[key] for one in result.values()])), 4) for key in keys}
    return {"mean": mean, **result}


# --- the report ------------------------------------------------------------------------------------------


def _mean(right: list[bool]) -> float:
    return round(float(np.mean(right)), 4) if right else 0.0


def _report(result: dict) -> None:
    def shares(row: dict) -> str:
        return "  ".join(f"{part} {row[part]:6.1%}" for part in PARTS if part in row)

    print(f"classifier, unseen drawings   {shares(result['classifier']['training'])}")
    print(f"classifier, held-out hands    {shares(result['classifier']['held out'])}")
    print(f"painted, single subjects      {shares(result['single'])}")
    for hand, row in result["single"]["hands"].items():
        print(f"  {hand:27} {shares(row)}  of {row['pictures']}")
    for kind, row in result["pairs"].items():
        print(f"two subjects, {kind:15} " + "  ".join(f"{name} {share:.1%}" for name, share in row.items()))
    autoencoder = result["autoencoder"]
    rows = {
        "mean": autoencoder["mean"],
        f"worst hand, {autoencoder['worst hand']['hand']}": autoencoder["worst hand"],
    }
    rows |= autoencoder["held out"]
    if "own pictures" in autoencoder:
        rows["own pictures"] = autoencoder["own pictures"]["mean"]
    for name, row in rows.items():
        print(f"autoencoder: {name:24} {row['psnr_db']:.2f} dB  SSIM {row['ssim']:.3f}")
    print(f"one picture takes {result['seconds for one picture']} s")
