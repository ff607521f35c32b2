"""The starter's school book: thousands of captioned drawings, and which captions are kept back for the exam."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from training.starter.captions import caption
from training.starter.hands import HANDS, draw
from training.starter.model import NATIVE_SIZE_PX
from training.starter.scenes import Scene, sample_scene
from training.starter.textures import texture

PLAIN_SHARE = (
    0.2  # of the drawings: in the flat hand and captioned without any, as most people write their prompts
)
_CHUNK = 250


@dataclass(frozen=True)
class Drawn:
    """What one drawing shows: its caption, the scene and the hand."""

    caption: str
    hand: str
    background: str
    subjects: tuple[tuple[str, str], ...]  # (subject, colour) from left to right


def kept_back(scene: Scene, hand: str) -> bool:
    """Whether this subject, colour, background and hand stand together only in the exam (one in ten do)."""
    if len(scene.subjects) != 1:
        return False
    placed = scene.subjects[0]
    key = f"{placed.subject}/{placed.colour}/{scene.background}/{hand}"
    return zlib.crc32(key.encode()) % 10 == 0


def sample(number: int, exam: bool = False, pair_share: float = 0.2) -> tuple[Scene, str, str]:
    """The scene, hand and caption of drawing `number`; with `exam`, single subjects that were kept back."""
    rng = np.random.default_rng([number, 1 if exam else 0])
    hands = list(HANDS)
    plain = not exam and rng.random() < PLAIN_SHARE
    while True:
        hand = "flat" if plain else hands[int(rng.integers(len(hands)))]
        scene = sample_scene(rng, pair_share=0.0 if exam else pair_share)
        if kept_back(scene, hand) == exam:
            return scene, hand, caption(scene, None if plain else hand, rng)


def _draw_chunk(first: int) -> tuple[int, np.ndarray, list[Drawn]]:
    pictures, drawn = [], []
    for number in range(first, first + _CHUNK):
        scene, hand, text = sample(number)
        pictures.append(draw(scene, hand, number))
        subjects = tuple((placed.subject, placed.colour) for placed in scene.subjects)
        drawn.append(Drawn(text, hand, scene.background, subjects))
    return first, np.stack(pictures), drawn


def draw_all(folder: Path, count: int, textures: int, workers: int) -> None:
    """Write `drawings.npy` (count, 128, 128, 3) uint8, `drawings.jsonl` and `textures.npy`; kept if they exist."""
    notes = folder / "drawings.jsonl"
    if notes.exists():
        return
    count -= count % _CHUNK
    size = NATIVE_SIZE_PX
    pictures = np.lib.format.open_memmap(folder / "drawings.npy", "w+", np.uint8, (count, size, size, 3))
    records: dict[int, list[Drawn]] = {}
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for first, chunk, drawn in pool.map(_draw_chunk, range(0, count, _CHUNK)):
            pictures[first : first + _CHUNK] = chunk
            records[first] = drawn
        loose = np.stack(list(pool.map(texture, range(textures), chunksize=50)))
    pictures.flush()
    np.save(folder / "textures.npy", loose)
    lines = [json.dumps(vars(one)) for first in sorted(records) for one in records[first]]
    notes.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_drawn(folder: Path) -> list[Drawn]:
    """The records that `draw_all` wrote beside the pictures, in their order."""
    lines = (folder / "drawings.jsonl").read_text(encoding="utf-8").splitlines()
    return [_drawn(json.loads(line)) for line in lines]


def _drawn(record: dict) -> Drawn:
    subjects = tuple((subject, colour) for subject, colour in record["subjects"])
    return Drawn(record["caption"], record["hand"], record["background"], subjects)


def rows_by_hand(drawn: Sequence[Drawn]) -> dict[str, list[int]]:
    """The numbers of the drawings in each hand that there are any in."""
    rows: dict[str, list[int]] = {}
    for row, one in enumerate(drawn):
        rows.setdefault(one.hand, []).append(row)
    return {hand: rows[hand] for hand in HANDS if hand in rows}
